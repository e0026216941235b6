//! Entities that a document declares itself: text can be put together from them.

use std::cell::Cell;

use crate::decode::entities;

/// The most declarations that are kept.
const DECLARATIONS_MAX: usize = 32;

/// The deepest entity inside an entity.
const DEPTH_MAX: usize = 8;

/// What all replacements in one document may cost, in bytes of replacement text.
const REPLACED_BYTES_MAX: usize = 256 << 10;

/// What looking for one declaration counts as, in such bytes.
const LOOKUP_COST: usize = 8;

/// The declarations of a document. Where a name is declared twice, comments around declarations can make either count.
#[derive(Debug)]
pub(super) struct Entities<'a> {
    declarations: [(&'a [u8], &'a [u8]); DECLARATIONS_MAX],
    count: usize,
    /// Whether the last declaration of a name counts instead of the first.
    last_counts: bool,
    /// Replacement bytes that are left.
    budget: Cell<usize>,
    /// Bytes that replacements have cost, without looking for them.
    replaced: Cell<usize>,
    /// Whether there are more declarations, deeper ones or longer replacements than are followed.
    over: Cell<bool>,
    /// Whether entities inside of entities are what is too much.
    multiplies: Cell<bool>,
}

impl<'a> Entities<'a> {
    /// The internal general entities that are declared anywhere in the document.
    pub(super) fn of(document: &'a [u8]) -> Self {
        const START: &[u8] = b"<!ENTITY";
        let mut entities = Self {
            declarations: [(b"", b""); DECLARATIONS_MAX],
            count: 0,
            last_counts: false,
            budget: Cell::new(REPLACED_BYTES_MAX),
            replaced: Cell::new(0),
            over: Cell::new(false),
            multiplies: Cell::new(false),
        };
        let mut rest = document;
        while let Some(position) = memchr::memmem::find(rest, START) {
            rest = &rest[position + START.len()..];
            let Some((name, value)) = declaration(rest) else { continue };
            if entities.count == DECLARATIONS_MAX {
                entities.over.set(true);
                break;
            }
            entities.declarations[entities.count] = (name, value);
            entities.count += 1;
        }
        entities
    }

    /// The same with the other reading of names that are declared twice, if there are such.
    pub(super) fn other_reading(&self) -> Option<Self> {
        let declarations = &self.declarations[..self.count];
        let twice =
            |index: usize| declarations[..index].iter().any(|(name, _)| *name == declarations[index].0);
        (0..self.count).any(twice).then(|| Self {
            declarations: self.declarations,
            count: self.count,
            last_counts: true,
            budget: Cell::new(REPLACED_BYTES_MAX),
            replaced: Cell::new(0),
            over: Cell::new(false),
            multiplies: Cell::new(false),
        })
    }

    /// Whether something was left out.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Appends a text with its references replaced.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.count == 0 {
            entities::decode(text, out);
        } else {
            self.replace(text, 0, out);
        }
    }

    /// Whether the text grows out of proportion: by entities that hold references to others, or by a long one again and
    /// again.
    pub(super) fn multiplies(&self) -> bool {
        self.multiplies.get()
    }

    fn replace(&self, text: &[u8], depth: usize, out: &mut Vec<u8>) {
        let mut written = 0;
        for position in memchr::memchr_iter(b'&', text) {
            let Some(budget) = self.budget.get().checked_sub(LOOKUP_COST) else {
                self.over.set(true);
                break;
            };
            self.budget.set(budget);
            let Some((name, value)) = self.lookup(&text[position + 1..]) else { continue };
            // The name costs as well, so that empty entities are not free.
            let cost = name.len() + value.len();
            let replaced = self.replaced.get() + cost;
            if depth == DEPTH_MAX || cost > budget {
                self.over.set(true);
                // Otherwise the document is just long.
                if depth > 0 || replaced > REPLACED_BYTES_MAX / 2 {
                    self.multiplies.set(true);
                }
                continue;
            }
            self.budget.set(budget - cost);
            self.replaced.set(replaced);
            entities::decode(&text[written..position], out);
            self.replace(value, depth + 1, out);
            written = position + 1 + name.len() + 1;
        }
        entities::decode(&text[written..], out);
    }

    /// The declaration that the reference behind an ampersand names.
    fn lookup(&self, reference: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        let fits = |(name, _): &&(&[u8], &[u8])| {
            reference.strip_prefix(*name).is_some_and(|after| after.first() == Some(&b';'))
        };
        let mut declarations = self.declarations[..self.count].iter();
        if self.last_counts { declarations.rfind(fits) } else { declarations.find(fits) }.copied()
    }
}

/// The name and the text of a declaration, from behind its keyword. Those with an address have no text here.
fn declaration(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let input = input.trim_ascii_start();
    let length = input.iter().take_while(|byte| super::is_name_byte(**byte)).count();
    let (name, rest) = input.split_at(length);
    let (quote, quoted) = rest.trim_ascii_start().split_first()?;
    if length == 0 || !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let end = memchr::memchr(*quote, quoted)?;
    Some((name, &quoted[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(declarations: &str, text: &str) -> (String, bool) {
        let entities = Entities::of(declarations.as_bytes());
        let mut out = Vec::new();
        entities.write(text.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), entities.is_over())
    }

    #[test]
    fn references_are_replaced_by_what_was_declared() {
        let declared =
            "<!ENTITY x \"1 &#60; 2\"><!ENTITY\ny '&x;!'><!ENTITY s SYSTEM \"a\"><!ENTITY % p \"b\">";
        let (text, over) = replaced(declared, "a &x;&y; &z; &amp;x; &s; &x");
        assert_eq!((text.as_str(), over), ("a 1 < 21 < 2! &z; &x; &s; &x", false));
    }

    #[test]
    fn a_name_that_is_declared_twice_has_two_readings() {
        let entities = Entities::of(b"<!-- <!ENTITY x 'a'> --><!ENTITY x 'b'>");
        let mut out = Vec::new();
        entities.write(b"&x;", &mut out);
        entities.other_reading().unwrap().write(b"&x;", &mut out);
        assert_eq!(out, b"ab");
        assert!(Entities::of(b"<!ENTITY x 'a'>").other_reading().is_none());
    }

    #[test]
    fn a_long_document_is_no_bomb() {
        let read = |declaration: &str, text: String| {
            let entities = Entities::of(declaration.as_bytes());
            entities.write(text.as_bytes(), &mut Vec::new());
            (entities.is_over(), entities.multiplies())
        };
        // What is looked for leaves no room for the last one.
        let long = "&amp;".repeat(REPLACED_BYTES_MAX / LOOKUP_COST - 1) + "&x;";
        assert_eq!(read("<!ENTITY x 'some text'>", long), (true, false));
        let value = format!("<!ENTITY x '{}'>", "a".repeat(REPLACED_BYTES_MAX / 4));
        assert_eq!(read(&value, "&x;".repeat(8)), (true, true));
    }

    #[test]
    fn replacing_is_bounded() {
        let nested = |count: usize, text: &str| -> String {
            (1..count).fold(format!("<!ENTITY e0 '{text}'>"), |all, index| {
                let before = format!("&e{};", index - 1).repeat(100);
                all + &format!("<!ENTITY e{index} '{before}'>")
            })
        };
        for text in ["lol", ""] {
            let (text, over) = replaced(&nested(7, text), "&e6;");
            assert!(over && text.len() <= 2 * REPLACED_BYTES_MAX);
        }
        assert!(replaced("<!ENTITY x 'y'>", &"&".repeat(REPLACED_BYTES_MAX)).1);
        assert!(replaced("<!ENTITY x '&x;'>", "&x;").1);
        assert!(replaced(&"<!ENTITY x ''>".repeat(DECLARATIONS_MAX + 1), "").1);
    }
}
