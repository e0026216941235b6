//! The record engine: TLS without I/O over rustls' unbuffered API.
//!
//! The caller owns every buffer. Ciphertext is handed in where the kernel put it and is decrypted in place; the
//! engine keeps bytes only while a record, or a handshake message over several records, is incomplete.

use std::sync::Arc;
use std::{fmt, iter, mem};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};

use super::failure::TlsFailure;
use super::role::Role;

/// The largest plaintext of one record (RFC 8446 section 5.1).
const RECORD_PLAINTEXT_BYTES: usize = 16 * 1024;

/// Bytes before the payload of a record: type, version, length.
const RECORD_HEADER_BYTES: usize = 5;

/// Room beyond the plaintext that one sealed record gets at first. TLS 1.3 needs 22 bytes and TLS 1.2 with AES-GCM
/// 29; a key update that goes out first takes the slower way of asking for more.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// The most that may wait for its completion: a handshake message has at most 64 KiB, in records that each add
/// some bytes. A peer that cuts its messages finer than this is up to no good.
const PARTIAL_LIMIT_BYTES: usize = 128 * 1024;

/// A TLS connection towards an origin.
pub type ClientEngine = Engine<UnbufferedClientConnection>;

/// A TLS connection of a client to a listener.
pub type ServerEngine = Engine<UnbufferedServerConnection>;

/// One TLS connection, in the role that `R` is.
pub struct Engine<R> {
    connection: R,
    /// Received bytes that don't make up a record or a handshake message yet. Without capacity while empty.
    partial: Vec<u8>,
    peer_closed: bool,
    close_sent: bool,
    failure: Option<TlsFailure>,
}

/// What came of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingested {
    /// The handshake finished with these bytes: data can be sealed from now on. In TLS 1.3 an origin may still
    /// refuse our certificate, which a later [`Engine::ingest`] reports.
    pub handshake_finished_now: bool,
    /// An earlier session was resumed. Valid once the handshake has finished.
    pub resumed: bool,
    /// The peer said that it sends no more (close_notify). What it sends after that is ignored. A connection
    /// that ends without it may have been cut by anyone; one that ends in the handshake never says it.
    pub peer_closed: bool,
}

impl<R: Role> fmt::Debug for Engine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("handshaking", &self.connection.is_handshaking())
            .field("partial_bytes", &self.partial.len())
            .field("peer_closed", &self.peer_closed)
            .field("close_sent", &self.close_sent)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Engine<UnbufferedClientConnection> {
    /// A connection that hasn't said anything yet.
    ///
    /// # Errors
    /// `internal` if the configuration can't open a connection.
    pub fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name)
            .map_err(UnbufferedClientConnection::failure)?;
        Ok(Self::of(connection))
    }

    /// Appends the first flight to `out`.
    ///
    /// # Errors
    /// `internal` if the first flight can't be made.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        let result = self.process(&mut [], &mut Vec::new(), out).map(drop);
        self.remember(result)
    }
}

impl Engine<UnbufferedServerConnection> {
    /// A connection of a client that hasn't said anything yet.
    ///
    /// # Errors
    /// `internal` if the configuration can't take a connection.
    pub fn accept(config: &Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config))
            .map_err(UnbufferedServerConnection::failure)?;
        Ok(Self::of(connection))
    }

    /// The certificate that the client proved to own, with those that it sent along.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.peer_certificates()
    }
}

impl<R: Role> Engine<R> {
    fn of(connection: R) -> Self {
        Self { connection, partial: Vec::new(), peer_closed: false, close_sent: false, failure: None }
    }

    /// Takes received ciphertext, which is overwritten; appends plaintext to `plain` and bytes to send to `out`.
    ///
    /// # Errors
    /// Whatever ends the connection, see [`TlsFailure`]. `out` may then hold an alert, to be sent before the close;
    /// `plain` may hold data that came before the failure. Every later call fails in the same way.
    pub fn ingest(
        &mut self,
        ciphertext: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Ingested, TlsFailure> {
        let was_handshaking = self.connection.is_handshaking();
        let result = self.feed(ciphertext, plain, out);
        self.remember(result)?;
        Ok(Ingested {
            handshake_finished_now: was_handshaking && !self.connection.is_handshaking(),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_closed: self.peer_closed,
        })
    }

    /// True until the handshake has finished.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the connection can go on: the peer hasn't said that it sends no more, and nothing has failed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.peer_closed && self.failure.is_none()
    }

    /// Encrypts `parts`, one after the other as one stream of bytes, and appends the records to `out`.
    ///
    /// Parts are joined into records of up to 16 KiB, so a head and a short body make one record.
    ///
    /// # Errors
    /// `internal` before the end of the handshake, after [`Engine::close_notify`], and if the keys are used up.
    pub fn seal(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.seal_parts(parts, out)
    }

    /// Appends the message that says that we send no more. Nothing is appended before the end of the handshake,
    /// after a failure, and the second time.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        if self.close_sent || self.failure.is_some() || self.flush(out).is_err() {
            return;
        }
        self.close_sent = true;
        let start = out.len();
        let mut room = RECORD_OVERHEAD_BYTES;
        let written = self.with_write(|write| {
            loop {
                out.resize(start + room, 0);
                match write.queue_close_notify(&mut out[start..]) {
                    Ok(written) => return Ok(written),
                    Err(error) => room = more_room(&error, room)?,
                }
            }
        });
        // Without the message the peer sees the bare end of the connection, which it must be ready for anyway.
        let _ = finish_record(out, start, written);
    }

    /// The bytes that are allocated for incomplete records.
    #[cfg(test)]
    pub(super) fn partial_capacity(&self) -> usize {
        self.partial.capacity()
    }

    /// A failed connection stays failed.
    fn remember<T>(&mut self, result: Result<T, TlsFailure>) -> Result<T, TlsFailure> {
        if let Err(failure) = &result {
            self.failure.get_or_insert_with(|| failure.clone());
            self.partial = Vec::new();
        }
        result
    }

    fn feed(
        &mut self,
        mut ciphertext: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        while !self.partial.is_empty() && !ciphertext.is_empty() {
            let (missing, rest) = {
                let count = missing_bytes(&self.partial).min(ciphertext.len());
                mem::take(&mut ciphertext).split_at_mut(count)
            };
            ciphertext = rest;
            self.feed_partial(missing, plain, out)?;
        }
        if ciphertext.is_empty() || self.peer_closed {
            return Ok(());
        }
        let used = self.process(ciphertext, plain, out)?;
        self.keep_partial(&ciphertext[used..]);
        Ok(())
    }

    /// Keeps what is incomplete, in a buffer that needn't grow until the record is there. rustls has refused
    /// records that announce too much by now, so that is 17 KiB at most.
    fn keep_partial(&mut self, rest: &[u8]) {
        match missing_bytes(rest) {
            _ if rest.is_empty() => return,
            usize::MAX => {}
            missing => self.partial.reserve_exact(rest.len() + missing),
        }
        self.partial.extend_from_slice(rest);
    }

    /// Adds bytes to the incomplete ones and processes both.
    fn feed_partial(
        &mut self,
        missing: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        if self.partial.len() + missing.len() > PARTIAL_LIMIT_BYTES {
            let detail = "the peer sent a handshake message in too many pieces";
            return Err(TlsFailure::new("protocol", detail));
        }
        let mut partial = mem::take(&mut self.partial);
        partial.extend_from_slice(missing);
        let used = self.process(&mut partial, plain, out)?;
        if used < partial.len() {
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// Lets rustls work through `buffer` and returns how many of its bytes are done with.
    fn process(
        &mut self,
        buffer: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process(&mut buffer[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(R::failure)?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(message)) => append_message(message, out)?,
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    return Ok(buffer.len());
                }
                Ok(
                    ConnectionState::BlockedHandshake
                    | ConnectionState::WriteTraffic(_)
                    | ConnectionState::Closed,
                ) => return Ok(used + discard),
                Ok(state) => return Err(unexpected_state(&state)),
                Err(error) => {
                    let start = out.len();
                    self.take_alerts(&mut buffer[used + discard..], out);
                    R::mend_alert(&error, &mut out[start..]);
                    return Err(R::failure(error));
                }
            }
            used += discard;
        }
    }

    /// After a failure, appends what rustls still wants to tell the peer, without looking at more input.
    fn take_alerts(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(message)) = self.connection.process(buffer).state else {
                return;
            };
            if append_message(message, out).is_err() {
                return;
            }
        }
    }

    fn seal_parts(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.close_sent {
            return Err(TlsFailure::new("internal", "data can't be sealed after close_notify"));
        }
        self.flush(out)?;
        let mut parts = Parts::new(parts);
        while let Some(record) = parts.next_record() {
            match record {
                Record::Whole(plaintext) => self.seal_whole(plaintext, out)?,
                Record::Joined { length } => self.seal_joined(&mut parts, length, out)?,
            }
        }
        Ok(())
    }

    /// Seals bytes that lie in one piece.
    fn seal_whole(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        let start = out.len();
        let mut room = plaintext.len() + RECORD_OVERHEAD_BYTES;
        let written = self.with_write(|write| {
            loop {
                out.resize(start + room, 0);
                match write.encrypt(plaintext, &mut out[start..]) {
                    Ok(written) => return Ok(written),
                    Err(error) => room = more_room(&error, room)?,
                }
            }
        });
        finish_record(out, start, written)
    }

    /// Seals `length` bytes of several parts as one record. They are joined at the end of `out`, behind the room
    /// for the record, so that no buffer of our own is needed.
    fn seal_joined(
        &mut self,
        parts: &mut Parts<'_>,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        let start = out.len();
        let mut room = length + RECORD_OVERHEAD_BYTES;
        out.resize(start + room, 0);
        parts.append_to(length, out);
        let written = self.with_write(|write| {
            loop {
                let (record, plaintext) = out[start..].split_at_mut(room);
                match write.encrypt(plaintext, record) {
                    Ok(written) => return Ok(written),
                    Err(error) => {
                        let more = more_room(&error, room)?;
                        out.splice(start..start, iter::repeat_n(0, more - room));
                        room = more;
                    }
                }
            }
        });
        finish_record(out, start, written)
    }

    /// Appends what rustls wants to send before application data, such as the answer to a key update.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        loop {
            match self.connection.process(&mut self.partial).state.map_err(R::failure)? {
                ConnectionState::EncodeTlsData(message) => append_message(message, out)?,
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                // Seen by `ingest` already, or about to be: nothing for the sending side.
                ConnectionState::PeerClosed => self.peer_closed = true,
                ConnectionState::WriteTraffic(_) => return Ok(()),
                ConnectionState::BlockedHandshake => {
                    return Err(TlsFailure::new(
                        "internal",
                        "data can't be sealed before the handshake is over",
                    ));
                }
                state => return Err(unexpected_state(&state)),
            }
        }
    }

    /// Runs `write` in the state in which data can be encrypted. A refusal for want of room must be repaired
    /// within `write`: rustls has queued what goes out before the data by then.
    fn with_write<T>(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_, R::Data>) -> Result<T, TlsFailure>,
    ) -> Result<T, TlsFailure> {
        match self.connection.process(&mut self.partial).state.map_err(R::failure)? {
            ConnectionState::WriteTraffic(mut traffic) => write(&mut traffic),
            state => Err(unexpected_state(&state)),
        }
    }
}

/// Cuts off the room that a record at `start` didn't need, or all of it if there is no record.
fn finish_record(
    out: &mut Vec<u8>,
    start: usize,
    written: Result<usize, TlsFailure>,
) -> Result<(), TlsFailure> {
    out.truncate(start + written.as_ref().copied().unwrap_or(0));
    written.map(drop)
}

/// How many bytes are missing to complete the record that `partial` begins with, or everything if that isn't clear.
fn missing_bytes(partial: &[u8]) -> usize {
    let needed = match partial {
        [_, _, _, high, low, ..] => RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => RECORD_HEADER_BYTES,
    };
    match needed.saturating_sub(partial.len()) {
        0 => usize::MAX,
        missing => missing,
    }
}

fn append_message<Data>(mut message: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
    let start = out.len();
    // Too little on purpose: the refusal says how much is needed, and nothing is written until it fits.
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match message.encode(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => {
                return Err(TlsFailure::new("internal", format!("can't encode a message: {error}")));
            }
        }
    }
}

/// The room that `error` asks for, if it asks for more than there was.
fn more_room(error: &EncryptError, room: usize) -> Result<usize, TlsFailure> {
    match error {
        EncryptError::InsufficientSize(needed) if needed.required_size > room => Ok(needed.required_size),
        _ => Err(TlsFailure::new("internal", format!("can't encrypt: {error}"))),
    }
}

fn unexpected_state<Data>(state: &ConnectionState<'_, '_, Data>) -> TlsFailure {
    TlsFailure::new("internal", format!("TLS is in a state that can't occur here: {state:?}"))
}

/// Walks over slices record by record.
struct Parts<'a> {
    current: &'a [u8],
    rest: &'a [&'a [u8]],
    remaining_bytes: usize,
}

/// The plaintext of the next record.
enum Record<'a> {
    /// It lies in one piece, already walked over.
    Whole(&'a [u8]),
    /// It is spread over several parts, to be fetched by [`Parts::append_to`].
    Joined { length: usize },
}

impl<'a> Parts<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { current: &[], rest: parts, remaining_bytes: parts.iter().map(|part| part.len()).sum() }
    }

    fn next_record(&mut self) -> Option<Record<'a>> {
        let length = self.remaining_bytes.min(RECORD_PLAINTEXT_BYTES);
        if length == 0 {
            return None;
        }
        self.skip_empty();
        if self.current.len() >= length {
            return Some(Record::Whole(self.take(length)));
        }
        Some(Record::Joined { length })
    }

    /// Appends the next `length` bytes, of which there must be so many.
    fn append_to(&mut self, mut length: usize, out: &mut Vec<u8>) {
        while length > 0 {
            self.skip_empty();
            let piece = self.take(length.min(self.current.len()));
            out.extend_from_slice(piece);
            length -= piece.len();
        }
    }

    fn skip_empty(&mut self) {
        while self.current.is_empty() {
            let Some((first, rest)) = self.rest.split_first() else { return };
            (self.current, self.rest) = (first, rest);
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, left) = self.current.split_at(length);
        self.current = left;
        self.remaining_bytes -= length;
        taken
    }
}
