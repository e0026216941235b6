//! Where connections come in: a TCP address that several threads listen on, or a Unix socket that they share.

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use monoio::io::CancelHandle;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::Stream;

const LISTEN_BACKLOG: i32 = 4096;

/// Where to listen. As text `127.0.0.1:8080` or `unix:/run/origin.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket. One that an earlier process has left behind is replaced.
    Unix(PathBuf),
}

impl Listen {
    /// The TCP address; for a Unix socket 0.0.0.0:0, which nobody can reach.
    #[must_use]
    pub fn tcp_address(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) => *address,
            Self::Unix(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A listening socket of one thread.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The same on a thread's ring.
pub(crate) enum RingListener {
    Tcp(monoio::net::TcpListener),
    Unix(monoio::net::UnixListener),
}

/// A socket's file, which goes with this unless another one has taken its name.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Listens with so many sockets. Returns them with the address that they have, and a Unix socket's file.
///
/// # Errors
///
/// The address is in use, not this machine's, or may not be had; the file is something else than a socket.
pub(crate) fn listen(at: &Listen, sockets: usize) -> io::Result<(Vec<Listener>, Listen, Option<SocketFile>)> {
    match at {
        Listen::Tcp(address) => {
            check_unused(*address)?;
            let mut listeners = vec![listen_tcp(*address)?];
            let address = listeners[0].local_addr()?;
            for _ in 1..sockets {
                listeners.push(listen_tcp(address)?);
            }
            Ok((listeners.into_iter().map(Listener::Tcp).collect(), Listen::Tcp(address), None))
        }
        Listen::Unix(path) => {
            remove_abandoned(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let file = SocketFile::of(path)?;
            socket.listen(LISTEN_BACKLOG)?;
            let first = UnixListener::from(OwnedFd::from(socket));
            let others: io::Result<Vec<_>> = (1..sockets).map(|_| first.try_clone()).collect();
            let listeners = std::iter::once(first).chain(others?).map(Listener::Unix).collect();
            Ok((listeners, at.clone(), Some(file)))
        }
    }
}

/// Finds out whether others use an address: `SO_REUSEPORT` alone would share their connections with them.
fn check_unused(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that the kernel still remembers do no harm.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A listening socket that several threads may each have one of (`SO_REUSEPORT`).
fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already, and no socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Prepares it for a ring: it waits for connections, and connections inherit that small pieces go out at once.
    ///
    /// # Errors
    ///
    /// It isn't a socket that can do so.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(false)?;
                SockRef::from(listener).set_tcp_nodelay(true)
            }
            Self::Unix(listener) => listener.set_nonblocking(false),
        }
    }

    /// One of its connections, accepted elsewhere, for this thread's runtime.
    ///
    /// # Errors
    ///
    /// The runtime refuses it.
    pub(crate) fn adopt(&self, connection: OwnedFd) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(_) => Stream::Tcp(monoio::net::TcpStream::from_std(connection.into())?),
            Self::Unix(_) => Stream::Unix(monoio::net::UnixStream::from_std(connection.into())?),
        })
    }

    /// # Errors
    ///
    /// The thread's ring refuses it.
    pub(crate) fn on_ring(self) -> io::Result<RingListener> {
        let is_legacy = monoio::utils::is_legacy();
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(is_legacy)?;
                RingListener::Tcp(monoio::net::TcpListener::from_std(listener)?)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(is_legacy)?;
                RingListener::Unix(monoio::net::UnixListener::from_std(listener)?)
            }
        })
    }
}

impl RingListener {
    /// The next connection, and its peer's address, which clients of a Unix socket don't have.
    ///
    /// # Errors
    ///
    /// `ECANCELED`, or the kernel has no descriptors left, say.
    pub(crate) async fn accept(&self, cancel: CancelHandle) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.cancelable_accept(cancel).await?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _peer) = listener.cancelable_accept(cancel).await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // What can't be removed is replaced by the next one that listens there.
            let _left = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
