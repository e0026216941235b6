//! Changes to the headers of responses.

use super::forward::append;

/// What is done to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditAction {
    /// The values take the place of what the origin sent.
    Set,
    /// The values are added to what the origin sent.
    Append,
    /// What the origin sent is left out.
    Delete,
}

/// A change to one header. Name and values were checked: they can't end their line, and the header belongs neither to
/// the connection nor to the framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit {
    /// What is done.
    pub action: EditAction,
    /// The name, in any case.
    pub name: String,
    /// A field each.
    pub values: Vec<String>,
}

/// The changes to one response, of which a later one has the last word.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderEdits<'a> {
    /// All changes there are.
    pub all: &'a [HeaderEdit],
    /// The numbers of those that hold.
    pub chosen: &'a [u32],
}

impl<'a> HeaderEdits<'a> {
    /// No change.
    pub const NONE: Self = Self { all: &[], chosen: &[] };

    fn iter(self) -> impl DoubleEndedIterator<Item = &'a HeaderEdit> {
        self.chosen.iter().filter_map(move |number| self.all.get(*number as usize))
    }

    /// Whether what the origin sent of this header is left out.
    pub(super) fn remove(self, name: &[u8]) -> bool {
        self.iter().any(|edit| edit.takes_the_place_of(name))
    }

    /// Appends the fields that are added, but for those that a later change leaves out.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        for (position, edit) in self.iter().enumerate() {
            let name = edit.name.as_bytes();
            if self.iter().skip(position + 1).any(|later| later.takes_the_place_of(name)) {
                continue;
            }
            for value in &edit.values {
                append(out, &[name, b": ", value.as_bytes(), b"\r\n"]);
            }
        }
    }
}

impl HeaderEdit {
    fn takes_the_place_of(&self, name: &[u8]) -> bool {
        self.action != EditAction::Append && self.name.as_bytes().eq_ignore_ascii_case(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(action: EditAction, name: &str, values: &[&str]) -> HeaderEdit {
        HeaderEdit {
            action,
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn the_last_word_counts() {
        let all = [
            edit(EditAction::Append, "A", &["1", "2"]),
            edit(EditAction::Set, "a", &["3"]),
            edit(EditAction::Append, "A", &["4"]),
            edit(EditAction::Delete, "Server", &[]),
        ];
        let written = |chosen: &[u32]| {
            let mut out = Vec::new();
            HeaderEdits { all: &all, chosen }.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&[0, 3]), "A: 1\r\nA: 2\r\n");
        assert_eq!(written(&[0, 1, 2]), "a: 3\r\nA: 4\r\n");
        assert_eq!(written(&[]), "");
        let edits = HeaderEdits { all: &all, chosen: &[0, 3] };
        assert!(edits.remove(b"server") && !edits.remove(b"a") && !edits.remove(b"x"));
    }
}
