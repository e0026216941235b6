//! Lists of names and values: queries, urlencoded forms, cookies, and URLs inside headers.

use crate::arena::{Arena, NodeId, ROOT, Span, Step};
use crate::decode::percent::{self, Plus};
use crate::place::Place;
use crate::reading;

/// How pairs joined by `&` become values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs {
    /// The point above the pairs.
    pub(super) node: NodeId,
    /// The place of values.
    pub(super) values: Place,
    /// The place of names.
    pub(super) names: Place,
    /// How a plus sign is read.
    pub(super) plus: Plus,
}

impl Pairs {
    /// Adds the pairs of a query or an urlencoded form. A piece without `=` is a value without a name.
    pub(super) fn add(self, text: &[u8], arena: &mut Arena) {
        let is_parted_otherwise = memchr::memchr(b';', text).is_some();
        let mut pairs = [(&b""[..], &b""[..]); JOINED_PAIRS_MAX];
        let mut count = 0;
        for (index, piece) in text.split(|byte| *byte == b'&').enumerate() {
            if arena.is_full() {
                return;
            }
            match position(b'=', piece) {
                Some(position) => {
                    let (name, value) = (&piece[..position], &piece[position + 1..]);
                    self.pair(name, value, arena);
                    if is_parted_otherwise {
                        self.split(piece, b';', arena);
                    }
                    if index < JOINED_PAIRS_MAX {
                        pairs[count] = (name, value);
                        count += 1;
                    }
                }
                None => {
                    let span = arena.write(|bytes| percent::decode(piece, self.plus, bytes));
                    arena.add_from(piece, span, self.node, self.values, 0);
                    if arena.keeps_all() {
                        // Some take it for a name without a value.
                        self.pair(piece, b"", arena);
                    }
                }
            }
        }
        self.join_repeated(&pairs[..count], arena);
    }

    /// Adds the pairs of a piece to readers for which another byte parts them as well.
    fn split(self, piece: &[u8], separator: u8, arena: &mut Arena) {
        reading::note(piece.len());
        if position(separator, piece).is_none() {
            return;
        }
        for piece in piece.split(|byte| *byte == separator) {
            if arena.is_full() {
                return;
            }
            let Some(position) = memchr::memchr(b'=', piece) else { continue };
            let name = arena.write(|bytes| percent::decode(&piece[..position], self.plus, bytes));
            if arena.slice(name).iter().all(|byte| is_in_name(*byte)) {
                self.named(name, &piece[position + 1..], arena);
            }
        }
    }

    /// Adds what readers make of a name that is given several times: its values joined by commas, or right behind each
    /// other. Values of letters and digits alone can't become more than these.
    fn join_repeated(self, pairs: &[(&[u8], &[u8])], arena: &mut Arena) {
        // Most names that are the same are written alike.
        let mut hashes = [0; JOINED_PAIRS_MAX];
        let is_escaped = pairs.iter().any(|(name, _)| memchr::memchr2(b'%', b'+', name).is_some());
        if is_escaped {
            for (hash, (name, _)) in hashes.iter_mut().zip(pairs) {
                *hash = self
                    .decoded(name)
                    .fold(0_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            }
        }
        let same = |one: usize, other: usize| {
            let (name, other_name) = (pairs[one].0, pairs[other].0);
            hashes[one] == hashes[other]
                && (name == other_name || (is_escaped && self.decoded(name).eq(self.decoded(other_name))))
        };
        for (index, (name, value)) in pairs.iter().enumerate() {
            let later =
                || (index + 1..pairs.len()).filter(|other| same(*other, index)).map(|other| pairs[other].1);
            let is_known = || (0..index).any(|other| same(other, index));
            if later().next().is_none() || is_known() || later().chain([*value]).all(is_plain) {
                continue;
            }
            let name = arena.write(|bytes| percent::decode(name, self.plus, bytes));
            let node = arena.node(self.node, Step::Name(name));
            let node = arena.node(node, Step::Part("pollution"));
            for separator in [&b","[..], b""] {
                let span = arena.write(|bytes| {
                    percent::decode(value, self.plus, bytes);
                    for value in later() {
                        bytes.extend_from_slice(separator);
                        percent::decode(value, self.plus, bytes);
                    }
                });
                arena.add(span, node, self.values, 0);
            }
        }
    }

    /// The bytes of a name without its percent-encoding.
    fn decoded(self, name: &[u8]) -> impl Iterator<Item = u8> {
        let mut rest = name;
        std::iter::from_fn(move || {
            let (&first, after) = rest.split_first()?;
            rest = after;
            match (first, after) {
                (b'%', [high, low, after @ ..]) => {
                    let Some(byte) = percent::hex(*high).zip(percent::hex(*low)) else { return Some(b'%') };
                    rest = after;
                    Some(byte.0 << 4 | byte.1)
                }
                (b'+', _) if self.plus == Plus::Space => Some(b' '),
                _ => Some(first),
            }
        })
    }

    fn pair(self, name: &[u8], value: &[u8], arena: &mut Arena) {
        let name = arena.write(|bytes| percent::decode(name, self.plus, bytes));
        self.named(name, value, arena);
    }

    fn named(self, name: Span, value: &[u8], arena: &mut Arena) {
        let node = arena.node(self.node, Step::Name(name));
        arena.add(name, node, self.names, 0);
        let span = arena.write(|bytes| percent::decode(value, self.plus, bytes));
        arena.add_from(value, span, node, self.values, 0);
    }

    /// A pair whose name not all servers decode.
    fn cookie(self, name: &[u8], value: &[u8], arena: &mut Arena) {
        if position(b'%', name).is_none() {
            return self.pair(name, value, arena);
        }
        let raw = arena.copy(name);
        let node = arena.node(self.node, Step::Name(raw));
        arena.add(raw, node, self.names, 0);
        let decoded = arena.write(|bytes| percent::decode(name, self.plus, bytes));
        arena.also_named(node, decoded);
        arena.add(decoded, node, self.names, 0);
        let span = arena.write(|bytes| percent::decode(value, self.plus, bytes));
        arena.add(span, node, self.values, 0);
    }
}

/// Where the byte is first. Pieces are mostly so short that a plain loop is faster than what looks for a byte by vectors.
#[inline]
fn position(byte: u8, piece: &[u8]) -> Option<usize> {
    const SHORT_BYTES_MAX: usize = 24;
    match piece.split_at_checked(SHORT_BYTES_MAX) {
        None => piece.iter().position(|found| *found == byte),
        Some(_) => memchr::memchr(byte, piece),
    }
}

/// How many pairs of a query or a form are compared with each other.
const JOINED_PAIRS_MAX: usize = 48;

fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// What names consist of that an application asks for. Text that happens to hold separators has more in it.
const fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'+' | b'$' | b':' | b' ' | 0x80..)
}

/// Adds the cookies of a Cookie header (RFC 6265 section 5.4, leniently).
pub(super) fn cookies(text: &[u8], arena: &mut Arena) {
    let node = arena.node(ROOT, Step::Part("cookie"));
    let pairs = Pairs { node, values: Place::Cookie, names: Place::Name, plus: Plus::Literal };
    for piece in text.split(|byte| *byte == b';') {
        if arena.is_full() {
            return;
        }
        let piece = piece.trim_ascii();
        match position(b'=', piece) {
            Some(position) => {
                pairs.cookie(&piece[..position], &piece[position + 1..], arena);
                pairs.split(piece, b',', arena);
            }
            None => pairs.pair(b"", piece, arena),
        }
    }
}

/// Adds the parts of a URL that a header carries: what lies before the query, the query's pairs, and the fragment.
pub(super) fn url(text: &[u8], node: NodeId, arena: &mut Arena) {
    let (text, fragment) = split_at_byte(text, b'#');
    let (base, query) = split_at_byte(text, b'?');
    let span = arena.write(|bytes| percent::decode(base, Plus::Literal, bytes));
    arena.add(span, node, Place::Referer, 0);
    if let Some(query) = query {
        let node = arena.node(node, Step::Part("query"));
        let place = Place::Referer;
        Pairs { node, values: place, names: place, plus: Plus::Space }.add(query, arena);
    }
    if let Some(fragment) = fragment {
        let node = arena.node(node, Step::Part("fragment"));
        let span = arena.write(|bytes| percent::decode(fragment, Plus::Literal, bytes));
        arena.add(span, node, Place::Referer, 0);
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(byte, text) {
        Some(position) => (&text[..position], Some(&text[position + 1..])),
        None => (text, None),
    }
}
