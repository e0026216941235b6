//! Decoders: from bytes as they travel to bytes as an application sees them.

pub(crate) mod json;
pub(crate) mod percent;

use crate::arena::{Arena, Step, Value};
use crate::limits::OverLimit;
use json::{JsonReader, Target};
use percent::Plus;

/// How often percent-encoding is undone in all, the first time being part of taking a query or path apart.
const PERCENT_ROUNDS: u8 = 3;

/// Decodes what is encoded inside values, again and again within the limits. Reused.
#[derive(Debug, Default)]
pub(crate) struct Expander {
    /// A copy of the value that is being decoded into the arena.
    input: Vec<u8>,
    json: JsonReader,
}

impl Expander {
    /// Adds to the arena what decoders make of its values, until nothing new comes or a limit is hit.
    pub(crate) fn expand(&mut self, arena: &mut Arena) {
        let mut index = 0;
        while let Some(value) = arena.values().get(index).copied() {
            index += 1;
            let bytes = arena.slice(value.span);
            let percent = has_percent_escape(bytes);
            let json = looks_like_json(bytes);
            if !percent && !json {
                continue;
            }
            if value.depth >= arena.limits().decoder_depth {
                arena.hit_limit(OverLimit::Depth);
                continue;
            }
            self.input.clear();
            self.input.extend_from_slice(bytes);
            if json {
                self.expand_json(value, arena);
            } else if value.depth < PERCENT_ROUNDS {
                self.expand_percent(value, arena);
            }
        }
    }

    fn expand_percent(&self, value: Value, arena: &mut Arena) {
        let node = arena.node(value.node, Step::Decoder("percent"));
        let span = arena.write(|bytes| percent::decode(&self.input, Plus::Literal, bytes));
        arena.add(span, node, value.place, value.depth + 1);
    }

    fn expand_json(&mut self, value: Value, arena: &mut Arena) {
        let node = arena.node(value.node, Step::Part("json"));
        let target = Target { node, place: value.place, depth: value.depth + 1 };
        self.json.read(&self.input, target, arena);
    }

    /// Reads a JSON body; see [`JsonReader::read`].
    pub(crate) fn read_json(&mut self, input: &[u8], target: Target, arena: &mut Arena) -> json::Ending {
        self.json.read(input, target, arena)
    }
}

fn has_percent_escape(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).any(|position| percent::is_escape(&bytes[position..]))
}

/// Whether a value inside a request is worth a try as JSON: an object or a list from end to end.
fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', .., b'}'] | [b'[', .., b']'])
}
