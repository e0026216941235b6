//! Which entries of the lists hold a client, which of them counts, and why the others don't.

use std::fmt;

use serde::Serialize;

use crate::attributes::Client;
use crate::mode::Mode;
use crate::policy::{Policy, Resolution};
use crate::source::List;

/// Entries that an explanation shows at most: files may hold any number of the same.
pub const LIST_ENTRIES_SHOWN_MAX: usize = 100;

/// The entry that puts the client on a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListMatch {
    /// The list.
    pub list: List,
    /// What the entry is about: `address`, `datacenter`, `proxy` or `country`.
    pub source: &'static str,
    /// Its network, or the name of what it is about.
    pub name: String,
    /// Unix time in seconds when it ends; none is never.
    pub expires: Option<u64>,
    /// Its reason.
    pub reason: Option<String>,
}

impl fmt::Display for ListMatch {
    /// As `allow 10.0.0.0/8` or `deny country NL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.list.as_str())?;
        if self.source != "address" {
            write!(f, "{} ", self.source)?;
        }
        f.write_str(&self.name)
    }
}

/// An entry that is about the client, whether it counts or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoveringEntry {
    /// The entry.
    #[serde(flatten)]
    pub entry: ListMatch,
    /// The applications that it holds for; none are all.
    pub applications: Vec<i64>,
    /// It is the one that puts the client on the list that counts.
    pub wins: bool,
    /// Why it counts or doesn't, in words.
    pub why: String,
}

/// An entry by its place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Address(usize),
    Attribute(usize),
}

impl Policy {
    /// The entry that puts a client on the list of a resolution, that of its address before those of what it is.
    pub fn list_match(
        &self,
        client: &Client,
        resolution: &Resolution,
        now_unix_seconds: u64,
    ) -> Option<ListMatch> {
        Some(self.shown(self.winning(client, resolution, now_unix_seconds)?).0)
    }

    fn winning(&self, client: &Client, resolution: &Resolution, now: u64) -> Option<Found> {
        let (list, application) = (resolution.list?, resolution.application);
        let by_address = self.lists.entry_of(client.address, list, application, now).map(Found::Address);
        by_address.or_else(|| {
            let attributes = &client.attributes;
            self.attribute_lists.entry_of(attributes, list, application, now).map(Found::Attribute)
        })
    }

    /// The entry, and its applications.
    fn shown(&self, found: Found) -> (ListMatch, &[i64]) {
        match found {
            Found::Address(index) => {
                let entry = &self.source.lists[index];
                let shown = ListMatch {
                    list: entry.list,
                    source: "address",
                    name: entry.address.to_string(),
                    expires: entry.expires,
                    reason: entry.reason.clone(),
                };
                (shown, &entry.applications)
            }
            Found::Attribute(index) => {
                let entry = &self.source.attribute_lists[index];
                let shown = ListMatch {
                    list: entry.list,
                    source: entry.attribute.as_str(),
                    name: entry.name.clone(),
                    expires: entry.expires,
                    reason: entry.reason.clone(),
                };
                (shown, &entry.applications)
            }
        }
    }

    /// The entries that are about the client, the one that counts first, at most [`LIST_ENTRIES_SHOWN_MAX`] of them; and
    /// how many there are. `acl_disabled_by` is the context that switches lists off for the place, if one does.
    pub(crate) fn covering_entries(
        &self,
        client: &Client,
        resolution: &Resolution,
        now: u64,
        acl_disabled_by: Option<&str>,
    ) -> (Vec<CoveringEntry>, usize) {
        let winner = self.winning(client, resolution, now);
        let by_address = self.lists.covering(client.address).map(Found::Address);
        let by_attributes = self.attribute_lists.covering(&client.attributes).map(Found::Attribute);
        let others = by_address.chain(by_attributes).filter(|found| Some(*found) != winner);
        let winning_entry = winner.map(|winner| self.shown(winner).0);
        let mut count = 0;
        let mut entries = Vec::new();
        for found in winner.into_iter().chain(others) {
            count += 1;
            if entries.len() == LIST_ENTRIES_SHOWN_MAX {
                continue;
            }
            let (entry, applications) = self.shown(found);
            let wins = Some(found) == winner;
            let why = if wins {
                why_it_counts(entry.list).to_owned()
            } else {
                let place = PlaceOfRequest { resolution, acl_disabled_by, now };
                why_it_does_not(&entry, applications, winning_entry.as_ref(), &place)
            };
            entries.push(CoveringEntry { entry, applications: applications.to_vec(), wins, why });
        }
        (entries, count)
    }
}

const fn why_it_counts(list: List) -> &'static str {
    match list {
        List::Allow => "the allow list goes before the others",
        List::Deny => "no entry of the allow list holds for this client, and deny goes before gray",
        List::Gray => {
            "no entry of the allow and deny lists holds for this client, and the mode is safe_blocking"
        }
    }
}

struct PlaceOfRequest<'a> {
    resolution: &'a Resolution,
    acl_disabled_by: Option<&'a str>,
    now: u64,
}

/// Why an entry that is about the client doesn't count: first what the entry itself says, then what the place says, then
/// what other entries say.
fn why_it_does_not(
    entry: &ListMatch,
    applications: &[i64],
    winner: Option<&ListMatch>,
    place: &PlaceOfRequest<'_>,
) -> String {
    let Resolution { application, mode, .. } = *place.resolution;
    if entry.expires.is_some_and(|end| end <= place.now) {
        return "it has expired".to_owned();
    }
    if !applications.is_empty() && !applications.contains(&application) {
        let its: Vec<String> = applications.iter().map(ToString::to_string).collect();
        return format!("it is for application {}, and this is application {application}", its.join(", "));
    }
    if mode == Mode::Off {
        return "no list is read where the mode is off".to_owned();
    }
    if let Some(context) = place.acl_disabled_by {
        return format!("{context} has disable_acl, so no list is read");
    }
    match winner {
        Some(winner) if winner.list < entry.list => {
            let (list, before) = (entry.list.as_str(), winner.list.as_str());
            format!("the {before} list goes before the {list} list, and `{winner}` holds for this client")
        }
        Some(winner) if winner.list == entry.list => format!("`{winner}` of the same list counts already"),
        // what holds for the client and comes before all others would be the winner if its list was read
        _ => format!("the gray list is read in safe_blocking alone, and the mode is {mode}"),
    }
}
