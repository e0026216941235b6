//! `[detection]`: how requests are inspected.

use std::path::PathBuf;

use super::Environment;
use super::model::{DetectionConfig, GraphqlConfig, OverLimit};
use super::read::{TableReader, show};
use super::schema::{Default, GIB, Key, Kind, MIB, MILLISECOND, SECOND, Section, range, range_or_zero};

pub(super) const OVER_LIMITS: [(&str, OverLimit); 2] =
    [("pass", OverLimit::Pass), ("block", OverLimit::Block)];
pub(super) const OVER_LIMIT: Kind = Kind::Choice(&["pass", "block"]);

/// `[detection]`.
pub(super) static DETECTION: Section = Section {
    header: "[detection]",
    about: "How requests are inspected.",
    keys: &[&[
        Key {
            name: "cache_dir",
            kind: Kind::Path("the path of a folder"),
            default: Default::Absent(
                "`$XDG_CACHE_HOME/weir`, else `$HOME/.cache/weir`, else no cache",
                "\"/var/cache/weir\"",
            ),
            meaning: "Folder of compiled databases, shared by all runs. It is made when it is needed.",
        },
        Key {
            name: "body_limit",
            kind: Kind::Size(range_or_zero("bodies are not inspected", 1, GIB)),
            default: Default::Value("\"1MiB\""),
            meaning: "Inspected bytes of one request body.",
        },
        Key {
            name: "over_body_limit",
            kind: OVER_LIMIT,
            default: Default::Value("\"pass\""),
            meaning: "What happens to a request with a longer body. Either way there is an event.",
        },
        INSPECTION_TIME,
        Key {
            name: "over_time_limit",
            kind: OVER_LIMIT,
            default: Default::Value("\"pass\""),
            meaning: "What happens to a request that takes longer. Either way there is an event.",
        },
        Key {
            name: "min_score",
            kind: Kind::Integer(range(1, 1000)),
            default: Default::Value("5"),
            meaning: "Score from which the findings of one class are an attack.",
        },
        Key {
            name: "signatures",
            kind: Kind::List("paths of folders"),
            default: Default::Absent("none: the built-in pack alone", "[\"signatures\"]"),
            meaning: "Folders of signatures beside the built-in pack.",
        },
        Key {
            name: "graphql",
            kind: Kind::Table("[detection.graphql]"),
            default: Default::Absent("GraphQL requests have no limits of their own", "{}"),
            meaning: "What GraphQL requests may be.",
        },
    ]],
};

/// How long inspection may take, in general and by a rule.
pub(super) const INSPECTION_TIME: Key = Key {
    name: "time_limit",
    kind: Kind::Time(range(MILLISECOND, 60 * SECOND)),
    default: Default::Value("\"1s\""),
    meaning: "Inspection time of one request.",
};

/// A limit in bytes, 0 for none.
const fn size_limit(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    let kind = Kind::Size(range_or_zero("no limit", 1, GIB));
    Key { name, kind, default: Default::Value(default), meaning }
}

/// A limit of a number, 0 for none.
const fn count_limit(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    let kind = Kind::Integer(range_or_zero("no limit", 1, MIB));
    Key { name, kind, default: Default::Value(default), meaning }
}

/// `[detection.graphql]`.
pub(super) static GRAPHQL: Section = Section {
    header: "[detection.graphql]",
    about: "What GraphQL requests may be. A request that goes over one of these limits is an attack of the class that \
            [detection.md](detection.md#graphql) names. They hold once the table is there.",
    keys: &[&[
        size_limit("document_limit", "\"100KiB\"", "Bytes of one document."),
        size_limit("value_limit", "\"10KiB\"", "Bytes of one string in a document or in its variables."),
        count_limit("depth_limit", "10", "How deep fields may nest, fragments included."),
        count_limit(
            "alias_limit",
            "5",
            "Aliases of one document; a fragment's count as often as it is spread.",
        ),
        count_limit("batch_limit", "10", "Documents of one request."),
        Key {
            name: "introspection",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            meaning: "Whether documents may ask for the schema (`__schema`, `__type`).",
        },
        Key {
            name: "debug",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            meaning: "Whether a member or parameter `debug` may stand beside a document.",
        },
    ]],
};

/// Reads `[detection]`.
pub(super) fn read_detection(table: &TableReader<'_>, environment: &Environment) -> DetectionConfig {
    DetectionConfig {
        cache_dir: table.path("cache_dir").or_else(|| environment.cache_folder()),
        body_limit_bytes: table.size("body_limit").unwrap_or(0),
        over_body_limit: table.choice("over_body_limit", &OVER_LIMITS).unwrap_or(OverLimit::Pass),
        time_limit: table.time_or_zero("time_limit"),
        over_time_limit: table.choice("over_time_limit", &OVER_LIMITS).unwrap_or(OverLimit::Pass),
        min_score: table.integer_u32("min_score"),
        signatures: read_signature_folders(table),
        graphql: table.table_if_present("graphql", &GRAPHQL).map(|table| read_graphql(&table)),
    }
}

fn read_graphql(table: &TableReader<'_>) -> GraphqlConfig {
    GraphqlConfig {
        document_limit_bytes: table.size("document_limit").unwrap_or(0),
        value_limit_bytes: table.size("value_limit").unwrap_or(0),
        depth_limit: table.integer_u32("depth_limit"),
        alias_limit: table.integer_u32("alias_limit"),
        batch_limit: table.integer_u32("batch_limit"),
        introspection: table.boolean("introspection").unwrap_or(false),
        debug: table.boolean("debug").unwrap_or(false),
    }
}

fn read_signature_folders(table: &TableReader<'_>) -> Vec<PathBuf> {
    let folders = table.list("signatures", "path of a folder", |value| match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(table.file.source.folder().join(text)),
        _ => Err(super::read::Refusal {
            message: format!("found {}, allowed is the path of a folder", show(value)),
            advice: "for example \"signatures\"".to_owned(),
        }),
    });
    let mut paths = Vec::with_capacity(folders.len());
    for folder in folders {
        if let Err(reason) = std::fs::read_dir(&folder.value) {
            let message = format!("can't read the folder {}: {reason}", folder.value.display());
            let advice = "name a folder that exists and that this user may read".to_owned();
            table.file.error(folder.place, &folder.path, message, advice);
        }
        paths.push(folder.value);
    }
    paths
}
