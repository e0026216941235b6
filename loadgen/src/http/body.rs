//! Message bodies: a decoder that takes any split of the bytes, and the writer of chunks.

use super::Framing;

/// The most digits of a chunk size: 2^60 bytes are more than any body here.
const CHUNK_SIZE_DIGITS: u32 = 15;
/// The most bytes of one chunk-size line (extensions included), and of all trailer fields together.
const LINE_LIMIT_BYTES: usize = 4096;
const TRAILER_LIMIT_BYTES: usize = 16 * 1024;

/// Why a body can't be read to its end. The text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyError(pub(crate) &'static str);

/// Reads one message body from pieces of any size.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: State,
    /// Body bytes seen so far, without framing.
    received_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// This many bytes are left.
    Length(u64),
    UntilClose,
    ChunkSize {
        size: u64,
        digits: u32,
    },
    /// Blanks behind a chunk size, which only an extension may follow (RFC 9112 section 7.1.1).
    ChunkSizeBlank {
        size: u64,
        line_bytes: usize,
    },
    /// The rest of a chunk-size line: extensions, which are skipped.
    ChunkExtension {
        size: u64,
        line_bytes: usize,
    },
    /// The line feed that ends a chunk-size line.
    ChunkSizeEnd {
        size: u64,
    },
    ChunkData {
        left: u64,
    },
    /// The carriage return and the line feed behind a chunk's data.
    ChunkDataReturn,
    ChunkDataEnd,
    /// Trailer fields. `line_bytes` counts the current line, `all_bytes` all of them.
    Trailer {
        line_bytes: usize,
        all_bytes: usize,
        after_return: bool,
    },
    Done,
}

impl BodyDecoder {
    pub(crate) const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::UntilClose => State::UntilClose,
            Framing::Chunked => State::ChunkSize { size: 0, digits: 0 },
        };
        Self { state, received_bytes: 0 }
    }

    /// The whole body has been read.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Body bytes read so far, framing not counted.
    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The peer closed: whether that was a proper end of this body.
    pub(crate) const fn ends_at_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Reads as much of `input` as belongs to the body, hands body bytes to `sink`, and returns how many bytes of
    /// `input` were used. The rest belongs to the next message.
    ///
    /// # Errors
    ///
    /// The chunked coding is malformed or a limit of it was passed.
    pub(crate) fn decode(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, BodyError> {
        let mut used = 0;
        while used < input.len() && !self.is_done() {
            let rest = &input[used..];
            match self.state {
                State::Length(left) => {
                    let taken = self.take(rest, left, &mut sink);
                    used += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::UntilClose => used += self.take(rest, u64::MAX, &mut sink),
                State::ChunkData { left } => {
                    let taken = self.take(rest, left, &mut sink);
                    used += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::ChunkDataReturn } else { State::ChunkData { left } };
                }
                _ => {
                    self.state = framing_byte(self.state, rest[0])?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }

    fn take(&mut self, rest: &[u8], at_most: u64, sink: &mut impl FnMut(&[u8])) -> usize {
        let taken = usize::try_from(at_most).map_or(rest.len(), |at_most| at_most.min(rest.len()));
        self.received_bytes += taken as u64;
        sink(&rest[..taken]);
        taken
    }
}

/// One byte of chunked framing (RFC 9112 section 7.1); bare line feeds are refused.
fn framing_byte(state: State, byte: u8) -> Result<State, BodyError> {
    Ok(match (state, byte) {
        (State::ChunkSize { size, digits }, _) if byte.is_ascii_hexdigit() => {
            if digits == CHUNK_SIZE_DIGITS {
                return Err(BodyError("a chunk size has too many digits"));
            }
            let digit = (byte as char).to_digit(16).unwrap_or(0);
            State::ChunkSize { size: size * 16 + u64::from(digit), digits: digits + 1 }
        }
        (State::ChunkSize { digits: 0, .. }, _) => return Err(BodyError("a chunk size has no digits")),
        (State::ChunkSize { size, .. }, b'\r') => State::ChunkSizeEnd { size },
        (State::ChunkSize { size, .. }, b';') => State::ChunkExtension { size, line_bytes: 0 },
        (State::ChunkSize { size, .. }, b' ' | b'\t') => State::ChunkSizeBlank { size, line_bytes: 0 },
        (State::ChunkSize { .. }, _) => return Err(BodyError("a chunk size is not hexadecimal")),
        (State::ChunkSizeBlank { line_bytes: LINE_LIMIT_BYTES, .. }, _) => {
            return Err(BodyError("a chunk extension is too long"));
        }
        (State::ChunkSizeBlank { size, line_bytes }, b';') => State::ChunkExtension { size, line_bytes },
        (State::ChunkSizeBlank { size, line_bytes }, b' ' | b'\t') => {
            State::ChunkSizeBlank { size, line_bytes: line_bytes + 1 }
        }
        (State::ChunkSizeBlank { .. }, _) => {
            return Err(BodyError("something other than an extension behind a chunk size"));
        }
        (State::ChunkExtension { size, .. }, b'\r') => State::ChunkSizeEnd { size },
        (State::ChunkExtension { .. }, b'\n') => {
            return Err(BodyError("a bare line feed in a chunk extension"));
        }
        (State::ChunkExtension { line_bytes: LINE_LIMIT_BYTES, .. }, _) => {
            return Err(BodyError("a chunk extension is too long"));
        }
        (State::ChunkExtension { size, line_bytes }, _) => {
            State::ChunkExtension { size, line_bytes: line_bytes + 1 }
        }
        (State::ChunkSizeEnd { size: 0 }, b'\n') => {
            State::Trailer { line_bytes: 0, all_bytes: 0, after_return: false }
        }
        (State::ChunkSizeEnd { size }, b'\n') => State::ChunkData { left: size },
        (State::ChunkDataReturn, b'\r') => State::ChunkDataEnd,
        (State::ChunkDataEnd, b'\n') => State::ChunkSize { size: 0, digits: 0 },
        (State::Trailer { line_bytes: 0, after_return: true, .. }, b'\n') => State::Done,
        (State::Trailer { all_bytes, after_return: true, .. }, b'\n') => {
            State::Trailer { line_bytes: 0, all_bytes, after_return: false }
        }
        (State::Trailer { after_return: true, .. }, _) | (State::Trailer { .. }, b'\n') => {
            return Err(BodyError("a broken line end in the trailers"));
        }
        (State::Trailer { all_bytes: TRAILER_LIMIT_BYTES, .. }, _) => {
            return Err(BodyError("the trailers are too long"));
        }
        (State::Trailer { line_bytes, all_bytes, .. }, b'\r') => {
            State::Trailer { line_bytes, all_bytes: all_bytes + 1, after_return: true }
        }
        (State::Trailer { line_bytes, all_bytes, .. }, _) => {
            State::Trailer { line_bytes: line_bytes + 1, all_bytes: all_bytes + 1, after_return: false }
        }
        _ => return Err(BodyError("a broken line end between chunks")),
    })
}

/// Appends `data` to `out` as one chunk. Empty data is left out: it would end the body.
pub(crate) fn append_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the end of a chunked body to `out`.
pub(crate) fn append_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of `step` bytes; returns the body and how many bytes of `input` it took.
    fn decode_in_steps(
        framing: Framing,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let mut decoder = BodyDecoder::new(framing);
        let mut body = Vec::new();
        let mut used = 0;
        for piece in input.chunks(step) {
            let taken = decoder.decode(piece, |data| body.extend_from_slice(data))?;
            used += taken;
            if taken < piece.len() {
                break;
            }
        }
        Ok((body, used, decoder.is_done()))
    }

    #[test]
    fn every_split_of_a_chunked_body_gives_the_same() {
        let message = b"5\r\nhello\r\n06 \t;a=b\r\n world\r\n0\r\nX: y\r\n\r\n";
        let mut with_next = message.to_vec();
        with_next.extend_from_slice(b"GET / HTTP/1.1\r\n");
        for step in 1..=with_next.len() {
            let decoded = decode_in_steps(Framing::Chunked, &with_next, step).unwrap();
            assert_eq!(decoded, (b"hello world".to_vec(), message.len(), true), "step {step}");
        }
    }

    #[test]
    fn a_length_body_stops_at_its_length() {
        assert_eq!(decode_in_steps(Framing::Length(3), b"abcdef", 2), Ok((b"abc".to_vec(), 3, true)));
        assert_eq!(decode_in_steps(Framing::Length(9), b"abcdef", 4), Ok((b"abcdef".to_vec(), 6, false)));
        assert!(BodyDecoder::new(Framing::Length(0)).is_done());
    }

    #[test]
    fn malformed_chunks_are_errors() {
        let long_extension = [b"1;".as_slice(), &[b'x'; LINE_LIMIT_BYTES + 1]].concat();
        let long_trailer = [b"0\r\nA: ".as_slice(), &[b'x'; TRAILER_LIMIT_BYTES + 1]].concat();
        let cases: [&[u8]; 13] = [
            b"\r\n",
            b"5 6\r\n",
            b"5 \r\nhello\r\n",
            b"5\t\nhello\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"5\nhello",
            b"1\r\nab\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1000000000000000\r\n",
            b"0\r\nX: y\n\r\n",
            &long_extension,
            &long_trailer,
        ];
        for case in cases {
            assert!(
                decode_in_steps(Framing::Chunked, case, 7).is_err(),
                "{:?}",
                String::from_utf8_lossy(case)
            );
        }
    }

    #[test]
    fn written_chunks_are_read_back() {
        let mut out = Vec::new();
        append_chunk(&mut out, b"hello");
        append_chunk(&mut out, b"");
        append_chunk(&mut out, &[b'x'; 300]);
        append_last_chunk(&mut out);
        let (body, used, done) = decode_in_steps(Framing::Chunked, &out, 11).unwrap();
        assert_eq!((body.len(), used, done), (305, out.len(), true));
    }
}
