//! Servers as they are known to read paths, step by step and without regard to cost.

type Place = Vec<u8>;

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = std::str::from_utf8(digits?).ok()?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).unwrap())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Unreserved characters decoded, digits of other encodings in upper case.
pub(super) fn unreserved(path: &[u8]) -> Place {
    let mut out = Place::new();
    let mut at = 0;
    while at < path.len() {
        match hex(path.get(at + 1..at + 3)).filter(|_| path[at] == b'%') {
            Some(code) if is_unreserved(code as u8) => out.push(code as u8),
            Some(code) => out.extend(format!("%{code:02X}").into_bytes()),
            None => {
                out.push(path[at]);
                at += 1;
                continue;
            }
        }
        at += 3;
    }
    out
}

fn decoded(path: &[u8]) -> Place {
    let mut out = Place::new();
    let mut at = 0;
    while at < path.len() {
        let code = hex(path.get(at + 1..at + 3)).filter(|_| path[at] == b'%');
        out.push(code.map_or(path[at], |code| code as u8));
        at += if code.is_some() { 3 } else { 1 };
    }
    out
}

/// As http.sys decodes.
fn decoded_wide(path: &[u8]) -> Place {
    let mut out = Place::new();
    let mut at = 0;
    while at < path.len() {
        let narrow = hex(path.get(at + 1..at + 3)).filter(|_| path[at] == b'%');
        let wide = hex(path.get(at + 2..at + 6)).filter(|_| path[at..].starts_with(b"%u"));
        if let Some(code) = narrow {
            out.push(code as u8);
            at += 3;
        } else if let Some(character) = wide.and_then(char::from_u32) {
            out.extend(character.to_string().into_bytes());
            at += 6;
        } else {
            out.push(path[at]);
            at += 1;
        }
    }
    out
}

fn windows(path: &[u8]) -> Place {
    path.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
}

/// Segments without what follows a semicolon.
fn servlet(path: &[u8]) -> Place {
    let names =
        path.split(|&byte| byte == b'/').map(|segment| segment.split(|&byte| byte == b';').next().unwrap());
    names.collect::<Vec<_>>().join(&b'/')
}

fn without_dots(path: &[u8], merges: bool) -> Place {
    let segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            b"." | b".." => {
                if segment.len() == 2 {
                    kept.pop();
                }
                if is_last {
                    kept.push(b"");
                }
            }
            b"" if merges && !is_last => {}
            name => kept.push(name),
        }
    }
    [&b"/"[..], &kept.join(&b'/')].concat()
}

pub(super) fn merged(path: &[u8]) -> Place {
    without_dots(path, true)
}

fn unmerged(path: &[u8]) -> Place {
    without_dots(path, false)
}

/// The place as normalised paths are written, where `is_decoded` says that a `%` is itself; odd segments are names.
pub(super) fn encoded(path: &[u8], is_decoded: bool) -> Place {
    let segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
    let mut out = Place::new();
    for (index, segment) in segments.iter().enumerate() {
        out.push(b'/');
        let is_odd = matches!(*segment, b"." | b"..") || (segment.is_empty() && index + 1 < segments.len());
        if is_odd {
            out.extend(b"...");
            continue;
        }
        for &byte in *segment {
            let stays = byte.is_ascii_graphic() && !b"#?".contains(&byte) && (byte != b'%' || !is_decoded);
            if stays {
                out.push(byte);
            } else {
                out.extend(format!("%{byte:02X}").into_bytes());
            }
        }
    }
    out
}

/// Where each server takes the path.
pub(super) fn places(path: &[u8]) -> Vec<(&'static str, Place)> {
    let written = unreserved(path);
    let once = decoded(path);
    let twice = decoded(&once);
    let encoded_forms = [
        ("a framework without normalisation", written.clone()),
        ("a strict reader of RFC 3986", unmerged(&written)),
        ("one that merges slashes afterwards", merged(&unmerged(&written))),
        ("a reader of the URL standard", unmerged(&windows(&written))),
        ("a servlet container that passes encoded slashes through", merged(&servlet(&written))),
    ];
    let decoded_forms = [
        ("a file server that decodes alone", once.clone()),
        ("nginx", merged(&once)),
        ("nginx that doesn't merge slashes", unmerged(&once)),
        ("nginx before a servlet container", merged(&servlet(&merged(&once)))),
        ("nginx that passes decoded paths on", merged(&decoded(&merged(&once)))),
        ("nginx that does so before a servlet container", merged(&decoded(&servlet(&merged(&once))))),
        ("httpd that resolves dots before it decodes slashes", decoded(&merged(&written))),
        ("the file system behind that", merged(&decoded(&merged(&written)))),
        ("a normalising proxy before a servlet container", merged(&decoded(&servlet(&merged(&written))))),
        ("a Windows server", merged(&windows(&once))),
        ("a Windows server that reads wide encodings", merged(&windows(&decoded_wide(path)))),
        ("a Windows server that reads them twice", merged(&windows(&decoded_wide(&decoded_wide(path))))),
        ("a Windows server before a servlet container", merged(&servlet(&merged(&windows(&once))))),
        ("a framework that drops parameters after decoding", merged(&servlet(&once))),
        ("that on Windows", merged(&servlet(&windows(&once)))),
        ("a servlet container", merged(&decoded(&servlet(path)))),
        ("one that allows backslashes", merged(&windows(&decoded(&servlet(path))))),
        ("one before another decoder", merged(&decoded(&decoded(&servlet(path))))),
        ("a server that decodes twice", merged(&twice)),
        ("that on Windows", merged(&windows(&twice))),
        ("that with parameters dropped", merged(&servlet(&twice))),
        ("that on Windows with parameters dropped", merged(&servlet(&windows(&twice)))),
    ];
    let encoded_forms = encoded_forms.into_iter().map(|(name, place)| (name, encoded(&place, false)));
    let decoded_forms = decoded_forms.into_iter().map(|(name, place)| (name, encoded(&place, true)));
    encoded_forms.chain(decoded_forms).collect()
}
