//! `[rules]` and its file: the general mode and the rules.

use toml::de::DeValue;

use super::context::{MODES, is_token_byte};
use super::model::{ConditionConfig, Point, RuleConfig, RuleKind, RuleMode, RulesConfig, Test};
use super::names::Names;
use super::read::{Refusal, TableReader, show};
use super::schema::{Default, Key, Kind, Section, range};
use super::suggest::nearest;

const TESTS: [(&str, Test); 3] = [("equal", Test::Equal), ("iequal", Test::Iequal), ("absent", Test::Absent)];

const RULE_MODES: [(&str, RuleMode); 5] = {
    let [off, monitoring, safe_blocking, block] = MODES;
    [
        ("default", RuleMode::Default),
        (off.0, RuleMode::Set(off.1)),
        (monitoring.0, RuleMode::Set(monitoring.1)),
        (safe_blocking.0, RuleMode::Set(safe_blocking.1)),
        (block.0, RuleMode::Set(block.1)),
    ]
};

const RULE_MODE_CHOICE: Kind = Kind::Choice(&["default", "off", "monitoring", "safe_blocking", "block"]);

/// Rule types of the design that this version doesn't have yet.
const LATER_TYPES: [&str; 12] = [
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
];

/// Path components that a condition can look at.
const PATH_COMPONENTS: u16 = 256;

const POINT_FORMS: &str = "[\"method\"], [\"instance\"], [\"scheme\"], [\"proto\"], [\"uri\"], [\"path\", n], \
                           [\"action_name\"], [\"action_ext\"], [\"query\", \"KEY\"] or [\"header\", \"NAME\"]";

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

/// The top of the rules file.
pub(super) static RULES_FILE: Section = Section {
    header: "",
    about: "The top of the rules file.",
    keys: &[&[
        Key {
            name: "general_mode",
            kind: RULE_MODE_CHOICE,
            default: Default::Value("\"default\""),
            meaning: "The mode where no mode rule matches, as far as `mode_allow_override` lets it. `default` leaves \
                      the mode of the config file.",
        },
        Key {
            name: "rule",
            kind: Kind::Tables("[[rule]]"),
            default: Default::Absent("none", "[]"),
            meaning: "The rules; their order doesn't count.",
        },
    ]],
};

/// `[[rule]]`.
pub(super) static RULE: Section = Section {
    header: "[[rule]]",
    about: "A rule. Conditions of `uri` and `when` add up; a rule without any matches everything and ranks with the \
            general mode.",
    keys: &[&[
        Key {
            name: "id",
            kind: Kind::Integer(range(1, 9_223_372_036_854_775_807)),
            default: Default::Required("1"),
            meaning: "Shown in events and explanations; unique.",
        },
        Key {
            name: "type",
            kind: Kind::Choice(&["mode"]),
            default: Default::Required("\"mode\""),
            meaning: "What the rule does: `mode` sets the filtering mode. The other types are not supported in this \
                      version.",
        },
        Key {
            name: "mode",
            kind: RULE_MODE_CHOICE,
            default: Default::Required("\"block\""),
            meaning: "The mode that it sets; `default` = the mode of the config file.",
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
    ]],
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
            kind: Kind::Choice(&["equal", "iequal", "absent"]),
            default: Default::Required("\"equal\""),
            meaning: "How it is compared: the same bytes, the same in any case, or that it isn't there. `regex` is not \
                      supported in this version.",
        },
        Key {
            name: "value",
            kind: Kind::Text("any text"),
            default: Default::Absent("required, except for `absent`", "\"main\""),
            meaning: "What it is compared with. May be empty for `equal`.",
        },
    ]],
};

/// Reads the rules file into `rules`.
pub(super) fn read_rules_file(table: &TableReader<'_>, rules: &mut RulesConfig) {
    rules.general_mode = table.choice("general_mode", &RULE_MODES).unwrap_or(RuleMode::Default);
    let mut ids = Names::new("rule with id");
    for rule in table.tables_of_any_keys("rule", &RULE) {
        if !has_supported_type(&rule) {
            continue;
        }
        rule.report_unknown_keys();
        let id = rule.integer("id").unwrap_or(0);
        if id > 0 {
            ids.add_at(&id.to_string(), &rule.place_of("id"), &rule.path_of("id"), rule.file);
        }
        rules.rules.push(RuleConfig {
            place: rule.place(),
            id,
            kind: RuleKind::Mode(rule.choice("mode", &RULE_MODES).unwrap_or(RuleMode::Default)),
            uri: rule.text("uri"),
            when: rule.tables("when", &WHEN).iter().map(read_condition).collect(),
        });
    }
}

/// Whether the rule's keys are known. Those of other types would only be reported as unknown.
fn has_supported_type(rule: &TableReader<'_>) -> bool {
    let Some(found) = rule.text("type") else { return !rule.has("type") };
    if found == "mode" {
        return true;
    }
    if LATER_TYPES.contains(&found.as_str()) {
        let message = format!("found {found:?}: rules of this type are not supported in this version");
        rule.error("type", message, "remove the rule; type = \"mode\" is supported");
        return false;
    }
    let mut known = vec!["mode"];
    known.extend(LATER_TYPES);
    let advice = match nearest(&found, &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known types are {}; this version supports mode alone", known.join(", ")),
    };
    rule.error("type", format!("found {}: unknown rule type", rule.shown("type")), advice);
    false
}

fn read_condition(table: &TableReader<'_>) -> ConditionConfig {
    let is = table.choice_of_now("is", &TESTS, &["regex"], "regexes");
    let value = table.value("value", |value, _| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| Refusal::new(value, "any text", "write the text in quotes".to_owned()))
    });
    match is {
        Some(Test::Absent) if value.as_ref().is_some_and(|value| !value.is_empty()) => {
            table.warning("value", "has no effect: \"absent\" compares with no value");
        }
        Some(Test::Equal | Test::Iequal) if !table.has("value") && table.file.is_whole() => {
            let message = "[[rule.when]] has no \"value\"; only is = \"absent\" goes without";
            table.error("value", message, "add value = \"TEXT\"");
        }
        _ => {}
    }
    ConditionConfig {
        place: table.place(),
        point: table.value("point", |value, _| read_point(value)).unwrap_or(Point::Uri),
        is: is.unwrap_or(Test::Equal),
        value: value.unwrap_or_default(),
    }
}

/// `["path", 0]` and its kin.
fn read_point(value: &DeValue<'_>) -> Result<Point, Refusal> {
    let refuse = |found: String, advice: &str| Refusal {
        message: format!("found {found}, allowed is {POINT_FORMS}"),
        advice: advice.to_owned(),
    };
    let Some(items) = value.as_array() else {
        return Err(refuse(show(value), "write it as a list, for example point = [\"path\", 0]"));
    };
    let name = items.first().and_then(|item| item.get_ref().as_str()).unwrap_or("");
    let argument = items.get(1).map(|item| item.get_ref());
    let listed: Vec<String> = items.iter().map(|item| show(item.get_ref())).collect();
    let found = format!("[{}]", listed.join(", "));
    if items.len() > 2 {
        return Err(refuse(found, "a point has a name and at most one argument"));
    }
    let plain = match name {
        "method" => Some(Point::Method),
        "instance" => Some(Point::Instance),
        "scheme" => Some(Point::Scheme),
        "proto" => Some(Point::Proto),
        "uri" => Some(Point::Uri),
        "action_name" => Some(Point::ActionName),
        "action_ext" => Some(Point::ActionExt),
        _ => None,
    };
    match (plain, name, argument) {
        (Some(point), _, None) => Ok(point),
        (Some(_), _, Some(_)) => Err(refuse(found, "this point has no argument")),
        (None, "path", Some(DeValue::Integer(number))) => {
            u16::from_str_radix(number.as_str(), number.radix())
                .ok()
                .filter(|component| *component < PATH_COMPONENTS)
                .map(Point::Path)
                .ok_or_else(|| refuse(found, "components count from 0 to 255"))
        }
        (None, "path", _) => {
            Err(refuse(found, "write the number of the component, for example [\"path\", 0]"))
        }
        (None, "query", Some(DeValue::String(key))) => Ok(Point::Query(key.to_string())),
        (None, "query", _) => {
            Err(refuse(found, "write the parameter's name, for example [\"query\", \"id\"]"))
        }
        (None, "header", Some(DeValue::String(field)))
            if !field.is_empty() && field.bytes().all(is_token_byte) =>
        {
            Ok(Point::Header(field.to_string()))
        }
        (None, "header", _) => Err(refuse(found, "write a field's name, for example [\"header\", \"HOST\"]")),
        _ => {
            let names = [
                "method",
                "instance",
                "scheme",
                "proto",
                "uri",
                "path",
                "action_name",
                "action_ext",
                "query",
                "header",
            ];
            let near = nearest(name, &names);
            Err(refuse(
                found,
                &near.map_or_else(
                    || "write one of these".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                ),
            ))
        }
    }
}
