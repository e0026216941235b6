//! A strict reader of HTTP/1.1 requests that shares no code with the product: the second opinion on what is forwarded.
//!
//! It works on whole messages, line by line, and takes nothing that RFC 9112 leaves to the reader's kindness.

/// A request, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StrictRequest {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Vec<u8>,
    /// Names as they came, values without the blanks around them.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    /// Bytes of the whole message.
    pub(crate) length: usize,
}

impl StrictRequest {
    /// The values of a field, its name given in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = name.as_bytes();
        self.fields
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_slice())
    }
}

/// Reads the request at the start of `bytes`.
pub(crate) fn read_request(bytes: &[u8]) -> Result<StrictRequest, String> {
    let end = find(bytes, b"\r\n\r\n").ok_or("the head has no end")?;
    let mut lines = Vec::new();
    for line in split_lines(&bytes[..end])? {
        lines.push(line);
    }
    let (first, rest) = lines.split_first().ok_or("there is no request line")?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return Err(format!("a request line of {} words", words.len()));
    };
    if method.is_empty() || !method.iter().all(|byte| TOKEN.contains(byte)) {
        return Err("the method is no token".to_owned());
    }
    if target.is_empty() || !target.iter().all(|byte| (0x21..0x7f).contains(byte)) {
        return Err("the target holds what no target may".to_owned());
    }
    if version != b"HTTP/1.1" && version != b"HTTP/1.0" {
        return Err(format!("version {}", version.escape_ascii()));
    }
    let fields = rest.iter().map(|line| read_field(line)).collect::<Result<Vec<_>, _>>()?;
    let mut request = StrictRequest {
        method: method.to_vec(),
        target: target.to_vec(),
        version: version.to_vec(),
        fields,
        body: Vec::new(),
        length: end + 4,
    };
    read_body(&mut request, bytes)?;
    Ok(request)
}

const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The lines of a head; CR and LF stand only at their ends, together.
fn split_lines(head: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return Err("a CR or LF stands alone".to_owned());
        }
        lines.push(line);
        if end == rest.len() {
            return Ok(lines);
        }
        rest = &rest[end + 2..];
    }
}

fn read_field(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a field without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| TOKEN.contains(byte)) {
        return Err(format!("the name of a field is no token: {}", name.escape_ascii()));
    }
    if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(format!("a control byte in {}", line.escape_ascii()));
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    Ok((name.to_vec(), value[start..end].to_vec()))
}

fn read_body(request: &mut StrictRequest, bytes: &[u8]) -> Result<(), String> {
    let codings: Vec<Vec<u8>> = request.values("transfer-encoding").map(<[u8]>::to_vec).collect();
    let lengths: Vec<Vec<u8>> = request.values("content-length").map(<[u8]>::to_vec).collect();
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(()),
        ([], [length]) => {
            if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                return Err("the length is no number".to_owned());
            }
            let length: usize =
                String::from_utf8_lossy(length).parse().map_err(|_| "the length is too large".to_owned())?;
            let body = bytes[request.length..].get(..length).ok_or("the body is cut off")?;
            request.body = body.to_vec();
            request.length += length;
            Ok(())
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => read_chunks(request, bytes),
        _ => Err(format!("{} codings and {} lengths", codings.len(), lengths.len())),
    }
}

fn read_chunks(request: &mut StrictRequest, bytes: &[u8]) -> Result<(), String> {
    loop {
        let rest = &bytes[request.length..];
        let end = find(rest, b"\r\n").ok_or("a chunk size without end")?;
        let line = &rest[..end];
        let digits = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let digits = &line[..digits];
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("chunk size {}", line.escape_ascii()));
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(digits), 16)
            .map_err(|_| "a chunk size is too large".to_owned())?;
        request.length += end + 2;
        if size == 0 {
            return read_trailers(request, bytes);
        }
        let rest = &bytes[request.length..];
        let data = rest.get(..size).ok_or("a chunk is cut off")?;
        if rest.get(size..size + 2) != Some(b"\r\n") {
            return Err("a chunk does not end where its size says".to_owned());
        }
        request.body.extend_from_slice(data);
        request.length += size + 2;
    }
}

fn read_trailers(request: &mut StrictRequest, bytes: &[u8]) -> Result<(), String> {
    loop {
        let rest = &bytes[request.length..];
        let end = find(rest, b"\r\n").ok_or("the trailers have no end")?;
        request.length += end + 2;
        if end == 0 {
            return Ok(());
        }
        read_field(&rest[..end])?;
    }
}
