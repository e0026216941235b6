//! The dialect of conditions (spec S3.3): `. ^ $ [ ] ( ) | * + ? {n,m}`, `~` for complement and `&` for intersection.
//!
//! Binding, from the tightest: repeats, sequence, `~` (which stands at the start of a sequence), `&`, `|`. What other
//! dialects have and this one hasn't is refused with the words for it, never taken for something else.

use super::Refusal;
use super::set::ByteSet;
use super::tree::Tree;

/// Deeper groups are refused.
const MAX_DEPTH: usize = 60;

/// The most repeats that a count may ask for.
const MAX_COUNT: u32 = 1_000;

/// Reads a regex. `any_case`: ASCII letters stand for both of their cases.
pub(super) fn parse(text: &str, any_case: bool) -> Result<Tree, Refusal> {
    let mut characters = Vec::with_capacity(text.len());
    for character in text.chars() {
        let byte = u8::try_from(u32::from(character)).map_err(|_| {
            let problem = format!("`{character}` is none of the 256 characters of ISO 8859-1");
            Refusal::new(problem, bytes_of(character))
        })?;
        characters.push(byte);
    }
    let mut parser = Parser { text: &characters, at: 0, depth: 0, any_case };
    let tree = parser.alternatives()?;
    match parser.peek() {
        None => Ok(tree),
        // nothing else ends the outermost alternatives
        Some(_) => {
            Err(Refusal::new("there is a `)` without its `(`", "`[)]` for the character, or one `)` less"))
        }
    }
}

/// How the bytes of a character in UTF-8 are written, of which each is a character here.
fn bytes_of(character: char) -> String {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).bytes();
    let (mut escaped, mut encoded) = (String::new(), String::new());
    for byte in bytes {
        escaped.push_str(&format!("\\u{byte:04X}"));
        encoded.push_str(&format!("%{byte:02X}"));
    }
    format!("`{escaped}` in double quotes for its bytes in UTF-8, or `{encoded}` where a path is meant")
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    any_case: bool,
}

impl Parser<'_> {
    fn cased(&self, set: ByteSet) -> ByteSet {
        if self.any_case { set.in_any_case() } else { set }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Result<Tree, Refusal> {
        let mut parts = vec![self.intersection()?];
        while self.take_if(b'|') {
            parts.push(self.intersection()?);
        }
        Ok(Tree::any(parts))
    }

    fn intersection(&mut self) -> Result<Tree, Refusal> {
        let mut parts = vec![self.complement()?];
        while self.take_if(b'&') {
            parts.push(self.complement()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Tree::All(parts) })
    }

    fn complement(&mut self) -> Result<Tree, Refusal> {
        if self.take_if(b'~') {
            return Ok(Tree::Not(Box::new(self.sequence()?)));
        }
        self.sequence()
    }

    fn sequence(&mut self) -> Result<Tree, Refusal> {
        let mut parts = Vec::new();
        while let Some(next) = self.peek() {
            match next {
                b'|' | b'&' | b')' => break,
                b'~' => {
                    return Err(Refusal::new(
                        "there is a `~` inside a sequence",
                        "parentheses around the complement, as in `^a(~(b))$`, or `[~]` for the character",
                    ));
                }
                _ => parts.push(self.repeated()?),
            }
        }
        Ok(Tree::sequence(parts))
    }

    fn repeated(&mut self) -> Result<Tree, Refusal> {
        let tree = self.term()?;
        let Some((min, max)) = self.count()? else { return Ok(tree) };
        match self.peek() {
            Some(b'?') => Err(Refusal::new(
                "there is a lazy repeat",
                "the repeat without its `?`: whether a value matches is the same",
            )),
            Some(b'+') => Err(Refusal::new(
                "there is a possessive repeat",
                "the repeat without its second `+`: nothing is tried twice here, so that it saves no time",
            )),
            Some(b'*' | b'{') => {
                Err(Refusal::new("there are two repeats in a row", "parentheses, as in `(a+)*`"))
            }
            _ => Ok(Tree::repeat(tree, min, max)),
        }
    }

    fn count(&mut self) -> Result<Option<(u32, Option<u32>)>, Refusal> {
        let count = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                self.at += 1;
                return self.braces().map(Some);
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(count))
    }

    /// What follows a `{`.
    fn braces(&mut self) -> Result<(u32, Option<u32>), Refusal> {
        let wrong = || {
            Refusal::new(
                "there is a `{` that starts no count",
                "`{2}`, `{2,}` or `{2,5}`, or `[{]` for the character",
            )
        };
        let min = self.number()?.ok_or_else(wrong)?;
        let max = if self.take_if(b',') { self.number()? } else { Some(min) };
        if !self.take_if(b'}') {
            return Err(wrong());
        }
        if max.is_some_and(|max| max < min) {
            return Err(Refusal::new(
                "a count ends below its start",
                "the smaller number first, as in `{2,5}`",
            ));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<Option<u32>, Refusal> {
        let start = self.at;
        let mut number = 0_u32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
        }
        if number > MAX_COUNT {
            return Err(Refusal::new("a count is too large", format!("at most {MAX_COUNT}")));
        }
        Ok((self.at > start).then_some(number))
    }

    fn term(&mut self) -> Result<Tree, Refusal> {
        let Some(byte) = self.take() else { return Ok(Tree::Empty) };
        match byte {
            b'.' => Ok(Tree::Byte(ByteSet::ALL)),
            b'^' => Ok(Tree::Beginning),
            b'$' => Ok(Tree::End),
            b'(' => self.group(),
            b'[' => self.class().map(|set| if set.is_empty() { Tree::Nothing } else { Tree::Byte(set) }),
            b'\\' => Err(self.refuse_backslash()),
            b'*' | b'+' | b'?' | b'{' => {
                let shown = char::from(byte);
                let expected = format!("something before it, or `[{shown}]` for the character");
                Err(Refusal::new(format!("there is a `{shown}` with nothing to repeat"), expected))
            }
            byte => Ok(Tree::Byte(self.cased(ByteSet::of(byte)))),
        }
    }

    fn group(&mut self) -> Result<Tree, Refusal> {
        if self.peek() == Some(b'?') {
            return Err(refuse_special_group(&self.text[self.at + 1..]));
        }
        if self.peek() == Some(b'*') && self.text.get(self.at + 1).is_some_and(u8::is_ascii_uppercase) {
            return Err(Refusal::new(
                "there is a `(*`, as before the verbs of other dialects",
                "the expression without it",
            ));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::new(
                format!("groups are nested more than {MAX_DEPTH} deep"),
                "fewer parentheses",
            ));
        }
        let tree = self.alternatives()?;
        self.depth -= 1;
        if self.take_if(b')') {
            Ok(tree)
        } else {
            Err(Refusal::new("there is a `(` without its `)`", "`[(]` for the character, or a `)`"))
        }
    }

    /// A backslash outside of brackets, which was taken.
    fn refuse_backslash(&self) -> Refusal {
        let Some(next) = self.peek() else {
            return Refusal::new("it ends in a backslash", "`[\\\\]` for a backslash");
        };
        let shown = char::from(next);
        let expected = match next {
            b'd' => "`[0-9]`".to_owned(),
            b'D' => "`[^0-9]`".to_owned(),
            b'w' => "`[0-9A-Za-z_]`".to_owned(),
            b'W' => "`[^0-9A-Za-z_]`".to_owned(),
            b's' => "the white space that is meant, as in `[ \t]`".to_owned(),
            b'S' => "the white space that isn't meant, as in `[^ \t]`".to_owned(),
            b'b' | b'B' => "what may stand beside the word, as in `(^|[^a-z])word([^a-z]|$)`".to_owned(),
            b'A' => "`^`".to_owned(),
            b'z' | b'Z' => "`$`".to_owned(),
            b'\\' => "`[\\\\]` for a backslash".to_owned(),
            b'1'..=b'9' | b'k' | b'g' => {
                return Refusal::new(
                    format!("there is a `\\{shown}`, and no back references here: groups keep nothing"),
                    "what it may stand for, once more, as in `(aa|bb)` for `(a|b)\\1`",
                );
            }
            b'p' | b'P' => "the characters that are meant, as in `[A-Za-z]`".to_owned(),
            b'h' => "`[ \t]`".to_owned(),
            b'R' => "the bytes of a line end, as in `(\r\n|\n)` with the characters themselves".to_owned(),
            b'K' | b'G' => "the expression without it: whether it occurs is all that is asked".to_owned(),
            b'Q' | b'E' => "brackets around what means something, as in `a[.]b`".to_owned(),
            next if next.is_ascii_alphanumeric() => THE_CHARACTER.to_owned(),
            b']' | b'^' => format!("`[\\{shown}]`"),
            _ => format!("`[{shown}]`"),
        };
        Refusal::new(format!("there is a `\\{shown}`; characters are escaped by brackets here"), expected)
    }

    /// A class behind its `[`.
    fn class(&mut self) -> Result<ByteSet, Refusal> {
        let negated = self.take_if(b'^');
        let mut set = ByteSet::NONE;
        if self.peek() == Some(b']') {
            return Err(Refusal::new(
                "there is a class without anything in it",
                "`[\\]]` for the character `]`",
            ));
        }
        loop {
            if self.take_if(b']') {
                break;
            }
            let first = self.class_member()?;
            // a `-` before the end is itself
            let is_range =
                self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|&next| next != b']');
            if !is_range {
                set.insert(first);
                continue;
            }
            self.at += 1;
            let last = self.class_member()?;
            if last < first {
                let problem =
                    format!("the range `{}-{}` goes backwards", char::from(first), char::from(last));
                return Err(Refusal::new(problem, "the smaller character first"));
            }
            set = set.union(ByteSet::range(first, last));
        }
        // both cases are left out where one is
        let set = self.cased(set);
        Ok(if negated { set.complement() } else { set })
    }

    fn class_member(&mut self) -> Result<u8, Refusal> {
        let unclosed = || Refusal::new("there is a `[` without its `]`", "`[[]` for the character, or a `]`");
        let byte = self.take().ok_or_else(unclosed)?;
        match byte {
            b'\\' => match self.take().ok_or_else(unclosed)? {
                escaped @ (b'\\' | b']' | b'[' | b'^' | b'-') => Ok(escaped),
                other => Err(Refusal::new(
                    format!("there is a `\\{}` inside brackets", char::from(other)),
                    match other {
                        b'd' => "`0-9` there",
                        b'w' => "`0-9A-Za-z_` there",
                        b'n' | b'r' | b't' | b'x' | b'u' | b'f' | b'v' | b'0' | b'c' => THE_CHARACTER,
                        _ => "the characters themselves; a backslash there is written `\\\\`",
                    },
                )),
            },
            b'[' if matches!(self.peek(), Some(b':' | b'.' | b'=')) && self.has_posix_class() => Err(
                Refusal::new("there is a named class like `[:alpha:]`", "its characters, as in `[A-Za-z]`"),
            ),
            byte => Ok(byte),
        }
    }

    /// Whether `[:`, of which the first character was taken, goes on as a named class.
    fn has_posix_class(&self) -> bool {
        let rest = &self.text[self.at + 1..];
        let name = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        name > 0 && rest.get(name) == self.text.get(self.at) && rest.get(name + 1) == Some(&b']')
    }
}

/// What to write for `\n`, `\x41` and the like.
const THE_CHARACTER: &str = "the character itself: in TOML and JSON `\"\\n\"` and `\"\\u0041\"`, in double quotes and with one \
                             backslash, are characters";

/// What to write in place of a group that begins with `(?`, by what follows that.
fn refuse_special_group(rest: &[u8]) -> Refusal {
    let begins = |start: &str| rest.starts_with(start.as_bytes());
    if begins("=") || begins("!") || begins("<=") || begins("<!") {
        let expected = "what may stand there, as in `^a[^b]`; for a value with `a` and without `b`, `^(.*a.*&(~(.*b.*)))$`";
        return Refusal::new("it looks around, which isn't possible here", expected);
    }
    if begins("P=") || begins("P>") || begins("&") || begins("R") || begins("(") {
        let expected = "what it may stand for, once more: groups keep nothing, and none is asked again";
        return Refusal::new("it refers to another group", expected);
    }
    if begins("#") {
        return Refusal::new("there is a comment", "the expression without it");
    }
    if begins(":") || begins("<") || begins("P<") || begins("'") || begins(">") || begins("|") {
        return Refusal::new("there is a `(?`", "plain parentheses: they keep nothing");
    }
    let expected = "`(?i)` at the very start of a detector, or both cases, as in `[aA]`; a `.` is any byte, `^` and `$` are the \
                    ends of the value";
    Refusal::new("there are options", expected)
}
