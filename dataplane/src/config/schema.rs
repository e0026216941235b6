//! What keys there are. The readers take types, ranges and defaults from these tables, and
//! `docs/configuration.md` is written from them, so that the two can't disagree.

use super::units::{format_size, format_time};
use super::{
    block_response, context, detection, http, ip_lists, limits, listener, node, origin, origin_health,
    rule_types, rules, server,
};

/// A table of a config file.
#[derive(Debug)]
pub(super) struct Section {
    /// Header as it is written: `[http.limits]`, `[[server]]`, or empty for the top of a file.
    pub header: &'static str,
    /// What the table is for.
    pub about: &'static str,
    /// Its keys, in groups that several tables may share.
    pub keys: &'static [&'static [Key]],
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// One or two sentences for the reference page.
    pub meaning: &'static str,
}

/// What a key without a value means. The texts are TOML.
#[derive(Debug)]
pub(super) enum Default {
    /// The table is wrong without it; an example of a value.
    Required(&'static str),
    /// This value.
    Value(&'static str),
    /// Whatever the text says; and an example of a value.
    Absent(&'static str, &'static str),
}

/// What values a key takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text that isn't empty; what it is.
    Text(&'static str),
    /// `true` or `false`.
    Boolean,
    /// `"on"` or `"off"`; `true` and `false` are understood.
    OnOff,
    Integer(Range),
    /// An application id.
    Application,
    /// Range in bytes.
    Size(Range),
    /// Range in microseconds.
    Time(Range),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A path, relative to the folder of the file.
    Path(&'static str),
    /// A list; what one item is.
    List(&'static str),
    /// A table; its header or form.
    Table(&'static str),
    /// Several tables; their header.
    Tables(&'static str),
}

/// Smallest and largest value, both included; and what 0 means where it is outside of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub min: u64,
    pub max: u64,
    pub zero: Option<&'static str>,
}

/// A range without a special 0.
pub(super) const fn range(min: u64, max: u64) -> Range {
    Range { min, max, zero: None }
}

/// A range, or 0 with a meaning of its own.
pub(super) const fn range_or_zero(zero: &'static str, min: u64, max: u64) -> Range {
    Range { min, max, zero: Some(zero) }
}

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;
pub(super) const MILLISECOND: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;
pub(super) const HOUR: u64 = 3_600 * SECOND;
pub(super) const DAY: u64 = 24 * HOUR;

/// All tables of the main file, in the order of the reference page.
pub(super) static MAIN_SECTIONS: [&Section; 27] = [
    &ROOT,
    &node::NODE,
    &origin_health::RESOLVER,
    &http::HTTP,
    &context::MODE_BY_HEADER,
    &block_response::BLOCK_RESPONSE,
    &block_response::BLOCK_RESPONSE_CLASS,
    &limits::HTTP_LIMITS,
    &listener::LISTENER,
    &limits::LISTENER_LIMITS,
    &listener::LISTENER_TLS,
    &listener::LISTENER_CERTIFICATE,
    &server::SERVER,
    &limits::SERVER_LIMITS,
    &server::LOCATION,
    &limits::LOCATION_LIMITS,
    &origin::ORIGIN,
    &origin::ORIGIN_TLS,
    &origin_health::HEALTH_CHECK,
    &origin_health::OUTLIER_DETECTION,
    &origin::CLIENT_CERTIFICATE,
    &detection::DETECTION,
    &detection::GRAPHQL,
    &rules::RULES,
    &ip_lists::IP_LISTS,
    &node::EVENTS,
    &node::ADMIN,
];

/// The tables of the file that `[rules].file` names.
pub(super) static RULES_SECTIONS: [&Section; 16] = {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m] = &rule_types::SHOWN;
    [&rules::RULES_FILE, &rules::RULE, &rules::WHEN, a, b, c, d, e, f, g, h, i, j, k, l, m]
};

/// The tables of the file that `[ip_lists].file` names.
pub(super) static IP_LISTS_SECTIONS: [&Section; 2] = [&ip_lists::IP_LISTS_FILE, &ip_lists::ENTRY];

/// The top of the main file.
pub(super) static ROOT: Section = Section {
    header: "",
    about: "The tables of the config file.",
    keys: &[&[
        table("node", "[node]", "The process and its workers."),
        table("http", "[http]", "The most global context."),
        tables("listener", "[[listener]]", "Where clients connect; at least one."),
        tables("server", "[[server]]", "Which hosts are served, and how; at least one."),
        tables("origin", "[[origin]]", "Where requests are forwarded to; at least one."),
        tables("client_certificate", "[[client_certificate]]", "Identities towards origins."),
        table("detection", "[detection]", "How requests are inspected."),
        table("rules", "[rules]", "The rules file."),
        table("ip_lists", "[ip_lists]", "The IP lists file."),
        table("events", "[events]", "Where attacks are recorded."),
        table("admin", "[admin]", "The admin endpoint."),
    ]],
};

const fn table(name: &'static str, header: &'static str, meaning: &'static str) -> Key {
    Key { name, kind: Kind::Table(header), default: Default::Absent("all defaults", "{}"), meaning }
}

const fn tables(name: &'static str, header: &'static str, meaning: &'static str) -> Key {
    Key { name, kind: Kind::Tables(header), default: Default::Absent("none", "[]"), meaning }
}

impl Section {
    pub(super) fn all_keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.all_keys().find(|key| key.name == name)
    }
}

impl Key {
    /// The key with a value that is right, as it would be written.
    pub(super) fn example(&self) -> String {
        let value = match self.default {
            Default::Required(value) | Default::Value(value) | Default::Absent(_, value) => value,
        };
        format!("{} = {value}", self.name)
    }
}

impl Kind {
    /// What is allowed, to follow "allowed is" or to stand in a table.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(what) | Self::Path(what) => (*what).to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::OnOff => "\"on\" or \"off\"".to_owned(),
            Self::Integer(range) => range.describe("a whole number", |value| value.to_string()),
            Self::Application => "-1, or a whole number from 1 to 2147483647".to_owned(),
            Self::Size(range) => range.describe("a size", |value| format!("\"{}\"", format_size(value))),
            Self::Time(range) => range.describe("a time", |value| format!("\"{}\"", format_time(value))),
            Self::Choice(names) => alternatives(names),
            Self::List(item) => format!("a list of {item}"),
            Self::Table(form) => format!("a table {form}"),
            Self::Tables(form) => format!("{form} tables"),
        }
    }
}

impl Range {
    pub(super) fn contains(&self, value: u64) -> bool {
        (self.min <= value && value <= self.max) || (value == 0 && self.zero.is_some())
    }

    fn describe(&self, what: &str, format: impl Fn(u64) -> String) -> String {
        let span = format!("{what} from {} to {}", format(self.min), format(self.max));
        match self.zero {
            Some(meaning) => format!("{span}, or 0 = {meaning}"),
            None => span,
        }
    }
}

/// `"a", "b" or "c"`.
pub(super) fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
