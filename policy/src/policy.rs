//! The compiled policy and what is read from it for each request.

use std::net::IpAddr;

use memchr::memmem;

use crate::attributes::{AttributeLists, AttributeName, Client};
use crate::hosts::{Host, Hosts};
use crate::kinds::RuleType;
use crate::lists::{Begun, Lists};
use crate::locations::Locations;
use crate::mode::{Mode, Override};
use crate::path::{Path, PathScratch};
use crate::readings::Merge;
use crate::regex::Scanner;
use crate::rules::{self, Facts, Known, MatchScratch, Rules};
use crate::source::{Attribute, List, ModeByHeader, PolicySource, RuleSource};
use crate::verdict::{self, Finding, Reason, Verdict};

/// A server, counted from 0 in the order of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(pub u32);

/// A location, numbered over all servers in the order of the source: each server has one for requests that none of its
/// locations takes, and then its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationIndex(pub u32);

/// What policy looks at in a request, as received.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `HTTP/1.1`, or the version alone.
    pub proto: &'a [u8],
    /// The Host value; may carry a port; empty if there is none.
    pub host: &'a [u8],
    /// The path of the target, before any `?`, not decoded.
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a [u8]>,
    /// Names and values of all headers.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// Buffers that [`Policy::resolve`] works in: one per worker. They grow to what requests need and then stay. It may be
/// used with one policy after another.
#[derive(Debug, Default)]
pub struct Scratch {
    host: Vec<u8>,
    path: PathScratch,
    pub(crate) matching: MatchScratch,
    /// What counts beside the mode for the request resolved last.
    pub(crate) effects: Vec<EffectIndex>,
    /// What its readings have in common, where it was resolved by several.
    pub(crate) merge: Merge,
    /// What counts for each reading, one after the other.
    pub(crate) gathered: Vec<EffectIndex>,
}

/// A rule of a type other than `mode`, numbered in the order of [`Policy::effect_rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectIndex(pub u32);

/// The rules, beside those of modes, that hold for one request: of types of which one rule counts, that one.
#[derive(Debug, Clone, Copy)]
pub struct Effects<'a> {
    rules: &'a rules::Effects,
    all: &'a [EffectIndex],
    merge: Merge,
}

impl<'a> Effects<'a> {
    /// All of them, by type, in the order of [`RuleType`]; then as in [`Effects::of`].
    pub const fn all(&self) -> &'a [EffectIndex] {
        self.all
    }

    /// Rate limits hold for some readings of the path and not for others, so that all of them count the request, and not the
    /// lowest alone (see [`Policy::resolve_readings`]).
    pub const fn every_rate_counts(&self) -> bool {
        self.merge.every_rate_counts
    }

    /// Of several `over_time_limit` rules, one for a reading of the path, none is the only one; and for some reading there is
    /// none, so that the general limit of time holds beside them (see [`Policy::resolve_readings`]).
    pub const fn general_time_limit_counts(&self) -> bool {
        self.merge.general_time_limit_counts
    }

    /// Those of one type. Most specific first, but `rate_limit` (the lowest rate first) and `response_header` (least
    /// specific first, so that the most specific one has the last word).
    pub fn of(&self, rule_type: RuleType) -> &'a [EffectIndex] {
        if self.all.is_empty() {
            return self.all;
        }
        let range = self.rules.range(rule_type);
        let start = self.all.partition_point(|effect| effect.0 < range.start);
        let end = self.all.partition_point(|effect| effect.0 < range.end);
        &self.all[start..end]
    }
}

/// Where the effective mode came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeSource {
    /// The config's contexts.
    Local,
    /// The rule with this id.
    Rule(u64),
    /// The general mode.
    General,
}

impl std::fmt::Display for ModeSource {
    /// As `mode_from` in `explain`: `local`, `rule 2`, `general`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Rule(id) => write!(f, "rule {id}"),
            Self::General => f.write_str("general"),
        }
    }
}

/// What comes next for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It passes uninspected: the mode is off, or the source allowlisted.
    PassUninspected,
    /// It is blocked uninspected, for this reason.
    BlockNow(Reason),
    /// It is inspected.
    Inspect {
        /// The request could end in a block, so it waits for its verdict. (Virtual patches are not counted in here.)
        hold: bool,
    },
}

/// What the policy says about a request before it is inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The server that answers.
    pub server: ServerIndex,
    /// The location that the path falls into.
    pub location: LocationIndex,
    /// The application.
    pub application: i64,
    /// The effective mode.
    pub mode: Mode,
    /// Where the mode came from.
    pub mode_source: ModeSource,
    /// The list that holds the source, of those that are read here (spec S1.3).
    pub list: Option<List>,
    /// What comes next.
    pub stage: Stage,
}

/// Columns of the table of effective modes, of which one per mode and one for `default` are used.
const COLUMNS: usize = 8;
/// In a byte of that table: the mode is the rule's, not the local one.
const FROM_RULE: u8 = 4;
/// Where no header chooses the local mode.
const NO_ROWS: u32 = u32::MAX;

/// Who set a value, with the indexes that `explain` needs to name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetBy {
    Environment,
    Http,
    Server,
    Location,
    Default,
}

/// A location with everything inherited.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) server: u32,
    /// Among the server's; none is the one for all other paths.
    pub(crate) index: Option<u32>,
    pub(crate) application: i64,
    /// The application as conditions see it.
    pub(crate) instance: Box<str>,
    pub(crate) disable_acl: bool,
    pub(crate) local_mode: (Mode, SetBy),
    pub(crate) allow_override: (Override, SetBy),
    /// Maps to be asked before the local mode, most local first.
    pub(crate) maps: Box<[HeaderMap]>,
}

/// What each request reads of its location, close together.
#[derive(Debug)]
#[repr(align(32))]
pub(crate) struct Spot {
    application: i64,
    /// What rules tell apart of that.
    known_instance: Known,
    /// The effective mode by column (the winning rule's mode), for the local mode of the location.
    row: Row,
    /// First of four rows in the table of modes, one per mode that a map may give; [`NO_ROWS`] without a map.
    map_rows: u32,
    disable_acl: bool,
}

/// The effective mode by column.
type Row = [u8; COLUMNS];

/// A compiled `mode_by_header`.
#[derive(Debug)]
pub(crate) struct HeaderMap {
    pub(crate) name: Box<[u8]>,
    pub(crate) contains: Box<[(memmem::Finder<'static>, Mode)]>,
    pub(crate) set_by: SetBy,
}

impl HeaderMap {
    pub(crate) fn new(source: &ModeByHeader, set_by: SetBy) -> Self {
        let finder = |text: &String| memmem::Finder::new(text.as_bytes()).into_owned();
        Self {
            name: source.header.as_bytes().into(),
            contains: source.contains.iter().map(|(text, &mode)| (finder(text), mode)).collect(),
            set_by,
        }
    }

    /// The strictest mode of the texts that occur.
    fn mode(&self, headers: &[(&[u8], &[u8])]) -> Option<Mode> {
        let of_value = |value| {
            let occurring = self.contains.iter().filter(move |(text, _)| text.find(value).is_some());
            occurring.map(|&(_, mode)| mode).max()
        };
        headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&self.name))
            .filter_map(|&(_, value)| of_value(value))
            .max()
    }

    /// The first text of the map that gives `mode` and occurs.
    pub(crate) fn text_of(&self, mode: Mode, headers: &[(&[u8], &[u8])]) -> Option<&[u8]> {
        let occurs = |text: &memmem::Finder<'_>| {
            let mut values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&self.name));
            values.any(|(_, value)| text.find(value).is_some())
        };
        let (text, _) = self.contains.iter().find(|(text, given)| *given == mode && occurs(text))?;
        Some(text.needle())
    }
}

/// A compiled policy: immutable, shared by all workers.
#[derive(Debug)]
pub struct Policy {
    pub(crate) hosts: Hosts,
    pub(crate) paths: Locations,
    pub(crate) locations: Box<[Location]>,
    /// Of each of these what requests read.
    pub(crate) spots: Box<[Spot]>,
    /// First location of each server: the one for all other paths.
    pub(crate) server_locations: Box<[u32]>,
    /// The effective modes where headers choose the local one: a row for each location with a map and mode of these.
    pub(crate) mapped_modes: Box<[Row]>,
    pub(crate) rules: Rules,
    /// Unique in the process.
    pub(crate) number: u64,
    /// Some location or rule has a regex.
    pub(crate) has_regexes: bool,
    pub(crate) lists: Lists,
    pub(crate) attribute_lists: AttributeLists,
    pub(crate) acl_access_phase: bool,
    /// What was compiled, for `explain` and for names.
    pub(crate) source: PolicySource,
}

impl Policy {
    /// What requests read of locations, and the table of mapped modes.
    pub(crate) fn spots(locations: &[Location], rules: &Rules) -> (Box<[Spot]>, Box<[Row]>) {
        use crate::mode::{RuleMode, effective};
        let row = |local, policy| {
            let mut row = [0; COLUMNS];
            let set = Mode::ALL.into_iter().map(RuleMode::Set);
            for rule in set.chain([RuleMode::Default]) {
                let (mode, from_rule) = effective(local, policy, rule);
                row[usize::from(rule.column())] = mode as u8 | if from_rule { FROM_RULE } else { 0 };
            }
            row
        };
        let mut mapped: Vec<Row> = Vec::new();
        let mut spot = |location: &Location| {
            let policy = location.allow_override.0;
            let mut map_rows = NO_ROWS;
            if !location.maps.is_empty() {
                map_rows = mapped.len() as u32;
                mapped.extend(Mode::ALL.map(|mode| row(mode, policy)));
            }
            Spot {
                application: location.application,
                known_instance: rules.instance(&location.instance),
                row: row(location.local_mode.0, policy),
                map_rows,
                disable_acl: location.disable_acl,
            }
        };
        (locations.iter().map(&mut spot).collect(), mapped.into())
    }

    /// The effective modes of a location where headers choose its local mode.
    #[inline(never)]
    fn mapped_row(&self, location: u32, map_rows: u32, headers: &[(&[u8], &[u8])]) -> Option<&Row> {
        let (mode, _) = self.locations[location as usize].mapped_mode(headers)?;
        self.mapped_modes.get(map_rows as usize + mode as usize)
    }

    /// What the policy says about a request. `now_unix_seconds` settles which list entries have expired.
    ///
    /// Takes no lock, and allocates only while `scratch` still grows.
    pub fn resolve(
        &self,
        scratch: &mut Scratch,
        facts: &RequestFacts<'_>,
        client: IpAddr,
        now_unix_seconds: u64,
    ) -> Resolution {
        self.resolve_client(scratch, facts, &client.into(), now_unix_seconds)
    }

    /// The same for a client of whom more is known than the address.
    pub fn resolve_client(
        &self,
        scratch: &mut Scratch,
        facts: &RequestFacts<'_>,
        client: &Client,
        now_unix_seconds: u64,
    ) -> Resolution {
        self.resolve_one(scratch, facts, client, now_unix_seconds, false)
    }

    /// The same; with `even_idle` the masks that hold are gathered even where no rule runs.
    #[inline(always)]
    pub(crate) fn resolve_one(
        &self,
        scratch: &mut Scratch,
        facts: &RequestFacts<'_>,
        client: &Client,
        now_unix_seconds: u64,
        even_idle: bool,
    ) -> Resolution {
        let Scratch { host, path, matching, effects, merge, gathered: _ } = scratch;
        *merge = Merge::default();
        let begun = self.lists.begin(client.address);
        let host = Host::read(facts.host, host);
        let server = self.hosts.find(host.name);
        let path = Path::normalise(facts.path, path);
        if self.has_regexes {
            let databases = self.paths.databases().chain(self.rules.databases());
            matching.scanner.fit(self.number, databases);
        }
        let index = self.location_of(server, path.bytes, &mut matching.scanner);
        let spot = &self.spots[index as usize];
        let facts = Facts { request: facts, host, path, location: &self.locations[index as usize] };
        let rule = self.rules.winner(matching, &facts, spot.known_instance);
        let mapped = if spot.map_rows == NO_ROWS {
            None
        } else {
            self.mapped_row(index, spot.map_rows, facts.request.headers)
        };
        let byte = mapped.unwrap_or(&spot.row)[usize::from(rule.column)];
        let mode = Mode::from_low_bits(byte);
        let list = self.list(spot, mode, client, begun, now_unix_seconds);
        let stage = self.stage(mode, list);
        effects.clear();
        if even_idle || stage != Stage::PassUninspected {
            self.rules.collect_effects(matching, &facts, effects);
            if !matches!(stage, Stage::Inspect { .. }) {
                let masks = self.rules.effects().range(RuleType::Mask);
                effects.retain(|effect| masks.contains(&effect.0));
            }
        }
        Resolution {
            server: ServerIndex(server),
            location: LocationIndex(index),
            application: spot.application,
            mode,
            mode_source: if byte & FROM_RULE != 0 { self.rules.mode_source(rule) } else { ModeSource::Local },
            list,
            stage,
        }
    }

    /// Which rules beside those of modes hold for the request that was resolved last with this scratch, by this policy.
    /// None do where the mode is off or the client allowlisted; for one that is blocked without inspection masks alone.
    pub fn effects<'a>(&'a self, scratch: &'a Scratch) -> Effects<'a> {
        Effects { rules: self.rules.effects(), all: &scratch.effects, merge: scratch.merge }
    }

    /// The rules that [`EffectIndex`] numbers.
    pub fn effect_rules(&self) -> impl ExactSizeIterator<Item = &RuleSource> {
        self.rules.effects().sources().map(|index| &self.source.rules[index])
    }

    /// What happens to a request of which `finding` is the strongest.
    pub fn verdict(&self, resolution: &Resolution, finding: Finding) -> Verdict {
        verdict::verdict(resolution.mode, resolution.list, self.acl_access_phase, finding)
    }

    /// How many servers there are.
    pub fn server_count(&self) -> usize {
        self.server_locations.len()
    }

    /// How many locations there are, those for all other paths included.
    pub fn location_count(&self) -> usize {
        self.locations.len()
    }

    /// The server's name; empty for an index from another policy.
    pub fn server_name(&self, server: ServerIndex) -> &str {
        self.source.servers.get(server.0 as usize).map_or("", |server| &server.name)
    }

    /// The location's path as configured; none for the one that takes all other paths, and for an index from another
    /// policy.
    pub fn location_path(&self, location: LocationIndex) -> Option<&str> {
        let (server, index) = self.location_position(location)?;
        Some(&self.source.servers[server].locations[index?].path)
    }

    /// Where the location stands in the source: index of its server, and its index there (none for the one that takes
    /// all other paths). `None` for an index from another policy.
    pub fn location_position(&self, location: LocationIndex) -> Option<(usize, Option<usize>)> {
        let location = self.locations.get(location.0 as usize)?;
        Some((location.server as usize, location.index.map(|index| index as usize)))
    }

    /// The location of a normalised path.
    fn location_of(&self, server: u32, path: &[u8], scanner: &mut Scanner) -> u32 {
        self.paths.location(server, path, scanner).unwrap_or(self.server_locations[server as usize])
    }

    /// The list that holds the client, of those that this mode and location read.
    #[inline]
    fn list(&self, spot: &Spot, mode: Mode, client: &Client, begun: Begun, now: u64) -> Option<List> {
        if mode == Mode::Off || spot.disable_acl {
            return None;
        }
        let (application, read_gray) = (spot.application, mode == Mode::SafeBlocking);
        let by_address = self.lists.find(begun, application, now, read_gray);
        if self.attribute_lists.is_empty() {
            return by_address;
        }
        let by_attributes = self.attribute_lists.find(&client.attributes, application, now, read_gray);
        by_address.into_iter().chain(by_attributes).min()
    }

    /// Whether any list entry is about an attribute of addresses.
    pub fn uses_attributes(&self) -> bool {
        !self.attribute_lists.is_empty()
    }

    /// Whether any list entry is about this attribute of addresses.
    pub fn uses(&self, attribute: Attribute) -> bool {
        self.attribute_lists.uses(attribute)
    }

    /// The number of a name that list entries use; `None` if none does.
    pub fn attribute_name(&self, attribute: Attribute, name: &str) -> Option<AttributeName> {
        self.attribute_lists.name(attribute, name)
    }

    pub(crate) fn stage(&self, mode: Mode, list: Option<List>) -> Stage {
        match (mode, list) {
            (Mode::Off, _) | (_, Some(List::Allow)) => Stage::PassUninspected,
            (_, Some(List::Deny)) if self.acl_access_phase => Stage::BlockNow(Reason::DenyList),
            (Mode::Monitoring, _) => Stage::Inspect { hold: false },
            (Mode::SafeBlocking, list) => Stage::Inspect { hold: list.is_some() },
            (Mode::Block, _) => Stage::Inspect { hold: true },
        }
    }
}

impl Location {
    /// The local mode that a header chooses, and whose map did.
    pub(crate) fn mapped_mode(&self, headers: &[(&[u8], &[u8])]) -> Option<(Mode, SetBy)> {
        self.maps.iter().find_map(|map| Some((map.mode(headers)?, map.set_by)))
    }

    /// The name of the header that chooses the local mode, and the text in it that does.
    pub(crate) fn mapped_by(&self, headers: &[(&[u8], &[u8])]) -> Option<(&[u8], &[u8])> {
        let (map, mode) = self.maps.iter().find_map(|map| Some((map, map.mode(headers)?)))?;
        Some((&map.name, map.text_of(mode, headers)?))
    }
}
