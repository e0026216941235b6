//! From the path to the location: one radix tree per server, walked once, at a cost of the path's length.

use std::sync::Arc;

use weir_hyperscan::{Database, HyperscanError};

use crate::bytes::{self, Block};
use crate::regex::Scanner;

/// No node, no location.
const NONE: u32 = u32::MAX;

/// Trees over the location paths of all servers.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    nodes: Vec<Node>,
    labels: Vec<u8>,
    /// The first byte of each node's label, at the node's own index: for the children that have no place in their parent.
    first_bytes: Vec<u8>,
    /// Root node of each server.
    roots: Vec<u32>,
    /// By server; none has no regexes.
    regexes: Vec<Option<Regexes>>,
}

/// The regex locations of a server.
#[derive(Debug)]
struct Regexes {
    database: Arc<Database>,
    /// Locations in file order, as the regexes are numbered.
    locations: Vec<u32>,
}

/// A regex location as it goes into a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegexEntry<'a> {
    pub(crate) regex: &'a str,
    pub(crate) any_case: bool,
    pub(crate) location: u32,
}

/// Children whose first bytes stand in their parent.
const NEAR: usize = 16;

/// A cache line: all that a step through the tree reads, but for labels longer than a word and children of many.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Node {
    /// First bytes of the labels of the first [`NEAR`] children; zeros behind them.
    near: [u8; NEAR],
    /// What the label starts with; as zeros behind its end.
    label_word: u64,
    label_start: u32,
    label_length: u32,
    /// The children are neighbours.
    children_start: u32,
    children_count: u32,
    /// Location that is exactly this path.
    exact: u32,
    /// Location of all paths that start so.
    prefix: u32,
    /// That location ends the search.
    is_final: bool,
}

/// A location as it goes into a server's tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) exact: bool,
    /// No regex is tried when this is the longest prefix.
    pub(crate) is_final: bool,
    pub(crate) location: u32,
}

impl Locations {
    /// Adds the next server; at most one exact and one prefix entry per path, and regexes in file order.
    ///
    /// Errs with the index of the regex that can't be compiled (none: all together) and the reason.
    pub(crate) fn add_server(
        &mut self,
        entries: &mut [Entry<'_>],
        regexes: &[RegexEntry<'_>],
    ) -> Result<(), (Option<usize>, String)> {
        let compiled = if regexes.is_empty() { None } else { Some(Regexes::compile(regexes)) };
        let (compiled, result) = match compiled {
            Some(Err(error)) => (None, Err(error)),
            Some(Ok(compiled)) => (Some(compiled), Ok(())),
            None => (None, Ok(())),
        };
        self.regexes.push(compiled);
        entries.sort_unstable_by_key(|entry| (entry.path, entry.exact));
        let root = self.reserve(1);
        self.roots.push(root);
        self.build(root, entries, 0, 0);
        result
    }

    /// All that scans for regexes.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &Database> {
        self.regexes.iter().flatten().map(|regexes| &*regexes.database)
    }

    /// The location that takes the path, if one does.
    #[inline]
    pub(crate) fn location(&self, server: u32, path: &[u8], scanner: &mut Scanner) -> Option<u32> {
        let found = self.find(server, path);
        match &self.regexes[server as usize] {
            Some(regexes) if found.exact.is_none() && !found.is_final => {
                regexes.find(path, scanner).or(found.prefix)
            }
            _ => found.exact.or(found.prefix),
        }
    }

    fn reserve(&mut self, count: usize) -> u32 {
        let start = self.nodes.len();
        let empty = Node {
            near: [0; NEAR],
            label_word: 0,
            label_start: 0,
            label_length: 0,
            children_start: 0,
            children_count: 0,
            exact: NONE,
            prefix: NONE,
            is_final: false,
        };
        self.nodes.resize(start + count, empty);
        self.first_bytes.resize(start + count, 0);
        start as u32
    }

    /// Fills a node whose label is what all `entries` (sorted, of which all start alike up to `to`) have between `from`
    /// and `to`.
    fn build(&mut self, node: u32, entries: &[Entry<'_>], from: usize, to: usize) {
        let mut built = Node {
            label_start: self.labels.len() as u32,
            label_length: (to - from) as u32,
            ..self.nodes[node as usize]
        };
        if let Some(first) = entries.first() {
            self.labels.extend_from_slice(&first.path[from..to]);
            self.first_bytes[node as usize] = first.path.get(from).copied().unwrap_or(0);
            built.label_word = bytes::word(&first.path[from..to], 0);
        }
        let ended = entries.partition_point(|entry| entry.path.len() == to);
        for entry in &entries[..ended] {
            *(if entry.exact { &mut built.exact } else { &mut built.prefix }) = entry.location;
            built.is_final |= entry.is_final;
        }
        let groups: Vec<&[Entry<'_>]> = entries[ended..].chunk_by(|a, b| a.path[to] == b.path[to]).collect();
        built.children_start = self.reserve(groups.len());
        built.children_count = groups.len() as u32;
        let mut near = [0; NEAR];
        for (place, group) in near.iter_mut().zip(&groups) {
            *place = group[0].path[to];
        }
        built.near = near;
        self.nodes[node as usize] = built;
        for (child, group) in (built.children_start..).zip(groups) {
            self.build(child, group, to, common_length(group, to));
        }
    }

    /// The exact location, or else the one with the longest prefix.
    fn find(&self, server: u32, path: &[u8]) -> Found {
        let mut found = Found { exact: None, prefix: None, is_final: false };
        let mut node = &self.nodes[self.roots[server as usize] as usize];
        let mut at = 0;
        loop {
            if node.prefix != NONE {
                (found.prefix, found.is_final) = (Some(node.prefix), node.is_final);
            }
            let Some(&next) = path.get(at) else {
                found.exact = (node.exact != NONE).then_some(node.exact);
                return found;
            };
            let Some(child) = self.child(node, next) else { return found };
            node = child;
            let length = node.label_length as usize;
            if length > 1 && !self.has_label(node, &path[at..]) {
                return found;
            }
            at += length;
        }
    }
}

impl Locations {
    /// The child whose label starts with the byte.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let (start, count) = (node.children_start as usize, node.children_count as usize);
        let offset = Block::new(node.near).equal(byte).trailing_zeros() as usize;
        // a zero may be one behind the children
        if offset < count.min(NEAR) {
            return self.nodes.get(start + offset);
        }
        let far = self.first_bytes[start..start + count].get(NEAR..)?;
        let offset = far.iter().position(|&first| first == byte)?;
        self.nodes.get(start + NEAR + offset)
    }

    /// Whether the path goes on with the node's whole label. Most labels fit into a word.
    #[inline]
    fn has_label(&self, node: &Node, path: &[u8]) -> bool {
        let length = node.label_length as usize;
        if length > 8 {
            let start = node.label_start as usize;
            return path.starts_with(&self.labels[start..start + length]);
        }
        let unlike = (bytes::word(path, 0) ^ node.label_word) << (64 - 8 * length);
        unlike == 0 && path.len() >= length
    }
}

/// What one walk finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    exact: Option<u32>,
    prefix: Option<u32>,
    is_final: bool,
}

impl Regexes {
    fn compile(entries: &[RegexEntry<'_>]) -> Result<Self, (Option<usize>, String)> {
        let texts: Vec<&str> = entries.iter().map(|entry| entry.regex).collect();
        let any_case: Vec<bool> = entries.iter().map(|entry| entry.any_case).collect();
        let database = Database::compile_for_one_report(&texts, &any_case).map_err(|error| match error {
            HyperscanError::Compile { index, message } => (index, message),
            error => (None, error.to_string()),
        })?;
        Ok(Self { database, locations: entries.iter().map(|entry| entry.location).collect() })
    }

    /// The first in file order that matches.
    fn find(&self, path: &[u8], scanner: &mut Scanner) -> Option<u32> {
        let mut first = usize::MAX;
        scanner.scan(Some(&self.database), path, |regex| first = first.min(regex as usize));
        self.locations.get(first).copied()
    }
}

/// How far all entries (sorted) start alike, at least to `from + 1`.
fn common_length(entries: &[Entry<'_>], from: usize) -> usize {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return from };
    let alike = first.path.iter().zip(last.path).take_while(|(a, b)| a == b).count();
    alike.max(from + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(paths: &[(&'static str, bool)]) -> Locations {
        let mut entries: Vec<_> = (0..)
            .zip(paths)
            .map(|(location, (path, exact))| Entry {
                path: path.as_bytes(),
                exact: *exact,
                is_final: false,
                location,
            })
            .collect();
        let mut locations = Locations::default();
        locations.add_server(&mut [], &[]).unwrap();
        locations.add_server(&mut entries, &[]).unwrap();
        locations
    }

    /// More children than stand in a node, first bytes of all values but 0, and a path with a 0 in it.
    #[test]
    fn a_node_has_any_number_of_children() {
        for count in [1, 7, 8, 9, 15, 16, 17, 40, 255] {
            let paths: Vec<[u8; 3]> = (1..=count).map(|first: u8| [b'/', first, b'x']).collect();
            let mut entries: Vec<_> = (0..)
                .zip(&paths)
                .map(|(location, path)| Entry { path, exact: false, is_final: false, location })
                .collect();
            let mut locations = Locations::default();
            locations.add_server(&mut entries, &[]).unwrap();
            for first in 0..=u8::MAX {
                let known = (1..=count).contains(&first);
                let expected = known.then(|| u32::from(first) - 1);
                assert_eq!(locations.find(0, &[b'/', first, b'x', b'y']).prefix, expected, "{first} {count}");
                assert_eq!(locations.find(0, &[b'/', first]).prefix, None, "{first} {count}");
            }
        }
    }

    #[test]
    fn longest_prefix_and_exact() {
        let locations = locations(&[
            ("/", false),
            ("/main", false),
            ("/main/login", false),
            ("/main/login", true),
            ("/main/log", false),
            ("/other/a", false),
            ("/other/b", false),
            ("/exact", true),
        ]);
        let table = [
            ("/", None, Some(0)),
            ("/x", None, Some(0)),
            ("/mai", None, Some(0)),
            ("/main", None, Some(1)),
            ("/mainx", None, Some(1)),
            ("/main/login", Some(3), Some(2)),
            ("/main/login/x", None, Some(2)),
            ("/main/logout", None, Some(4)),
            ("/other/", None, Some(0)),
            ("/other/b/c", None, Some(6)),
            ("/exact", Some(7), Some(0)),
            ("/exact/", None, Some(0)),
            ("*", None, None),
        ];
        for (path, exact, prefix) in table {
            let found = Found { exact, prefix, is_final: false };
            assert_eq!(locations.find(1, path.as_bytes()), found, "{path}");
            let nothing = Found { exact: None, prefix: None, is_final: false };
            assert_eq!(locations.find(0, path.as_bytes()), nothing, "{path}");
        }
    }
}
