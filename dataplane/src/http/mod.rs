//! HTTP/1.1 codecs without I/O: request and response heads, chunked bodies, forwarded heads, answers.
//!
//! Bytes come in as slices, facts and bytes go out; nothing here knows a socket, a clock or a runtime.
//! The rules are stricter than RFC 9112 asks, because two parsers that read one message differently are what
//! request smuggling lives on:
//!
//! - [`RequestHead`] and [`ResponseHead`] hold offsets into the caller's buffer, so that they can be reused from
//!   message to message without an allocation;
//! - framing (Content-Length, Transfer-Encoding, Connection) is decided once, and nobody reads those fields again;
//! - what is forwarded is written anew from the parsed view ([`write_request_head`], [`write_response_head`]), never
//!   copied, and bodies are framed by us.

mod address;
mod answer;
mod chunked;
mod edits;
mod fields;
mod forward;
mod framing;
mod head;
mod host;
mod page;
mod readings;
mod request;
mod response;
mod strict;
mod target;
#[cfg(test)]
mod tests;
mod websocket;

pub use address::address_text;
pub use answer::{Answer, write_answer, write_block_answer};
pub use chunked::{Chunk, ChunkError, ChunkLimits, ChunkedDecoder};
pub use edits::{EditAction, HeaderEdit, HeaderEdits};
pub use fields::{FieldId, HeaderField, Span};
pub use forward::{
    CERTIFICATE_FIELDS, CONTINUE, CertificateFacts, ForwardFacts, LAST_CHUNK, ResponseFacts, write_chunk,
    write_chunk_header, write_request_head, write_response_head,
};
pub use framing::{BodyFraming, ResponseFraming};
pub use head::{HeadError, HeadLimits, MAX_HEADER_COUNT, Progress, UnderscoreNames, Version, find_head_end};
pub use host::{host_without_port, is_valid_host};
pub use page::{BlockPage, Page, PageKind, PageValues, UnknownVariable, page_variables};
pub use readings::{PathReadings, decode_path};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use websocket::{accepts_websocket, websocket_key, write_switch_head};
