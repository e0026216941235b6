//! The types of rules and the keys of each (spec S3.6, S4.1).

use std::time::Duration;

use toml::de::DeValue;
use weir_policy::{
    AttackType, HeaderAction, OverTimeAction, Parser, PointSelector, RuleKind, RuleMode, RuleType,
    UploadAction,
};

use super::context::{MODES, read_field_name};
use super::detection::INSPECTION_TIME;
use super::points::read_selector;
use super::read::{Refusal, TableReader, read_choice};
use super::rules::{RULE, RULE_KEYS};
use super::schema::{DAY, Default, Key, Kind, SECOND, Section, TIB, range};
use super::suggest::nearest;
use super::units::parse_time;

/// What a mode rule and the general mode may say.
pub(super) const RULE_MODES: [(&str, RuleMode); 5] = {
    let [off, monitoring, safe_blocking, block] = MODES;
    [
        ("default", RuleMode::Default),
        (off.0, RuleMode::Set(off.1)),
        (monitoring.0, RuleMode::Set(monitoring.1)),
        (safe_blocking.0, RuleMode::Set(safe_blocking.1)),
        (block.0, RuleMode::Set(block.1)),
    ]
};

/// Their names.
pub(super) const RULE_MODE_CHOICE: Kind =
    Kind::Choice(&["default", "off", "monitoring", "safe_blocking", "block"]);

/// Some words and the classes that signatures have (spec S4.4).
macro_rules! classes_and {
    ($($word:literal),+) => {
        Kind::Choice(&[
            $($word,)+ "sqli", "xss", "rce", "ptrav", "xxe", "crlf", "redir", "nosqli", "ldapi", "scanner",
            "mass_assignment", "ssrf", "ssi", "mail_injection", "ssti",
        ])
    };
}

/// The keys of each type beside those of all rules, in the order of [`RuleType`].
const TYPES: [(&str, &str, &[Key]); 13] = [
    ("[[rule]] of type mode", "Sets the filtering mode; of several the most specific one counts.", MODE_KEYS),
    (
        "[[rule]] of type virtual_patch",
        "Blocks requests with signs of an attack at a point, in `monitoring` and `safe_blocking` too.",
        &[
            Key {
                name: "attack_type",
                kind: classes_and!("any", "invalid_xml"),
                default: Default::Required("\"sqli\""),
                meaning: "The class that is blocked; `any` = that the point is there is enough.",
            },
            POINT,
        ],
    ),
    (
        "[[rule]] of type regex",
        "A detector of one's own: a finding wherever the regular expression occurs.",
        &[
            Key {
                name: "regex",
                kind: Kind::Text("a regular expression"),
                default: Default::Required("\"^[0-9]+$\""),
                meaning: "What is looked for.",
            },
            Key {
                name: "attack_type",
                kind: classes_and!("vpatch"),
                default: Default::Required("\"scanner\""),
                meaning: "The class of its findings; `vpatch` = blocks in `monitoring` and `safe_blocking` too.",
            },
            POINT,
            Key {
                name: "experimental",
                kind: Kind::Boolean,
                default: Default::Value("false"),
                meaning: "Whether its findings are recorded as such and never block.",
            },
        ],
    ),
    (
        "[[rule]] of type ignore_regex",
        "Switches a rule of type `regex` off at a point.",
        &[
            Key {
                name: "rule",
                kind: Kind::Integer(range(1, 9_223_372_036_854_775_807)),
                default: Default::Required("1"),
                meaning: "The id of that rule.",
            },
            POINT,
        ],
    ),
    (
        "[[rule]] of type disable_attack_type",
        "Signs of a class don't count at a point.",
        &[
            Key {
                name: "attack_type",
                kind: classes_and!("any", "invalid_xml"),
                default: Default::Required("\"sqli\""),
                meaning: "The class, or all of them.",
            },
            POINT,
        ],
    ),
    (
        "[[rule]] of type disable_signature",
        "A signature doesn't count at a point.",
        &[
            Key {
                name: "signature",
                kind: Kind::Text("the id of a signature, as in events"),
                default: Default::Required("\"sqli-union-select\""),
                meaning: "The signature.",
            },
            POINT,
        ],
    ),
    (
        "[[rule]] of type binary_data",
        "Signs that can't occur in binary data don't count at a point.",
        &[POINT],
    ),
    (
        "[[rule]] of type parser_state",
        "Switches a parser on or off at a point; of several for one parser and point the most specific one counts.",
        &[
            Key {
                name: "parser",
                kind: Kind::Choice(&[
                    "base64",
                    "cookie",
                    "form_urlencoded",
                    "gql",
                    "gzip",
                    "grpc",
                    "htmljs",
                    "json_doc",
                    "jwt",
                    "multipart",
                    "percent",
                    "protobuf",
                    "viewstate",
                    "xml",
                ]),
                default: Default::Required("\"base64\""),
                meaning: "The parser.",
            },
            Key {
                name: "enabled",
                kind: Kind::Boolean,
                default: Default::Required("false"),
                meaning: "Whether it is on.",
            },
            POINT,
        ],
    ),
    (
        "[[rule]] of type mask",
        "The value of a point is shown as `*` in events, logs and explanations.",
        &[POINT],
    ),
    (
        "[[rule]] of type response_header",
        "Changes a header of responses; the most specific rule has the last word.",
        &[
            Key {
                name: "action",
                kind: Kind::Choice(&["set", "append", "delete"]),
                default: Default::Required("\"set\""),
                meaning: "`set` takes the place of what the origin sent, `append` is added to it.",
            },
            Key {
                name: "name",
                kind: Kind::Text("the name of a header field"),
                default: Default::Required("\"X-Frame-Options\""),
                meaning: "The header. Those of the connection and of the framing can't be changed.",
            },
            Key {
                name: "values",
                kind: Kind::List("texts"),
                default: Default::Absent("required, except for `delete`", "[\"DENY\"]"),
                meaning: "Its values, one field each.",
            },
        ],
    ),
    (
        "[[rule]] of type over_time_limit",
        "How long inspection may take; of several the most specific one counts.",
        &[
            INSPECTION_TIME,
            Key {
                name: "action",
                kind: Kind::Choice(&["pass", "block"]),
                default: Default::Value("\"pass\""),
                meaning: "What happens to a request that takes longer. Either way there is an event.",
            },
        ],
    ),
    (
        "[[rule]] of type rate_limit",
        "How many requests with the same value of a point pass; of several the one with the lowest rate counts.",
        &[
            Key {
                name: "rate",
                kind: Kind::Integer(range(1, 1_000_000)),
                default: Default::Required("5"),
                meaning: "Requests in the time of `per`.",
            },
            Key {
                name: "per",
                kind: Kind::Text(PER),
                default: Default::Value("\"second\""),
                meaning: "What `rate` is counted over.",
            },
            Key {
                name: "burst",
                kind: Kind::Integer(range(0, 1_000_000)),
                default: Default::Value("0"),
                meaning: "Requests above the rate that aren't refused at once.",
            },
            Key {
                name: "delay",
                kind: Kind::Integer(range(0, 1_000_000)),
                default: Default::Value("0"),
                meaning: "How many of those pass without being held back; at most `burst`.",
            },
            Key {
                name: "status",
                kind: Kind::Integer(range(400, 599)),
                default: Default::Value("503"),
                meaning: "The status that the others get.",
            },
            Key {
                name: "point",
                kind: Kind::List(A_POINT),
                default: Default::Absent("the client's address", "[\"header\", \"X-API-KEY\"]"),
                meaning: "What requests are told apart by. A request that doesn't have it isn't limited.",
            },
        ],
    ),
    (
        "[[rule]] of type upload_size",
        "How large a file or a body may be; of several for one point the most specific one counts.",
        &[
            Key {
                name: "limit",
                kind: Kind::Size(range(1, TIB)),
                default: Default::Required("\"10MiB\""),
                meaning: "The size that is still allowed.",
            },
            Key {
                name: "action",
                kind: Kind::Choice(&["inherited", "monitoring", "block", "off"]),
                default: Default::Value("\"inherited\""),
                meaning: "What happens above it; `inherited` = as to an attack in the mode of the place, `off` = \
                          nothing, so that broader rules don't hold here.",
            },
            Key {
                name: "point",
                kind: Kind::List(A_POINT),
                default: Default::Absent("the whole body", "[\"body\", \"avatar\"]"),
                meaning: "What is measured.",
            },
        ],
    ),
];

const MODE_KEYS: &[Key] = &[Key {
    name: "mode",
    kind: RULE_MODE_CHOICE,
    default: Default::Required("\"block\""),
    meaning: "The mode that it sets; `default` = the mode of the config file.",
}];

const A_POINT: &str =
    "a part of the request and the way to a value in it; a text as in events is understood, too";

const POINT: Key = Key {
    name: "point",
    kind: Kind::List(A_POINT),
    default: Default::Required("[\"query\", \"id\"]"),
    meaning: "Where: the point and all that is parsed or decoded out of it. `\"*\"` stands for any name.",
};

const PER: &str = "\"second\", \"minute\", \"hour\" or a time from \"1s\" to \"1d\"";

/// A section of each type; `$common` goes before its own keys.
macro_rules! sections {
    ($($common:expr)?) => { sections!(@ ($($common)?) 0 1 2 3 4 5 6 7 8 9 10 11 12) };
    (@ $common:tt $($index:literal)+) => { [$(sections!(@one $common $index)),+] };
    (@one ($($common:expr)?) $index:literal) => {
        Section { header: TYPES[$index].0, about: TYPES[$index].1, keys: &[$($common,)? TYPES[$index].2] }
    };
}

/// The types as the reference page shows them: what they have beside the keys of all rules.
pub(super) static SHOWN: [Section; 13] = sections!();

/// The types as they are read.
static READ: [Section; 13] = sections!(RULE_KEYS);

/// The keys of a type, those of all rules among them.
pub(super) fn section_of(rule_type: RuleType) -> &'static Section {
    READ.get(rule_type as usize).unwrap_or(&RULE)
}

/// Whether rules of some type have a key.
pub(super) fn is_key_of_any_type(name: &str) -> bool {
    READ.iter().any(|section| section.key(name).is_some())
}

/// The type of a rule; a missing or unknown one is reported.
pub(super) fn read_type(rule: &TableReader<'_>) -> Option<RuleType> {
    rule.value("type", |value, key| {
        let found = RuleType::NAMES.iter().find(|(name, _)| value.as_str() == Some(name));
        found.map(|(_, rule_type)| *rule_type).ok_or_else(|| {
            let names: Vec<&str> = RuleType::NAMES.iter().map(|(name, _)| *name).collect();
            let near = value.as_str().and_then(|text| nearest(text, &names));
            let advice = near
                .map_or_else(|| "write one of these".to_owned(), |near| format!("did you mean {near:?}?"));
            Refusal::new(value, &key.kind.describe(), advice)
        })
    })
}

/// What a rule does; nothing if a key that it can't do without is absent or wrong.
pub(super) fn read_kind(rule: &TableReader<'_>, rule_type: RuleType) -> Option<RuleKind> {
    // every key is read, so that all mistakes of a rule are reported at once
    let number = |name: &str| rule.integer(name).and_then(|number| u32::try_from(number).ok());
    Some(match rule_type {
        RuleType::Mode => RuleKind::Mode(rule.choice("mode", &RULE_MODES)?),
        RuleType::VirtualPatch => {
            let (attack_type, point) = (class(rule), point(rule));
            RuleKind::VirtualPatch { attack_type: attack_type?, point: point? }
        }
        RuleType::Regex => {
            let (regex, attack_type, point) = (rule.text("regex"), class(rule), point(rule));
            let experimental = rule.boolean("experimental");
            let (regex, attack_type, point) = (regex?, attack_type?, point?);
            RuleKind::Regex { regex, attack_type, point, experimental: experimental? }
        }
        RuleType::IgnoreRegex => {
            let (id, point) = (rule.integer("rule"), point(rule));
            RuleKind::IgnoreRegex { rule: id?, point: point? }
        }
        RuleType::DisableAttackType => {
            let (attack_type, point) = (class(rule), point(rule));
            RuleKind::DisableAttackType { attack_type: attack_type?, point: point? }
        }
        RuleType::DisableSignature => {
            let (signature, point) = (rule.text("signature"), point(rule));
            RuleKind::DisableSignature { signature: signature?, point: point? }
        }
        RuleType::BinaryData => RuleKind::BinaryData { point: point(rule)? },
        RuleType::ParserState => {
            let (parser, enabled, point) =
                (rule.choice("parser", Parser::NAMES), rule.boolean("enabled"), point(rule));
            RuleKind::ParserState { parser: parser?, enabled: enabled?, point: point? }
        }
        RuleType::Mask => RuleKind::Mask { point: point(rule)? },
        RuleType::ResponseHeader => read_header(rule)?,
        RuleType::OverTimeLimit => {
            let (time_limit, action) =
                (rule.time("time_limit"), rule.choice("action", OverTimeAction::NAMES));
            RuleKind::OverTimeLimit { time_limit: time_limit?, action: action? }
        }
        RuleType::RateLimit => {
            let (rate, per, point) = (number("rate"), rule.value("per", read_per), point(rule));
            let (burst, delay, status) = (number("burst"), number("delay"), number("status"));
            RuleKind::RateLimit {
                rate: rate?,
                per: per?,
                burst: burst?,
                delay: delay?,
                status: u16::try_from(status?).ok()?,
                point,
            }
        }
        RuleType::UploadSize => {
            let (limit, action, point) =
                (rule.size("limit"), rule.choice("action", UploadAction::NAMES), point(rule));
            RuleKind::UploadSize { limit: limit?, action: action?, point }
        }
    })
}

fn point(rule: &TableReader<'_>) -> Option<PointSelector> {
    read_selector(rule, "point")
}

/// The class, of those that the key allows.
fn class(rule: &TableReader<'_>) -> Option<AttackType> {
    rule.value("attack_type", |value, key| {
        let Kind::Choice(allowed) = key.kind else { return Err(Refusal::new(value, "", String::new())) };
        let classes: Vec<(&str, AttackType)> =
            AttackType::NAMES.iter().filter(|(name, _)| allowed.contains(name)).copied().collect();
        read_choice(value, &classes)
    })
}

fn read_header(rule: &TableReader<'_>) -> Option<RuleKind> {
    let action = rule.choice("action", HeaderAction::NAMES);
    let name = read_field_name(rule, "name");
    let values = rule.list("values", "text", |value| {
        value.as_str().map(str::to_owned).ok_or_else(|| {
            Refusal::new(value, "a text", "write the values in quotes, values = [\"DENY\"]".to_owned())
        })
    });
    let values = values.into_iter().map(|item| item.value).collect();
    Some(RuleKind::ResponseHeader { action: action?, name, values })
}

/// A unit's name or a time.
fn read_per(value: &DeValue<'_>, key: &'static Key) -> Result<Duration, Refusal> {
    let seconds = match value.as_str() {
        Some("second") => Some(1),
        Some("minute") => Some(60),
        Some("hour") => Some(3_600),
        _ => None,
    };
    let time = match (seconds, value.as_str()) {
        (Some(seconds), _) => Some(Duration::from_secs(seconds)),
        (None, Some(text)) => parse_time(text).ok(),
        (None, None) => None,
    };
    time.filter(|time| (Duration::from_micros(SECOND)..=Duration::from_micros(DAY)).contains(time))
        .ok_or_else(|| Refusal::new(value, &key.kind.describe(), format!("for example {}", key.example())))
}
