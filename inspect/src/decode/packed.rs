//! Compressed text in base64 inside a value, as cookies, tokens and single sign-on carry it.

use crate::arena::{Arena, Step, Value};
use crate::decode::{base64, inflate};
use crate::limits::OverLimit;

/// The most values of one request that are inflated.
const INFLATED_VALUES_MAX: u32 = 32;

/// The fewest letters that hold compressed text.
const PACKED_BYTES_MIN: usize = 16;

/// How much of one request was inflated already. Reused.
#[derive(Debug, Default)]
pub(super) struct Unpacker {
    count: u32,
    inflated_bytes: usize,
    data: Vec<u8>,
}

/// Whether a value begins as base64 of gzip or zlib does.
pub(super) fn is_packed(input: &[u8]) -> bool {
    let begins = match input {
        [b'H', b'4', b's', b'I', ..] => true,
        // The head of zlib with its four levels of compression.
        [b'e', b'A', b'E'..=b'H', ..]
        | [b'e', b'F', b'4'..=b'7', ..]
        | [b'e', b'J', b'w'..=b'z', ..]
        | [b'e', b'N', b'o'..=b'r', ..] => true,
        _ => false,
    };
    begins && input.len() >= PACKED_BYTES_MIN
}

impl Unpacker {
    /// Forgets the last request.
    pub(super) fn reset(&mut self) {
        (self.count, self.inflated_bytes) = (0, 0);
    }

    /// Adds the text that is compressed in a value, if it is text, and says whether it is.
    pub(super) fn unpack(&mut self, input: &[u8], value: Value, arena: &mut Arena) -> bool {
        self.data.clear();
        if !base64::decode_bytes(input, &mut self.data) {
            return false;
        }
        let room = inflate::INFLATED_BYTES_MAX - self.inflated_bytes;
        if self.count == INFLATED_VALUES_MAX || room == 0 {
            arena.hit_limit(OverLimit::DecodedBytes);
            return false;
        }
        self.count += 1;
        let (name, (text, ended)) = if inflate::is_gzip(&self.data) {
            ("gzip", inflate::gzip(&self.data, room))
        } else {
            ("deflate", inflate::deflate(&self.data, room))
        };
        self.inflated_bytes += text.len().min(room);
        if matches!(ended, inflate::Ended::TooMuch(_)) {
            arena.hit_limit(OverLimit::DecodedBytes);
        }
        let is_text = !text.is_empty() && base64::is_text(&text);
        if is_text {
            let span = arena.copy(&text);
            let node = arena.node(value.node, Step::Decoder("base64"));
            let node = arena.node(node, Step::Decoder(name));
            arena.add(span, node, value.place, value.depth + 1);
        }
        is_text
    }
}
