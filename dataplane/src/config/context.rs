//! The settings that http, server and location share: mode, override, application, lists.

use toml::de::DeValue;

use super::model::{ContextConfig, Mode, ModeByHeaderConfig, ModeOverride};
use super::read::{Refusal, TableReader, read_choice};
use super::schema::{Default, Key, Kind, Section};
use crate::text::is_token_byte;

/// The names of the modes.
pub(super) const MODES: [(&str, Mode); 4] = {
    let [off, monitoring, safe_blocking, block] = Mode::ALL;
    [
        (off.as_str(), off),
        (monitoring.as_str(), monitoring),
        (safe_blocking.as_str(), safe_blocking),
        (block.as_str(), block),
    ]
};

const OVERRIDES: [(&str, ModeOverride); 3] =
    [("off", ModeOverride::Off), ("strict", ModeOverride::Strict), ("on", ModeOverride::On)];

pub(super) const MODE_CHOICE: Kind = Kind::Choice(&["off", "monitoring", "safe_blocking", "block"]);

/// Keys of `[http]`, `[[server]]` and `[[server.location]]`.
pub(super) const CONTEXT_KEYS: &[Key] = &[
    Key {
        name: "mode",
        kind: MODE_CHOICE,
        default: Default::Absent("inherited; in [http] \"monitoring\"", "\"monitoring\""),
        meaning: "What happens to attacks: `off` = not inspected, `monitoring` = recorded, `safe_blocking` = blocked \
                  from graylisted addresses, `block` = blocked.",
    },
    Key {
        name: "mode_allow_override",
        kind: Kind::Choice(&["off", "strict", "on"]),
        default: Default::Absent("inherited; in [http] \"on\"", "\"on\""),
        meaning: "What rules may do to the mode: `off` = nothing, `strict` = only make it stricter, `on` = anything. \
                  Inherited on its own, whatever sets the mode.",
    },
    Key {
        name: "mode_by_header",
        kind: Kind::Table("{ header = \"NAME\", contains = { \"TEXT\" = \"MODE\" } }"),
        default: Default::Absent(
            "none",
            "{ header = \"User-Agent\", contains = { \"Googlebot\" = \"off\" } }",
        ),
        meaning: "The mode as a map over what a header's value contains; without a match `mode` holds.",
    },
    Key {
        name: "application",
        kind: Kind::Application,
        default: Default::Absent("inherited; in [http] -1", "-1"),
        meaning: "Application id: shown in events, and what IP lists and rules can be limited to.",
    },
    Key {
        name: "disable_acl",
        kind: Kind::OnOff,
        default: Default::Absent("inherited; in [http] false", "false"),
        meaning: "Whether IP lists are ignored here.",
    },
];

/// `mode_by_header`.
pub(super) static MODE_BY_HEADER: Section = Section {
    header: "mode_by_header",
    about: "The local mode as a map over a request header. Written in one line, in `[http]`, `[[server]]` or \
            `[[server.location]]`.",
    keys: &[&[
        Key {
            name: "header",
            kind: Kind::Text("the name of a header field"),
            default: Default::Required("\"User-Agent\""),
            meaning: "The field that is looked at, its name in any case; every field of that name counts.",
        },
        Key {
            name: "contains",
            kind: Kind::Table("{ \"TEXT\" = \"MODE\" }"),
            default: Default::Required("{ \"Googlebot\" = \"off\" }"),
            meaning: "Texts and the modes that they give. Case counts; of several texts that the value contains the \
                      strictest mode holds.",
        },
    ]],
};

/// Reads the shared settings of a table.
pub(super) fn read_context(table: &TableReader<'_>) -> ContextConfig {
    ContextConfig {
        mode: table.choice("mode", &MODES),
        mode_from_environment: false,
        mode_allow_override: table.choice("mode_allow_override", &OVERRIDES),
        mode_by_header: table.table_if_present("mode_by_header", &MODE_BY_HEADER).map(|map| read_map(&map)),
        application: table.value("application", |value, _| read_application(value)),
        disable_acl: table.boolean("disable_acl"),
    }
}

fn read_map(map: &TableReader<'_>) -> ModeByHeaderConfig {
    let contains = map.pairs("contains", |text, value| {
        if text.is_empty() {
            return Err(Refusal {
                message: "found an empty text, which every value contains".to_owned(),
                advice: "write the text to look for, or set mode instead".to_owned(),
            });
        }
        read_choice(value, &MODES)
    });
    ModeByHeaderConfig { place: map.place(), header: read_field_name(map, "header"), contains }
}

/// A header field name (RFC 9110 section 5.1).
pub(super) fn read_field_name(table: &TableReader<'_>, name: &str) -> String {
    let text = table.text(name).unwrap_or_default();
    if !text.bytes().all(is_token_byte) {
        let message = format!("found {}, allowed is a header field name", table.shown(name));
        table.error(name, message, "letters, digits and any of !#$%&'*+-.^_`|~ make a name");
    }
    text
}

/// An application id.
pub(super) fn read_application(value: &DeValue<'_>) -> Result<i64, Refusal> {
    let number =
        value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
    match number {
        Some(id @ (-1 | 1..=2_147_483_647)) => Ok(id),
        _ => Err(Refusal::new(
            value,
            &Kind::Application.describe(),
            "-1 stands for \"no application\"".to_owned(),
        )),
    }
}
