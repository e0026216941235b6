//! Names that must be unique, and references to them.

use std::collections::HashMap;

use super::model::Place;
use super::read::{FileReader, TableReader};
use super::suggest::nearest;

/// Names of one kind, in file order.
pub(super) struct Names {
    /// What is named: "origin".
    what: &'static str,
    names: Vec<String>,
    first: HashMap<String, (usize, Place)>,
}

impl Names {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, names: Vec::new(), first: HashMap::new() }
    }

    /// The `name` keys of some tables; a repeated one is an error.
    pub(super) fn of(what: &'static str, tables: &[TableReader<'_>]) -> Self {
        let mut names = Self::new(what);
        for table in tables {
            let name = table.raw_text("name").unwrap_or_default();
            names.add_at(name, &table.place_of("name"), &table.path_of("name"), table.file);
        }
        names
    }

    /// One more name; an empty one keeps its index and is nobody's.
    pub(super) fn add_at(&mut self, name: &str, place: &Place, path: &str, file: &FileReader<'_>) {
        let index = self.names.len();
        self.names.push(name.to_owned());
        if name.is_empty() {
            return;
        }
        match self.first.get(name) {
            None => {
                self.first.insert(name.to_owned(), (index, place.clone()));
            }
            Some((_, first)) => {
                let message = format!("found a second {} {name:?}; the first is at {first}", self.what);
                file.error(place.clone(), path, message, "remove one of them or change it".to_owned());
            }
        }
    }

    /// The index of the name that `key` of `table` holds. An unknown one is an error, unless it may have been
    /// lost with lines that are no TOML.
    pub(super) fn find(&self, table: &TableReader<'_>, key: &str) -> Option<usize> {
        let name = table.text(key)?;
        if let Some((index, _)) = self.first.get(&name) {
            return Some(*index);
        }
        if table.file.is_whole() {
            self.report_unknown(table, key, &name);
        }
        None
    }

    fn report_unknown(&self, table: &TableReader<'_>, key: &str, name: &str) {
        let known: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|known| !known.is_empty()).collect();
        let header = self.what.replace(' ', "_");
        let message = format!("found {name:?}, which no [[{header}]] has as its name");
        let advice = if known.is_empty() {
            format!("add [[{header}]] with name = {name:?}")
        } else if let Some(near) = nearest(name, &known) {
            format!("did you mean {near:?}?")
        } else {
            const SHOWN: usize = 10;
            let more = if known.len() > SHOWN { ", ..." } else { "" };
            format!("there is {}{more}", known.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "))
        };
        table.error(key, message, advice);
    }
}
