//! Sockets of our own making.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::ListenAddress;

/// Connections that the kernel holds for us until they are accepted; the kernel caps it at `somaxconn`.
const LISTEN_BACKLOG: i32 = 4096;

/// Listens on `address`: with a TCP socket for each worker, over which the kernel spreads connections, or with one Unix
/// socket for all of them.
pub(super) fn bind(address: &ListenAddress, workers: usize) -> std::io::Result<Vec<OwnedFd>> {
    match address {
        ListenAddress::Unix(path) => Ok(vec![bind_unix(path)?]),
        ListenAddress::Tcp(address) => {
            let mut address = *address;
            refuse_taken(address)?;
            let mut sockets = Vec::with_capacity(workers);
            for _ in 0..workers {
                let socket = bind_tcp(address)?;
                // Port 0 was given one; the other workers' sockets share it.
                address = socket.local_addr()?.as_socket().unwrap_or(address);
                sockets.push(socket.into());
            }
            Ok(sockets)
        }
    }
}

/// Listeners share their port with each other (`SO_REUSEPORT`), and so they would with another process of the
/// same user, which nobody wants: it would get half of the connections.
fn refuse_taken(address: SocketAddr) -> std::io::Result<()> {
    let socket = tcp_socket(address)?;
    socket.bind(&address.into())
}

fn tcp_socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

/// The file of a socket that nobody listens on any more, such as one of a node that was killed, is replaced.
fn bind_unix(path: &Path) -> std::io::Result<OwnedFd> {
    let address = SockAddr::unix(path)?;
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(std::io::Error::other("there is a file of that name that is no socket"));
        }
        if Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(&address).is_ok() {
            return Err(std::io::Error::from(std::io::ErrorKind::AddrInUse));
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Where a socket listens.
pub(super) fn local_address(socket: &OwnedFd) -> std::io::Result<ListenAddress> {
    let address = SockRef::from(socket).local_addr()?;
    if let Some(address) = address.as_socket() {
        return Ok(ListenAddress::Tcp(address));
    }
    match address.as_pathname() {
        Some(path) => Ok(ListenAddress::Unix(path.to_owned())),
        None => Err(std::io::Error::other("a socket of another kind than TCP and Unix")),
    }
}
