//! What rules do: their types with the keys of each (spec S3.6, S4.1).
//!
//! This crate settles for which requests a rule holds and which of several rules of a type counts. What a rule then does
//! to inspection, limits and answers is up to the caller.

use std::fmt;
use std::time::Duration;

use crate::mode::RuleMode;
use crate::selector::PointSelector;

/// The type of a rule, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// `mode`: sets the filtering mode. Of several the most specific one counts.
    Mode(RuleMode),
    /// `virtual_patch`: signs of an attack at a point block in every mode but `off`. All that match hold.
    VirtualPatch {
        /// The class that counts, or `any`: that the point is there is enough.
        attack_type: AttackType,
        /// Where.
        point: PointSelector,
    },
    /// `regex`: a detector of one's own. All that match hold.
    Regex {
        /// What is looked for.
        regex: String,
        /// The class of its findings; `vpatch` blocks in every mode but `off`.
        attack_type: AttackType,
        /// Where.
        point: PointSelector,
        /// Its findings are recorded as such and never block.
        experimental: bool,
    },
    /// `ignore_regex`: switches a rule of type `regex` off at a point. All that match hold.
    IgnoreRegex {
        /// The id of that rule.
        rule: u64,
        /// Where.
        point: PointSelector,
    },
    /// `disable_attack_type`: signs of a class don't count at a point. All that match hold.
    DisableAttackType {
        /// The class, or `any`.
        attack_type: AttackType,
        /// Where.
        point: PointSelector,
    },
    /// `disable_signature`: a signature doesn't count at a point. All that match hold.
    DisableSignature {
        /// Its id.
        signature: String,
        /// Where.
        point: PointSelector,
    },
    /// `binary_data`: signs that can't occur in binary data don't count at a point. All that match hold.
    BinaryData {
        /// Where.
        point: PointSelector,
    },
    /// `parser_state`: switches a parser on or off at a point. Of several for the same parser and point the most specific
    /// one counts.
    ParserState {
        /// The parser.
        parser: Parser,
        /// On or off.
        enabled: bool,
        /// Where.
        point: PointSelector,
    },
    /// `mask`: the value of a point never leaves the worker. All that match hold.
    Mask {
        /// Where.
        point: PointSelector,
    },
    /// `response_header`: changes a header of responses. All that match hold, the least specific one first.
    ResponseHeader {
        /// What is done.
        action: HeaderAction,
        /// The header's name.
        name: String,
        /// What it is set to or gets in addition; none for `delete`.
        values: Vec<String>,
    },
    /// `over_time_limit`: how long inspection may take, and what follows. Of several the most specific one counts.
    OverTimeLimit {
        /// Inspection time of one request.
        time_limit: Duration,
        /// What happens to a request that takes longer.
        action: OverTimeAction,
    },
    /// `rate_limit`: how many requests with the same value of a point pass. Of several that match, the one with the lowest
    /// rate counts among those whose point is there.
    RateLimit {
        /// Requests in the time of `per`.
        rate: u32,
        /// What `rate` is counted over.
        per: Duration,
        /// Requests above the rate that aren't refused at once.
        burst: u32,
        /// How many of those pass without being held back; at most `burst`.
        delay: u32,
        /// The status that the others get: 400 to 599.
        status: u16,
        /// What requests are told apart by; the client's address if absent.
        point: Option<PointSelector>,
    },
    /// `upload_size`: how large a file or body may be. Of several for the same point the most specific one counts.
    UploadSize {
        /// Bytes.
        limit: u64,
        /// What happens above that.
        action: UploadAction,
        /// A part of the body; the whole body if absent.
        point: Option<PointSelector>,
    },
}

impl RuleKind {
    /// The type.
    pub const fn rule_type(&self) -> RuleType {
        match self {
            Self::Mode(_) => RuleType::Mode,
            Self::VirtualPatch { .. } => RuleType::VirtualPatch,
            Self::Regex { .. } => RuleType::Regex,
            Self::IgnoreRegex { .. } => RuleType::IgnoreRegex,
            Self::DisableAttackType { .. } => RuleType::DisableAttackType,
            Self::DisableSignature { .. } => RuleType::DisableSignature,
            Self::BinaryData { .. } => RuleType::BinaryData,
            Self::ParserState { .. } => RuleType::ParserState,
            Self::Mask { .. } => RuleType::Mask,
            Self::ResponseHeader { .. } => RuleType::ResponseHeader,
            Self::OverTimeLimit { .. } => RuleType::OverTimeLimit,
            Self::RateLimit { .. } => RuleType::RateLimit,
            Self::UploadSize { .. } => RuleType::UploadSize,
        }
    }

    /// The `type` in rule files.
    pub const fn type_name(&self) -> &'static str {
        self.rule_type().as_str()
    }

    /// Whether the rule takes something away from what is looked at or done, so that a request which may belong to another
    /// place as well is better off without it.
    pub const fn loosens(&self) -> bool {
        match self {
            Self::IgnoreRegex { .. }
            | Self::DisableAttackType { .. }
            | Self::DisableSignature { .. }
            | Self::BinaryData { .. }
            | Self::ParserState { enabled: false, .. }
            | Self::UploadSize { action: UploadAction::Off, .. } => true,
            Self::Mode(_)
            | Self::VirtualPatch { .. }
            | Self::Regex { .. }
            | Self::ParserState { enabled: true, .. }
            | Self::Mask { .. }
            | Self::ResponseHeader { .. }
            | Self::OverTimeLimit { .. }
            | Self::RateLimit { .. }
            | Self::UploadSize { .. } => false,
        }
    }

    /// The point that the rule is about, if it is about one.
    pub const fn point(&self) -> Option<&PointSelector> {
        match self {
            Self::Mode(_) | Self::ResponseHeader { .. } | Self::OverTimeLimit { .. } => None,
            Self::VirtualPatch { point, .. }
            | Self::Regex { point, .. }
            | Self::IgnoreRegex { point, .. }
            | Self::DisableAttackType { point, .. }
            | Self::DisableSignature { point, .. }
            | Self::BinaryData { point }
            | Self::ParserState { point, .. }
            | Self::Mask { point } => Some(point),
            Self::RateLimit { point, .. } | Self::UploadSize { point, .. } => point.as_ref(),
        }
    }
}

/// Declares an enum whose variants are words in rule files.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$meaning])* $variant,)+
        }

        impl $name {
            /// All of them, with their names in rule files.
            pub const NAMES: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];

            /// The name in rule files.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// The types of rules.
    RuleType {
        /// [`RuleKind::Mode`]
        Mode = "mode",
        /// [`RuleKind::VirtualPatch`]
        VirtualPatch = "virtual_patch",
        /// [`RuleKind::Regex`]
        Regex = "regex",
        /// [`RuleKind::IgnoreRegex`]
        IgnoreRegex = "ignore_regex",
        /// [`RuleKind::DisableAttackType`]
        DisableAttackType = "disable_attack_type",
        /// [`RuleKind::DisableSignature`]
        DisableSignature = "disable_signature",
        /// [`RuleKind::BinaryData`]
        BinaryData = "binary_data",
        /// [`RuleKind::ParserState`]
        ParserState = "parser_state",
        /// [`RuleKind::Mask`]
        Mask = "mask",
        /// [`RuleKind::ResponseHeader`]
        ResponseHeader = "response_header",
        /// [`RuleKind::OverTimeLimit`]
        OverTimeLimit = "over_time_limit",
        /// [`RuleKind::RateLimit`]
        RateLimit = "rate_limit",
        /// [`RuleKind::UploadSize`]
        UploadSize = "upload_size",
    }
}

words! {
    /// What a rule says of classes of attacks: one of spec S4.4's, or one of two words with a meaning of their own.
    AttackType {
        /// Every class; for a virtual patch, that the point is there.
        Any = "any",
        /// SQL injection.
        Sqli = "sqli",
        /// Cross-site scripting.
        Xss = "xss",
        /// Code or command execution.
        Rce = "rce",
        /// Path traversal.
        Ptrav = "ptrav",
        /// External entity in XML.
        Xxe = "xxe",
        /// CR/LF injection.
        Crlf = "crlf",
        /// Open redirect.
        Redir = "redir",
        /// NoSQL injection.
        Nosqli = "nosqli",
        /// LDAP injection.
        Ldapi = "ldapi",
        /// Scanner.
        Scanner = "scanner",
        /// Mass assignment.
        MassAssignment = "mass_assignment",
        /// Server-side request forgery.
        Ssrf = "ssrf",
        /// Server-side include.
        Ssi = "ssi",
        /// Mail injection.
        MailInjection = "mail_injection",
        /// Template injection.
        Ssti = "ssti",
        /// XML whose encoding isn't the declared one.
        InvalidXml = "invalid_xml",
        /// Of a custom regex alone: what it finds is stopped as by a virtual patch.
        Vpatch = "vpatch",
    }
}

words! {
    /// A parser of values (spec S4.2).
    Parser {
        /// Base64.
        Base64 = "base64",
        /// The Cookie header.
        Cookie = "cookie",
        /// Bodies of forms.
        FormUrlencoded = "form_urlencoded",
        /// GraphQL.
        Gql = "gql",
        /// Compressed data.
        Gzip = "gzip",
        /// gRPC.
        Grpc = "grpc",
        /// Character references and escapes of HTML and JavaScript.
        Htmljs = "htmljs",
        /// JSON.
        JsonDoc = "json_doc",
        /// Web tokens.
        Jwt = "jwt",
        /// Bodies in parts.
        Multipart = "multipart",
        /// Percent-encoding.
        Percent = "percent",
        /// Protocol Buffers.
        Protobuf = "protobuf",
        /// ASP.NET's view state.
        Viewstate = "viewstate",
        /// XML.
        Xml = "xml",
    }
}

words! {
    /// What is done to a header of responses.
    HeaderAction {
        /// Takes the place of what the origin sent.
        Set = "set",
        /// Is added to what the origin sent.
        Append = "append",
        /// Is removed.
        Delete = "delete",
    }
}

words! {
    /// What happens to a request whose inspection takes too long; there is an event either way.
    OverTimeAction {
        /// The rest passes uninspected.
        Pass = "pass",
        /// It counts as an attack.
        Block = "block",
    }
}

words! {
    /// What happens to an upload above its limit (spec S1.6).
    UploadAction {
        /// What the filtering mode does to an attack.
        Inherited = "inherited",
        /// It is recorded.
        Monitoring = "monitoring",
        /// It is blocked.
        Block = "block",
        /// Nothing: the rule shields its scope from broader ones.
        Off = "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_in_files() {
        let point = || PointSelector::parse_text("query.id").unwrap();
        let kinds = [
            RuleKind::Mode(RuleMode::Default),
            RuleKind::VirtualPatch { attack_type: AttackType::Any, point: point() },
            RuleKind::Regex {
                regex: "a".into(),
                attack_type: AttackType::Vpatch,
                point: point(),
                experimental: false,
            },
            RuleKind::IgnoreRegex { rule: 1, point: point() },
            RuleKind::DisableAttackType { attack_type: AttackType::Any, point: point() },
            RuleKind::DisableSignature { signature: "a".into(), point: point() },
            RuleKind::BinaryData { point: point() },
            RuleKind::ParserState { parser: Parser::Jwt, enabled: false, point: point() },
            RuleKind::Mask { point: point() },
            RuleKind::ResponseHeader { action: HeaderAction::Delete, name: "Server".into(), values: vec![] },
            RuleKind::OverTimeLimit { time_limit: Duration::from_secs(1), action: OverTimeAction::Pass },
            RuleKind::RateLimit {
                rate: 1,
                per: Duration::from_secs(1),
                burst: 0,
                delay: 0,
                status: 503,
                point: None,
            },
            RuleKind::UploadSize { limit: 1, action: UploadAction::Inherited, point: None },
        ];
        let names: Vec<&str> = kinds.iter().map(RuleKind::type_name).collect();
        assert_eq!(names, RuleType::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let with_point = kinds.iter().filter(|kind| kind.point().is_some()).count();
        assert_eq!(with_point, 8);
    }
}
