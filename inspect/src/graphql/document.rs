//! Reads a GraphQL document once and measures it. No syntax tree is built, and what is no GraphQL is skipped: a server
//! refuses it.

use std::ops::Range;

/// The most fragments of a document that are followed; with more, its depth counts as [`u32::MAX`].
const FRAGMENTS_MAX: usize = 256;

/// The most operations and fragments together, and the most spreads, with the same outcome.
const DEFINITIONS_MAX: usize = 1024;
const SPREADS_MAX: usize = 16 << 10;

/// What a document comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// The deepest nesting of fields. [`u32::MAX`] when fragments contain themselves.
    pub(super) depth: u32,
    /// Aliases, those of fragments as often as they are spread.
    pub(super) aliases: u32,
    /// The longest string.
    pub(super) longest_value_bytes: usize,
    /// Whether the schema is asked for.
    pub(super) introspection: bool,
}

/// An operation or a fragment.
#[derive(Debug, Clone, Default)]
struct Definition {
    /// Where a fragment's name stands; empty for an operation.
    name: Range<usize>,
    depth: u32,
    aliases: u32,
    /// Its spreads, in the reader's list.
    spreads: Range<usize>,
    followed: Followed,
}

/// How far the spreads of a definition are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Followed {
    #[default]
    No,
    /// Right now: who meets it again goes round in a circle.
    Now,
    Yes,
}

#[derive(Debug, Clone)]
struct Spread {
    name: Range<usize>,
    /// How many fields lie around it.
    depth: u32,
}

/// A document's reader, reused.
#[derive(Debug, Default)]
pub(super) struct Reader {
    definitions: Vec<Definition>,
    spreads: Vec<Spread>,
    /// For each open selection set whether a field's, rather than a condition on a type, opened it.
    sets: Vec<bool>,
    /// How many of these are fields'.
    fields: u32,
    /// The numbers of the fragments, by name.
    fragments: Vec<usize>,
}

/// A token that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(Range<usize>),
    /// A string with so many bytes between its quotes.
    Text(usize),
    Spread,
    Mark(u8),
}

impl Reader {
    /// Measures a document; `None` for what is none: it doesn't begin as an operation or a fragment, or selects nothing.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<Measure> {
        let (first, _) = token(text, 0)?;
        let begins = match first {
            Token::Mark(byte) => byte == b'{',
            Token::Name(name) => {
                matches!(&text[name], b"query" | b"mutation" | b"subscription" | b"fragment")
            }
            _ => false,
        };
        if !begins || memchr::memchr(b'{', text).is_none() {
            return None;
        }
        self.definitions.clear();
        self.spreads.clear();
        self.sets.clear();
        self.fields = 0;
        let mut measure = Measure { depth: 0, aliases: 0, longest_value_bytes: 0, introspection: false };
        self.scan(text, &mut measure);
        self.follow_all(text, &mut measure);
        (measure.depth > 0).then_some(measure)
    }

    fn scan(&mut self, text: &[u8], measure: &mut Measure) {
        let mut position = 0;
        // How many parentheses, brackets and braces of arguments are open.
        let mut in_values = 0_usize;
        let mut previous = Token::Mark(0);
        let mut is_condition = false;
        self.definitions.push(Definition::default());
        while let Some((token, end)) = token(text, position) {
            position = end;
            if self.definitions.len() > DEFINITIONS_MAX || self.spreads.len() > SPREADS_MAX {
                measure.depth = u32::MAX;
                return;
            }
            match &token {
                Token::Text(bytes) => measure.longest_value_bytes = measure.longest_value_bytes.max(*bytes),
                Token::Mark(b'(' | b'[') => in_values += 1,
                Token::Mark(b'{') if in_values > 0 => in_values += 1,
                Token::Mark(b')' | b']') => in_values = in_values.saturating_sub(1),
                Token::Mark(b'}') if in_values > 0 => in_values -= 1,
                _ if in_values > 0 => {}
                Token::Mark(b'{') => {
                    self.sets.push(!is_condition);
                    self.fields += u32::from(!is_condition);
                    is_condition = false;
                }
                Token::Mark(b'}') => {
                    if let Some(is_field) = self.sets.pop() {
                        self.fields -= u32::from(is_field);
                        if self.sets.is_empty() {
                            self.end_definition();
                        }
                    }
                }
                Token::Mark(b':') => self.current().aliases = self.current().aliases.saturating_add(1),
                // A condition on a type or a directive alone may follow.
                Token::Spread => is_condition = true,
                Token::Name(name) => {
                    is_condition &= self.name(text, name, &previous, measure);
                }
                Token::Mark(_) => {}
            }
            previous = token;
        }
        self.end_definition();
    }

    /// Takes in a name outside of arguments. Whether the next selection set may still be that of a condition.
    fn name(&mut self, text: &[u8], name: &Range<usize>, previous: &Token, measure: &mut Measure) -> bool {
        let depth = self.fields;
        if self.sets.is_empty() {
            if matches!(previous, Token::Name(word) if &text[word.clone()] == b"fragment") {
                self.current().name = name.clone();
            }
            return false;
        }
        match previous {
            Token::Spread if &text[name.clone()] != b"on" => {
                self.spreads.push(Spread { name: name.clone(), depth: depth.saturating_sub(1) });
                false
            }
            Token::Spread | Token::Mark(b'@') => true,
            Token::Name(word) if &text[word.clone()] == b"on" && is_behind_dots(text, word) => true,
            _ => {
                let definition = self.current();
                definition.depth = definition.depth.max(depth);
                measure.introspection |= matches!(&text[name.clone()], b"__schema" | b"__type");
                false
            }
        }
    }

    fn current(&mut self) -> &mut Definition {
        if self.definitions.is_empty() {
            self.definitions.push(Definition::default());
        }
        let last = self.definitions.len() - 1;
        &mut self.definitions[last]
    }

    fn end_definition(&mut self) {
        let end = self.spreads.len();
        self.current().spreads.end = end;
        self.definitions.push(Definition { spreads: end..end, ..Definition::default() });
    }

    /// Adds the fragments to what spreads them.
    fn follow_all(&mut self, text: &[u8], measure: &mut Measure) {
        let is_fragment = |definition: &Definition| !definition.name.is_empty();
        let Self { definitions, fragments, .. } = self;
        fragments.clear();
        fragments.extend((0..definitions.len()).filter(|index| is_fragment(&definitions[*index])));
        if fragments.len() > FRAGMENTS_MAX {
            measure.depth = u32::MAX;
            return;
        }
        fragments.sort_by_key(|index| &text[definitions[*index].name.clone()]);
        for index in 0..self.definitions.len() {
            self.follow(text, index);
            let definition = &self.definitions[index];
            measure.depth = measure.depth.max(definition.depth);
            measure.aliases = measure.aliases.max(definition.aliases);
        }
    }

    /// Adds the fragments to one definition, each fragment's own first: at most [`FRAGMENTS_MAX`] deep.
    fn follow(&mut self, text: &[u8], index: usize) {
        match self.definitions[index].followed {
            Followed::Yes => return,
            Followed::Now => {
                self.definitions[index].depth = u32::MAX;
                return;
            }
            Followed::No => self.definitions[index].followed = Followed::Now,
        }
        for number in self.definitions[index].spreads.clone() {
            let Spread { name, depth } = self.spreads[number].clone();
            let definitions = &self.definitions;
            let found = self.fragments.binary_search_by(|fragment| {
                text[definitions[*fragment].name.clone()].cmp(&text[name.clone()])
            });
            let Ok(place) = found else { continue };
            let fragment = self.fragments[place];
            self.follow(text, fragment);
            let (inner, aliases) = (self.definitions[fragment].depth, self.definitions[fragment].aliases);
            let outer = &mut self.definitions[index];
            outer.depth = outer.depth.max(depth.saturating_add(inner));
            outer.aliases = outer.aliases.saturating_add(aliases);
        }
        self.definitions[index].followed = Followed::Yes;
    }
}

/// Whether `on` belongs to a condition and is no field: three dots stand before it.
fn is_behind_dots(text: &[u8], on: &Range<usize>) -> bool {
    text[..on.start].trim_ascii_end().ends_with(b"...")
}

/// The next token from `position` on, and where it ends.
fn token(text: &[u8], position: usize) -> Option<(Token, usize)> {
    let mut position = position;
    loop {
        match *text.get(position)? {
            b'#' => position += memchr::memchr2(b'\n', b'\r', &text[position..])?,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length =
                    text[position..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
                let end = position + length.count();
                return Some((Token::Name(position..end), end));
            }
            b'"' => return Some(string(text, position)),
            b'.' if text[position..].starts_with(b"...") => return Some((Token::Spread, position + 3)),
            mark @ (b'{' | b'}' | b'(' | b')' | b'[' | b']' | b':' | b'@' | b'$' | b'=') => {
                return Some((Token::Mark(mark), position + 1));
            }
            _ => position += 1,
        }
    }
}

/// The string whose opening quote is at `start`.
fn string(text: &[u8], start: usize) -> (Token, usize) {
    const BLOCK: &[u8] = b"\"\"\"";
    let rest = &text[start..];
    if let Some(block) = rest.strip_prefix(BLOCK) {
        let length = memchr::memmem::find(block, BLOCK).unwrap_or(block.len());
        return (Token::Text(length), (start + length + 2 * BLOCK.len()).min(text.len()));
    }
    let mut position = 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &rest[position.min(rest.len())..]) {
        position += offset;
        if rest[position] == b'"' {
            return (Token::Text(position - 1), start + position + 1);
        }
        position += 2;
    }
    (Token::Text(rest.len() - 1), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Measure> {
        Reader::default().read(text.as_bytes())
    }

    fn depth_and_aliases(text: &str) -> (u32, u32) {
        let measure = read(text).unwrap();
        (measure.depth, measure.aliases)
    }

    #[test]
    fn fields_nest() {
        for (text, expected) in [
            ("{a}", (1, 0)),
            ("{ a b c }", (1, 0)),
            ("{a{b{c}} d}", (3, 0)),
            ("query Q($x: [Int!]! = {a: 1}) { one: a(x: {y: {z: 1}}, v: [\"}\"]) { b } }", (2, 1)),
            ("query Q @live { a @include(if: $b) { b } }", (2, 0)),
            ("{ ... on T { a } ... @skip(if: true) { b { c } } on { x } }", (2, 0)),
            ("mutation { a: x b: x c: x { d: y } }", (2, 4)),
            ("# { a {\n query Q { a # {{{\n }", (1, 0)),
            ("{ a(x: \"{{{{\") b(y: \"\"\"{ \"q\" { \"\"\") }", (1, 0)),
            ("{a{b{c", (3, 0)),
        ] {
            assert_eq!(depth_and_aliases(text), expected, "{text}");
        }
    }

    #[test]
    fn fragments_count_where_they_are_spread() {
        for (text, expected) in [
            ("{ a { ...F } } fragment F on T { b { x: c } }", (3, 1)),
            ("fragment F on T { x: b } { p { ...F } q { ...F ...F } }", (2, 3)),
            ("{ ...A } fragment A on T { a { ...B } } fragment B on T { b { c } }", (3, 0)),
            ("{ a { ...Unknown } }", (1, 0)),
            ("{ ... { ...F } } fragment F on T { on }", (1, 0)),
        ] {
            assert_eq!(depth_and_aliases(text), expected, "{text}");
        }
        let circle = "{ ...A } fragment A on T { ...B } fragment B on T { a { ...A } }";
        assert_eq!(read(circle).unwrap().depth, u32::MAX);
        let many = (0..=FRAGMENTS_MAX).map(|number| format!("fragment F{number} on T {{ a }} "));
        assert_eq!(read(&(many.collect::<String>() + "{ a }")).unwrap().depth, u32::MAX);
    }

    #[test]
    fn doubling_fragments_add_up_without_being_unfolded() {
        let mut text = "{ ...F0 } fragment F60 on T { x: a } ".to_owned();
        for number in 0..60 {
            let next = number + 1;
            text += &format!("fragment F{number} on T {{ ...F{next} ...F{next} }} ");
        }
        assert_eq!(read(&text).unwrap().aliases, u32::MAX);
    }

    #[test]
    fn what_is_too_much_to_follow_is_too_deep() {
        assert_eq!(read(&"{a}".repeat(DEFINITIONS_MAX + 1)).unwrap().depth, u32::MAX);
        assert_eq!(read(&format!("{{{}", "...F ".repeat(SPREADS_MAX + 2))).unwrap().depth, u32::MAX);
        assert_eq!(read(&"{a".repeat(100_000)).unwrap().depth, 100_000);
    }

    #[test]
    fn values_and_the_schema_are_seen() {
        let measure = read("{ a(x: \"12\\\"45\", y: \"\"\"1\"2\"\"\") { __typename } }").unwrap();
        assert_eq!((measure.longest_value_bytes, measure.introspection), (6, false));
        assert!(read("{ __schema { types { name } } }").unwrap().introspection);
        assert!(read("query { x: __type(name: \"T\") { name } }").unwrap().introspection);
        assert!(!read("{ a(x: __schema) }").unwrap().introspection);
    }

    #[test]
    fn other_texts_are_no_documents() {
        for text in [
            "",
            "{",
            "query",
            "query of the day",
            "{\"a\": 1}",
            "a { b }",
            "mutation in genes {",
            "{}",
            "select {a}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
