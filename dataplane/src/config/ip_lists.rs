//! `[ip_lists]` and its file: the allow, deny and gray lists.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use toml::de::DeValue;

use super::context::read_application;
use super::entries::ListEntries;
use super::error::{ConfigWarning, Where};
use super::http::{NETWORK_ADVICE, parse_network};
use super::model::{EntrySubject, IpListsConfig, ListEntryConfig, ListKind};
use super::plain_entries::read_entries;
use super::problems::Problems;
use super::read::{Refusal, TableReader, read_text, show};
use super::schema::{DAY, Default, Key, Kind, SECOND, Section, alternatives, range};
use super::source::Source;

/// The keys of which an entry has one.
pub(crate) const SUBJECTS: [&str; 4] = ["address", "country", "datacenter", "proxy"];

pub(super) const LISTS: [(&str, ListKind); 3] =
    [("allow", ListKind::Allow), ("deny", ListKind::Deny), ("gray", ListKind::Gray)];

/// `[ip_lists]` of the main file.
pub(super) static IP_LISTS: Section = Section {
    header: "[ip_lists]",
    about: "The IP lists file, and what tells where addresses belong.",
    keys: &[&[
        Key {
            name: "file",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: no lists", "\"ip-lists.toml\""),
            meaning: "The file of the list entries; it must exist.",
        },
        Key {
            name: "country_database",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: no entries by `country`", "\"GeoLite2-Country.mmdb\""),
            meaning: "Which country an address is in: a file of MaxMind's format with `country.iso_code`.",
        },
        Key {
            name: "datacenter_database",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: no entries by `datacenter`", "\"datacenters.mmdb\""),
            meaning: "Whose data centre an address is in: a file of MaxMind's format with `datacenter` or \
                      `is_hosting_provider`.",
        },
        Key {
            name: "proxy_database",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: no entries by `proxy`", "\"GeoIP2-Anonymous-IP.mmdb\""),
            meaning: "What kind of proxy an address is: a file of MaxMind's format with `proxy_type`, or with \
                      `is_tor_exit_node` and its kin.",
        },
    ]],
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
        default: Default::Absent("one of the four is required", "\"192.0.2.0/24\""),
        meaning: "Whom it is about. An IPv4 address inside IPv6 counts as IPv4.",
    },
    Key {
        name: "country",
        kind: Kind::Text("a country's two letters (ISO 3166)"),
        default: Default::Absent("one of the four is required", "\"NL\""),
        meaning: "In place of `address`: everybody in a country, by `country_database`.",
    },
    Key {
        name: "datacenter",
        kind: Kind::Text("the name of a data centre's operator"),
        default: Default::Absent("one of the four is required", "\"aws\""),
        meaning: "In place of `address`: everybody in its data centres, by `datacenter_database`. In any case.",
    },
    Key {
        name: "proxy",
        kind: Kind::Text("a kind of proxy"),
        default: Default::Absent("one of the four is required", "\"tor\""),
        meaning: "In place of `address`: everybody who comes through such a proxy, by `proxy_database`. In any case.",
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
        kind: Kind::Text("one line of text"),
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

/// Reads the text of a lists file if it has a form that can be read fast; `false` if it hasn't.
pub(super) fn read_plain_ip_lists(source: &Source, problems: &Problems, lists: &mut IpListsConfig) -> bool {
    let mut entries = Vec::new();
    let mut warnings = Vec::new();
    let now_unix = unix_seconds();
    let read = read_entries(source.file(), source.text(), |words| {
        let subject = read_subject(words.subject.0, words.subject.1)?;
        if beyond_prefix(&subject).is_some() {
            return None;
        }
        for (key, message) in oddities(Some(words.list), Some(&subject), words.expires, now_unix) {
            let place = if key == "expires" { words.expires_place() } else { words.subject_place() };
            let key = format!("entry[{}].{key}", entries.len());
            warnings.push(ConfigWarning { place: Where::Text(place), key, message });
        }
        entries.push(ListEntryConfig {
            place: words.place(),
            list: words.list,
            subject: subject.canonical(),
            applications: words.applications,
            expires: words.expires,
            reason: words.reason.map(str::to_owned),
        });
        Some(())
    });
    if read.is_some() {
        warnings.into_iter().for_each(|warning| problems.warning(warning));
        lists.entries = ListEntries::of_files(entries);
    }
    read.is_some()
}

/// An entry, unless its list or whom it is about is wrong, which is reported.
fn read_entry(table: &TableReader<'_>) -> Option<ListEntryConfig> {
    let list = table.choice("list", &LISTS);
    let found: Vec<&'static str> = SUBJECTS.into_iter().filter(|name| table.has(name)).collect();
    let name = found.first().copied().unwrap_or("address");
    let subject = table.value(name, |value, key| {
        let read = value.as_str().and_then(|text| read_subject(name, text));
        let read =
            read.ok_or_else(|| Refusal::new(value, &key.kind.describe(), advice_for(name, value.as_str())))?;
        match beyond_prefix(&read) {
            Some(refusal) => Err(refusal),
            None => Ok(read),
        }
    });
    match found.len() {
        0 => table.report_absent("address", &format!("one of {}", alternatives(&SUBJECTS))),
        1 => {}
        _ => {
            let message = format!("found beside {}, allowed is one of them", found[0]);
            table.error(found[1], message, "write an entry for each");
        }
    }
    let applications = table.list("applications", "application id", read_application);
    if table.is_empty_list("applications") {
        let message = "found an empty list, which could be read as none and as all";
        table.error("applications", message, "name the applications, or leave the key out for all of them");
    }
    let expires = table.value("expires", |value, key| {
        read_time(value).ok_or_else(|| {
            let allowed = key.kind.describe();
            Refusal::new(value, &allowed, format!("write an offset or Z, for example {}", key.example()))
        })
    });
    for (key, message) in oddities(list, subject.as_ref(), expires, unix_seconds()) {
        table.warning(key, message);
    }
    let reason = table.value("reason", |value, key| {
        let reason = read_text(value, key)?;
        match reason.chars().find(|character| character.is_control() && *character != '\t') {
            None => Ok(reason),
            Some(control) => {
                let what = format!("found a control character, U+{:04X}", u32::from(control));
                let message = format!("{what}, in {}, allowed is one line of text", show(value));
                Err(Refusal {
                    message,
                    advice: "leave it out: reasons are shown in logs and on terminals".to_owned(),
                })
            }
        }
    });
    Some(ListEntryConfig {
        place: table.place(),
        list: list?,
        subject: subject?.canonical(),
        applications: applications.into_iter().map(|item| item.value).collect(),
        expires,
        reason,
    })
}

/// What is odd about an entry, by key.
fn oddities(
    list: Option<ListKind>,
    subject: Option<&EntrySubject>,
    expires: Option<u64>,
    now_unix: u64,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(EntrySubject::Address(written)) = subject
        && list == Some(ListKind::Allow)
        && written.prefix_len() == 0
    {
        let message = "allows every address of its kind: nobody of them is inspected or blocked; to watch \
                       without blocking, set mode = \"monitoring\"";
        found.push(("address", message.to_owned()));
    }
    if expires.is_some_and(|expires| expires <= now_unix) {
        let message = "is over: the entry has no effect any more; remove it or set a later time";
        found.push(("expires", message.to_owned()));
    }
    found
}

/// Why a network can't be meant as it is written: whoever wrote it meant one address, or didn't mean so large a network.
fn beyond_prefix(subject: &EntrySubject) -> Option<Refusal> {
    let EntrySubject::Address(written) = subject else { return None };
    let network = written.trunc();
    (*written != network).then(|| Refusal {
        message: format!("found \"{written}\", which has bits beyond its prefix"),
        advice: format!("write \"{network}\" for the network, or \"{}\" for the one address", written.addr()),
    })
}

/// Whom an entry is about, by the key that says it.
pub(crate) fn read_subject(key: &str, text: &str) -> Option<EntrySubject> {
    let is_word = !text.is_empty() && text.len() <= 64 && !text.contains(char::is_control);
    match key {
        "address" => parse_network(text).map(EntrySubject::Address),
        "country" => {
            let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_code.then(|| EntrySubject::Country(text.to_ascii_uppercase().into()))
        }
        "datacenter" => is_word.then(|| EntrySubject::Datacenter(text.to_lowercase().into())),
        "proxy" => is_word.then(|| EntrySubject::Proxy(text.to_lowercase().into())),
        _ => None,
    }
}

/// What is right under such a key.
pub(crate) fn subject_advice(key: &str) -> &'static str {
    match key {
        "country" => "for example \"NL\"",
        "datacenter" => "for example \"aws\", or whatever the database calls it",
        "proxy" => "for example \"tor\" or \"vpn\", or whatever the database calls it",
        _ => NETWORK_ADVICE,
    }
}

/// The same for what was found there.
fn advice_for(key: &str, found: Option<&str>) -> String {
    let text = if key == "address" { found.unwrap_or("") } else { "" };
    let is_address = |text: &str| text.trim().parse::<IpAddr>().is_ok();
    let hint = match text.split_once(['-', '/', '%']) {
        _ if text.parse::<SocketAddr>().is_ok() => "an entry is for all ports: leave the port out",
        _ if text.contains('*') => "write a network, as \"10.0.0.0/24\" for 10.0.0.*",
        Some((start, _)) if text.contains('-') && is_address(start) => {
            "write a range as the networks that make it up"
        }
        Some((start, _)) if text.contains('%') && is_address(start) => "leave the zone out",
        Some((start, _)) if is_address(start) => "a prefix is a number up to 32, or up to 128 for IPv6",
        _ if text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.contains(':') => {
            "names are not looked up: write their addresses"
        }
        _ => return subject_advice(key).to_owned(),
    };
    format!("{hint}; {}", subject_advice(key))
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
