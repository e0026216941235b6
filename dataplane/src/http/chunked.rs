//! The chunked coding, read strictly (RFC 9112 section 7.1). Extensions and trailers are checked, counted and dropped.

use std::fmt;
use std::ops::Range;

use crate::text::is_token_byte;

/// The largest chunk that is taken: far above any body, and far below an overflow.
const MAX_CHUNK_BYTES: u64 = 1 << 60;
/// The most digits of a chunk size.
const MAX_SIZE_DIGITS: u8 = 16;

/// Limits of what stands beside the data of a chunked body. The data itself is for the caller to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of one size line with its extension, the CRLF left out.
    pub size_line_bytes: u32,
    /// Bytes of all extensions of a body.
    pub extension_bytes: u32,
    /// Bytes of the trailer section, line ends included.
    pub trailer_bytes: u32,
}

impl Default for ChunkLimits {
    /// 4 KiB a size line, 16 KiB of extensions, 16 KiB of trailers.
    fn default() -> Self {
        Self { size_line_bytes: 4 * 1024, extension_bytes: 16 * 1024, trailer_bytes: 16 * 1024 }
    }
}

/// Why a chunked body was refused: 400 towards a client, a broken response where it comes from an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError {
    /// Stable name for logs and metrics, such as `bad_chunk_size`.
    pub code: &'static str,
    /// One sentence for operators: what was found and what is expected.
    pub detail: &'static str,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for ChunkError {}

static BAD_SIZE: ChunkError = ChunkError {
    code: "bad_chunk_size",
    detail: "a chunk size is not 1 to 16 hex digits followed by CRLF or `;`; no blank, sign or `0x` may stand there",
};
static CHUNK_TOO_LARGE: ChunkError =
    ChunkError { code: "chunk_too_large", detail: "a chunk size is above 2^60 bytes" };
static BAD_EXTENSION: ChunkError = ChunkError {
    code: "bad_chunk_extension",
    detail: "a chunk extension is not `;name` or `;name=value` with a token or a quoted string (RFC 9112 section 7.1.1)",
};
static SIZE_LINE_TOO_LARGE: ChunkError = ChunkError {
    code: "chunk_line_too_large",
    detail: "a chunk size line with its extension is larger than the limit",
};
static EXTENSIONS_TOO_LARGE: ChunkError = ChunkError {
    code: "chunk_extensions_too_large",
    detail: "the chunk extensions of one body are larger than the limit for all of them",
};
static BAD_DATA_END: ChunkError = ChunkError {
    code: "bad_chunk_end",
    detail: "the data of a chunk is not followed by CRLF, so it is longer or shorter than its size says",
};
static BAD_TRAILER: ChunkError = ChunkError {
    code: "bad_trailer",
    detail: "a trailer line is not `Name: value` and CRLF, without spaces before the colon and without control bytes",
};
static TRAILERS_TOO_LARGE: ChunkError =
    ChunkError { code: "trailers_too_large", detail: "the trailer section is larger than the limit" };

/// One step of the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the input that are done with, the data included.
    pub consumed: usize,
    /// Where in the input a run of body data lies; may be empty.
    pub data: Range<usize>,
    /// The body has ended; what follows `consumed` belongs to the next message.
    pub finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hex digits of a size.
    Size,
    /// Behind the `;` of a size line.
    Extension(Extension),
    /// Behind the CR of a size line.
    SizeLineFeed,
    /// In the data of a chunk.
    Data,
    /// Behind the data.
    DataCarriageReturn,
    /// Behind the CR that follows the data.
    DataLineFeed,
    /// At the start of a line of the trailer section.
    TrailerStart,
    /// In the name of a trailer.
    TrailerName,
    /// In the value of a trailer.
    TrailerValue,
    /// Behind the CR of a trailer line.
    TrailerLineFeed,
    /// Behind the CR of the last, empty line.
    FinalLineFeed,
    /// The body has ended.
    Finished,
    /// The body was refused.
    Failed(&'static ChunkError),
}

/// Where in a chunk extension the decoder is (RFC 9112 section 7.1.1). What is dropped is read by the grammar all the
/// same: a party that looks for the line's end elsewhere must not find one that we don't see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// Before the name, blanks may stand.
    BeforeName,
    /// In the name, of which there is at least one byte.
    Name,
    /// In blanks behind the name: `;` or `=` must follow.
    AfterName,
    /// Behind the `=`, blanks may stand.
    BeforeValue,
    /// In a value that is a token.
    Token,
    /// In a quoted string.
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind the closing quote.
    AfterQuoted,
    /// In blanks behind the value: `;` must follow.
    AfterValue,
}

impl Extension {
    /// The place behind one more byte of the extension; `None` where the grammar has no such byte.
    fn next(self, byte: u8) -> Option<Self> {
        let is_blank = matches!(byte, b' ' | b'\t');
        match self {
            Self::BeforeName if is_blank => Some(Self::BeforeName),
            Self::BeforeName | Self::Name if is_token_byte(byte) => Some(Self::Name),
            Self::Name | Self::AfterName if is_blank => Some(Self::AfterName),
            Self::Name | Self::AfterName if byte == b'=' => Some(Self::BeforeValue),
            Self::BeforeValue if is_blank => Some(Self::BeforeValue),
            Self::BeforeValue if byte == b'"' => Some(Self::Quoted),
            Self::BeforeValue | Self::Token if is_token_byte(byte) => Some(Self::Token),
            Self::Token | Self::AfterQuoted | Self::AfterValue if is_blank => Some(Self::AfterValue),
            Self::Quoted if byte == b'"' => Some(Self::AfterQuoted),
            Self::Quoted if byte == b'\\' => Some(Self::Escaped),
            Self::Quoted if byte == b'\t' || !byte.is_ascii_control() => Some(Self::Quoted),
            Self::Escaped if byte == b'\t' || !byte.is_ascii_control() => Some(Self::Quoted),
            Self::Name | Self::AfterName | Self::Token | Self::AfterQuoted | Self::AfterValue
                if byte == b';' =>
            {
                Some(Self::BeforeName)
            }
            _ => None,
        }
    }

    /// Whether the line may end here.
    fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::AfterQuoted)
    }
}

/// Reads a chunked body piece by piece, in whatever pieces it comes.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedDecoder {
    limits: ChunkLimits,
    state: State,
    /// What is left of the current chunk; while its size is read, the size so far.
    remaining: u64,
    size_digits: u8,
    line_bytes: u32,
    extension_bytes: u32,
    trailer_bytes: u32,
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            state: State::Size,
            remaining: 0,
            size_digits: 0,
            line_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Whether the body has ended.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// One step: eats framing and at most one run of data. Call again with the rest of the input until all of it is
    /// consumed or the body is finished.
    ///
    /// # Errors
    /// The body is broken, and stays so: nothing behind this point can be trusted, close the connection.
    pub fn decode(&mut self, input: &[u8]) -> Result<Chunk, ChunkError> {
        let mut position = 0;
        while position < input.len() && self.state != State::Finished {
            if self.state == State::Data {
                let available = (input.len() - position) as u64;
                let length = self.remaining.min(available);
                self.remaining -= length;
                if self.remaining == 0 {
                    self.state = State::DataCarriageReturn;
                }
                let end = position + length as usize;
                return Ok(Chunk { consumed: end, data: position..end, finished: false });
            }
            match self.next_state(input[position]) {
                Ok(state) => self.state = state,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(*error);
                }
            }
            position += 1;
        }
        Ok(Chunk { consumed: position, data: position..position, finished: self.state == State::Finished })
    }

    /// Takes one byte of framing.
    fn next_state(&mut self, byte: u8) -> Result<State, &'static ChunkError> {
        match self.state {
            State::Size => self.size_byte(byte),
            State::Extension(place) => self.extension_byte(place, byte),
            State::SizeLineFeed if byte == b'\n' => Ok(self.end_of_size_line()),
            State::SizeLineFeed => Err(&BAD_SIZE),
            State::DataCarriageReturn if byte == b'\r' => Ok(State::DataLineFeed),
            State::DataLineFeed if byte == b'\n' => Ok(State::Size),
            State::DataCarriageReturn | State::DataLineFeed => Err(&BAD_DATA_END),
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLineFeed
            | State::FinalLineFeed => self.trailer_byte(byte),
            // Neither takes bytes: `decode` handles them before it comes here.
            State::Data | State::Finished => Ok(self.state),
            State::Failed(error) => Err(error),
        }
    }

    fn size_byte(&mut self, byte: u8) -> Result<State, &'static ChunkError> {
        match (byte as char).to_digit(16) {
            Some(digit) => {
                self.size_digits += 1;
                if self.size_digits > MAX_SIZE_DIGITS {
                    return Err(&BAD_SIZE);
                }
                self.remaining = self.remaining << 4 | u64::from(digit);
                self.line_bytes += 1;
                if self.remaining > MAX_CHUNK_BYTES { Err(&CHUNK_TOO_LARGE) } else { Ok(State::Size) }
            }
            None if self.size_digits == 0 => Err(&BAD_SIZE),
            None => match byte {
                b';' => self.count_extension_byte(Extension::BeforeName),
                b'\r' => Ok(State::SizeLineFeed),
                _ => Err(&BAD_SIZE),
            },
        }
    }

    fn extension_byte(&mut self, place: Extension, byte: u8) -> Result<State, &'static ChunkError> {
        if byte == b'\r' && place.may_end() {
            return Ok(State::SizeLineFeed);
        }
        let place = place.next(byte).ok_or(&BAD_EXTENSION)?;
        self.count_extension_byte(place)
    }

    /// One more byte of an extension, which is counted against its limits.
    fn count_extension_byte(&mut self, place: Extension) -> Result<State, &'static ChunkError> {
        self.line_bytes += 1;
        self.extension_bytes += 1;
        if self.line_bytes > self.limits.size_line_bytes {
            Err(&SIZE_LINE_TOO_LARGE)
        } else if self.extension_bytes > self.limits.extension_bytes {
            Err(&EXTENSIONS_TOO_LARGE)
        } else {
            Ok(State::Extension(place))
        }
    }

    fn end_of_size_line(&mut self) -> State {
        self.size_digits = 0;
        self.line_bytes = 0;
        if self.remaining == 0 { State::TrailerStart } else { State::Data }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, &'static ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.limits.trailer_bytes.saturating_add(2) {
            return Err(&TRAILERS_TOO_LARGE);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::FinalLineFeed),
            (State::FinalLineFeed, b'\n') => Ok(State::Finished),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if is_token_byte(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, byte) if byte == b'\t' || !byte.is_ascii_control() => {
                Ok(State::TrailerValue)
            }
            _ => Err(&BAD_TRAILER),
        }
    }
}
