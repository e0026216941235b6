//! A strict reader of HTTP/1.1 messages, written apart from the code under test: what it doesn't take is a defect.

/// The head of a message.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) start: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a head that is no text")?;
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("bad header line {line:?}"))?;
            let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if name.is_empty() || !is_token || value.bytes().any(|byte| byte < b' ') {
                return Err(format!("bad header line {line:?}"));
            }
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Self { start, headers })
    }

    /// The values of a header, its name in lower case.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that may stand once.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} stands more than once in {self:?}");
        values.first().copied()
    }

    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).iter().any(|found| found.eq_ignore_ascii_case(value))
    }

    /// What the framing headers say; both at once are refused.
    pub(super) fn framing(&self) -> Result<Option<Framing>, String> {
        match (self.one("content-length"), self.one("transfer-encoding")) {
            (Some(_), Some(_)) => Err(format!("two framings in {self:?}")),
            (Some(length), None) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Some(Framing::Length(length.parse().map_err(|_| "a length that is no number")?)))
            }
            (None, Some("chunked")) => Ok(Some(Framing::Chunked)),
            (None, None) => Ok(None),
            other => Err(format!("bad framing {other:?}")),
        }
    }
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Head,
    /// So many bytes are missing; with `true` a chunk's end follows them.
    Data(usize, bool),
    ChunkSize,
    ChunkEnd,
    LastLine,
    UntilClose,
}

/// What the reader comes to next.
#[derive(Debug)]
pub(super) enum Step {
    /// A head; [`Reader::expect_body`] must be called before the next step.
    Head(Head),
    /// The end of the message that the last head began, with its body.
    End(Vec<u8>),
}

/// Reads messages piece by piece.
#[derive(Debug)]
pub(super) struct Reader {
    input: Vec<u8>,
    place: Place,
    body: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { input: Vec::new(), place: Place::Head, body: Vec::new() }
    }
}

impl Reader {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Says how the body of the head just read is framed; `None` is no body.
    pub(super) fn expect_body(&mut self, framing: Option<Framing>) {
        self.place = match framing {
            None => Place::Data(0, false),
            Some(Framing::Length(length)) => Place::Data(length, false),
            Some(Framing::Chunked) => Place::ChunkSize,
            Some(Framing::UntilClose) => Place::UntilClose,
        };
    }

    /// The part of a message that is here although its end isn't.
    pub(super) fn partial(&self) -> Option<&[u8]> {
        match self.place {
            Place::Head if self.input.is_empty() => None,
            Place::Head => Some(&self.input),
            _ => Some(&self.body),
        }
    }

    /// The body so far, if it ends with the connection.
    pub(super) fn ended(&mut self) -> Option<Vec<u8>> {
        (self.place == Place::UntilClose).then(|| self.end())
    }

    fn end(&mut self) -> Vec<u8> {
        self.place = Place::Head;
        std::mem::take(&mut self.body)
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.input.drain(..end + 2).take(end).collect();
        Some(line)
    }

    /// The next step, if enough bytes are here.
    pub(super) fn step(&mut self) -> Result<Option<Step>, String> {
        loop {
            match self.place {
                Place::Head => {
                    let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
                        return Ok(None);
                    };
                    let head: Vec<u8> = self.input.drain(..end + 4).take(end).collect();
                    return Head::parse(&head).map(|head| Some(Step::Head(head)));
                }
                Place::Data(0, false) => return Ok(Some(Step::End(self.end()))),
                Place::Data(0, true) => self.place = Place::ChunkEnd,
                Place::Data(..) | Place::UntilClose if self.input.is_empty() => return Ok(None),
                Place::Data(missing, chunked) => {
                    let taken = missing.min(self.input.len());
                    self.body.extend_from_slice(&self.input[..taken]);
                    self.input.drain(..taken);
                    self.place = Place::Data(missing - taken, chunked);
                }
                Place::UntilClose => self.body.append(&mut self.input),
                Place::ChunkSize => {
                    let Some(line) = self.line() else { return Ok(None) };
                    let text = String::from_utf8_lossy(&line);
                    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let size = usize::from_str_radix(&text, 16).ok().filter(|_| digits);
                    let size = size.ok_or_else(|| format!("bad chunk size {text:?}"))?;
                    self.place = if size == 0 { Place::LastLine } else { Place::Data(size, true) };
                }
                Place::ChunkEnd | Place::LastLine => {
                    if self.input.len() < 2 {
                        return Ok(None);
                    }
                    let line: Vec<u8> = self.input.drain(..2).collect();
                    if line != b"\r\n" {
                        return Err(format!("{line:?} where a chunk or a body ends"));
                    }
                    if self.place == Place::LastLine {
                        return Ok(Some(Step::End(self.end())));
                    }
                    self.place = Place::ChunkSize;
                }
            }
        }
    }
}
