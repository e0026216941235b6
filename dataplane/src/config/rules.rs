//! `[rules]` and its file: the general mode and the rules.

use std::sync::Arc;

use weir_policy::RuleMode;

use super::model::{ConditionConfig, RuleConfig, RulesConfig};
use super::names::Names;
use super::points::read_condition_point;
use super::read::{Refusal, TableReader};
use super::rule_types::{RULE_MODE_CHOICE, RULE_MODES, is_key_of_any_type, read_kind, read_type, section_of};
use super::schema::{Default, Key, Kind, Section, range};
use super::{Point, Test};

const TESTS: [(&str, Test); 4] =
    [("equal", Test::Equal), ("iequal", Test::Iequal), ("regex", Test::Regex), ("absent", Test::Absent)];

/// `[rules]` of the main file.
pub(super) static RULES: Section = Section {
    header: "[rules]",
    about: "The rules file.",
    keys: &[&[Key {
        name: "file",
        kind: Kind::Path("the path of a file"),
        default: Default::Absent("none: no rules", "\"rules.toml\""),
        meaning: "The file of the general mode and the rules; it must exist.",
    }]],
};

const GENERAL_MODE: Key = Key {
    name: "general_mode",
    kind: RULE_MODE_CHOICE,
    default: Default::Value("\"default\""),
    meaning: "The mode where no mode rule matches, as far as `mode_allow_override` lets it. `default` leaves \
                      the mode of the config file.",
};

/// The top of the rules file.
pub(super) static RULES_FILE: Section = Section {
    header: "",
    about: "The top of the rules file.",
    keys: &[&[
        GENERAL_MODE,
        Key {
            name: "rule",
            kind: Kind::Tables("[[rule]]"),
            default: Default::Absent("none", "[]"),
            meaning: "The rules; their order doesn't count.",
        },
    ]],
};

/// Keys of rules of every type.
pub(super) const RULE_KEYS: &[Key] = &[
    Key {
        name: "id",
        kind: Kind::Integer(range(1, 9_223_372_036_854_775_807)),
        default: Default::Required("1"),
        meaning: "Shown in events and explanations; unique.",
    },
    Key {
        name: "type",
        kind: Kind::Choice(&[
            "mode",
            "virtual_patch",
            "regex",
            "ignore_regex",
            "disable_attack_type",
            "disable_signature",
            "binary_data",
            "parser_state",
            "mask",
            "response_header",
            "over_time_limit",
            "rate_limit",
            "upload_size",
        ]),
        default: Default::Required("\"mode\""),
        meaning: "What the rule does; each type has further keys, listed below.",
    },
    Key {
        name: "uri",
        kind: Kind::Text("a URI as \"/main/*\" or \"example.com/api/**\""),
        default: Default::Absent("no condition", "\"/main/**\""),
        meaning: "Conditions in the short form. A final `**` is everything below, a `**` in the middle any number \
                  of components, a final `*` one name without an extension.",
    },
    Key {
        name: "when",
        kind: Kind::Tables("[[rule.when]]"),
        default: Default::Absent("no condition", "[]"),
        meaning: "Conditions in the long form; all must hold.",
    },
];

/// `[[rule]]`, whatever its type.
pub(super) static RULE: Section = Section {
    header: "[[rule]]",
    about: "A rule. Conditions of `uri` and `when` add up; a rule without any matches everything.",
    keys: &[RULE_KEYS],
};

/// `[[rule.when]]`.
pub(super) static WHEN: Section = Section {
    header: "[[rule.when]]",
    about: "A condition of the `[[rule]]` above it.",
    keys: &[&[
        Key {
            name: "point",
            kind: Kind::List("a name and what it needs"),
            default: Default::Required("[\"path\", 0]"),
            meaning: "What is looked at: `[\"method\"]`, `[\"instance\"]` (the application id as text), `[\"scheme\"]`, \
                      `[\"proto\"]`, `[\"uri\"]`, `[\"path\", n]` (components but the last, from 0 to 255), \
                      `[\"action_name\"]` (the last one, up to its first dot), \
                      `[\"action_ext\"]` (from its last dot on), \
                      `[\"query\", \"KEY\"]`, `[\"header\", \"NAME\"]`.",
        },
        Key {
            name: "is",
            kind: Kind::Choice(&["equal", "iequal", "regex", "absent"]),
            default: Default::Required("\"equal\""),
            meaning: "How it is compared: the same bytes, the same in any case, a regular expression that occurs in \
                      it, or that it isn't there.",
        },
        Key {
            name: "value",
            kind: Kind::Text("any text"),
            default: Default::Absent("required, except for `absent`", "\"main\""),
            meaning: "What it is compared with. May be empty for `equal`.",
        },
    ]],
};

/// A set of rules as it comes over the admin API.
pub(super) static API_RULES: Section = Section {
    header: "the set of rules",
    about: "The body of `PUT /v1/rules`.",
    keys: &[&[
        GENERAL_MODE,
        Key {
            name: "rules",
            kind: Kind::List("rules"),
            default: Default::Required("[]"),
            meaning: "The rules; their order doesn't count.",
        },
    ]],
};

/// A general mode as it comes over the admin API.
pub(super) static API_GENERAL_MODE: Section = Section {
    header: "the change",
    about: "The body of `PATCH /v1/rules`.",
    keys: &[&[Key { default: Default::Absent("that of the file", "\"block\""), ..GENERAL_MODE }]],
};

/// Reads the rules file into `rules`.
pub(super) fn read_rules_file(table: &TableReader<'_>, rules: &mut RulesConfig) {
    rules.general_mode = table.choice("general_mode", &RULE_MODES).unwrap_or(RuleMode::Default);
    rules.general_mode_place = table.has("general_mode").then(|| table.place_of("general_mode"));
    let (read, unread_ids) = read_rules(table, "rule");
    rules.rules = read.into_iter().map(Arc::new).collect();
    rules.unread_ids = unread_ids;
}

/// Reads the rules under a key; their ids must differ. Also gives the ids of those that can't be read, 0 for one whose id
/// can't be either.
pub(super) fn read_rules(table: &TableReader<'_>, key: &str) -> (Vec<RuleConfig>, Vec<u64>) {
    let mut ids = Names::new("rule with id");
    let mut rules = Vec::new();
    // (in a file of which parts are no TOML there may be any)
    let mut unread = if table.file.is_whole() { Vec::new() } else { vec![0] };
    for rule in table.tables_of_any_keys(key, &RULE) {
        let (place, path) = (rule.place_of("id"), rule.path_of("id"));
        let file = rule.file;
        let (id, read) = read_rule_and_id(rule);
        if id > 0 {
            ids.add_at(&id.to_string(), &place, &path, file);
        }
        match read {
            // a rule without an id that can be read may be meant by its number, too
            Some(rule) if id > 0 => rules.push(rule),
            Some(rule) => {
                rules.push(rule);
                unread.push(0);
            }
            None => unread.push(id),
        }
    }
    (rules, unread)
}

/// Reads one rule.
pub(super) fn read_rule(rule: TableReader<'_>) -> Option<RuleConfig> {
    read_rule_and_id(rule).1
}

/// The id is there, or 0, even if the rule has errors.
fn read_rule_and_id(rule: TableReader<'_>) -> (u64, Option<RuleConfig>) {
    let rule_type = read_type(&rule);
    let id = rule.integer("id").unwrap_or(0);
    let uri = rule.text("uri");
    let when = rule.tables("when", &WHEN).iter().map(read_condition).collect();
    let Some(rule_type) = rule_type else {
        // its other keys may be those of any type
        rule.report_unknown_keys_beside(is_key_of_any_type);
        return (id, None);
    };
    let rule = rule.with_section(section_of(rule_type));
    rule.report_unknown_keys();
    let (place, document) = (rule.place(), rule.document());
    let read = |kind| RuleConfig { place, document, id, kind, uri, when };
    (id, read_kind(&rule, rule_type).map(read))
}

fn read_condition(table: &TableReader<'_>) -> ConditionConfig {
    let is = table.choice("is", &TESTS);
    let value = table.value("value", |value, _| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| Refusal::new(value, "any text", "write the text in quotes".to_owned()))
    });
    match is {
        Some(Test::Equal | Test::Iequal | Test::Regex) if !table.has("value") && table.file.is_whole() => {
            let message = "[[rule.when]] has no \"value\"; only \"absent\" goes without";
            table.error("value", message, "add value = \"TEXT\"");
        }
        _ => {}
    }
    ConditionConfig {
        place: table.place(),
        point: table.value("point", |value, _| read_condition_point(value)).unwrap_or(Point::Uri),
        is: is.unwrap_or(Test::Equal),
        value: value.unwrap_or_default(),
    }
}
