//! `[ip_lists]` and its file: the allow, deny and gray lists.

use std::time::{SystemTime, UNIX_EPOCH};

use toml::de::DeValue;

use super::context::read_application;
use super::entries::ListEntries;
use super::http::{canonical_network, read_network};
use super::model::{IpListsConfig, ListEntryConfig, ListKind};
use super::read::{Refusal, TableReader};
use super::schema::{DAY, Default, Key, Kind, SECOND, Section, range};

const LISTS: [(&str, ListKind); 3] =
    [("allow", ListKind::Allow), ("deny", ListKind::Deny), ("gray", ListKind::Gray)];

/// `[ip_lists]` of the main file.
pub(super) static IP_LISTS: Section = Section {
    header: "[ip_lists]",
    about: "The IP lists file.",
    keys: &[&[Key {
        name: "file",
        kind: Kind::Path("the path of a file"),
        default: Default::Absent("none: no lists", "\"ip-lists.toml\""),
        meaning: "The file of the list entries; it must exist.",
    }]],
};

/// The top of the lists file.
pub(super) static IP_LISTS_FILE: Section = Section {
    header: "",
    about: "The top of the IP lists file.",
    keys: &[&[Key {
        name: "entry",
        kind: Kind::Tables("[[entry]]"),
        default: Default::Absent("none", "[]"),
        meaning: "The entries; their order doesn't count.",
    }]],
};

const ENTRY_KEYS: &[Key] = &[
    Key {
        name: "list",
        kind: Kind::Choice(&["allow", "deny", "gray"]),
        default: Default::Required("\"deny\""),
        meaning: "Which list: `allow` = passes uninspected, `deny` = blocked, `gray` = its attacks are blocked in \
                      `safe_blocking`.",
    },
    Key {
        name: "address",
        kind: Kind::Text("an IP address or a network"),
        default: Default::Required("\"192.0.2.0/24\""),
        meaning: "Whom it is about. An IPv4 address inside IPv6 counts as IPv4.",
    },
    Key {
        name: "applications",
        kind: Kind::List("application ids"),
        default: Default::Absent("all applications", "[1]"),
        meaning: "The applications that it holds for.",
    },
    Key {
        name: "expires",
        kind: Kind::Text("a date and time with an offset, as 2030-01-01T00:00:00Z (RFC 3339)"),
        default: Default::Absent("never", "\"2030-01-01T00:00:00Z\""),
        meaning: "When it ends by itself. With or without quotes.",
    },
    Key {
        name: "reason",
        kind: Kind::Text("any text"),
        default: Default::Absent("none", "\"scanner\""),
        meaning: "Shown in explanations.",
    },
];

/// `[[entry]]`.
pub(super) static ENTRY: Section = Section {
    header: "[[entry]]",
    about: "An entry of a list. The allow list goes before the deny list, and that before the gray list.",
    keys: &[ENTRY_KEYS],
};

/// An entry that comes over the admin API.
pub(super) static API_ENTRY: Section = Section {
    header: "an entry",
    about: "An entry over the admin API.",
    keys: &[
        ENTRY_KEYS,
        &[Key {
            name: "ttl",
            kind: Kind::Time(range(SECOND, 100 * 366 * DAY)),
            default: Default::Absent("never ends", "\"10m\""),
            meaning: "How long it holds from now on, instead of `expires`.",
        }],
    ],
};

/// Reads the lists file into `lists`.
pub(super) fn read_ip_lists_file(table: &TableReader<'_>, lists: &mut IpListsConfig) {
    let entries = table.tables("entry", &ENTRY).iter().filter_map(read_entry).collect();
    lists.entries = ListEntries::of_files(entries);
}

/// An entry, unless its list or its address is wrong, which is reported.
fn read_entry(table: &TableReader<'_>) -> Option<ListEntryConfig> {
    let list = table.choice("list", &LISTS);
    let address = table.value("address", |value, _| read_network(value));
    if let Some(written) = address
        && written != written.trunc()
    {
        let message = format!("{written} has bits beyond its prefix; {} is what counts", written.trunc());
        table.warning("address", message);
    }
    let applications = table.list("applications", "application id", read_application);
    let expires = table.value("expires", |value, key| {
        read_time(value).ok_or_else(|| {
            let allowed = key.kind.describe();
            Refusal::new(value, &allowed, format!("write an offset or Z, for example {}", key.example()))
        })
    });
    if expires.is_some_and(|expires| expires <= unix_seconds()) {
        table.warning("expires", "is over: the entry has no effect any more; remove it or set a later time");
    }
    if list == Some(ListKind::Allow) && address.is_some_and(|address| address.prefix_len() == 0) {
        let message = "allows every address of its kind: nobody of them is inspected or blocked; to watch without \
                       blocking, set mode = \"monitoring\"";
        table.warning("address", message);
    }
    let reason = table.text("reason");
    Some(ListEntryConfig {
        place: table.place(),
        list: list?,
        address: canonical_network(address?),
        applications: applications.into_iter().map(|item| item.value).collect(),
        expires,
        reason,
    })
}

/// An entry that comes over the admin API at `now_unix`, with the time of its end.
pub(super) fn read_api_entry(table: &TableReader<'_>, now_unix: u64) -> Option<ListEntryConfig> {
    let ttl = table.time("ttl");
    let entry = read_entry(table)?;
    let expires = match (ttl, entry.expires) {
        (Some(_), Some(_)) => {
            table.error("ttl", "found beside expires, which says the same", "keep one of them");
            return None;
        }
        // an entry holds no shorter than was asked for
        (Some(ttl), None) => Some(now_unix + 1 + ttl.as_secs()),
        (None, expires) => expires,
    };
    if expires.is_some_and(|expires| expires <= now_unix) {
        table.error(
            "expires",
            format!("found {}, which is over", table.shown("expires")),
            "name a later time",
        );
        return None;
    }
    Some(ListEntryConfig { expires, ..entry })
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Unix seconds of a point in time from 1970 on, written as text or as TOML's own type.
fn read_time(value: &DeValue<'_>) -> Option<u64> {
    let time: jiff::Timestamp = match value {
        DeValue::String(text) => text.parse().ok()?,
        DeValue::Datetime(time) => time.to_string().parse().ok()?,
        _ => return None,
    };
    u64::try_from(time.as_second()).ok()
}
