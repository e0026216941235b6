//! A connection's byte stream: plain, or rustls over it. Reads and writes hand their buffers to the kernel whole.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use monoio::buf::{IoBuf, IoBufMut};
use rustls::Connection;

use super::{ReceiveBuffer, Stream, Watch};

/// Room for one receive of ciphertext: a whole TLS record.
const CIPHERTEXT_BYTES: usize = 17 * 1024;

/// A TLS connection before its handshake, or none.
type Side = Option<Connection>;

/// One connection.
pub(crate) struct Transport {
    stream: Stream,
    tls: Option<Box<Tls>>,
    watch: Watch,
}

struct Tls {
    connection: Connection,
    /// Ciphertext as it comes and goes.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Transport {
    pub(crate) fn new(stream: impl Into<Stream>, side: Side, watch: Watch) -> Self {
        let tls = side.map(|mut connection| {
            // Answers are written in pieces that this crate chooses; rustls need not limit them again.
            connection.set_buffer_limit(None);
            Box::new(Tls {
                connection,
                incoming: Vec::with_capacity(CIPHERTEXT_BYTES),
                outgoing: Vec::with_capacity(CIPHERTEXT_BYTES),
            })
        });
        Self { stream: stream.into(), tls, watch }
    }

    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The TLS connection, if this is one.
    pub(crate) fn tls(&self) -> Option<&Connection> {
        self.tls.as_ref().map(|tls| &tls.connection)
    }

    /// Completes the TLS handshake; returns at once where there is none.
    ///
    /// # Errors
    ///
    /// The peer closed or timed out, or (`InvalidData`) the handshake failed, with rustls's reason.
    pub(crate) async fn handshake(&mut self, early: &mut ReceiveBuffer) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.connection.is_handshaking()) {
            self.flush_tls().await?;
            if self.tls.as_ref().is_some_and(|tls| tls.connection.is_handshaking())
                && self.receive_ciphertext(early).await? == 0
            {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the TLS handshake"));
            }
        }
        self.flush_tls().await
    }

    /// Receives at least one byte into `buffer`; returns how many, or 0 when the peer has closed.
    ///
    /// # Errors
    ///
    /// `TimedOut`, `Interrupted`, or what the socket or TLS says.
    pub(crate) async fn fill(&mut self, buffer: &mut ReceiveBuffer) -> io::Result<usize> {
        if self.tls.is_none() {
            let room = buffer.lend();
            let (start, end) = (room.len(), room.capacity());
            let Self { stream, watch, .. } = self;
            let (result, room) = watch.guard(|handle| stream.read(room.slice_mut(start..end), handle)).await;
            buffer.give_back(room.into_inner());
            return result;
        }
        loop {
            let before = buffer.unread().len();
            let received = self.receive_ciphertext(buffer).await?;
            // Tickets, key updates and alerts are answered without the caller.
            self.flush_tls().await?;
            let plain = buffer.unread().len() - before;
            if received == 0 || plain > 0 {
                return Ok(plain);
            }
            if self.tls.as_mut().is_some_and(|tls| tls.is_closed_by_peer()) {
                return Ok(0);
            }
        }
    }

    /// One receive, whatever comes of it: with TLS it may bring no plain bytes. Returns how many bytes came, 0 at the end.
    ///
    /// # Errors
    ///
    /// As [`Self::fill`].
    pub(crate) async fn receive_once(&mut self, buffer: &mut ReceiveBuffer) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.fill(buffer).await;
        }
        let received = self.receive_ciphertext(buffer).await?;
        self.flush_tls().await?;
        Ok(received)
    }

    /// Sends all of `out` and empties it.
    ///
    /// # Errors
    ///
    /// As [`Self::fill`].
    pub(crate) async fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.connection.writer().write_all(out)?;
            out.clear();
            return self.flush_tls().await;
        }
        let taken = std::mem::take(out);
        let (result, taken) = send_all(&mut self.stream, &self.watch, taken).await;
        *out = taken;
        out.clear();
        result
    }

    /// Ends the sending side. The peer reads what was sent, then the end.
    pub(crate) async fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.connection.send_close_notify();
            // The peer may be gone already, and then there is nobody to tell.
            let _gone = self.flush_tls().await;
        }
        let _gone = self.stream.shutdown().await;
    }

    /// Makes the connection end with a reset when this is dropped; bytes that the peer has not read are lost then.
    pub(crate) fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    /// Reads and forgets what the peer still sends, up to `bytes` and `time`: closing a socket with unread input resets
    /// the connection, which can take an answer away that the peer has not read yet.
    pub(crate) async fn discard_input(&mut self, bytes: usize, time: Duration) {
        self.watch.set_limit(Some(time));
        let mut left = bytes;
        let mut room = Vec::with_capacity(CIPHERTEXT_BYTES);
        while left > 0 {
            let Self { stream, watch, .. } = self;
            let (result, back) = watch.guard(|handle| stream.read(room, handle)).await;
            room = back;
            match result {
                Ok(received) if received > 0 => left = left.saturating_sub(received),
                _ => return,
            }
        }
    }

    /// One receive of ciphertext; what it decrypts to is appended to `plain`. Returns the bytes received.
    async fn receive_ciphertext(&mut self, plain: &mut ReceiveBuffer) -> io::Result<usize> {
        let Self { stream, watch, tls } = self;
        let Some(tls) = tls else { return Ok(0) };
        let room = std::mem::take(&mut tls.incoming);
        let (result, room) = watch.guard(|handle| stream.read(room, handle)).await;
        tls.incoming = room;
        let received = result?;
        let decrypted = tls.decrypt(received, plain);
        if decrypted.is_err() {
            // The alert says why; the peer may be gone already.
            let _gone = self.flush_tls().await;
        }
        decrypted.map(|()| received)
    }

    async fn flush_tls(&mut self) -> io::Result<()> {
        let Self { stream, watch, tls } = self;
        let Some(tls) = tls else { return Ok(()) };
        while tls.connection.wants_write() {
            tls.connection.write_tls(&mut tls.outgoing)?;
        }
        if tls.outgoing.is_empty() {
            return Ok(());
        }
        let taken = std::mem::take(&mut tls.outgoing);
        let (result, left) = send_all(stream, watch, taken).await;
        // A record that is cut off in the middle would end the connection, should it go on behind a deadline.
        tls.outgoing = left;
        result
    }
}

impl Tls {
    fn decrypt(&mut self, received: usize, plain: &mut ReceiveBuffer) -> io::Result<()> {
        let mut rest = &self.incoming[..received];
        while !rest.is_empty() {
            if self.connection.read_tls(&mut rest)? == 0 {
                // Nothing may follow the peer's close_notify.
                break;
            }
            self.connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut piece = [0_u8; 4096];
            loop {
                match self.connection.reader().read(&mut piece) {
                    Ok(0) => break,
                    Ok(count) => plain.append(&piece[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The peer has said that nothing more comes.
    fn is_closed_by_peer(&mut self) -> bool {
        matches!(self.connection.reader().read(&mut [0; 1]), Ok(0))
    }
}

/// Sends `data`; returns what is left of it, which is nothing unless there is an error.
async fn send_all(stream: &mut Stream, watch: &Watch, mut data: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
    let mut sent = 0;
    while sent < data.len() {
        let rest = data.slice(sent..);
        let (result, rest) = watch.guard(|handle| stream.write(rest, handle)).await;
        data = rest.into_inner();
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), data),
            Ok(count) => sent += count,
            Err(error) => {
                data.drain(..sent);
                return (Err(error), data);
            }
        }
    }
    data.clear();
    (Ok(()), data)
}
