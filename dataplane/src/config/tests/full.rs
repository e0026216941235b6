//! `configs/full.toml` and `docs/configuration.md` have every key, and no key that isn't.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::super::schema::{Default, IP_LISTS_SECTIONS, Key, Kind, MAIN_SECTIONS, RULES_SECTIONS, Section};
use super::super::units::{format_size, format_time};
use super::*;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(repository().join("configs").join(name)).unwrap()
}

#[test]
fn the_full_config_loads_without_warnings() {
    let loaded = load(&repository().join("configs/full.toml"), &Environment::default()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.rules.rules.len(), 13);
    assert_eq!(loaded.config.ip_lists.entries.len(), 5);
}

/// Header of a table by the keys that lead to it.
fn header(keys: &[&str]) -> String {
    match keys {
        [.., "mode_by_header"] => "mode_by_header".to_owned(),
        [.., "block_response"] => "block_response".to_owned(),
        [.., "block_response", _] => "block_response.REASON".to_owned(),
        [] => String::new(),
        [.., last]
            if [
                "listener",
                "server",
                "origin",
                "client_certificate",
                "rule",
                "entry",
                "when",
                "location",
                "certificates",
            ]
            .contains(last) =>
        {
            format!("[[{}]]", keys.join("."))
        }
        _ => format!("[{}]", keys.join(".")),
    }
}

/// Every key of a tree as (header, name), and where its values are.
fn collect<'a>(
    table: &'a DeTable<'_>,
    keys: &mut Vec<&'a str>,
    found: &mut Vec<(String, String, std::ops::Range<usize>)>,
) {
    let rule_type = table.get("type").and_then(|value| value.get_ref().as_str());
    for (key, value) in table {
        let name: &str = key.get_ref();
        let is_of_all_types = ["id", "type", "uri", "when"].contains(&name);
        let header = match rule_type {
            Some(rule_type) if keys == &["rule"] && !is_of_all_types => {
                format!("[[rule]] of type {rule_type}")
            }
            _ => header(keys),
        };
        found.push((header, name.to_owned(), value.span()));
        keys.push(name);
        match value.get_ref() {
            DeValue::Table(inner) if name != "contains" => collect(inner, keys, found),
            DeValue::Array(array) => {
                for element in array.iter() {
                    if let DeValue::Table(inner) = element.get_ref() {
                        collect(inner, keys, found);
                    }
                }
            }
            _ => {}
        }
        keys.pop();
    }
}

/// The example files and the tables that they may have.
fn files() -> [(&'static str, &'static [&'static Section]); 3] {
    [
        ("full.toml", &MAIN_SECTIONS),
        ("full-rules.toml", &RULES_SECTIONS),
        ("full-ip-lists.toml", &IP_LISTS_SECTIONS),
    ]
}

/// A value that an example file shows.
struct Shown<'a> {
    name: &'a str,
    text: &'a str,
    table: &'a str,
    key: &'a str,
    known: &'a Key,
    span: std::ops::Range<usize>,
}

fn for_each_value(mut look_at: impl FnMut(Shown<'_>)) {
    for (name, sections) in files() {
        let text = read(name);
        let tree = DeTable::parse(&text).unwrap();
        let mut found = Vec::new();
        collect(tree.get_ref(), &mut Vec::new(), &mut found);
        for (table, key, span) in found {
            let section = sections.iter().find(|section| section.header == table).unwrap();
            let known = section.key(&key).unwrap();
            look_at(Shown { name, text: &text, table: &table, key: &key, known, span });
        }
    }
}

#[test]
fn the_full_config_has_every_key_and_no_other() {
    for (name, sections) in files() {
        let text = read(name);
        let tree = DeTable::parse(&text).unwrap();
        let mut found = Vec::new();
        collect(tree.get_ref(), &mut Vec::new(), &mut found);
        let written: BTreeSet<(&str, &str)> =
            found.iter().map(|(table, key, _)| (table.as_str(), key.as_str())).collect();
        let known: BTreeSet<(&str, &str)> = sections
            .iter()
            .flat_map(|section| section.all_keys().map(|key| (section.header, key)))
            .map(|(header, key)| (header, key.name))
            .collect();
        assert_eq!(written, known, "{name}");
    }
}

#[test]
fn the_full_config_shows_the_defaults() {
    // Where an example says more than the default would.
    let shown_otherwise = [
        ("[[server]]", "default"),
        ("[listener.tls]", "client_auth"),
        ("[origin.tls]", "require_mtls"),
        ("", "general_mode"),
    ];
    for_each_value(|Shown { name, text, table, key, known, span }| {
        if let Default::Value(default) = known.default
            && !shown_otherwise.contains(&(table, key))
        {
            assert_eq!(&text[span], default, "{name}: {table} {key}");
        }
    });
}

/// The comment right above the line of a value; empty if there is none.
fn comment_above(text: &str, value: usize) -> String {
    let line = text[..value].rfind('\n').map_or(0, |end| end + 1);
    let mut lines: Vec<&str> =
        text[..line].lines().rev().map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    lines.reverse();
    lines.join(" ")
}

/// Ways to write a range; `None` for kinds without one.
fn ranges(kind: &Kind) -> Option<Vec<String>> {
    let (range, format): (_, fn(u64) -> String) = match kind {
        Kind::Integer(range) => (range, |value| value.to_string()),
        Kind::Size(range) => (range, format_size),
        Kind::Time(range) => (range, format_time),
        _ => return None,
    };
    let (min, max) = (format(range.min), format(range.max));
    let mut written = vec![format!("{min} to {max}"), format!("p to {max}"), format!("0 to {max}")];
    if range.min > 1 && range.zero.is_none() {
        written.truncate(1);
    }
    Some(written)
}

#[test]
fn the_full_config_tells_the_ranges_and_choices_that_are_read() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for_each_value(|Shown { name, text, table, key, known, span }| {
        let comment = comment_above(text, span.start);
        let words = || {
            let parts = comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
            parts.map(|part| part.trim_end_matches('.'))
        };
        // What is the same as elsewhere is told there; the statuses of a block page are fewer than its range.
        let is_narrower = (table, key) == ("block_response", "status");
        if comment.is_empty() || comment.starts_with("As in") || is_narrower {
            return;
        }
        if let Kind::Choice(choices) = &known.kind {
            let (told, missing): (Vec<&str>, Vec<&str>) =
                choices.iter().copied().partition(|choice| words().any(|word| word == *choice));
            // One alone is what the comment is about, as in "a class, or vpatch".
            if told.len() > 1 && !missing.is_empty() {
                wrong.push(format!("{name}: {table} {key} leaves out {missing:?}: {comment}"));
            }
            compared += usize::from(told.len() > 1);
        }
        let tells_range = words()
            .zip(words().skip(1))
            .any(|(to, number)| to == "to" && number.starts_with(|first: char| first.is_ascii_digit()));
        if let Some(written) = ranges(&known.kind).filter(|_| tells_range) {
            let told = written.iter().any(|range| comment.contains(range.as_str()));
            if !told {
                wrong.push(format!("{name}: {table} {key} is {written:?}: {comment}"));
            }
            compared += 1;
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared > 60, "{compared}");
}

/// A copy of the example files with one of them changed.
fn folder_with(changed: &str, text: &str) -> Folder {
    let folder = Folder::new("");
    for (name, _) in files() {
        folder.write(name, if name == changed { text.to_owned() } else { read(name) });
    }
    folder.write("full-admin.token", "0123456789abcdef");
    folder.write("blocked.html", read("blocked.html"));
    folder.write("blocked.json", read("blocked.json"));
    folder
}

#[test]
fn every_key_is_read() {
    for (name, _) in files() {
        let text = read(name);
        let tree = DeTable::parse(&text).unwrap();
        let mut found = Vec::new();
        collect(tree.get_ref(), &mut Vec::new(), &mut found);
        for (table, key, span) in found {
            // Tables that have a header line are read through their keys.
            if text[..span.start].ends_with('\n') {
                continue;
            }
            // A local time is the right type for no key.
            let wrong = format!("{}07:32:00{}", &text[..span.start], &text[span.end..]);
            let folder = folder_with(name, &wrong);
            let errors = load(&folder.path("full.toml"), &Environment::default())
                .expect_err(&format!("{table} {key}"));
            let line = 1 + u32::try_from(text[..span.start].matches('\n').count()).unwrap();
            let named = errors.iter().filter(|error| match &error.place {
                Where::Text(place) => place.line == line && error.key.ends_with(&key),
                Where::File(_) | Where::Variable(_) => false,
            });
            assert_eq!(named.count(), 1, "{name}: {table} {key}: {errors:?}");
        }
    }
}

#[test]
fn every_example_of_the_tables_is_toml() {
    for (_, sections) in files() {
        for key in sections.iter().flat_map(|section| section.all_keys()) {
            assert!(DeTable::parse(&key.example()).is_ok(), "{}", key.example());
        }
    }
}

/// With `WEIR_WRITE_REFERENCE=1` the page is written instead.
#[test]
fn the_reference_page_is_as_generated() {
    let file = repository().join("docs/configuration.md");
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page == reference(), "run WEIR_WRITE_REFERENCE=1 cargo test -p weir reference_page");
}
