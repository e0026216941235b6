//! A connection of either kind: TCP, or a Unix socket.

use std::io;

use monoio::{
    buf::{IoBuf, IoBufMut},
    io::{AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent},
    net::{TcpStream, UnixStream},
};

use super::socket::reset_on_close;

/// A stream of bytes to a peer.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) async fn read<B: IoBufMut>(
        &mut self,
        room: B,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, B) {
        match self {
            Self::Tcp(stream) => stream.cancelable_read(room, cancel).await,
            Self::Unix(stream) => stream.cancelable_read(room, cancel).await,
        }
    }

    pub(super) async fn write<B: IoBuf>(&mut self, data: B, cancel: CancelHandle) -> (io::Result<usize>, B) {
        match self {
            Self::Tcp(stream) => stream.cancelable_write(data, cancel).await,
            Self::Unix(stream) => stream.cancelable_write(data, cancel).await,
        }
    }

    /// Ends the sending side.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
        }
    }

    /// Lets small pieces go out at once, as they always do on Unix sockets.
    ///
    /// # Errors
    ///
    /// The peer is gone already.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Makes it end with a reset when it is dropped. A Unix socket has none: its peer sees the end of the stream, or
    /// `ECONNRESET` where bytes of its own were not read.
    pub(super) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            reset_on_close(stream);
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}
