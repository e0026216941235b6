//! How much memory a compiled policy takes.

use crate::policy::Policy;
use crate::source::{ListEntry, RuleSource};

/// Bytes of a compiled policy, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All that rules are looked up by.
    pub rule_tables: usize,
    /// The rules as they were written, for explanations.
    pub rule_texts: usize,
    /// All that list entries about addresses are looked up by.
    pub list_tables: usize,
    /// These entries as they were written, for explanations.
    pub list_texts: usize,
}

impl Policy {
    /// How much memory rules and lists take, as far as it grows with their number. Counts: not for the path of requests.
    pub fn memory(&self) -> Memory {
        let of_rule = |rule: &RuleSource| {
            let conditions =
                rule.when.iter().map(|condition| size_of_val(condition) + condition.value.capacity());
            size_of_val(rule) + rule.uri.as_ref().map_or(0, String::capacity) + conditions.sum::<usize>()
        };
        let of_entry = |entry: &ListEntry| {
            let reason = entry.reason.as_ref().map_or(0, String::capacity);
            size_of_val(entry) + entry.applications.capacity() * size_of::<i64>() + reason
        };
        Memory {
            rule_tables: self.rules.memory_bytes(),
            rule_texts: self.source.rules.iter().map(of_rule).sum(),
            list_tables: self.lists.memory_bytes(),
            list_texts: self.source.lists.iter().map(of_entry).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    #[test]
    fn what_there_is_more_of_takes_more() {
        let rule = |id: u64| RuleSource {
            id,
            kind: RuleKind::Mode(RuleMode::Set(Mode::Block)),
            uri: Some(format!("/a{id}/b")),
            when: vec![],
        };
        let entry = |last: u8| ListEntry {
            list: List::Deny,
            address: std::net::IpAddr::from([10, 0, 0, last]).into(),
            applications: vec![],
            expires: None,
            reason: None,
        };
        let memory = |rules: u64, entries: u8| {
            let source = PolicySource {
                servers: vec![ServerSource { name: "s".to_owned(), ..ServerSource::default() }],
                rules: (1..=rules).map(rule).collect(),
                lists: (0..entries).map(entry).collect(),
                ..PolicySource::default()
            };
            compile(source).unwrap().policy.memory()
        };
        let (few, many) = (memory(10, 10), memory(1_000, 200));
        assert!(many.rule_tables > 20 * few.rule_tables && many.rule_texts > 20 * few.rule_texts);
        assert!(many.list_tables > 5 * few.list_tables && many.list_texts > 5 * few.list_texts);
        assert!(many.rule_tables < 2_000 * 1_000, "{many:?}");
    }
}
