//! Address lists: who is on them, for which application, until when (spec S1.3).
//!
//! Networks nest or are disjoint, so the addresses fall into ranges whose innermost network, with its parents, is all
//! that can hold for them. A look-up is one search for the range; bits summed up over the parents settle most answers
//! there, and only entries with an expiry or applications are looked at one by one.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::source::{List, ListEntry};

/// No network.
const NONE: u32 = u32::MAX;

/// The compiled lists.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    networks: Vec<Network>,
    /// In the order of the networks that they belong to.
    entries: Vec<Entry>,
    applications: Vec<i64>,
    ipv4: Ranges<u32>,
    ipv6: Ranges<Wide>,
}

/// An address whose look-up has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    address: IpAddr,
    near: Near,
}

/// A network that at least one entry names.
#[derive(Debug, Clone, Copy)]
struct Network {
    /// The smallest network around this one.
    parent: u32,
    entries_start: u32,
    entries_end: u32,
    /// Lists on which it or a network around it is for good and for all applications: one bit per list.
    always: u8,
    /// Lists on which it or a network around it is at all.
    maybe: u8,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    list: List,
    /// Unix seconds; `u64::MAX` is never.
    expires: u64,
    applications_start: u32,
    applications_end: u32,
    /// Index in the source.
    source: u32,
}

const fn bit(list: List) -> u8 {
    1 << list as u8
}

/// The address, IPv4 written as IPv6 turned back into IPv4.
fn canonical(address: IpNet) -> IpNet {
    if let IpNet::V6(network) = address
        && network.prefix_len() >= 96
        && let Some(ipv4) = network.addr().to_ipv4_mapped()
        && let Ok(network) = IpNet::new(IpAddr::V4(ipv4), network.prefix_len() - 96)
    {
        return network.trunc();
    }
    address.trunc()
}

/// First and last address of a network as numbers.
fn bounds(network: IpNet) -> (u128, u128) {
    let number = |address| match address {
        IpAddr::V4(ipv4) => u128::from(u32::from(ipv4)),
        IpAddr::V6(ipv6) => u128::from(ipv6),
    };
    (number(network.network()), number(network.broadcast()))
}

impl Lists {
    pub(crate) fn new(source: &[ListEntry]) -> Self {
        let mut lists = Self::default();
        let mut sorted: Vec<(IpNet, u32)> =
            source.iter().map(|entry| canonical(entry.address)).zip(0..).collect();
        sorted.sort_unstable_by_key(|&(network, index)| (bounds(network).0, network.prefix_len(), index));
        let (ipv4, ipv6): (Vec<_>, Vec<_>) =
            sorted.into_iter().partition(|(network, _)| network.addr().is_ipv4());
        lists.ipv4 = Ranges::new(&lists.add_family(&ipv4, source, u128::from(u32::MAX)), |wide| wide as u32);
        lists.ipv6 = Ranges::new(&lists.add_family(&ipv6, source, u128::MAX), Wide::from);
        lists
    }

    /// Adds the networks of one family and gives the starts of its ranges with the innermost network of each.
    fn add_family(&mut self, sorted: &[(IpNet, u32)], source: &[ListEntry], last: u128) -> Vec<(u128, u32)> {
        let mut ranges = vec![(0, NONE)];
        let mut open: Vec<(u128, u32)> = Vec::new();
        for group in sorted.chunk_by(|(a, _), (b, _)| a == b) {
            let (start, end) = bounds(group[0].0);
            close_before(&mut open, start, last, &mut ranges);
            let parent = open.last().map_or(NONE, |&(_, network)| network);
            let network = self.add_network(group, source, parent);
            start_range(&mut ranges, start, network);
            open.push((end, network));
        }
        while let Some((end, _)) = open.pop() {
            close(&open, end, last, &mut ranges);
        }
        ranges
    }

    fn add_network(&mut self, group: &[(IpNet, u32)], source: &[ListEntry], parent: u32) -> u32 {
        let (mut always, mut maybe) =
            self.networks.get(parent as usize).map_or((0, 0), |around| (around.always, around.maybe));
        let entries_start = self.entries.len() as u32;
        for &(_, index) in group {
            let entry = &source[index as usize];
            let applications_start = self.applications.len() as u32;
            self.applications.extend_from_slice(&entry.applications);
            maybe |= bit(entry.list);
            if entry.applications.is_empty() && entry.expires.is_none() {
                always |= bit(entry.list);
            }
            self.entries.push(Entry {
                list: entry.list,
                expires: entry.expires.unwrap_or(u64::MAX),
                applications_start,
                applications_end: self.applications.len() as u32,
                source: index,
            });
        }
        let entries_end = self.entries.len() as u32;
        self.networks.push(Network { parent, entries_start, entries_end, always, maybe });
        self.networks.len() as u32 - 1
    }

    /// Begins a look-up. Its memory is on its way while something else is done.
    #[inline]
    pub(crate) fn begin(&self, address: IpAddr) -> Begun {
        let address = address.to_canonical();
        let near = match address {
            IpAddr::V4(ipv4) => self.ipv4.near(u32::from(ipv4)),
            IpAddr::V6(ipv6) => self.ipv6.near(u128::from(ipv6).into()),
        };
        Begun { address, near }
    }

    #[inline]
    fn network(&self, begun: Begun) -> Option<&Network> {
        let index = match begun.address {
            IpAddr::V4(ipv4) => self.ipv4.network(begun.near, u32::from(ipv4)),
            IpAddr::V6(ipv6) => self.ipv6.network(begun.near, u128::from(ipv6).into()),
        };
        self.networks.get(index as usize)
    }

    fn network_of(&self, address: IpAddr) -> Option<&Network> {
        self.network(self.begin(address))
    }

    /// The first list that holds the address, in the order allow, deny, gray; gray only if it is to be read.
    #[inline]
    pub(crate) fn find(&self, begun: Begun, application: i64, now: u64, read_gray: bool) -> Option<List> {
        let network = self.network(begun)?;
        let read = if read_gray { u8::MAX } else { bit(List::Allow) | bit(List::Deny) };
        if network.maybe & read == 0 {
            return None;
        }
        List::ALL.into_iter().find(|&list| {
            network.maybe & read & bit(list) != 0
                && (network.always & bit(list) != 0 || self.entry(network, list, application, now).is_some())
        })
    }

    /// The entry that puts the address on the list, as an index into the source; that of the smallest network if there
    /// are several.
    pub(crate) fn entry_of(&self, address: IpAddr, list: List, application: i64, now: u64) -> Option<usize> {
        self.entry(self.network_of(address)?, list, application, now).map(|entry| entry.source as usize)
    }

    /// Bytes that they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.networks.capacity() * size_of::<Network>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.applications.capacity() * size_of::<i64>()
            + self.ipv4.memory_bytes()
            + self.ipv6.memory_bytes()
    }

    /// All entries whose networks hold the address, as indexes into the source; those of the smallest network first.
    pub(crate) fn covering(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let around = |network: &&Network| self.networks.get(network.parent as usize);
        let networks = std::iter::successors(self.network_of(address), around);
        let entries = networks
            .flat_map(|network| &self.entries[network.entries_start as usize..network.entries_end as usize]);
        entries.map(|entry| entry.source as usize)
    }

    /// Tells of each entry for which another one of its network, or of a network around that, says all, with that one.
    /// `covers` is asked of both by their indexes in the source, and told whether their networks are the same. Gives up after `compared_max` questions.
    pub(crate) fn redundant(
        &self,
        compared_max: usize,
        covers: impl Fn(usize, usize, bool) -> bool,
        mut tell: impl FnMut(usize, usize),
    ) {
        let mut compared = 0;
        for network in &self.networks {
            let own = &self.entries[network.entries_start as usize..network.entries_end as usize];
            let around = |network: &&Network| self.networks.get(network.parent as usize);
            for entry in own {
                let networks = std::iter::successors(Some(network), around)
                    .take_while(|network| network.maybe & bit(entry.list) != 0);
                let mut others = networks.flat_map(|network| {
                    let entries = &self.entries[network.entries_start as usize..network.entries_end as usize];
                    entries.iter().map(|entry| (entry, network.entries_start))
                });
                let by = others.find(|(other, start)| {
                    compared += 1;
                    compared <= compared_max
                        && other.source != entry.source
                        && covers(
                            entry.source as usize,
                            other.source as usize,
                            *start == network.entries_start,
                        )
                });
                if let Some((by, _)) = by {
                    tell(entry.source as usize, by.source as usize);
                }
                if compared > compared_max {
                    return;
                }
            }
        }
    }

    fn entry(&self, network: &Network, list: List, application: i64, now: u64) -> Option<&Entry> {
        let mut around = Some(network);
        while let Some(network) = around {
            if network.maybe & bit(list) == 0 {
                return None;
            }
            let entries = &self.entries[network.entries_start as usize..network.entries_end as usize];
            let holds = |entry: &&Entry| {
                let applications = entry.applications_start as usize..entry.applications_end as usize;
                entry.list == list
                    && now < entry.expires
                    && (applications.is_empty() || self.applications[applications].contains(&application))
            };
            if let Some(entry) = entries.iter().find(holds) {
                return Some(entry);
            }
            around = self.networks.get(network.parent as usize);
        }
        None
    }
}

/// Ends the open networks that lie wholly before `start`.
fn close_before(open: &mut Vec<(u128, u32)>, start: u128, last: u128, ranges: &mut Vec<(u128, u32)>) {
    while let Some(&(end, _)) = open.last()
        && end < start
    {
        open.pop();
        close(open, end, last, ranges);
    }
}

/// After `end` the network around counts again.
fn close(open: &[(u128, u32)], end: u128, last: u128, ranges: &mut Vec<(u128, u32)>) {
    if end < last {
        start_range(ranges, end + 1, open.last().map_or(NONE, |&(_, network)| network));
    }
}

fn start_range(ranges: &mut Vec<(u128, u32)>, start: u128, network: u32) {
    match ranges.last_mut() {
        Some(range) if range.0 == start => range.1 = network,
        _ => ranges.push((start, network)),
    }
}

/// An address of 128 bits, aligned as its halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wide {
    high: u64,
    low: u64,
}

impl From<u128> for Wide {
    fn from(number: u128) -> Self {
        Self { high: (number >> 64) as u64, low: number as u64 }
    }
}

impl From<Wide> for u128 {
    fn from(wide: Wide) -> Self {
        Self::from(wide.high) << 64 | Self::from(wide.low)
    }
}

/// Addresses from `start` to the start of the next range.
#[derive(Debug, Clone, Copy)]
struct Range<N> {
    start: N,
    /// Their innermost network.
    network: u32,
}

/// Candidates that are looked at without a question how many there are: a wrong guess costs more than they do.
const NEAR: usize = 4;

/// Adjoining ranges that cover all addresses, found by their starts.
///
/// The addresses between the lowest and the highest start are cut into blocks of one size, about as many as there are
/// ranges; an index over the blocks leaves a handful of ranges to search, and none where a whole block is in one range.
#[derive(Debug, Default)]
struct Ranges<N> {
    /// Behind the last one it is there some more times, so that there are always [`NEAR`] further ones.
    ranges: Box<[Range<N>]>,
    /// Where the last one starts, and its network.
    last: Option<Range<N>>,
    /// The range that the first address of each block is in; and the last range, as the end of the last block.
    blocks: Box<[u32]>,
    /// The first address of the first block: where the second range starts.
    base: N,
    /// A block has 2 to the power of this addresses.
    block_bits: u32,
}

/// Where an address is to be searched for.
#[derive(Debug, Clone, Copy)]
enum Near {
    /// It is in this network, or in none.
    Network(u32),
    /// It is in one of these ranges.
    Ranges(u32, u32),
}

impl<N: Copy + Ord + Into<u128>> Ranges<N> {
    /// The first of the ranges starts at the lowest address.
    fn new(ranges: &[(u128, u32)], narrow: fn(u128) -> N) -> Self {
        let base = ranges.get(1).map_or(0, |&(start, _)| start);
        let span = ranges.last().map_or(0, |&(start, _)| start - base);
        let index_bits = ranges.len().max(2).ilog2();
        let block_bits = (u128::BITS - span.leading_zeros()).saturating_sub(index_bits);
        let block_count = (span >> block_bits) + 1;
        let mut blocks = Vec::with_capacity(block_count as usize + 1);
        let mut range = 0;
        for block in 0..block_count {
            let first = base + (block << block_bits);
            while ranges.get(range + 1).is_some_and(|&(start, _)| start <= first) {
                range += 1;
            }
            blocks.push(range as u32);
        }
        blocks.push(ranges.len() as u32 - 1);
        let ranges = ranges.iter().map(|&(start, network)| Range { start: narrow(start), network });
        let last = ranges.clone().next_back();
        Self {
            ranges: ranges.chain(last.into_iter().cycle().take(NEAR)).collect(),
            last,
            blocks: blocks.into(),
            base: narrow(base),
            block_bits,
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.ranges) + size_of_val(&*self.blocks)
    }

    /// The first half of a look-up: what is far away in memory is asked for, and nothing waits for it.
    #[inline(always)]
    fn near(&self, address: N) -> Near {
        match self.last {
            Some(last) if address < last.start => {}
            last => return Near::Network(last.map_or(NONE, |last| last.network)),
        }
        if address < self.base {
            return Near::Network(self.ranges.first().map_or(NONE, |first| first.network));
        }
        let block = (address.into() - self.base.into()) >> self.block_bits;
        match self.blocks.get(block as usize..).and_then(<[u32]>::first_chunk) {
            Some(&[from, to]) => Near::Ranges(from, to),
            None => Near::Network(NONE),
        }
    }

    /// The second half.
    #[inline(always)]
    fn network(&self, near: Near, address: N) -> u32 {
        let (from, to) = match near {
            Near::Network(network) => return network,
            Near::Ranges(from, to) => (from as usize, to as usize),
        };
        // the address is below the last start, so that no copy of the last range counts
        if to - from <= NEAR
            && let Some(candidates) = self.ranges[from..].first_chunk::<{ NEAR + 1 }>()
        {
            let before =
                candidates[1..].iter().map(|range| usize::from(range.start <= address)).sum::<usize>();
            return candidates[before].network;
        }
        let candidates = &self.ranges[from + 1..=to];
        self.ranges[from + candidates.partition_point(|range| range.start <= address)].network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(list: List, address: &str) -> ListEntry {
        let address = address.parse().or_else(|_| address.parse::<IpAddr>().map(IpNet::from)).unwrap();
        ListEntry { list, address, applications: Vec::new(), expires: None, reason: None }
    }

    fn find(lists: &Lists, address: &str) -> Option<List> {
        lists.find(lists.begin(address.parse().unwrap()), -1, 0, true)
    }

    #[test]
    fn allow_over_deny_over_gray_whatever_the_prefix() {
        let lists = Lists::new(&[
            entry(List::Allow, "10.0.0.0/8"),
            entry(List::Deny, "10.1.0.0/16"),
            entry(List::Gray, "10.1.1.1"),
            entry(List::Deny, "11.0.0.0/8"),
            entry(List::Gray, "11.1.0.0/16"),
            entry(List::Gray, "12.0.0.0/8"),
            entry(List::Gray, "255.255.255.255"),
            entry(List::Deny, "0.0.0.0/32"),
            entry(List::Deny, "2001:db8::/32"),
            entry(List::Allow, "2001:db8::1"),
            entry(List::Gray, "::ffff:13.0.0.0/104"),
        ]);
        let table = [
            ("10.1.1.1", Some(List::Allow)),
            ("10.255.255.255", Some(List::Allow)),
            ("11.1.2.3", Some(List::Deny)),
            ("12.0.0.0", Some(List::Gray)),
            ("13.0.0.1", Some(List::Gray)),
            ("14.0.0.0", None),
            ("255.255.255.255", Some(List::Gray)),
            ("255.255.255.254", None),
            ("0.0.0.0", Some(List::Deny)),
            ("0.0.0.1", None),
            ("::ffff:12.1.1.1", Some(List::Gray)),
            ("2001:db8::1", Some(List::Allow)),
            ("2001:db8::2", Some(List::Deny)),
            ("2001:db9::", None),
            ("::", None),
        ];
        for (address, expected) in table {
            assert_eq!(find(&lists, address), expected, "{address}");
        }
    }

    #[test]
    fn a_network_may_be_all_addresses() {
        let lists = Lists::new(&[entry(List::Deny, "0.0.0.0/0"), entry(List::Gray, "10.0.0.1")]);
        for address in ["0.0.0.0", "10.0.0.1", "255.255.255.255"] {
            assert_eq!(find(&lists, address), Some(List::Deny), "{address}");
        }
        assert_eq!(find(&lists, "::1"), None, "of its family");
    }

    #[test]
    fn entries_expire_by_themselves_and_uncover_what_is_behind() {
        let lists = Lists::new(&[
            ListEntry { expires: Some(100), ..entry(List::Allow, "10.0.0.1") },
            ListEntry { expires: Some(200), ..entry(List::Deny, "10.0.0.0/24") },
            entry(List::Gray, "10.0.0.0/8"),
        ]);
        let at = |now| lists.find(lists.begin("10.0.0.1".parse().unwrap()), 1, now, true);
        assert_eq!([at(0), at(99)], [Some(List::Allow); 2]);
        assert_eq!([at(100), at(199)], [Some(List::Deny); 2]);
        assert_eq!([at(200), at(u64::MAX)], [Some(List::Gray); 2]);
        let ungray = lists.find(lists.begin("10.0.0.1".parse().unwrap()), 1, 200, false);
        assert_eq!(ungray, None, "gray is read on request alone");
    }

    #[test]
    fn entries_hold_for_their_applications() {
        let lists = Lists::new(&[
            ListEntry { applications: vec![1, 2], ..entry(List::Deny, "10.0.0.0/8") },
            ListEntry { applications: vec![-1], ..entry(List::Allow, "10.0.0.0/8") },
        ]);
        let of = |application| lists.find(lists.begin("10.2.3.4".parse().unwrap()), application, 0, true);
        assert_eq!(
            [of(1), of(2), of(3), of(-1)],
            [Some(List::Deny), Some(List::Deny), None, Some(List::Allow)]
        );
    }

    /// Few and many networks, close together and far apart, asked at and beside their ends.
    #[test]
    fn an_address_is_found_where_a_search_through_all_entries_finds_it() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        };
        for count in [0, 1, 2, 3, 5, 40, 300] {
            let entries: Vec<ListEntry> = (0..count)
                .map(|index| {
                    let near = index % 3 == 0;
                    let address = if index % 2 == 0 {
                        IpAddr::V4(
                            (if near { 0x0a00_0000 | random() as u32 & 0xffff } else { random() as u32 })
                                .into(),
                        )
                    } else {
                        let low = u128::from(random()) << 16;
                        IpAddr::V6((if near { 0x2001_0db8 << 96 | low } else { low << 64 | low }).into())
                    };
                    let longest = if address.is_ipv4() { 32 } else { 128 };
                    let prefix = longest - (random() % 20) as u8;
                    let address = IpNet::new(address, prefix).unwrap().trunc();
                    ListEntry { address, ..entry(List::Gray, "::") }
                })
                .collect();
            let lists = Lists::new(&entries);
            for end in entries.iter().flat_map(|entry| [entry.address.network(), entry.address.broadcast()]) {
                let beside = |step: i8| match end {
                    IpAddr::V4(ipv4) => IpAddr::V4(u32::from(ipv4).wrapping_add_signed(step.into()).into()),
                    IpAddr::V6(ipv6) => IpAddr::V6(u128::from(ipv6).wrapping_add_signed(step.into()).into()),
                };
                for address in [beside(-1), end, beside(1)] {
                    let holds = entries.iter().any(|entry| entry.address.contains(&address));
                    assert_eq!(
                        lists.find(lists.begin(address), -1, 0, true).is_some(),
                        holds,
                        "{address} of {count}"
                    );
                }
            }
            for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
                let address = address.parse().unwrap();
                let holds = entries.iter().any(|entry| entry.address.contains(&address));
                assert_eq!(
                    lists.find(lists.begin(address), -1, 0, true).is_some(),
                    holds,
                    "{address} of {count}"
                );
            }
        }
    }

    #[test]
    fn the_entry_behind_an_answer_is_that_of_the_smallest_network() {
        let lists = Lists::new(&[
            entry(List::Deny, "10.0.0.0/8"),
            ListEntry { expires: Some(10), ..entry(List::Deny, "10.0.0.1") },
        ]);
        let of = |now| lists.entry_of("10.0.0.1".parse().unwrap(), List::Deny, 1, now);
        assert_eq!([of(9), of(10)], [Some(1), Some(0)]);
        assert_eq!(lists.entry_of("10.0.0.1".parse().unwrap(), List::Gray, 1, 0), None);
    }
}
