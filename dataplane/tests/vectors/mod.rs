//! Public test cases of other parsers as tables: what was sent, what Weir does with it, and why. The same cases are put
//! to nginx and HAProxy by hand ([`peers`]), and the page `docs/http.md` shows all three ([`page`]).

mod page;
mod peers;
mod requests;
mod responses;
mod second_opinion;
mod table;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) use self::requests::answers;
use crate::support::PATIENCE;

/// How long a party may be silent between two parts of a case, or after the last one where it doesn't end the
/// connection by itself. Longer changes nothing but the time that the tests take.
const QUIET: Duration = Duration::from_millis(500);

/// When the sending side ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Behind the last byte: a half-close, which is legal, and lets a server end at once what would have waited.
    AtOnce,
    /// When the other side has been quiet for a while: some servers take a half-close for a client that left.
    WhenQuiet,
}

/// Sends the parts of a case over one connection, each when the one before was answered, and returns all that came back.
pub(crate) fn converse(address: SocketAddr, parts: &[Vec<u8>], finish: Finish) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut heard = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            read_while(&mut stream, &mut heard, QUIET, |heard| statuses(heard).len() < number);
        }
        // A server that has refused already may not take the rest.
        let _ = stream.write_all(part);
    }
    if finish == Finish::WhenQuiet {
        read_while(&mut stream, &mut heard, QUIET, |_| true);
    }
    let _ = stream.shutdown(Shutdown::Write);
    let patience = if finish == Finish::AtOnce { PATIENCE } else { QUIET };
    let ended = read_while(&mut stream, &mut heard, patience, |_| true);
    assert!(ended || finish == Finish::WhenQuiet, "the connection stays open: {:?}", heard.escape_ascii());
    heard
}

/// Reads while `wanted` says so, up to the end of the stream or a silence; true if it ended.
fn read_while(
    stream: &mut TcpStream,
    heard: &mut Vec<u8>,
    patience: Duration,
    wanted: impl Fn(&[u8]) -> bool,
) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 16 * 1024];
    while wanted(heard) {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
    false
}

/// The status lines in what a server sent. No body of the tests' origins holds one.
fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    ["HTTP/1.1 ", "HTTP/1.0 "]
        .iter()
        .flat_map(|start| text.match_indices(start))
        .filter_map(|(at, start)| Some((at, text.get(at + start.len()..)?.get(..3)?.parse().ok()?)))
        .collect::<std::collections::BTreeMap<usize, u16>>()
        .into_values()
        .collect()
}
