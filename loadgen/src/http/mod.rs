//! HTTP/1.1 as bytes: heads and bodies, without sockets. Shared by the origin stub and the load generator.

mod body;
mod head;

pub(crate) use body::{BodyDecoder, append_chunk, append_last_chunk};
pub(crate) use head::{Framing, MAX_HEADERS, RequestHead, ResponseHead, parse_request, parse_response};

/// The most bytes that a request or response head may have, its final empty line included.
pub(crate) const HEAD_LIMIT_BYTES: usize = 64 * 1024;

/// The usual reason phrase of a status code; empty for codes that have none.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Whether an answer with this status never has a body, whatever its header says (RFC 9112 section 6.3).
pub(crate) const fn status_has_no_body(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}
