//! Heads in events and explanations without what masks hide.

use std::borrow::Cow;

use super::{Active, Enforcement, RuleSet};
use weir_inspect::Selector;

/// What stands for a masked value.
const MASKED: &[u8] = b"*";

impl Active {
    /// A path without the segments that masks hide.
    pub fn masked_path<'a>(&self, rules: &RuleSet, path: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.has_masks() {
            return Cow::Borrowed(path);
        }
        let start = usize::from(path.starts_with(b"/"));
        let segments = || path[start..].split(|byte| *byte == b'/');
        let count = u32::try_from(segments().count()).unwrap_or(u32::MAX);
        let unsure = self.has_unsure_segments();
        let is_hidden = |number| {
            self.masks(rules)
                .any(|mask| mask.selects_segment(number, count) || (unsure && mask.counts_segments()))
        };
        if !(0..count).any(is_hidden) {
            return Cow::Borrowed(path);
        }
        let mut shown = path[..start].to_vec();
        for (number, segment) in (0..).zip(segments()) {
            if number > 0 {
                shown.push(b'/');
            }
            shown.extend_from_slice(if is_hidden(number) && !segment.is_empty() { MASKED } else { segment });
        }
        Cow::Owned(shown)
    }

    /// A header's value, unless a mask hides it.
    pub fn masked_header<'a>(&self, rules: &RuleSet, name: &str, value: &'a [u8]) -> &'a [u8] {
        let is_hidden = self.masks(rules).any(|mask| mask.selects_header(name.as_bytes()));
        if is_hidden && !value.is_empty() { MASKED } else { value }
    }

    fn masks<'a>(&self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Selector> {
        let numbers = if self.has_masks() { self.numbers() } else { &[] };
        numbers.iter().filter_map(|number| {
            let rule = rules.rule(*number)?;
            match rule.enforcement {
                Enforcement::Mask => rules.directives.selector(rule.directive?),
                _ => None,
            }
        })
    }
}
