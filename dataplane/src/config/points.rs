//! Points in rules files: those that conditions look at, and those that rules are about.

use toml::de::DeValue;
use weir_policy::{POINT_SELECTOR_FORMS, Point, PointSelector, WrittenPoint};

use super::read::{Refusal, TableReader, show};
use super::suggest::nearest;
use crate::text::is_token_byte;

/// Path components that a condition can look at.
const PATH_COMPONENTS: u32 = 256;

const CONDITION_FORMS: &str = "[\"method\"], [\"instance\"], [\"scheme\"], [\"proto\"], [\"uri\"], [\"path\", n], \
                               [\"action_name\"], [\"action_ext\"], [\"query\", \"KEY\"] or [\"header\", \"NAME\"]";

/// Points without an argument.
const PLAIN: [(&str, Point); 7] = [
    ("method", Point::Method),
    ("instance", Point::Instance),
    ("scheme", Point::Scheme),
    ("proto", Point::Proto),
    ("uri", Point::Uri),
    ("action_name", Point::ActionName),
    ("action_ext", Point::ActionExt),
];

/// The point of a condition: `["path", 0]` and its kin.
pub(super) fn read_condition_point(value: &DeValue<'_>) -> Result<Point, Refusal> {
    let refuse = |found: String, advice: &str| Refusal {
        message: format!("found {found}, allowed is {CONDITION_FORMS}"),
        advice: advice.to_owned(),
    };
    let Some(items) = value.as_array() else {
        return Err(refuse(show(value), "write it as a list, for example point = [\"path\", 0]"));
    };
    let name = items.first().and_then(|item| item.get_ref().as_str()).unwrap_or("");
    let argument = items.get(1).map(|item| item.get_ref());
    let found = show_items(value);
    if items.len() > 2 {
        return Err(refuse(found, "a point has a name and at most one argument"));
    }
    let plain = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, point)| point.clone());
    match (plain, name, argument) {
        (Some(point), _, None) => Ok(point),
        (Some(_), _, Some(_)) => Err(refuse(found, "this point has no argument")),
        (None, "path", Some(DeValue::Integer(number))) => {
            u32::from_str_radix(number.as_str(), number.radix())
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
        _ => Err(refuse(found, &advice_for_name(name))),
    }
}

fn advice_for_name(name: &str) -> String {
    let mut names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
    names.extend(["path", "query", "header"]);
    nearest(name, &names)
        .map_or_else(|| "write one of these".to_owned(), |near| format!("did you mean {near:?}?"))
}

/// The point that a rule is about; nothing where the key is absent or wrong.
pub(super) fn read_selector(table: &TableReader<'_>, name: &str) -> Option<PointSelector> {
    table.value(name, |value, _| {
        let refuse = |problem: &str| Refusal {
            message: format!("found {}: {problem}; allowed is {POINT_SELECTOR_FORMS}", show_items(value)),
            advice: "for example point = [\"query\", \"id\"]".to_owned(),
        };
        let written = written(value, 0).ok_or_else(|| refuse("this is no point"))?;
        PointSelector::parse(&written).map_err(|problem| refuse(&problem))
    })
}

/// The deepest form is an array of arrays.
fn written(value: &DeValue<'_>, depth: u32) -> Option<WrittenPoint> {
    match value {
        DeValue::String(text) => Some(WrittenPoint::Text(text.to_string())),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(WrittenPoint::Number)
        }
        DeValue::Array(items) if depth < 2 => {
            let items: Option<Vec<_>> = items.iter().map(|item| written(item.get_ref(), depth + 1)).collect();
            items.map(WrittenPoint::Array)
        }
        _ => None,
    }
}

/// A value as error texts show it, with the items of a list.
fn show_items(value: &DeValue<'_>) -> String {
    let Some(items) = value.as_array() else { return show(value) };
    let listed: Vec<String> = items
        .iter()
        .map(|item| match item.get_ref() {
            DeValue::Array(inner) => {
                let inner: Vec<String> = inner.iter().map(|item| show(item.get_ref())).collect();
                format!("[{}]", inner.join(", "))
            }
            other => show(other),
        })
        .collect();
    super::read::shorten(&format!("[{}]", listed.join(", ")))
}
