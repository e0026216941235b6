//! What to answer: the fixed answer, built once, and the answers that requests ask for.

use std::{sync::Arc, time::Duration};

use httparse::Header;

use super::{Body, Options};
use crate::{http, units};

/// The longest body and delay that a request may ask for.
const STEERED_SIZE_LIMIT_BYTES: u64 = 1 << 30;
const STEERED_DELAY_LIMIT: Duration = Duration::from_secs(60);
/// Text bodies repeat a block of this size.
const BLOCK_BYTES: usize = 64 * 1024;
const STEERING_PREFIX: &str = "x-origin-";

/// How one request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) status: u16,
    /// The body's size, where it isn't the configured body.
    pub(super) size: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

/// How an origin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It closes the connection in place of an answer.
    Close,
    /// It closes the connection behind half of the body.
    Truncate,
    /// It sends nothing more behind half of the body, and keeps the connection open.
    Stall,
}

/// The bytes of an answer's body, handed out in pieces.
pub(super) enum Content {
    Bytes(Arc<[u8]>),
    /// `size` bytes of the repeated block.
    Text {
        block: Arc<[u8]>,
        size: u64,
    },
    Owned(Vec<u8>),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Text { size, .. } => *size,
            Self::Owned(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes at `offset`, at most a block of them; empty at the end.
    pub(super) fn piece(&self, offset: u64) -> &[u8] {
        let (bytes, start, left) = match self {
            Self::Text { block, size } => {
                let start = (offset % block.len() as u64) as usize;
                (&block[..], start, size.saturating_sub(offset))
            }
            Self::Bytes(bytes) => (&bytes[..], offset as usize, u64::MAX),
            Self::Owned(bytes) => (&bytes[..], offset as usize, u64::MAX),
        };
        let rest = bytes.get(start..).unwrap_or(&[]);
        let length = rest.len().min(BLOCK_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        &rest[..length]
    }
}

/// Everything needed to answer.
pub(super) struct Answers {
    default_plan: Plan,
    pub(super) echo: bool,
    pub(super) steering: bool,
    /// Header fields behind the framing, each with its line end.
    fields: Vec<u8>,
    body: Arc<[u8]>,
    block: Arc<[u8]>,
    /// The whole answer to a plain request on a connection that stays open; `None` if it is too large to keep.
    prebuilt: Option<Vec<u8>>,
}

impl Answers {
    /// # Errors
    ///
    /// A header field is malformed or frames the message; the text says which.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let block: Arc<[u8]> = text_block().into();
        let (body, body_size): (Arc<[u8]>, u64) = match &options.body {
            Body::Bytes(bytes) => (bytes.as_slice().into(), bytes.len() as u64),
            Body::Size(size) => (Arc::new([]), *size),
        };
        let default_plan = Plan {
            status: options.status,
            size: matches!(options.body, Body::Size(_)).then_some(body_size),
            chunked: false,
            close: false,
            delay: options.delay,
            fault: None,
        };
        let mut answers = Self {
            default_plan,
            echo: options.echo,
            steering: options.steering,
            fields: header_fields(&options.headers)?,
            body,
            block,
            prebuilt: None,
        };
        if !options.echo && body_size <= BLOCK_BYTES as u64 {
            answers.prebuilt = Some(answers.build_default());
        }
        Ok(answers)
    }

    fn build_default(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let content = self.content(&self.default_plan);
        self.append_head(&mut out, &self.default_plan, content.len(), true);
        if !http::status_has_no_body(self.default_plan.status) {
            out.extend_from_slice(content.piece(0));
        }
        out
    }

    pub(super) const fn default_plan(&self) -> &Plan {
        &self.default_plan
    }

    pub(super) fn prebuilt(&self) -> Option<&[u8]> {
        self.prebuilt.as_deref()
    }

    pub(super) fn content(&self, plan: &Plan) -> Content {
        match plan.size {
            Some(size) => Content::Text { block: Arc::clone(&self.block), size },
            None => Content::Bytes(Arc::clone(&self.body)),
        }
    }

    /// The plan that a request asks for; the default one where it asks for nothing.
    ///
    /// A malformed wish in the query is ignored: the query may well be an application's own. One in a header field can
    /// only be a mistake, and is an error.
    pub(super) fn steer(&self, target: &str, headers: &[Header<'_>]) -> Result<Plan, String> {
        let mut plan = self.default_plan;
        if let Some((_, query)) = target.split_once('?') {
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let _not_ours = plan.set(name, value);
            }
        }
        for header in headers {
            let Some(name) = header.name.get(..STEERING_PREFIX.len()) else { continue };
            if name.eq_ignore_ascii_case(STEERING_PREFIX) {
                let wish = header.name[STEERING_PREFIX.len()..].to_ascii_lowercase();
                let value =
                    std::str::from_utf8(header.value).map_err(|_| format!("{} is not text", header.name))?;
                plan.set(&wish, value).map_err(|why| format!("{}: {why}", header.name))?;
            }
        }
        Ok(plan)
    }

    /// Appends the head of an answer with `length` body bytes.
    pub(super) fn append_head(&self, out: &mut Vec<u8>, plan: &Plan, length: u64, keep_alive: bool) {
        let reason = http::reason_phrase(plan.status);
        out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", plan.status).as_bytes());
        if http::status_has_no_body(plan.status) {
            // Neither field belongs to an answer that has no body.
        } else if plan.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        } else {
            out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(b"\r\n");
    }
}

impl Plan {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let yes = || match value {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(format!("`{value}` is neither 1 nor 0")),
        };
        match name {
            "size" => {
                let size = units::parse_size(value)?;
                if size > STEERED_SIZE_LIMIT_BYTES {
                    return Err(format!("{size} bytes are more than {STEERED_SIZE_LIMIT_BYTES}"));
                }
                self.size = Some(size);
            }
            "delay" => {
                let delay = units::parse_duration(value)?;
                if delay > STEERED_DELAY_LIMIT {
                    return Err(format!("{value} is longer than 60s"));
                }
                self.delay = delay;
            }
            "status" => {
                self.status = value
                    .parse()
                    .ok()
                    .filter(|status| (200..600).contains(status))
                    .ok_or_else(|| format!("`{value}` is not a status from 200 to 599"))?;
            }
            "chunked" => self.chunked = yes()?,
            "close" => self.close = yes()?,
            "fault" => {
                self.fault = Some(match value {
                    "close" => Fault::Close,
                    "truncate" => Fault::Truncate,
                    "stall" => Fault::Stall,
                    _ => return Err(format!("`{value}` is not a fault: close, truncate or stall")),
                });
            }
            _ => return Err("only size, delay, status, chunked, close and fault can be asked for".to_owned()),
        }
        Ok(())
    }
}

fn header_fields(headers: &[(String, String)]) -> Result<Vec<u8>, String> {
    let mut fields = Vec::new();
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    if !headers.iter().any(|(name, _)| is(name, "content-type")) {
        fields.extend_from_slice(b"Content-Type: text/plain\r\n");
    }
    for (name, value) in headers {
        crate::check_header(name, value)?;
        if ["content-length", "transfer-encoding", "connection"].iter().any(|framing| is(name, framing)) {
            return Err(format!("`{name}` frames the message and is written by the origin itself"));
        }
        fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    Ok(fields)
}

/// Lines of 64 characters with their number, so that a hole or a swap in a relayed body can be seen.
fn text_block() -> Vec<u8> {
    (0..BLOCK_BYTES / 64)
        .flat_map(|line| {
            format!("{:<63}\n", format!("line {line:04} of an answer by the origin stub")).into_bytes()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(options: &Options) -> Answers {
        Answers::new(options).unwrap()
    }

    #[test]
    fn requests_choose_size_status_delay_and_framing() {
        let answers = answers(&Options::default());
        let plan = answers
            .steer("/x?size=1KiB&delay=10ms&status=404&chunked=1&close=1&fault=stall&other=2", &[])
            .unwrap();
        let expected = Plan {
            status: 404,
            size: Some(1024),
            chunked: true,
            close: true,
            delay: Duration::from_millis(10),
            fault: Some(Fault::Stall),
        };
        assert_eq!(plan, expected);
        let header = Header { name: "X-Origin-Status", value: b"503" };
        assert_eq!(answers.steer("/?status=404", &[header]).unwrap().status, 503);
    }

    #[test]
    fn wishes_out_of_range_are_ignored_in_a_query_and_refused_in_a_header() {
        let answers = answers(&Options::default());
        let query = "/?size=2GiB&delay=2m&status=99&chunked=perhaps&close='or'1";
        assert_eq!(answers.steer(query, &[]).unwrap(), *answers.default_plan());
        for (name, value) in
            [("X-Origin-Size", "2GiB"), ("x-origin-status", "1xx"), ("X-ORIGIN-COLOUR", "red")]
        {
            let header = Header { name, value: value.as_bytes() };
            assert!(answers.steer("/", &[header]).is_err(), "{name}");
        }
    }

    #[test]
    fn content_comes_in_pieces_that_add_up() {
        let size = 3 * BLOCK_BYTES as u64 + 17;
        let answers = answers(&Options { body: Body::Size(size), ..Options::default() });
        assert!(answers.prebuilt().is_none());
        let content = answers.content(answers.default_plan());
        let mut offset = 0;
        while !content.piece(offset).is_empty() {
            offset += content.piece(offset).len() as u64;
        }
        assert_eq!(offset, size);
    }

    #[test]
    fn fields_that_frame_or_split_a_message_are_refused() {
        for (name, value) in [("Content-Length", "1"), ("A B", "1"), ("", "1"), ("A", "1\r\nB: 2")] {
            let headers = vec![(name.to_owned(), value.to_owned())];
            assert!(header_fields(&headers).is_err(), "{name}");
        }
    }
}
