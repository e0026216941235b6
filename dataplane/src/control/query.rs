//! The parameters of a call.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::answers::ApiError;
use super::changes::EntryChoice;
use crate::config::{
    EntrySubject, ListKind, SUBJECTS, canonical_network, parse_network, read_subject, subject_advice,
};

/// A query string, and all that was found to be wrong with it.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    /// Names of parameters, and what is wrong with each.
    wrong: Vec<(String, String)>,
}

/// Refuses parameters where there are none: one that is left out of account would be taken to have counted.
pub(super) fn refuse_any(query: Option<&str>) -> Result<(), ApiError> {
    Query::read(query, &[]).finish()
}

impl Query {
    /// Reads a query that may have the parameters `known`, each once.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Self {
        let uri = Uri::from_str(&format!("/?{}", query.unwrap_or_default())).ok();
        let pairs =
            uri.and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
        let mut found = Self { pairs: Vec::new(), wrong: Vec::new() };
        match pairs {
            Some(pairs) => found.pairs = pairs.0,
            None => found.refuse("", "the query can't be read".to_owned()),
        }
        let names: Vec<String> = found.pairs.iter().map(|(name, _)| name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                found.refuse(name, format!("the parameter {name} is there twice"));
            } else if !known.contains(&name.as_str()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                found.refuse(name, format!("unknown parameter {name:?}; allowed is {allowed}"));
            }
        }
        found
    }

    /// One error a parameter: the first.
    fn refuse(&mut self, name: &str, message: String) {
        if !self.wrong.iter().any(|(known, _)| known == name) {
            self.wrong.push((name.to_owned(), message));
        }
    }

    /// To be asked before anything that was read is used.
    ///
    /// # Errors
    /// All that is wrong.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let messages: Vec<&str> = self.wrong.iter().map(|(_, message)| message.as_str()).collect();
        let one = |(name, message): &(String, String)| json!({ "field": name, "message": message });
        let errors: Vec<Value> = self.wrong.iter().map(one).collect();
        Err(ApiError { errors, ..ApiError::new(StatusCode::BAD_REQUEST, "bad_query", messages.join("; ")) })
    }

    fn parsed<T>(&mut self, name: &str, allowed: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let (_, value) = self.pairs.iter().find(|(found, _)| found == name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            let message = format!("{name}: found {value:?}, allowed is {allowed}");
            self.refuse(name, message);
        }
        parsed
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.parsed(name, &allowed, parse).unwrap_or(default)
    }

    /// Whether the change is about what the API has changed alone.
    pub(super) fn only_api(&mut self) -> bool {
        self.parsed("only", "api", |text| (text == "api").then_some(())).is_some()
    }

    /// Which list entries.
    pub(super) fn choice(&mut self) -> EntryChoice {
        let network = |text: &str| parse_network(text).map(canonical_network);
        EntryChoice {
            list: self.parsed("list", "allow, deny or gray", ListKind::from_name),
            subject: self.subject(),
            covers: self.parsed("covers", "an IP address or a network", network),
            of_api: self.parsed("source", "file or api", |text| match text {
                "file" => Some(false),
                "api" => Some(true),
                _ => None,
            }),
        }
    }

    /// Whom entries are about.
    fn subject(&mut self) -> Option<EntrySubject> {
        let mut subject = None;
        for key in SUBJECTS {
            let Some((_, value)) = self.pairs.iter().find(|(found, _)| found == key) else { continue };
            if subject.is_some() {
                self.refuse(key, format!("name one of {} at most", SUBJECTS.join(", ")));
                continue;
            }
            let read = read_subject(key, value).map(EntrySubject::canonical);
            if read.is_none() {
                let message = format!("{key}: found {value:?}; {}", subject_advice(key));
                self.refuse(key, message);
            }
            subject = Some(read);
        }
        subject.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_with_a_query_is_told_with_its_parameter() {
        let known = ["list", "address", "country", "only", "limit"];
        for (query, expected) in [
            ("", &[][..]),
            ("list=deny&address=192.0.2.1&only=api&limit=7", &[]),
            ("list=den&address=x&foo=1", &["foo", "list", "address"]),
            ("list=deny&list=allow", &["list"]),
            ("address=::1&country=NL", &["country"]),
            ("only=me&limit=0&list=", &["only", "list", "limit"]),
            ("a=1&a=2&a=3", &["a"]),
            ("a[", &["a["]),
        ] {
            let mut read = Query::read(Some(query), &known);
            let _read = (read.only_api(), read.choice(), read.number("limit", 1, 1..=9));
            let wrong: Vec<Value> = read.finish().err().map(|error| error.errors).unwrap_or_default();
            let fields: Vec<&str> = wrong.iter().filter_map(|one| one["field"].as_str()).collect();
            assert_eq!(fields, expected, "{query}");
        }
        assert!(refuse_any(None).is_ok() && refuse_any(Some("")).is_ok() && refuse_any(Some("x")).is_err());
    }
}
