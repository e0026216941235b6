//! The path grammar: does a relative path leave the folder that it starts in?

/// Whether some run of path characters in `value` climbs above its start, or names a well-known file by way of `..`.
pub(super) fn leads_out(value: &[u8]) -> bool {
    value.split(|byte| !is_path_byte(*byte)).any(climbs)
}

fn is_path_byte(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'|' | b',' | b'=' | b'(')
}

/// Walks the segments of one path; more steps up than down at any time means that it leaves. A single `..` at the start
/// of a longer relative path is how pages link to their siblings, so it takes two, or one in an absolute path.
fn climbs(path: &[u8]) -> bool {
    let absolute = matches!(path.first(), Some(b'/' | b'\\'));
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
    lowest <= if absolute { -1 } else { -2 }
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
        ] {
            assert!(leads_out(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_that_stay() {
        for path in ["../style.css", "/a/b/../c", "a/../b", "1..2", "...", "see ../a and ../b"] {
            assert!(!leads_out(path.as_bytes()), "{path}");
        }
    }
}
