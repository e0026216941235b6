//! Connections from an address of the caller's choice.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::socket::descriptor_of;

/// Connects to `address`, from `source` if there is one, with so much room for what is received if that is said.
///
/// # Errors
///
/// `source` isn't an address of this machine, or what the connection meets.
pub(crate) async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    if source.is_none() && receive_buffer_bytes.is_none() {
        return TcpStream::connect_addr(address).await;
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.connect(&address.into()) {
        const EINPROGRESS: i32 = 115;
        if error.raw_os_error() != Some(EINPROGRESS) {
            return Err(error);
        }
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable(false).await?;
    let descriptor = descriptor_of(&stream);
    let socket = SockRef::from(&descriptor);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // io_uring waits by itself; a socket that doesn't block would make it give up at once.
    socket.set_nonblocking(monoio::utils::is_legacy())?;
    Ok(stream)
}

/// As [`connect`], on the calling thread.
///
/// # Errors
///
/// As [`connect`], or it took longer than `timeout`.
pub(crate) fn connect_and_wait(
    address: SocketAddr,
    source: Option<IpAddr>,
    timeout: Duration,
) -> io::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    // No time at all would be an error.
    socket.connect_timeout(&address.into(), timeout.max(Duration::from_millis(1)))?;
    Ok(socket.into())
}

/// Finds out whether connections can come from an address.
///
/// # Errors
///
/// `source` isn't an address of this machine.
pub(crate) fn check_source(source: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(source, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&address.into())
}
