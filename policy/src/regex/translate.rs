//! Regexes of detectors: the same dialect, for values that are scanned one by one.

use super::print::write_tree;
use super::tree::Tree;
use super::{Refusal, Regex, Scope, Size};

/// Stands before a detector's regex in which letters match in either case.
const ANY_CASE: &str = "(?i)";

/// A regex of the dialect of conditions (spec S3.3) in Hyperscan's words.
#[derive(Debug, Clone)]
pub struct TranslatedRegex {
    /// Matches exactly the values that the regex matches, compiled with `DOTALL` and `ALLOWEMPTY` and asked of values that
    /// aren't empty; none if it matches no value. An empty value meets no regex.
    pub expression: Option<String>,
    /// Whether it matches nothing or everything.
    pub scope: Scope,
    pub(crate) size: Size,
}

/// Translates a regex. `(?i)` before it lets letters match in either case.
///
/// # Errors
///
/// It is no regex of the dialect, or what would match it exactly grows too large.
pub fn translate_regex(regex: &str) -> Result<TranslatedRegex, Refusal> {
    let (text, any_case) = regex.strip_prefix(ANY_CASE).map_or((regex, false), |text| (text, true));
    let compiled = Regex::new(text, any_case)?;
    if compiled.is_complement {
        return Err(Refusal::new(
            "its `~` leads to too large an automaton",
            "a shorter regex under `~`, or a detector for what the `~` lets pass and a rule that ignores it",
        ));
    }
    let mut size = Size::default();
    size.add(&compiled);
    let scope = compiled.scope();
    let mut expression = String::new();
    if scope == Scope::Everything {
        expression.push('.');
        return Ok(TranslatedRegex { expression: Some(expression), scope, size });
    }
    // apart by the marks that they need: the matcher refuses what has a mark where none can be
    let Regex { at_start, anywhere, .. } = &compiled;
    for (before, tree, behind) in [
        ("\\A", at_start.without_ends(), ""),
        ("\\A", at_start.before_end(), "\\z"),
        ("", anywhere.without_ends(), ""),
        ("", anywhere.before_end(), "\\z"),
    ] {
        let is_of_empty_values = tree == Tree::Empty && !before.is_empty() && !behind.is_empty();
        if tree == Tree::Nothing || is_of_empty_values {
            continue;
        }
        expression.push_str(if expression.is_empty() { "" } else { "|" });
        expression.push_str(before);
        expression.push_str("(?:");
        write_tree(&tree, None, &mut expression);
        expression.push(')');
        expression.push_str(behind);
    }
    let expression = Some(expression).filter(|expression| !expression.is_empty());
    let scope = if expression.is_none() { Scope::Nothing } else { scope };
    Ok(TranslatedRegex { expression, scope, size })
}
