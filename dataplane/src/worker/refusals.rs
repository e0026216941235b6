//! Requests that are refused for what they are: counted, told of in an event, answered; the connection ends.

use weir_policy::Reason;

use super::request::Answer;
use super::{ClientId, Worker};
use crate::decision;
use crate::io::{Io, Monotonic};
use crate::telemetry::{AttackAction, Event, EventText, ProtocolRefusal};

/// Events of this many seconds may come at once after a quiet time.
const BURST_SECONDS: u64 = 10;

/// Lets so many events a second through and counts the others, so that whoever sends garbage can't fill the event file.
#[derive(Debug, Default)]
pub(super) struct RefusalLimit {
    /// Thousandths of events that may pass now.
    milli_events: u64,
    refilled: Option<Monotonic>,
    suppressed: u64,
}

impl RefusalLimit {
    /// `Some(n)`: tell of this one; `n` before it were not told of. `None`: don't.
    fn pass(&mut self, now: Monotonic, per_second: u32) -> Option<u64> {
        let full = u64::from(per_second) * BURST_SECONDS * 1000;
        let gained = match self.refilled {
            Some(before) => {
                let milliseconds = u64::try_from(now.since(before).as_millis()).unwrap_or(u64::MAX);
                milliseconds.saturating_mul(per_second.into())
            }
            None => full,
        };
        if gained > 0 {
            self.refilled = Some(now);
            self.milli_events = self.milli_events.saturating_add(gained).min(full);
        }
        if self.milli_events < 1000 {
            self.suppressed += 1;
            return None;
        }
        self.milli_events -= 1000;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl<I: Io> Worker<I> {
    /// Refuses what a client sent.
    pub(super) fn client_refuse_with(&mut self, id: ClientId, status: u16, code: &'static str) {
        self.note_refusal(id, status, code);
        self.client_answer_and_close(id, status, code);
    }

    /// Tells of the refusal in an event, unless too many came before it.
    fn note_refusal(&mut self, id: ClientId, status: u16, code: &'static str) {
        let per_second = self.current.snapshot.http.refusal_events_per_second;
        if per_second == 0 {
            return;
        }
        let Some(suppressed_before) = self.refusal_limit.pass(self.io.now(), per_second) else {
            self.metrics.event_suppressed();
            return;
        };
        let unix_nanos = self.io.unix_nanos();
        let Some(client) = self.clients.get(id) else { return };
        let Some(request) = &client.request else { return };
        let refusal = ProtocolRefusal { code, suppressed_before };
        let status = (request.answer == Answer::None).then_some(status);
        let event = match request.event_context(unix_nanos) {
            Some(context) => decision::refusal_event(&context, refusal, status),
            None => {
                let (method, path) = first_words(&request.head_bytes);
                Event {
                    unix_nanos,
                    request_id: request.id,
                    client_ip: client.peer.ip().to_canonical(),
                    server: None,
                    application: -1,
                    method: EventText::method(method),
                    host: EventText::host(b""),
                    path: EventText::path(path),
                    attack: None,
                    mode: None,
                    mode_source: None,
                    mode_rule_id: None,
                    decided_by: None,
                    list: None,
                    list_source: None,
                    action: Some(AttackAction::Blocked),
                    reason: Reason::Protocol.as_str(),
                    status,
                    refusal: Some(refusal),
                    origin_error: None,
                }
            }
        };
        self.events.send(event);
    }
}

/// What may be the method and the path of a head that could not be read.
fn first_words(head: &[u8]) -> (&[u8], &[u8]) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
    let mut words = head[..end].split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    (method, &target[..query])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let start = Monotonic::default();
        let mut limit = RefusalLimit::default();
        let mut at = |milliseconds| limit.pass(start.after(Duration::from_millis(milliseconds)), 2);
        for number in 0..20 {
            assert_eq!(at(number), Some(0), "{number}");
        }
        assert_eq!([at(20), at(21), at(300)], [None, None, None]);
        assert_eq!(at(600), Some(3));
        assert_eq!(at(601), None);
        // However long the silence, no more than the burst comes at once.
        let passed = (0..100).filter(|number| at(3_600_000 + number).is_some()).count();
        assert_eq!(passed, 20);
    }

    #[test]
    fn words_of_broken_heads() {
        let table: [(&[u8], &[u8], &[u8]); 6] = [
            (b"GET /a?b=c HTTP/1.1\r\n", b"GET", b"/a"),
            (b"\r\nGET /a HTTP/9\nX", b"GET", b"/a"),
            (b"GET", b"GET", b""),
            (b"", b"", b""),
            (b"\x16\x03\x01\x02", b"\x16\x03\x01\x02", b""),
            (b"GET  /a", b"GET", b""),
        ];
        for (head, method, path) in table {
            assert_eq!(first_words(head), (method, path), "{}", head.escape_ascii());
        }
    }
}
