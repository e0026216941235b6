//! The shell grammar: does a command stand where a shell would run one?

pub(super) mod operators;
#[cfg(test)]
mod tests;
mod words;

use crate::reading;
use words::{
    BARE_WORDS, COMMANDS, COMMON_WORDS, EVERYDAY_WORDS, FILE_PRINTERS, FILE_TOOLS, LANGUAGES, NETWORK_TOOLS,
    NUMBER_TAKERS, TELLING_COMMANDS, WORKING_TOOLS, is_one_of,
};

/// The most bytes of a value that are read from the operator on.
const READ_BYTES_MAX: usize = 512;

/// The most words of a command line that begins a value.
const LINE_WORDS_MAX: usize = 7;

/// The longest command word, after quotes are removed.
const WORD_BYTES_MAX: usize = 32;

/// How far behind a tag's name its first attribute is looked for.
const TAG_BYTES_MAX: usize = 64;

/// What the arguments of an intruder's command hold, and those of an example in a text rarely do.
const TELLING_ARGUMENTS: [&[u8]; 10] = [
    b"/etc/",
    b"/dev/tcp",
    b"passwd",
    b"http://",
    b"https://",
    b"/bin/",
    b"/tmp/",
    b"${IFS",
    b".php",
    b".env",
];

/// What follows a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// The end of the value.
    End,
    /// An operator, a closing bracket or a comment.
    Operator,
    /// Something only a command line has: an option, a path, a variable, an address.
    Argument,
    /// What a command line has and a text may have too: a quoted word, a star, two words with a slash between them.
    Hint,
    /// A number, a time or a day, and whether the command ends behind it.
    Number { last: bool },
    /// Anything else, such as prose.
    Other,
}

/// What stands before an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing but numbers, quotes and other marks.
    Nothing,
    /// One word, such as a host or a file.
    Word,
    /// Several words: a sentence, or a longer command line.
    Text,
}

/// Whether the operator that the pattern matched at `start..end` is followed by a command and the command by what a
/// command line goes on with.
pub(super) fn is_command(value: &[u8], start: usize, end: usize) -> bool {
    let stop = start.saturating_add(READ_BYTES_MAX).min(value.len());
    let Some(text) = value.get(start..stop) else { return false };
    reading::note(stop);
    let operator_length = operators::length_of(text);
    if operator_length == 0 || start >= end {
        return false;
    }
    let earlier = value[..start].iter().rev().take(2).take_while(|byte| is_operator(**byte)).count();
    let start = start - earlier;
    let operator = &value[start..start + earlier + operator_length];
    if is_block_of_yaml(&value[..start], operator)
        || operator.contains(&b'`') && is_markup(value, start)
        || operator.iter().all(|byte| matches!(byte, b'\n' | b'\r')) && is_prose(&value[..start])
    {
        return false;
    }
    let (mut word, mut rest) = command_word(&text[operator_length..]);
    if matches!(word.as_slice(), b"sudo" | b"busybox" | b"nohup") && skips_blanks(rest) {
        let (next, behind) = command_word(rest);
        if is_one_of(COMMANDS, next.as_slice()) || is_one_of(COMMON_WORDS, next.as_slice()) {
            if word.as_slice() == b"busybox" && what_precedes(&value[..start]) != Before::Text {
                return true;
            }
            (word, rest) = (next, behind);
        }
    }
    runs(value, start, operator, word.as_slice(), rest)
}

/// Whether the command `word`, between `operator` at `start` and `rest`, is one that is to be run.
fn runs(value: &[u8], start: usize, operator: &[u8], word: &[u8], rest: &[u8]) -> bool {
    let before = what_precedes(&value[..start]);
    let follows = what_follows(rest);
    let known = is_one_of(COMMANDS, word);
    // A blank that only a shell reads stands in no list.
    let behind = &value[start + operator.len()..];
    let is_item = in_list(value, start) && !behind.starts_with(b"$") && !behind.starts_with(b"\\\n");
    if !known && !is_one_of(COMMON_WORDS, word) {
        return false;
    }
    if is_of_text(value, start, operator, word, rest)
        || before == Before::Text
            && (is_one_of(WORKING_TOOLS, word)
                || is_one_of(FILE_TOOLS, word)
                    && !aims_at_root(rest)
                    && !(is_one_of(FILE_PRINTERS, word) && takes_absolute_path(rest)))
            && !has_telling_argument(rest)
    {
        return false;
    }
    let substitutes = operator.contains(&b'`') || operator.ends_with(b"$(");
    if before == Before::Text && (substitutes || operator == b"|" || operator.contains(&b'\n')) {
        return has_telling_argument(rest)
            || follows != Follows::Other && is_one_of(TELLING_COMMANDS, word)
            || substitutes && word == b"id" && matches!(rest.first(), Some(b'`' | b')'));
    }
    let breaks_line = operator.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
    if known {
        // A heading (`Hexdump:`), or a sentence that begins with the name of a program.
        if rest.starts_with(b":") || breaks_line && follows == Follows::Other && !is_ascii_word(rest) {
            return false;
        }
        let between_bars = operator == b"|" && rest.trim_ascii_start().starts_with(b"|");
        return (follows != Follows::Other || before == Before::Nothing && is_short(rest))
            && !between_bars
            && !(operator == b"|" && follows == Follows::End && is_item);
    }
    // `&id>` is a reference in source code.
    if breaks_line {
        // A line that starts with an ordinary word is one of a text, unless what follows it is no word; one that is an
        // ordinary word too, unless it is a command without arguments.
        let bare = matches!(follows, Follows::End | Follows::Operator);
        return follows != Follows::Other
            && !starts_with_word(rest)
            && (!bare || is_one_of(BARE_WORDS, word));
    }
    let separated = operator != b"&" || rest.first().is_none_or(u8::is_ascii_whitespace);
    match follows {
        _ if !separated => false,
        Follows::Argument | Follows::Hint | Follows::Number { .. } => true,
        // As the whole value, `|id|` is no row of a table.
        Follows::Operator if operator == b"|" && rest == b"|" && before == Before::Nothing => word.len() > 1,
        // A file, a command and a bar are no row of a table either.
        Follows::Operator
            if operator == b"|"
                && rest == b"|"
                && before == Before::Word
                && value.starts_with(b"/")
                && is_one_of(BARE_WORDS, word) =>
        {
            true
        }
        // `| type |` is the head of a table.
        Follows::Operator if operator == b"|" && rest.trim_ascii_start().starts_with(b"|") => false,
        // So is `||type||` behind another one.
        Follows::Operator
            if operator == b"||"
                && start > 0
                && (value.starts_with(b"||") || value.starts_with(b"|") && !is_one_of(BARE_WORDS, word))
                && rest.starts_with(b"||") =>
        {
            false
        }
        Follows::End | Follows::Operator if substitutes => is_closed(rest),
        Follows::End | Follows::Operator => {
            let ends = rest.iter().all(|byte| is_operator(*byte));
            let bare = before == Before::Nothing || is_one_of(BARE_WORDS, word);
            // A field of a table: `2;Cat;3`.
            let is_field = before == Before::Text && operator == b";" && rest.starts_with(b";") && !ends;
            bare && !is_field
                && (!is_item
                    || matches!(operator, b";" | b"||")
                        && (ends || rest.trim_ascii() == b"#")
                        && !rest.is_empty()
                    || operator != b"|" && is_piped(rest))
                && !matches!(operator, b"(" | b"{")
                && (operator != b"&" || before == Before::Nothing)
        }
        // No text begins with an operator and a command.
        Follows::Other if before == Before::Nothing && !operator.contains(&b'\n') => {
            let quoted = value[..start].iter().any(|byte| !byte.is_ascii_punctuation());
            let line = command_line(rest);
            has_path_argument(line) && has_few_words(line, LINE_WORDS_MAX)
                || is_short(rest)
                    && !quoted
                    && (is_alone(operator) || operator == b"&" && word == b"echo")
                    && rest.first().is_some_and(u8::is_ascii_whitespace)
                    && !rest.contains(&b'|')
        }
        Follows::Other => false,
    }
}

/// Whether `word` between `operator` at `start` and `rest` is a word of a sentence or of a list: an everyday word or a
/// language's name, without what only a command line has.
fn is_of_text(value: &[u8], start: usize, operator: &[u8], word: &[u8], rest: &[u8]) -> bool {
    let before = what_precedes(&value[..start]);
    let follows = what_follows(rest);
    let bar = operator == b"|";
    let separates = bar || operator.iter().all(|byte| matches!(byte, b';' | b'&' | b'|'));
    if !separates {
        // A line of a text begins with a language and its version.
        return operator.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
            && matches!(follows, Follows::Number { .. })
            && is_one_of(LANGUAGES, word);
    }
    let touches = value.get(start + operator.len()).is_some_and(|byte| !byte.is_ascii_whitespace());
    let begins = before == Before::Nothing;
    if before == Before::Text && follows == Follows::Argument && !has_telling_argument(rest) {
        let line = command_line(rest);
        let plain = !line
            .iter()
            .any(|byte| matches!(byte, b'>' | b'<' | b'`') || byte == &b'$' && line.contains(&b'('));
        return plain
            && (word == b"echo" && !rest.contains(&b'|')
                || takes_plain_file(rest)
                    && (!is_one_of(NETWORK_TOOLS, word)
                        || word == b"ping" && has_word_behind_argument(line)));
    }
    let is_telling =
        is_one_of(TELLING_COMMANDS, word) || is_one_of(NETWORK_TOOLS, word) || is_one_of(BARE_WORDS, word);
    if before == Before::Text && !touches && !is_telling && joins_words(rest) {
        return true;
    }
    if is_one_of(LANGUAGES, word) {
        return match follows {
            Follows::End | Follows::Operator => {
                let name = value[..start].trim_ascii();
                !begins && (!bar || name.iter().all(u8::is_ascii_alphabetic) && !touches)
            }
            Follows::Number { .. } => !begins,
            Follows::Hint => before == Before::Text && !has_telling_argument(rest),
            Follows::Argument | Follows::Other => false,
        };
    }
    match follows {
        Follows::Number { last } if is_one_of(NUMBER_TAKERS, word) => {
            !begins && !touches && (before == Before::Text || !last || is_word(&value[..start]))
        }
        Follows::Number { .. } => {
            is_one_of(COMMON_WORDS, word) && !touches && !value[..start].trim_ascii().is_empty()
        }
        Follows::Hint => {
            let lone = skip_blanks(rest).iter().all(|byte| !byte.is_ascii_whitespace());
            before == Before::Text
                && is_one_of(if lone { EVERYDAY_WORDS } else { COMMON_WORDS }, word)
                && !has_telling_argument(rest)
        }
        // A tool of the network does nothing without a host.
        Follows::End | Follows::Operator if before == Before::Text && is_one_of(NETWORK_TOOLS, word) => {
            !touches
        }
        Follows::End | Follows::Operator => !begins && !touches && is_one_of(EVERYDAY_WORDS, word),
        Follows::Argument | Follows::Other => false,
    }
}

/// Whether a text is a word of letters, longer than what probes begin with.
fn is_word(text: &[u8]) -> bool {
    let word = text.trim_ascii();
    word.len() > 3 && word.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
}

fn what_precedes(before: &[u8]) -> Before {
    let start = before.len().saturating_sub(READ_BYTES_MAX);
    let mut words = before[start..]
        .split(u8::is_ascii_whitespace)
        .filter(|word| word.iter().any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()));
    match (words.next(), words.next()) {
        (None, _) => Before::Nothing,
        (Some(_), None) => Before::Word,
        _ => Before::Text,
    }
}

/// Whether a substitution ends right after the command.
fn is_closed(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), Some(b'`' | b')'))
}

/// Whether what follows a name is `& co.`: a lone sign and a word that is no command.
fn joins_words(rest: &[u8]) -> bool {
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"&") else { return false };
    let (word, _) = command_word(rest);
    rest.first().is_some_and(u8::is_ascii_whitespace)
        && rest.trim_ascii_start().first().is_some_and(u8::is_ascii_alphabetic)
        && !is_one_of(COMMANDS, word.as_slice())
        && !is_one_of(COMMON_WORDS, word.as_slice())
}

/// Whether a word of letters follows the first argument: `ping 10.0.0.1 works`.
fn has_word_behind_argument(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1);
    let before_tag = |word: &[u8]| word.iter().position(|byte| *byte == b'<').unwrap_or(word.len());
    words.next().is_some_and(|word| {
        let word = &word[..before_tag(word)];
        word.len() > 1 && word.iter().all(u8::is_ascii_alphabetic)
    })
}

/// Whether a bar and a command that is no ordinary word come next, and nothing else but its arguments.
fn is_piped(rest: &[u8]) -> bool {
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"|") else { return false };
    let (word, rest) = command_word(rest);
    (rest.is_empty() || matches!(what_follows(rest), Follows::Argument | Follows::Hint))
        && is_one_of(COMMANDS, word.as_slice())
}

/// Whether a word comes next.
fn starts_with_word(rest: &[u8]) -> bool {
    skip_blanks(rest).first().is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

/// Whether an operator at the start of a value is one that texts do not begin with.
fn is_alone(operator: &[u8]) -> bool {
    matches!(operator, b";" | b"|" | b"||" | b"&&" | b"$(" | b"`")
}

/// Whether at most three words are left.
fn is_short(rest: &[u8]) -> bool {
    has_few_words(rest, 3)
}

fn has_few_words(rest: &[u8], words_max: usize) -> bool {
    rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(words_max).is_none()
}

/// Whether one of the words is a path, a variable or a redirection.
fn has_path_argument(rest: &[u8]) -> bool {
    rest.split(u8::is_ascii_whitespace).any(|word| matches!(word.first(), Some(b'/' | b'~' | b'$' | b'>')))
}

/// Whether an argument is the root of the file system, or all of it.
fn aims_at_root(rest: &[u8]) -> bool {
    let aims = |word: &[u8]| matches!(word, b"/" | b"/*" | b"~" | b"~/");
    command_line(rest).split(u8::is_ascii_whitespace).any(aims)
}

/// Whether an argument is a file by its path from the root or from a home.
fn takes_absolute_path(rest: &[u8]) -> bool {
    command_line(rest).split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'"' | b'\'')).any(|word| {
        matches!(word, [b'/', first, ..] if first.is_ascii_alphanumeric() || matches!(first, b'.' | b'?' | b'*'))
            || matches!(word, [b'~', _, ..])
    })
}

/// Whether the first word in the line behind a command is of ASCII characters, or there is none.
fn is_ascii_word(rest: &[u8]) -> bool {
    let mut words = skip_blanks(command_line(rest)).split(u8::is_ascii_whitespace);
    words.next().is_none_or(<[u8]>::is_ascii)
}

/// What is left of a command line, up to the next command.
fn command_line(rest: &[u8]) -> &[u8] {
    rest.split(|byte| matches!(byte, b'\n' | b';' | b'|')).next().unwrap_or_default()
}

/// Whether the first argument is the name of a file in the same folder: `notes.txt`.
fn takes_plain_file(rest: &[u8]) -> bool {
    let argument = skip_blanks(rest).split(|byte| byte.is_ascii_whitespace() || is_operator(*byte)).next();
    argument.is_some_and(|name| {
        name.contains(&b'.')
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

fn has_telling_argument(rest: &[u8]) -> bool {
    let line = command_line(rest);
    TELLING_ARGUMENTS.iter().any(|argument| memchr::memmem::find(line, argument).is_some())
}

/// Whether the backtick at `start` is one of text markup: it closes a pair, or opens one as the first of a word in a
/// longer text, or several stand together.
fn is_markup(value: &[u8], start: usize) -> bool {
    let before = &value[..start];
    let opens = memchr::memchr_iter(b'`', before).count().is_multiple_of(2);
    let before_mark = before.strip_suffix(b"_").unwrap_or(before);
    let starts_word =
        before_mark.last().is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'(' | b'['))
            || is_role(before);
    let end = value.trim_ascii_end();
    let whole = before.trim_ascii().is_empty() && end.strip_suffix(b";").unwrap_or(end).ends_with(b"`");
    let fence = value[start..].starts_with(b"``");
    !opens || fence || starts_word && !whole
}

/// Whether a text ends with a role of its markup, behind a blank: ``see :ref:`id` ``.
fn is_role(before: &[u8]) -> bool {
    let name = before.strip_suffix(b":").unwrap_or_default();
    let letters = name.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let head = name[..name.len() - letters].strip_suffix(b":").unwrap_or_default();
    (2..=WORD_BYTES_MAX).contains(&letters) && head.last().is_some_and(u8::is_ascii_whitespace)
}

/// Whether a text before a line end consists of several words or is the head of a script: a line end in it starts no
/// command that was not meant.
fn is_prose(before: &[u8]) -> bool {
    let before = before.trim_ascii();
    before.len() > READ_BYTES_MAX || before.iter().any(u8::is_ascii_whitespace) || before.starts_with(b"#!")
}

/// Whether a bar and a line end begin a text of several lines: `run: |`.
fn is_block_of_yaml(before: &[u8], operator: &[u8]) -> bool {
    operator.starts_with(b"|") && operator.contains(&b'\n') && before.trim_ascii_end().ends_with(b":")
}

fn is_operator(byte: u8) -> bool {
    matches!(byte, b';' | b'|' | b'&' | b'`' | b'\n' | b'\r' | b'$' | b'(' | b'{')
}

/// Whether the word before the operator at `start` touches it: `name|id` is a list of names, `1 | id` is not.
fn in_list(value: &[u8], start: usize) -> bool {
    let before = &value[..start];
    let word =
        before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    word.take(WORD_BYTES_MAX).any(u8::is_ascii_alphabetic)
}

/// Reads a command's name as a shell would: white space and `$IFS` before it skipped, quotes and backslashes removed,
/// the folder cut off, in lower case. Returns what comes after it as well.
fn command_word(text: &[u8]) -> (Word, &[u8]) {
    let mut rest = skip_blanks(text);
    // A line that goes on in the next one.
    while let Some(next_line) = rest.strip_prefix(b"\\\n") {
        rest = skip_blanks(next_line);
    }
    let mut word = Word::default();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'\\' if after.first() == Some(&b'\n') => {
                rest = &after[1..];
                continue;
            }
            b'\'' | b'"' | b'\\' | b'^' => {}
            // Parameters that nothing was given for.
            b'$' if matches!(after.first(), Some(b'@' | b'*' | b'0'..=b'9')) => {
                rest = &after[1..];
                continue;
            }
            b'/' => word.clear(),
            _ if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'?') => {
                if !word.push(byte.to_ascii_lowercase()) {
                    return (Word::default(), rest);
                }
            }
            _ => break,
        }
        rest = after;
    }
    (word, rest)
}

/// Whether an argument comes next.
fn skips_blanks(rest: &[u8]) -> bool {
    skip_blanks(rest).len() < rest.len()
}

fn skip_blanks(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        match text
            .strip_prefix(b"${IFS}")
            .or_else(|| text.strip_prefix(b"$IFS$9"))
            .or_else(|| text.strip_prefix(b"$IFS"))
        {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

fn what_follows(rest: &[u8]) -> Follows {
    let rest_trimmed = skip_blanks(rest);
    let Some(&next) = rest_trimmed.first() else { return Follows::End };
    // What stands in the next line is no argument.
    if rest[..rest.len() - rest_trimmed.len()].contains(&b'\n') {
        return Follows::Other;
    }
    match next {
        b';' | b'|' | b'&' | b'`' | b')' | b'}' | b'#' | b'\n' => Follows::Operator,
        // The prompt of a program: `mysql> select`.
        b'>' if rest.len() == rest_trimmed.len() && rest.get(1) == Some(&b' ') => Follows::Other,
        b'<' if is_tag(rest_trimmed) => Follows::Other,
        b'>' | b'<' => Follows::Argument,
        // A word that goes on, such as `id=` or `cat:`, is no command.
        _ if rest.len() == rest_trimmed.len() => Follows::Other,
        _ => what_argument(rest_trimmed),
    }
}

/// What the first word behind a command and a blank is.
fn what_argument(rest: &[u8]) -> Follows {
    let second = rest.get(1).copied().unwrap_or(b' ');
    match rest[0] {
        b'/' | b'~' => return Follows::Argument,
        b'$' if second.is_ascii_digit() => return Follows::Hint,
        b'$' => return Follows::Argument,
        b'%' if is_variable_of_windows(rest) => return Follows::Argument,
        // The mark where a number or a text is put in.
        b'%' if second.is_ascii_alphabetic() => return Follows::Other,
        b'"' | b'\'' | b'%' => return Follows::Hint,
        b'.' if rest.starts_with(b". -") => return Follows::Argument,
        b'-' if second == b'-' => {
            let names = rest.get(2).is_some_and(u8::is_ascii_alphanumeric);
            return if names { Follows::Argument } else { Follows::Other };
        }
        b'-' if second.is_ascii_alphabetic() => return Follows::Argument,
        b'-' if second.is_ascii_digit() => return Follows::Hint,
        b'-' => return Follows::Other,
        _ => {}
    }
    let ends = |at: &usize| rest[*at].is_ascii_whitespace() || rest[*at] == b'<' && is_tag(&rest[*at..]);
    let length = (0..rest.len()).find(ends).unwrap_or(rest.len());
    let argument = rest[..length].trim_ascii_end();
    // `date night?` asks a question.
    let argument = match argument.strip_suffix(b"?") {
        Some(word) if word.len() > 1 && word.iter().all(u8::is_ascii_alphabetic) => word,
        _ => argument,
    };
    let marks = |byte: &u8| matches!(byte, b')' | b'`' | b';' | b'|' | b'"' | b'\'' | b'&');
    let end = argument.iter().rposition(|byte| !marks(byte)).map_or(0, |end| end + 1);
    let last = end < length
        || skip_blanks(&rest[length..]).first().is_none_or(|byte| is_operator(*byte) || *byte == b'#');
    let argument = &argument[..end];
    let dots = memchr::memchr_iter(b'.', argument).count();
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'/' | b',' | b':' | b'-');
    if argument.first().is_some_and(u8::is_ascii_digit) && argument.iter().all(is_number) {
        return if dots >= 3 { Follows::Argument } else { Follows::Number { last } };
    }
    if argument.iter().any(|byte| matches!(byte, b'\\' | b'$' | b'`' | b'>')) {
        return Follows::Argument;
    }
    let wild = argument.iter().any(|byte| matches!(byte, b'*' | b'?'));
    if wild || argument.contains(&b'/') && dots == 0 {
        let file = wild && (argument.contains(&b'/') || dots > 0);
        return if file { Follows::Argument } else { Follows::Hint };
    }
    let telling = argument.contains(&b'/') || dots > 0 && argument.last() != Some(&b'.');
    if telling { Follows::Argument } else { Follows::Other }
}

/// Whether a name between percent signs begins here.
fn is_variable_of_windows(rest: &[u8]) -> bool {
    let is_mark = |byte: &u8| matches!(byte, b'_' | b'(' | b')');
    let name = rest[1..].iter().take(WORD_BYTES_MAX);
    let length = name.take_while(|byte| byte.is_ascii_alphanumeric() || is_mark(byte)).count();
    // `%s_%d` are two marks of a format.
    let length_min = if rest[1..=length].iter().any(is_mark) { 4 } else { 1 };
    length >= length_min && matches!(rest.get(1 + length), Some(b'%' | b':'))
}

/// Whether a tag of HTML begins here, which is no redirection: `</p>`, `<br/>`, `<a href=..`.
fn is_tag(text: &[u8]) -> bool {
    let name = &text[1..];
    let closes = name.first() == Some(&b'/');
    let name = if closes { &name[1..] } else { name };
    let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let end = name[length..].trim_ascii_start();
    length > 0
        && name[0].is_ascii_alphabetic()
        && (end.starts_with(b">")
            || !closes && end.starts_with(b"/>")
            || !closes
                && end.iter().take(TAG_BYTES_MAX).take_while(|byte| **byte != b'>').any(|byte| *byte == b'='))
        || !closes && name.starts_with(b"!--")
}

/// A short word on the stack.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: usize,
}

impl Word {
    fn push(&mut self, byte: u8) -> bool {
        let Some(slot) = self.bytes.get_mut(self.length) else { return false };
        *slot = byte;
        self.length += 1;
        true
    }

    const fn clear(&mut self) {
        self.length = 0;
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
