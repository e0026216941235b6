//! The attack classes that signatures belong to.

use std::fmt;

/// What kind of attack a finding is a sign of: the input-validation codes of spec S4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttackClass {
    /// SQL fragment changes a database query.
    Sqli,
    /// Script executed in the victim's browser.
    Xss,
    /// Code or operating-system command execution.
    Rce,
    /// File path escape.
    Ptrav,
    /// External entity in XML.
    Xxe,
    /// CR/LF injected into protocol text.
    Crlf,
    /// Open redirect.
    Redir,
    /// Operator injection into a NoSQL query.
    Nosqli,
    /// LDAP filter injection.
    Ldapi,
    /// Fingerprint of a scanner.
    Scanner,
    /// Binding of unexpected object properties.
    MassAssignment,
    /// Server made to call an attacker-chosen address.
    Ssrf,
    /// Server-side include directive.
    Ssi,
    /// IMAP or SMTP command injection.
    MailInjection,
    /// Template expression injection.
    Ssti,
    /// Compressed or nested data that grows out of proportion when it is read.
    DataBomb,
    /// GraphQL document that nests deeper than is allowed.
    GqlDepth,
    /// GraphQL value that is longer than is allowed.
    GqlValueSize,
    /// GraphQL document with more aliases than are allowed.
    GqlAliases,
    /// GraphQL document that is longer than is allowed.
    GqlDocSize,
    /// More GraphQL documents in one request than are allowed.
    GqlDocsPerBatch,
    /// GraphQL request for the schema.
    GqlIntrospection,
    /// GraphQL request for debugging.
    GqlDebug,
}

impl AttackClass {
    /// All classes, in the order of their declaration.
    pub const ALL: [Self; 23] = [
        Self::Sqli,
        Self::Xss,
        Self::Rce,
        Self::Ptrav,
        Self::Xxe,
        Self::Crlf,
        Self::Redir,
        Self::Nosqli,
        Self::Ldapi,
        Self::Scanner,
        Self::MassAssignment,
        Self::Ssrf,
        Self::Ssi,
        Self::MailInjection,
        Self::Ssti,
        Self::DataBomb,
        Self::GqlDepth,
        Self::GqlValueSize,
        Self::GqlAliases,
        Self::GqlDocSize,
        Self::GqlDocsPerBatch,
        Self::GqlIntrospection,
        Self::GqlDebug,
    ];

    /// The code that configuration, logs and signature files use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqli => "sqli",
            Self::Xss => "xss",
            Self::Rce => "rce",
            Self::Ptrav => "ptrav",
            Self::Xxe => "xxe",
            Self::Crlf => "crlf",
            Self::Redir => "redir",
            Self::Nosqli => "nosqli",
            Self::Ldapi => "ldapi",
            Self::Scanner => "scanner",
            Self::MassAssignment => "mass_assignment",
            Self::Ssrf => "ssrf",
            Self::Ssi => "ssi",
            Self::MailInjection => "mail_injection",
            Self::Ssti => "ssti",
            Self::DataBomb => "data_bomb",
            Self::GqlDepth => "gql_depth",
            Self::GqlValueSize => "gql_value_size",
            Self::GqlAliases => "gql_aliases",
            Self::GqlDocSize => "gql_doc_size",
            Self::GqlDocsPerBatch => "gql_docs_per_batch",
            Self::GqlIntrospection => "gql_introspection",
            Self::GqlDebug => "gql_debug",
        }
    }
}

impl fmt::Display for AttackClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_in_the_order_of_the_list() {
        for (index, class) in AttackClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }
}
