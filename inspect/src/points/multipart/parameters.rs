//! Parameters of a header field in a part's head.

/// The parameters of a field, such as `name="x"` or `name=x`, as pairs. Quoted values keep their backslashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
    /// Whether a backslash keeps the quote behind it from ending the value; servers differ.
    escapes: bool,
}

impl<'a> Parameters<'a> {
    pub(super) const fn new(field: &'a [u8], escapes: bool) -> Self {
        Self { rest: field, escapes }
    }

    /// The parameter that stands where the kind of disposition should, to those who don't look for one.
    pub(super) fn first(field: &'a [u8], escapes: bool) -> Option<(&'a [u8], &'a [u8])> {
        let equals = memchr::memchr2(b'=', b';', field).filter(|at| field[*at] == b'=')?;
        let (value, _) = value(&field[equals + 1..], escapes);
        let key = field[..equals].trim_ascii();
        Some((key.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default(), value))
    }
}

/// The value that `text` starts with, and what follows it.
fn value(text: &[u8], escapes: bool) -> (&[u8], &[u8]) {
    let value = text.trim_ascii_start();
    match value.strip_prefix(b"\"") {
        Some(quoted) => {
            let end = if escapes {
                closing_quote(quoted)
            } else {
                memchr::memchr(b'"', quoted).unwrap_or(quoted.len())
            };
            (&quoted[..end], &quoted[end..])
        }
        None => {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            (value[..end].trim_ascii(), &value[end..])
        }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = memchr::memchr2(b';', b',', self.rest)?;
        let rest = self.rest[start + 1..].trim_ascii_start();
        let equals = memchr::memchr(b'=', rest)?;
        let (value, after) = value(&rest[equals + 1..], self.escapes);
        self.rest = after;
        Some((rest[..equals].trim_ascii(), value))
    }
}

/// Where the quoted text ends: at its closing quote, or at its end without one.
pub(super) fn closing_quote(quoted: &[u8]) -> usize {
    let mut position = 0;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &quoted[position..]) {
        position += offset;
        if quoted[position] == b'"' {
            return position;
        }
        position = (position + 2).min(quoted.len());
    }
    quoted.len()
}

/// Whether every server reads this Content-Disposition alike and its name and file name are all that it holds.
pub(super) fn is_usual_disposition(field: &[u8]) -> bool {
    let Some(mut rest) = field.strip_prefix(b"form-data") else { return false };
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return true;
        }
        let Some(parameter) = rest.strip_prefix(b";").map(<[u8]>::trim_ascii_start) else { return false };
        let value = parameter.strip_prefix(b"name=").or_else(|| parameter.strip_prefix(b"filename="));
        let Some(quoted) = value.and_then(|value| value.strip_prefix(b"\"")) else { return false };
        let Some(end) = memchr::memchr(b'"', quoted) else { return false };
        if quoted[..end].contains(&b'\\') {
            return false;
        }
        rest = &quoted[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_with_and_without_escapes() {
        let field = b"form-data; name=\"a;\\\"b\"; filename = c ;x=\"open";
        let found: Vec<_> = Parameters::new(field, true).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"name", b"a;\\\"b"), (b"filename", b"c"), (b"x", b"open")];
        assert_eq!(found, expected);
        let found: Vec<_> = Parameters::new(b"form-data; y=\"\\\"; name=\"z\"", false).collect();
        let expected: [(&[u8], &[u8]); 2] = [(b"y", b"\\"), (b"name", b"z")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_usual_disposition_hides_nothing() {
        for field in ["form-data; name=\"a\"", "form-data; name=\"a b\";filename=\"c;d.txt\" "] {
            assert!(is_usual_disposition(field.as_bytes()), "{field}");
        }
        for field in [
            "",
            "attachment; name=\"a\"",
            "form-data; name=a",
            "form-data; name=\"a",
            "form-data; name=\"a\\\"; b\"",
            "form-data; name=\"a\"; x=\"b\"",
            "form-data; name=\"a\" b",
        ] {
            assert!(!is_usual_disposition(field.as_bytes()), "{field}");
        }
    }
}
