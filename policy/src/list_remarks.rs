//! What is odd about entries of the lists: those that say nothing new, and those for applications that no place has.
//! Sound: what is said is so. At most [`SHOWN_MAX`] entries are named for each oddity, and the work is bounded.

use std::collections::HashSet;

use crate::compile::Remarks;
use crate::error::Place;
use crate::lists::Lists;
use crate::source::{AttributeEntry, ListEntry, PolicySource};

/// Entries that are named for each oddity; further ones are counted.
const SHOWN_MAX: usize = 20;

/// Pairs of entries that are compared at most.
const COMPARED_MAX: usize = 5_000_000;

/// Warnings of one kind: the first few in full, then how many more.
struct Capped {
    told: Vec<(Place, String)>,
    count: usize,
    of_what: &'static str,
}

impl Capped {
    const fn new(of_what: &'static str) -> Self {
        Self { told: Vec::new(), count: 0, of_what }
    }

    fn add(&mut self, place: impl FnOnce() -> Place, message: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < SHOWN_MAX {
            self.told.push((place(), message()));
        }
    }

    fn finish(self, remarks: &mut Remarks) {
        let more = self.count - self.told.len();
        for (place, message) in self.told {
            remarks.warn(&place, message);
        }
        if more > 0 {
            let message = format!("{more} more entries of the lists {}", self.of_what);
            remarks.warn(&Place::Lists, message);
        }
    }
}

/// Warns of entries that say nothing new, and of those for an application that no place has.
pub(crate) fn warn(source: &PolicySource, lists: &Lists, applications: &HashSet<i64>, remarks: &mut Remarks) {
    warn_of_unknown_applications(source, applications, remarks);
    let mut redundant = Capped::new("say nothing new");
    let covers = |index: usize, other: usize, same_network: bool| {
        let (entry, by) = (&source.lists[index], &source.lists[other]);
        // of entries that are the same the first one counts
        covers(entry, by) && (!same_network || !covers(by, entry) || other < index)
    };
    lists.redundant(COMPARED_MAX, covers, |index, by| {
        let place = || Place::Entry { index };
        redundant.add(place, || {
            let by = &source.lists[by];
            format!(
                "it says nothing new: `{} {}` holds for all that it holds for",
                by.list.as_str(),
                by.address
            )
        });
    });
    redundant.finish(remarks);
    warn_of_redundant_attributes(&source.attribute_lists, remarks);
}

/// Whether `by`, whose network is the same or larger, puts everybody on the list whom `entry` puts there, and as long.
fn covers(entry: &ListEntry, by: &ListEntry) -> bool {
    entry.list == by.list
        && lasts(entry.expires, by.expires)
        && holds_for(&entry.applications, &by.applications)
}

/// Whether what ends at `by` lasts as long as what ends at `entry`.
fn lasts(entry: Option<u64>, by: Option<u64>) -> bool {
    by.is_none_or(|by| entry.is_some_and(|entry| entry <= by))
}

fn holds_for(entry: &[i64], by: &[i64]) -> bool {
    by.is_empty() || (!entry.is_empty() && entry.iter().all(|application| by.contains(application)))
}

fn warn_of_unknown_applications(source: &PolicySource, applications: &HashSet<i64>, remarks: &mut Remarks) {
    let mut unknown = Capped::new("name applications that no server or location has");
    let mut known: Vec<String> = applications.iter().map(ToString::to_string).collect();
    known.sort_unstable();
    let message = |missing: i64| {
        let shown = known.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = if known.len() > SHOWN_MAX { ", ..." } else { "" };
        format!("no server or location has application {missing}; there is {shown}{more}")
    };
    let missing =
        |named: &[i64]| named.iter().copied().find(|application| !applications.contains(application));
    for (index, entry) in source.lists.iter().enumerate() {
        if let Some(application) = missing(&entry.applications) {
            unknown.add(|| Place::Entry { index }, || message(application));
        }
    }
    for (index, entry) in source.attribute_lists.iter().enumerate() {
        if let Some(application) = missing(&entry.applications) {
            unknown.add(|| Place::AttributeEntry { index }, || message(application));
        }
    }
    unknown.finish(remarks);
}

/// The same among entries about what clients are: those about the same thing stand side by side once they are sorted.
fn warn_of_redundant_attributes(entries: &[AttributeEntry], remarks: &mut Remarks) {
    let mut redundant = Capped::new("say nothing new");
    let mut sorted: Vec<usize> = (0..entries.len()).collect();
    let subject = |index: &usize| {
        let entry = &entries[*index];
        (entry.attribute, &*entry.name, entry.list)
    };
    sorted.sort_by(|a, b| subject(a).cmp(&subject(b)));
    let mut compared = 0;
    for group in sorted.chunk_by(|a, b| subject(a) == subject(b)) {
        for &index in group {
            let entry = &entries[index];
            let covers = |entry: &AttributeEntry, by: &AttributeEntry| {
                lasts(entry.expires, by.expires) && holds_for(&entry.applications, &by.applications)
            };
            let by = group.iter().copied().find(|&other| {
                compared += 1;
                let by = &entries[other];
                compared <= COMPARED_MAX
                    && other != index
                    && covers(entry, by)
                    && (!covers(by, entry) || other < index)
            });
            if let Some(by) = by {
                let place = || Place::AttributeEntry { index };
                redundant.add(place, || {
                    let by = &entries[by];
                    let (list, attribute) = (by.list.as_str(), by.attribute.as_str());
                    format!(
                        "it says nothing new: `{list} {attribute} {}` holds for all that it holds for",
                        by.name
                    )
                });
            }
        }
    }
    redundant.finish(remarks);
}
