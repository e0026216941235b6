//! The path grammar: does a relative path leave the folder that it starts in?

/// The words that a text has around a path, and the most steps up that it speaks of.
const WORDS_OF_TEXT_MIN: usize = 4;
const STEPS_OF_TEXT_MAX: usize = 3;

/// The same for a long text, such as the output of a build.
const WORDS_OF_LONG_TEXT_MIN: usize = 24;
const STEPS_OF_LONG_TEXT_MAX: usize = 6;

/// What stands before a path in source code and in pages that name their neighbours by it.
const REFERENCES: [&[u8]; 8] =
    [b"from", b"import", b"require(", b"import(", b"url(", b"href=", b"src=", b"include::"];

/// What stands before a path in markup only.
const MARKUP_REFERENCES: [&[u8]; 4] = [b"](", b"@use", b"@forward", b"@import"];

/// Parts of paths that nobody refers to so: what an attack looks for behind the climb.
const TARGETS: [&[u8]; 12] = [
    b"etc/",
    b"passwd",
    b"proc/",
    b"win",
    b"boot.",
    b"web-inf",
    b".env",
    b".ini",
    b".log",
    b".htaccess",
    b"ssh",
    b"root",
];

/// Whether some run of path characters in `value` climbs above its start, or names a well-known file by way of `..`. A
/// relative path that a text refers to in quotes, as code and pages do, does not count.
pub(super) fn leads_out(value: &[u8]) -> bool {
    if is_detour(value) {
        return true;
    }
    let mut start = 0;
    value.split(|byte| !is_path_byte(*byte)).any(|path| {
        let before = &value[..start];
        start += path.len() + 1;
        climbs(path) && !is_reference(before, path) && !is_spoken_of(value, before, path)
    })
}

/// Whether the whole value is a relative path that enters a folder only to leave the one it started in:
/// `images/../../secret.txt`. A page that names its neighbour begins with the steps up.
fn is_detour(value: &[u8]) -> bool {
    let path = value.trim_ascii();
    path.first().is_some_and(u8::is_ascii_alphanumeric)
        && path.iter().all(|byte| is_path_byte(*byte) && !matches!(byte, b'?' | b'#' | b':'))
        && lowest_depth(path) < 0
}

/// Whether a text of several words speaks of the path: one with few plain steps up, behind a blank, to no file that an
/// attack looks for.
fn is_spoken_of(value: &[u8], before: &[u8], path: &[u8]) -> bool {
    let steps = path.windows(2).filter(|part| part == b"..").count();
    let words_min = if steps <= STEPS_OF_TEXT_MAX { WORDS_OF_TEXT_MIN } else { WORDS_OF_LONG_TEXT_MIN };
    before.last().is_some_and(u8::is_ascii_whitespace)
        && path.starts_with(b"../")
        && steps <= STEPS_OF_LONG_TEXT_MAX
        && !path.iter().any(|byte| matches!(byte, b'\\' | b'%' | b';' | 0 | 0x80..))
        && !TARGETS.iter().any(|target| holds(path, target))
        && value.split(u8::is_ascii_whitespace).filter(|word| is_word(word)).nth(words_min - 1).is_some()
}

/// Whether a text holds this as a word of its own, perhaps with marks behind it.
fn is_word(word: &[u8]) -> bool {
    let is_mark = |byte: &u8| matches!(byte, b'.' | b',' | b':' | b';' | b'!' | b'?');
    let end = word.iter().rposition(|byte| !is_mark(byte)).map_or(0, |end| end + 1);
    let letters = &word[..end];
    letters.len() > 1 && letters.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
}

fn is_reference(before: &[u8], path: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let before = match before {
        [text @ .., b'\'' | b'"'] => text.trim_ascii_end(),
        text => text,
    };
    let ends_with = |word: &&[u8]| {
        before.len().checked_sub(word.len()).is_some_and(|at| before[at..].eq_ignore_ascii_case(word))
    };
    // A value that begins with the word is one that an attacker wrote, unless it is a link or a rule of a style sheet.
    path.starts_with(b"../")
        && (before.len() > 12 && REFERENCES.iter().any(ends_with) || MARKUP_REFERENCES.iter().any(ends_with))
        && !TARGETS.iter().any(|target| holds(path, target))
}

fn holds(path: &[u8], target: &[u8]) -> bool {
    path.windows(target.len()).any(|part| part.eq_ignore_ascii_case(target))
}

fn is_path_byte(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'|' | b',' | b'=' | b'(')
}

/// Walks the segments of one path; more steps up than down at any time means that it leaves. A single `..` at the start
/// of a longer relative path is how pages link to their siblings, so it takes two, or one in an absolute path.
fn climbs(path: &[u8]) -> bool {
    let absolute = matches!(path.first(), Some(b'/' | b'\\'));
    lowest_depth(path) <= if absolute { -1 } else { -2 }
}

/// How deep in its folder the path is at most towards the root: below zero it is outside.
fn lowest_depth(path: &[u8]) -> i32 {
    let mut depth = 0_i32;
    let mut lowest = 0_i32;
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment {
            b"" | b"." => {}
            _ if is_parent(segment) => {
                depth = depth.saturating_sub(1);
                lowest = lowest.min(depth);
            }
            _ => depth = depth.saturating_add(1),
        }
    }
    lowest
}

/// `..` as written, with a path parameter behind it, or in an overlong UTF-8 form.
fn is_parent(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';' || *byte == 0).next().unwrap_or_default();
    matches!(name, b".." | b"\xc0\xae\xc0\xae" | b".\xc0\xae" | b"\xc0\xae.")
}

#[cfg(test)]
mod tests {
    use super::leads_out;

    #[test]
    fn climbing_paths() {
        for path in [
            "../../etc/passwd",
            "/a/../../b",
            "x=../../b",
            "..\\..\\boot.ini",
            "/..;/..;/manager",
            "a/../../../b",
            "src=../../b",
            "include('../../../../etc/passwd')",
            "<a href=\"../../../etc/passwd\">",
            "please show me the file ../../../etc/x",
            "please show me the file ../../../../a",
            "images/../../secret.txt",
            "a/b/../../../c",
        ] {
            assert!(leads_out(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_that_stay() {
        for path in [
            "../style.css",
            "/a/b/../c",
            "a/../b",
            "1..2",
            "...",
            "see ../a and ../b",
            "import Button from '../../components/Button';",
            "const x = require(\"../../config\")",
            "<p>see <a href=\"../../page.html\">the page</a>",
            "My app imports ../../../lib/x from there",
            "read: more. [url]: ../../LICENSE\n\nthe terms, of course",
            "the build makes a folder and says that it is Using ../../../../src/lib/x.c and so on in many \
             lines that all look much the same, as each of them tells of a file that was found there",
            "https://x.example/a/../../b",
            "version 1/../../2 of it",
            "@use '../../styles/vars' as v;",
            "Wait... what?! ../.. was that a smiley?",
        ] {
            assert!(!leads_out(path.as_bytes()), "{path}");
        }
    }
}
