//! Cuts a piece of SQL into tokens, in the dialects of all common databases at once.

use crate::reading;

/// What one token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A number in any notation, or a parameter of a prepared statement.
    Number,
    /// A string literal that is closed.
    Text,
    /// A string literal that the value ends inside of: what the query goes on with closes it. Its length in bytes.
    OpenText(usize),
    /// A name or a keyword.
    Word(&'a [u8]),
    /// A variable: `@a`, `@@version`.
    Variable(&'a [u8]),
    /// `and`, `or` and `xor` as signs: `&&`, `||`.
    Logic,
    /// An operator that compares.
    Compare,
    /// An operator that calculates or joins.
    Calculate,
    /// A cast in Postgres' notation, with its type.
    Cast,
    /// `:=`.
    Assign,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A comment that runs to the end of the value.
    CommentToEnd,
    /// Something that SQL does not have.
    Foreign,
}

/// The tokens of one piece of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    /// Whether a comment with code in it (`/*!`) is open, so that `*/` ends it.
    in_code_comment: bool,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, in_code_comment: false }
    }

    /// What has not been read yet.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Takes `length` bytes and returns `token`.
    fn take(&mut self, length: usize, token: Token<'a>) -> Token<'a> {
        reading::note(length);
        self.rest = &self.rest[length..];
        token
    }

    /// The letters, digits and signs of a name from here on.
    fn name_length(text: &[u8]) -> usize {
        text.iter().take_while(|byte| is_name_byte(**byte)).count()
    }

    /// Skips white space and comments. Returns true when a comment runs to the end.
    fn skip_space(&mut self) -> bool {
        loop {
            let start = self.rest.iter().take_while(|byte| is_space(**byte)).count();
            reading::note(start);
            self.rest = &self.rest[start..];
            match self.rest {
                [b'/', b'*', b'!', ..] => {
                    self.in_code_comment = true;
                    let digits = self.rest[3..].iter().take(6).take_while(|byte| byte.is_ascii_digit());
                    self.rest = &self.rest[3 + digits.count()..];
                }
                [b'*', b'/', ..] if self.in_code_comment => {
                    self.in_code_comment = false;
                    self.rest = &self.rest[2..];
                }
                [b'/', b'*', ..] => match memchr::memmem::find(&self.rest[2..], b"*/") {
                    Some(end) => self.rest = &self.rest[end + 4..],
                    None => return true,
                },
                [b'-', b'-', ..] | [b'#', ..] if !is_json_operator(self.rest) => {
                    // A comment up to the end of its line; what follows is SQL again.
                    match memchr::memchr(b'\n', self.rest).filter(|end| self.rest.len() > end + 1) {
                        Some(end) => {
                            self.rest = &self.rest[end + 1..];
                        }
                        None => return true,
                    }
                }
                _ => return false,
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Token<'a> {
        let mut position = 1;
        while let Some(offset) = memchr::memchr2(quote, b'\\', &self.rest[position.min(self.rest.len())..]) {
            position += offset;
            if self.rest[position] == b'\\' || self.rest.get(position + 1) == Some(&quote) {
                position += 2;
            } else {
                return self.take(position + 1, Token::Text);
            }
        }
        let length = self.rest.len();
        self.take(length, Token::OpenText(length - 1))
    }

    fn number(&mut self) -> Token<'a> {
        let text = self.rest;
        if matches!(text, [b'0', b'x' | b'X' | b'b' | b'B', ..]) {
            let digits = text[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            return self.take(2 + digits, Token::Number);
        }
        let mut length = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        if matches!(text.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(text.get(length + 1), Some(b'+' | b'-')));
            // MySQL skips `1.e` before a bracket or a name.
            if text[..length].ends_with(b".")
                && matches!(text.get(length + 1), Some(b'(' | b')' | b',' | b'.' | b' '))
            {
                self.rest = &text[length + 1..];
                return self.next().unwrap_or(Token::CommentToEnd);
            }
            let digits = text[(length + 1 + sign).min(text.len())..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits > 0 {
                length += 1 + sign + digits;
            }
        }
        // `16gb` and `2nd` are words of a text, but MySQL reads `1union` as a number and a keyword.
        let letters = Self::name_length(&text[length..]);
        if letters > 0 && !super::words::is_after_number(&text[length..length + letters]) {
            return self.take(length + letters, Token::Word(&text[..length + letters]));
        }
        self.take(length, Token::Number)
    }

    fn sign(&mut self) -> Token<'a> {
        let text = self.rest;
        let json_length = json_operator_length(text);
        if json_length > 0 {
            return self.take(json_length, Token::Compare);
        }
        match text {
            [b':', b':', ..] => {
                let spaces = text[2..].iter().take_while(|byte| is_space(**byte)).count();
                let name = Self::name_length(&text[2 + spaces..]);
                self.take(2 + spaces + name, if name == 0 { Token::Foreign } else { Token::Cast })
            }
            [b':', b'=', ..] => self.take(2, Token::Assign),
            [b'&', b'&', ..] | [b'|', b'|', ..] => self.take(2, Token::Logic),
            [b'<', b'=', b'>', ..] => self.take(3, Token::Compare),
            [b'<' | b'>' | b'!', b'=', ..] | [b'<', b'>', ..] => self.take(2, Token::Compare),
            [b'<', b'<', ..] | [b'>', b'>', ..] => self.take(2, Token::Calculate),
            [b'=' | b'<' | b'>', ..] => self.take(1, Token::Compare),
            [b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'&' | b'|' | b'~' | b'!', ..] => {
                self.take(1, Token::Calculate)
            }
            [b'(', ..] => self.take(1, Token::Open),
            [b')', ..] => self.take(1, Token::Close),
            [b',', ..] => self.take(1, Token::Comma),
            [b';', ..] => self.take(1, Token::Semicolon),
            [b'?', ..] => self.take(1, Token::Number),
            [b'@', ..] => {
                let signs = text.iter().take(2).take_while(|byte| **byte == b'@').count();
                let rest = &text[signs..];
                let length = match rest {
                    [quote @ (b'`' | b'\'' | b'"'), quoted @ ..] => {
                        memchr::memchr(*quote, quoted).map_or(rest.len(), |end| end + 2)
                    }
                    _ => rest.iter().take_while(|byte| is_name_byte(**byte) || **byte == b'.').count(),
                };
                self.take(signs + length, Token::Variable(&text[..signs + length]))
            }
            // `\N` is null to MySQL.
            [b'\\', b'N', ..] => self.take(2, Token::Number),
            _ => self.take(1, Token::Foreign),
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.skip_space() {
            self.rest = b"";
            return Some(Token::CommentToEnd);
        }
        let (&byte, after) = self.rest.split_first()?;
        Some(match byte {
            b'\'' => self.quoted(byte),
            b'"' => self.quoted(byte),
            b'`' | b'[' => {
                let end = if byte == b'[' { b']' } else { b'`' };
                match memchr::memchr(end, after) {
                    Some(length)
                        if byte == b'`' || after[..length].iter().all(|byte| is_name_byte(*byte)) =>
                    {
                        self.take(length + 2, Token::Word(&after[..length]))
                    }
                    Some(_) => self.take(1, Token::Foreign),
                    None if byte == b'`' => {
                        let length = self.rest.len();
                        self.take(length, Token::OpenText(length - 1))
                    }
                    None => self.take(1, Token::Foreign),
                }
            }
            b'0'..=b'9' => self.number(),
            b'.' if after.first().is_some_and(u8::is_ascii_digit) => self.number(),
            b'.' => self.take(1, Token::Calculate),
            // Literals with a prefix: n'text', x'41', b'1', _utf8'text', e'text'.
            b'n' | b'N' | b'x' | b'X' | b'b' | b'B' | b'e' | b'E' | b'r' | b'R'
                if after.first() == Some(&b'\'') =>
            {
                self.rest = after;
                self.quoted(b'\'')
            }
            _ if is_name_byte(byte) => {
                let mut length = Self::name_length(self.rest);
                // A qualified name is one name.
                while let [b'.', next, ..] = &self.rest[length..] {
                    if (!is_name_byte(*next) || next.is_ascii_digit()) && *next != b'*' {
                        break;
                    }
                    length += 1 + Self::name_length(&self.rest[length + 1..]).max(1);
                }
                self.take(length, Token::Word(&self.rest[..length]))
            }
            _ => self.sign(),
        })
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// White space to some database; a plus sign stands for a space that was encoded twice.
pub(super) const fn is_space(byte: u8) -> bool {
    byte <= b' '
}

/// Whether what looks like a comment of MySQL is an operator of Postgres.
fn is_json_operator(text: &[u8]) -> bool {
    matches!(text, [b'#', b'>', ..] | [b'#', b'-', b' ', b'\'', ..])
}

fn json_operator_length(text: &[u8]) -> usize {
    match text {
        [b'-', b'>', b'>', ..] | [b'#', b'>', b'>', ..] => 3,
        [b'@' | b'-' | b'#', b'>', ..]
        | [b'<', b'@', ..]
        | [b'?', b'|' | b'&', ..]
        | [b'@', b'?' | b'@', b' ', ..] => 2,
        [b'#', b'-', ..] => 2,
        [b'?', b' ', b'\'', ..] => 1,
        _ => 0,
    }
}
