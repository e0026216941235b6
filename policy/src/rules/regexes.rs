//! The regexes of all rules, put together by kind of point.

use std::collections::HashMap;

use super::check::PointKey;
use super::tree::{Builder, GroupKind, KindMatcher, Refused, RegexKind, RegexOf, RegexPlace, Slot};
use crate::regex::{Failure, MatcherBuilder, Regex};

impl Builder<'_> {
    /// Compiles one matcher for each kind of point that rules have regexes for. `refused` is told of those that can't be
    /// compiled, with the regex to blame if it is one.
    pub(super) fn compile_regexes(&mut self, refused: &mut Refused<'_>) {
        let regexes = std::mem::take(&mut self.regexes);
        let mut kinds: Vec<(RegexKind, Vec<&RegexOf<'_>>)> = Vec::new();
        let mut places: HashMap<RegexKind, usize> = HashMap::new();
        for regex in &regexes {
            let kind = kind_of(regex);
            let place = *places.entry(kind.clone()).or_insert_with(|| {
                kinds.push((kind, Vec::new()));
                kinds.len() - 1
            });
            kinds[place].1.push(regex);
        }
        for (kind, members) in kinds {
            self.compile_kind(kind, &members, refused);
        }
    }

    fn compile_kind(&mut self, kind: RegexKind, members: &[&RegexOf<'_>], refused: &mut Refused<'_>) {
        let mut builder = MatcherBuilder::default();
        let mut points: Vec<u32> = members.iter().map(|regex| number_of_point(regex)).collect();
        for (regex, point) in members.iter().zip(&points) {
            let text = String::from_utf8_lossy(&regex.check.value);
            match Regex::new(&text, regex.check.point.is_in_any_case()) {
                Ok(compiled) => builder.add(*point, compiled, regex.number),
                Err(refusal) => refused(Some((&regex.check.point, &regex.check.value)), refusal),
            }
        }
        points.sort_unstable();
        points.dedup();
        let matcher = match builder.build(points.len() > 1) {
            Ok(matcher) => matcher,
            Err(Failure { number, refusal }) => {
                let to_blame = members.iter().find(|regex| Some(regex.number) == number);
                refused(to_blame.map(|regex| (&regex.check.point, &*regex.check.value)), refusal);
                return;
            }
        };
        let index = self.tree.matchers.len() as u32;
        for regex in members {
            let key = (regex.check.point.clone(), regex.check.value.clone());
            self.tree.regexes.insert(key, RegexPlace { matcher: index, number: regex.number });
            match regex.slot {
                Slot::Single(slot) => self.tree.singles[slot as usize].regexes = index,
                Slot::Named(group, name) => {
                    let group = match group {
                        GroupKind::Query => &mut self.tree.query,
                        GroupKind::Header => &mut self.tree.headers,
                    };
                    group.regexes = index;
                    group.values[name as usize].has_regexes = true;
                }
            }
        }
        let kind = if matches!(kind, RegexKind::Path(_)) { RegexKind::Path(points) } else { kind };
        self.tree.matchers.push(KindMatcher { matcher, kind });
    }
}

fn kind_of(regex: &RegexOf<'_>) -> RegexKind {
    match (&regex.check.point, regex.slot) {
        (_, Slot::Named(group, _)) => RegexKind::Group(group),
        (PointKey::Path(_), _) => RegexKind::Path(Vec::new()),
        (point, _) => RegexKind::Point(point.clone()),
    }
}

/// Which of several points of its kind.
fn number_of_point(regex: &RegexOf<'_>) -> u32 {
    match (&regex.check.point, regex.slot) {
        (_, Slot::Named(_, name)) => name,
        (PointKey::Path(index), _) => *index,
        _ => 0,
    }
}
