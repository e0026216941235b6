//! Where in a text of JSON the keys stand that errors are about which are found after reading.

use std::path::Path;

use super::changes::BODY;
use crate::config::Document;
use crate::config::json::Part;
use crate::control::Wrong;

/// Errors that are looked for: more aren't answered with.
const ERRORS_MAX: usize = 100;

/// Gives errors about rules that were sent, as `rules[3].when[0].value` or `uri`, their lines and columns.
pub(super) fn find(text: &str, wrong: &mut [Wrong]) {
    if wrong.is_empty() {
        return;
    }
    let document = Document::new(Path::new(BODY), text.to_owned());
    let Some(whole) = document.whole() else { return };
    let list = member(&whole, "rules").and_then(|list| list.elements()).unwrap_or_default();
    for one in wrong.iter_mut().take(ERRORS_MAX) {
        let in_list = one.field.strip_prefix("rules[").and_then(|rest| rest.split_once(']'));
        let found = match in_list {
            None => last_on_way(&whole, &one.field),
            Some((index, way)) => {
                let rule = index.parse().ok().and_then(|index: usize| list.get(index));
                rule.and_then(|rule| last_on_way(rule, way.trim_start_matches('.')).or(Some(*rule)))
            }
        };
        if let Some(part) = found {
            one.position = Some(document.position(part.offset()));
        }
    }
}

/// What a way leads to; where it breaks off, what it came to last.
fn last_on_way<'a>(part: &Part<'a>, way: &str) -> Option<Part<'a>> {
    let mut at = None;
    for step in way.split('.') {
        let (name, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (step, None),
        };
        let Some(found) = member(at.as_ref().unwrap_or(part), name) else { break };
        let Some(index) = index else {
            at = Some(found);
            continue;
        };
        let Some(found) = found.elements().and_then(|list| list.get(index).copied()) else { break };
        at = Some(found);
    }
    at
}

fn member<'a>(part: &Part<'a>, name: &str) -> Option<Part<'a>> {
    let members = part.members().ok().flatten()?;
    members.into_iter().find(|(found, _)| found == name).map(|(_, part)| part)
}
