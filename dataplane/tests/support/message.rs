//! A small HTTP reader of the tests' own, so that the product isn't judged by its own parser.

use std::io::{ErrorKind, Read};

/// Bytes that came in from a peer and weren't used yet.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// In order.
    Closed,
    /// By a reset, or (under TLS) without its closing alert.
    Reset,
}

/// A message that was cut off.
#[derive(Debug)]
pub(crate) struct Cut {
    /// What there was of it, head and framing included.
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

/// A request or a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The first line, without its end.
    pub(crate) first_line: String,
    /// Names in lower case, values as they are.
    pub(crate) fields: Vec<(String, String)>,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    /// It came in chunks.
    pub(crate) chunked: bool,
    /// Behind the last of which came trailers.
    pub(crate) trailers: bool,
}

/// How a body ends where neither length nor chunks say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Otherwise {
    /// There is none.
    NoBody,
    /// With the connection.
    UntilClose,
}

impl Message {
    /// The status of a response.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status line: {:?}", self.first_line))
    }

    /// The value of a field, if there is exactly one of that name.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "several fields {name}: {:?}", self.fields);
        first
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Path and query of a request.
    pub(crate) fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    fn parse_head(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Self { first_line, fields, ..Self::default() }
    }
}

impl Inbox {
    /// Reads more. `None` as long as there is more to come.
    #[track_caller]
    fn fill(&mut self, stream: &mut impl Read) -> Option<End> {
        let mut buffer = [0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => Some(End::Closed),
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came and nothing ended; so far: {:?}", String::from_utf8_lossy(&self.bytes))
            }
            Err(_) => Some(End::Reset),
        }
    }

    /// Reads until at least `count` bytes are there.
    pub(crate) fn need(&mut self, stream: &mut impl Read, count: usize) -> Result<(), End> {
        while self.bytes.len() < count {
            if let Some(end) = self.fill(stream) {
                return Err(end);
            }
        }
        Ok(())
    }

    /// Takes everything up to and with `end`.
    fn take_through(&mut self, stream: &mut impl Read, end: &[u8]) -> Result<Vec<u8>, End> {
        let mut searched = 0;
        loop {
            let found = self.bytes[searched..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.bytes.drain(..searched + at + end.len()).collect());
            }
            searched = self.bytes.len().saturating_sub(end.len() - 1);
            if let Some(end) = self.fill(stream) {
                return Err(end);
            }
        }
    }

    fn take(&mut self, stream: &mut impl Read, count: usize, into: &mut Vec<u8>) -> Result<(), End> {
        let outcome = self.need(stream, count);
        let available = self.bytes.len().min(count);
        into.extend(self.bytes.drain(..available));
        outcome
    }

    /// Reads a head alone.
    pub(crate) fn head(&mut self, stream: &mut impl Read) -> Result<Message, Cut> {
        match self.take_through(stream, b"\r\n\r\n") {
            Ok(head) => Ok(Message::parse_head(&head)),
            Err(end) => Err(Cut { bytes: std::mem::take(&mut self.bytes), end }),
        }
    }

    /// Reads the body behind `head`.
    pub(crate) fn body(
        &mut self,
        stream: &mut impl Read,
        mut head: Message,
        otherwise: Otherwise,
    ) -> Result<Message, Cut> {
        let mut body = Vec::new();
        let outcome = match (head.field("transfer-encoding"), head.field("content-length")) {
            (Some(coding), length) => {
                assert_eq!((coding, length), ("chunked", None), "{head:?}");
                head.chunked = true;
                self.chunks(stream, &mut body).map(|trailers| head.trailers = trailers)
            }
            (None, Some(length)) => self.take(stream, length.parse().unwrap(), &mut body),
            (None, None) if otherwise == Otherwise::NoBody => Ok(()),
            (None, None) => loop {
                match self.fill(stream) {
                    None => {}
                    Some(end) => {
                        body.append(&mut self.bytes);
                        break if end == End::Closed { Ok(()) } else { Err(end) };
                    }
                }
            },
        };
        match outcome {
            Ok(()) => Ok(Message { body, ..head }),
            Err(end) => Err(Cut { bytes: body, end }),
        }
    }

    /// Reads chunks; true if trailers came behind them.
    fn chunks(&mut self, stream: &mut impl Read, body: &mut Vec<u8>) -> Result<bool, End> {
        loop {
            let line = self.take_through(stream, b"\r\n")?;
            let digits = std::str::from_utf8(&line[..line.len() - 2]).expect("a chunk size");
            let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("chunk size {digits:?}"));
            if size == 0 {
                return self.trailers(stream);
            }
            self.take(stream, size, body)?;
            let mut line_end = Vec::new();
            self.take(stream, 2, &mut line_end)?;
            assert_eq!(line_end, b"\r\n", "behind a chunk of {size} bytes");
        }
    }

    fn trailers(&mut self, stream: &mut impl Read) -> Result<bool, End> {
        let mut found = false;
        while self.take_through(stream, b"\r\n")? != b"\r\n" {
            found = true;
        }
        Ok(found)
    }

    /// Everything until the stream ends.
    pub(crate) fn rest(&mut self, stream: &mut impl Read) -> Cut {
        loop {
            if let Some(end) = self.fill(stream) {
                return Cut { bytes: std::mem::take(&mut self.bytes), end };
            }
        }
    }
}
