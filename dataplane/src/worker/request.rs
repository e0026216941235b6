//! The life of one request: what is known about it from its first byte to the end of its answer.
//!
//! The struct is reused from request to request, so that its vectors are allocated once.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use arrayvec::ArrayVec;
use weir_policy::{Resolution, Verdict};

use super::balance::ATTEMPTS_MAX;
use super::body_clock::BodyClock;
use super::pool::PoolIndex;
use super::timers::Deadline;
use super::{Generation, UpstreamId};
use crate::config::RequestLimits;
use crate::decision::{BodyCut, BodySeen, EventContext};
use crate::http::{
    BlockPage, BodyFraming, ChunkError, ChunkedDecoder, HeaderEdits, RequestHead, ResponseHead,
};
use crate::io::{ListenerId, Monotonic};
use crate::placement::SharedPlace;
use crate::rules::Active;
use crate::snapshot::LocationSettings;
use crate::telemetry::Event;

/// A request's identifier: 128 random bits as hex.
pub(crate) type RequestId = [u8; 32];

/// Makes request identifiers: a counter under a keyed hash, with keys of the system's randomness for each
/// worker. They are unique for all practical purposes; they are no secrets.
#[derive(Debug)]
pub(crate) struct RequestIds {
    keys: [ahash::RandomState; 2],
    counter: u64,
}

/// Each byte in hex.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { keys: [ahash::RandomState::new(), ahash::RandomState::new()], counter: 0 }
    }

    /// The next identifier.
    pub(crate) fn next(&mut self) -> RequestId {
        self.counter += 1;
        let [high, low] = [self.keys[0].hash_one(self.counter), self.keys[1].hash_one(self.counter)];
        let mut id = [0; 32];
        for (position, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
            id[2 * position..2 * position + 2].copy_from_slice(&HEX[usize::from(byte)]);
        }
        id
    }
}

/// What is left of the request's body.
#[derive(Clone, Debug, Default)]
pub(crate) enum Upload {
    /// All of it came in (or there is none).
    #[default]
    Done,
    /// So many bytes are missing.
    Length(u64),
    /// The last chunk is missing.
    Chunked(ChunkedDecoder),
}

impl Upload {
    /// Takes a step into `bytes`: how many of them are done with, and the body data among these.
    ///
    /// # Errors
    /// The chunks are broken.
    pub(crate) fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, &'a [u8]), ChunkError> {
        match self {
            Self::Done => Ok((0, &[])),
            Self::Length(left) => {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= step as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok((step, &bytes[..step]))
            }
            Self::Chunked(decoder) => {
                let chunk = decoder.decode(bytes)?;
                if chunk.finished {
                    *self = Self::Done;
                }
                Ok((chunk.consumed, &bytes[chunk.data]))
            }
        }
    }
}

/// What happens to the bytes of the body as they come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sink {
    /// They are held until the verdict.
    Hold,
    /// They go to the origin while a copy is inspected.
    Stream,
    /// They go nowhere: the request was answered already.
    #[default]
    Discard,
}

/// How often a request was sent again because its connection died before an answer began. A fresh connection is taken for it
/// each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Repeated {
    #[default]
    Never,
    /// To the same address, as the connection had been idle and may just have been stale.
    There,
    /// To another address: that was the last time.
    Elsewhere,
}

/// What a request waits for in a queue of its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// A connection.
    Connection,
    /// One of the connections that uploads may have, or the end of its body.
    Upload,
}

/// What a request does once its turn under a rate limit comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paced {
    /// It starts.
    Starts,
    /// It goes to the origin: it was inspected already.
    Forwards,
}

/// What a rate limit said to a request that it refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RateRefusal {
    /// The rule's id.
    pub(crate) rule: u64,
    /// The status of the answer.
    pub(crate) status: u16,
}

/// How far the answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Answer {
    /// Nothing was sent to the client.
    #[default]
    None,
    /// The head of the origin's answer was relayed; its body is on the way.
    Relaying,
    /// All of it was handed to the client's output.
    Done,
}

/// State of one request.
#[derive(Default, Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    /// Where it came in.
    pub(crate) listener: ListenerId,
    /// The generation that it started with.
    pub(crate) generation: Option<Rc<Generation>>,
    pub(crate) head: RequestHead,
    /// The bytes that `head` points into.
    pub(crate) head_bytes: Vec<u8>,
    /// When its head was complete.
    pub(crate) started: Monotonic,
    pub(crate) client_ip: Option<IpAddr>,
    pub(crate) resolution: Option<Resolution>,
    /// What holds instead of the settings of its location, where its path may lead to several.
    pub(crate) shared_place: Option<Box<SharedPlace>>,
    /// The rules beside that of the mode that hold.
    pub(crate) active: Active,
    /// It waits for its turn under a rate limit.
    pub(crate) paced: Option<Paced>,
    /// When its turn comes.
    pub(crate) turn: Deadline,
    /// A rate limit refused it.
    pub(crate) refused: Option<RateRefusal>,

    pub(crate) verdict: Option<Verdict>,

    pub(crate) upload: Upload,
    pub(crate) sink: Sink,
    /// It is to be inspected when its body is complete.
    pub(crate) inspect: bool,
    /// Body bytes (framing removed) for inspection, and for the origin where the request is held.
    pub(crate) body: Vec<u8>,
    /// How long the client has had for it.
    pub(crate) body_clock: BodyClock,
    /// Body bytes seen, kept or not.
    pub(crate) body_bytes: u64,
    /// The body was longer than what is inspected.
    pub(crate) body_over_limit: bool,
    /// The body ended before it was whole: the rest isn't awaited any more.
    pub(crate) body_broke_off: bool,
    /// Bytes of `body` that count towards what the worker keeps of all bodies.
    pub(crate) kept_bytes: usize,
    /// The worker kept so much of other bodies that there was no room for all that is to be inspected of this one.
    pub(crate) overloaded: bool,
    /// What it is answered as a blocked one; absent = the built-in page.
    pub(crate) block_page: Option<Arc<BlockPage>>,
    /// It is answered so because it could not be inspected, not for what it is.
    pub(crate) uninspected: bool,
    /// How the body goes to the origin.
    pub(crate) framing_to_origin: BodyFraming,
    /// Bytes for the origin, framed by us, that wait for its connection.
    pub(crate) to_origin: Vec<u8>,
    /// The start of the body came in with the head and is about to be used: the head waits for it, so that both go to the
    /// origin by one send, and so that a body that is whole already is nobody's upload.
    pub(crate) body_at_hand: bool,
    /// The head was written to `to_origin` (and maybe sent).
    pub(crate) forwarded: bool,
    /// It opens a WebSocket, and has a place among the tunnels.
    pub(crate) websocket: bool,
    /// Body bytes went out that can't be sent a second time.
    pub(crate) streamed: bool,

    pub(crate) upstream: Option<UpstreamId>,
    /// Waits in a queue of the pool.
    pub(crate) queued: Option<Wait>,
    /// When it joined one for the first time.
    pub(crate) waits_since: Option<Monotonic>,
    /// Its upload isn't read any further before it gets a connection, and the time for that runs.
    pub(crate) upload_is_stopped: bool,
    /// The pool of the address that it goes to.
    pub(crate) pool: Option<PoolIndex>,
    /// The addresses that it was given to, that one included.
    pub(crate) tried: ArrayVec<PoolIndex, ATTEMPTS_MAX>,
    /// Whether a connection died under it, and what became of it then.
    pub(crate) repeated: Repeated,

    pub(crate) answer: Answer,
    pub(crate) response: ResponseHead,
    /// Bytes of the response head so far; empty once it was relayed.
    pub(crate) response_bytes: Vec<u8>,
    pub(crate) interim_responses: u32,
    /// Chunks are made by us on the way to the client.
    pub(crate) chunk_to_client: bool,
    pub(crate) keep_alive: bool,
    pub(crate) status: u16,
    /// Length of an answer of our own.
    pub(crate) answer_bytes: u64,

    /// Events that wait for the status of the answer.
    pub(crate) events: Vec<Event>,
}

impl Request {
    /// Makes it fresh, keeping the memory of its vectors (up to a limit).
    pub(crate) fn clear(&mut self) {
        // Destructured, so that a field can't be forgotten here.
        let Self {
            id: _,
            listener: _,
            generation,
            head,
            head_bytes,
            started: _,
            client_ip,
            resolution,
            shared_place,
            active,
            paced,
            turn,
            refused,
            verdict,
            upload,
            sink,
            inspect,
            body,
            body_clock: _,
            body_bytes,
            body_over_limit,
            body_broke_off,
            kept_bytes,
            overloaded,
            uninspected,
            block_page,
            framing_to_origin,
            to_origin,
            body_at_hand,
            forwarded,
            websocket,
            streamed,
            upstream,
            queued,
            waits_since,
            upload_is_stopped,
            pool,
            tried,
            repeated,
            answer,
            response,
            response_bytes,
            interim_responses,
            chunk_to_client,
            keep_alive,
            status,
            answer_bytes,
            events,
        } = self;
        head.clear();
        response.clear();
        for buffer in [head_bytes, body, to_origin, response_bytes] {
            forget(buffer);
        }
        events.clear();
        active.clear();
        *turn = Deadline::default();
        (*paced, *refused, *queued, *waits_since) = (None, None, None, None);
        (*generation, *client_ip, *resolution, *verdict, *upstream) = (None, None, None, None, None);
        (*pool, *shared_place) = (None, None);
        tried.clear();
        *repeated = Repeated::Never;
        (*upload, *sink, *answer) = (Upload::Done, Sink::Discard, Answer::None);
        *framing_to_origin = BodyFraming::None;
        *block_page = None;
        *kept_bytes = 0;
        *answer_bytes = 0;
        (*body_bytes, *interim_responses, *status) = (0, 0, 0);
        for flag in [
            inspect,
            body_over_limit,
            body_broke_off,
            upload_is_stopped,
            body_at_hand,
            overloaded,
            uninspected,
            forwarded,
            websocket,
            streamed,
            chunk_to_client,
            keep_alive,
        ] {
            *flag = false;
        }
    }

    /// Whether it may be sent a second time: RFC 9110 section 9.2.2 allows that for idempotent methods, and
    /// it can be done only while we still have all of the body.
    pub(crate) fn is_repeatable(&self) -> bool {
        let idempotent = matches!(
            self.head.method(&self.head_bytes),
            b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"
        );
        idempotent && !self.streamed && self.answer == Answer::None
    }

    /// Its generation and the number of its origin, once the head was read.
    pub(crate) fn origin(&self) -> Option<(Rc<Generation>, usize)> {
        Some((self.generation.clone()?, self.settings()?.origin as usize))
    }

    /// It goes to this address now.
    pub(crate) fn goes_to(&mut self, pool: PoolIndex) {
        self.pool = Some(pool);
        // There is room for all that are tried; what isn't noted could be tried again.
        let _ = self.tried.try_push(pool);
    }

    /// The settings of its location, once the head was read.
    pub(crate) fn settings(&self) -> Option<&LocationSettings> {
        if let Some(shared) = &self.shared_place {
            return Some(&shared.settings);
        }
        let location = self.resolution.as_ref()?.location.0 as usize;
        self.generation.as_ref()?.snapshot.locations.get(location)
    }

    /// The limits that hold for it, once the head was read.
    pub(crate) fn limits(&self) -> Option<&RequestLimits> {
        if let Some(shared) = &self.shared_place {
            return Some(&shared.limits);
        }
        let location = self.resolution.as_ref()?.location;
        self.generation.as_ref()?.snapshot.request_limits(self.listener, location)
    }

    /// What its events have in common, once the head was read. `unix_nanos` is now.
    pub(crate) fn event_context(&self, unix_nanos: u64) -> Option<EventContext<'_>> {
        Some(EventContext {
            request_id: &self.id,
            unix_nanos,
            client_ip: self.client_ip(),
            snapshot: &self.generation.as_ref()?.snapshot,
            resolution: self.resolution.as_ref()?,
            strictest: self.shared_place.as_ref().map(|shared| &shared.strictest),
            active: &self.active,
            head: &self.head,
            bytes: &self.head_bytes,
        })
    }

    /// What rules change about the headers of its response.
    pub(crate) fn header_edits(&self) -> HeaderEdits<'_> {
        match &self.generation {
            Some(generation) => self.active.header_edits(&generation.snapshot.rules),
            None => HeaderEdits::NONE,
        }
    }

    /// What is known of its body.
    pub(crate) fn body_seen(&self) -> BodySeen {
        let missing = match &self.upload {
            Upload::Length(bytes) => *bytes,
            Upload::Done | Upload::Chunked(_) => 0,
        };
        BodySeen {
            bytes: self.body_bytes + missing,
            cut: BodyCut { over_limit: self.body_over_limit, overloaded: self.overloaded },
        }
    }

    /// The client's address, once the head was read.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Whether the head was read whole, so that what it says can be asked for.
    fn has_head(&self) -> bool {
        self.resolution.is_some()
    }

    /// Whether the client takes the connection for one that goes on.
    pub(crate) fn may_be_followed(&self) -> bool {
        self.has_head() && self.head.keep_alive()
    }

    /// What kind of answer the client would like to have.
    pub(crate) fn accept(&self) -> Option<&[u8]> {
        self.has_head().then(|| self.head.header(&self.head_bytes, b"accept"))?
    }

    /// Whether an answer must go without its body.
    pub(crate) fn wants_head_only(&self) -> bool {
        self.has_head() && self.head.is_head()
    }

    /// Whether the client may be waiting for `100 Continue` before it sends the body.
    pub(crate) fn waits_for_continue(&self) -> bool {
        self.has_head() && self.head.expects_continue() && self.body_bytes == 0
    }

    /// Whether it was answered, and what still comes of its body is thrown away.
    pub(crate) fn is_discarding(&self) -> bool {
        self.sink == Sink::Discard && self.answer == Answer::Done && self.is_uploading()
    }

    /// Whether the client still owes body bytes.
    pub(crate) fn is_uploading(&self) -> bool {
        !matches!(self.upload, Upload::Done)
    }
}

/// A buffer of a request that grew beyond this isn't kept for the next one.
const BUFFER_KEPT_BYTES_MAX: usize = 64 * 1024;

pub(super) fn forget(buffer: &mut Vec<u8>) {
    if buffer.capacity() > BUFFER_KEPT_BYTES_MAX {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_hex_and_differ() {
        let mut ids = RequestIds::new();
        let first = ids.next();
        assert!(first.iter().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(first, ids.next());
        assert_ne!(first, RequestIds::new().next());
    }
}
