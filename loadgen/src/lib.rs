//! Load generator and origin stub for HTTP/1.1 proxies and web application firewalls.
//!
//! [`origin`] is the far end of a test: a server that answers as it is told and writes down what reached it.
//! [`run`] is the near end: it sends requests and measures the answers. [`compare`] is the near end of several targets
//! that take turns, [`replay`] sends a corpus and scores what was blocked, [`search`] finds the
//! highest rate that holds a bound, [`slow`] holds connections with clients that are slow on purpose, and [`output`] writes logs and pages. All use one thread per core on io_uring (on epoll where the kernel refuses io_uring) and speak TLS
//! with client certificates on either side.

pub mod compare;
pub mod diff;
pub mod files;
mod http;
mod net;
pub mod origin;
pub mod output;
mod processes;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod search;
pub mod slow;
pub mod units;
mod verdict;

pub use net::{Identity, TlsError, default_threads};
pub use verdict::Verdict;

/// The time of a report, RFC 3339 in UTC, to the second.
fn report_time() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

/// Checks a header field that a user typed: a token, and text that can't start another line.
pub(crate) fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{name}` is not a header name"));
    }
    if value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(format!("the value of `{name}` has a control character"));
    }
    Ok(())
}
