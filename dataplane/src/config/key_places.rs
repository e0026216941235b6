//! Where the keys of a file stand, for errors that are found after reading: those know the table that they are about, and
//! the key by its name.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Where};
use super::problems::Problems;
use super::source::{MAX_FILE_BYTES, Source};

/// Lets errors point at the value of their key, where they point at a table and their file can be read again. The part of
/// an error's key behind its last `: ` is the way from the table to the value, as `when[0].value`.
pub(crate) fn point_at_keys(errors: &mut [ConfigError]) {
    let mut by_file: BTreeMap<Arc<Path>, Vec<&mut ConfigError>> = BTreeMap::new();
    for error in errors {
        if let Where::Text(place) = &error.place {
            by_file.entry(Arc::clone(&place.file)).or_default().push(error);
        }
    }
    for (file, errors) in by_file {
        let unheard = Problems::default();
        let Some(source) = Source::read(&file, MAX_FILE_BYTES, None, &unheard) else { continue };
        let (tree, broken_lines) = source.parse(&unheard);
        if !broken_lines.is_empty() {
            continue;
        }
        let mut tables = HashMap::new();
        find_tables(tree.get_ref(), &source, &mut tables);
        for error in errors {
            let Where::Text(place) = &error.place else { continue };
            let way = error.key.rsplit(": ").next().unwrap_or_default();
            if let Some(offset) = tables.get(&(place.line, place.column)).and_then(|table| find(table, way)) {
                error.place = Where::Text(source.place(offset));
            }
        }
    }
}

/// Every table in a list of tables, by where it begins.
fn find_tables<'a>(
    table: &'a DeTable<'a>,
    source: &Source,
    found: &mut HashMap<(u32, u32), &'a DeTable<'a>>,
) {
    for item in table.values().filter_map(|value| value.get_ref().as_array()).flat_map(|list| list.iter()) {
        let Some(inner) = item.get_ref().as_table() else { continue };
        let place = source.place(item.span().start);
        found.insert((place.line, place.column), inner);
        find_tables(inner, source, found);
    }
}

/// Where the value is that a way leads to; where the way breaks off, what it came to last.
fn find(table: &DeTable<'_>, way: &str) -> Option<usize> {
    let mut at: Option<&Spanned<DeValue<'_>>> = None;
    for step in way.split('.') {
        let (name, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (step, None),
        };
        let inner = match at {
            None => table.get(name),
            Some(value) => value.get_ref().as_table().and_then(|table| table.get(name)),
        };
        let inner = match index {
            None => inner,
            Some(index) => inner.and_then(|list| list.get_ref().as_array()?.get(index)),
        };
        let Some(inner) = inner else { break };
        at = Some(inner);
    }
    at.map(|value| value.span().start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    #[test]
    fn errors_point_at_the_values_of_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        let text = "[[rule]]\nid = 1\n\n[[rule]]\nid = 2\nuri = \"x\"\nvalues = [\"a\",\n  \"b\"]\n\
                    [[rule.when]]\nvalue = \"y\"\n";
        std::fs::write(&path, text).unwrap();
        let file: Arc<Path> = path.into();
        let error = |line, key: &str| {
            let place = Place { file: Arc::clone(&file), line, column: 1 };
            ConfigError::at(&place, key, String::new(), String::new())
        };
        let mut errors = [
            error(4, "rule 2: uri"),
            error(4, "rule 2: values[1]"),
            error(4, "rule 2: when[0].value"),
            error(4, "rule 2: when[0].point"),
            error(4, "rule 2: absent"),
            error(1, "rule 1: id"),
            error(2, "elsewhere"),
        ];
        point_at_keys(&mut errors);
        let lines = errors.map(|error| match error.place {
            Where::Text(place) => (place.line, place.column),
            _ => (0, 0),
        });
        assert_eq!(lines, [(6, 7), (8, 3), (10, 9), (9, 1), (4, 1), (2, 6), (2, 1)]);
    }
}
