//! Connections from an address of the caller's choice.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Connects to `address`, from `source` if there is one.
///
/// # Errors
///
/// `source` isn't an address of this machine, or what the connection meets.
pub(crate) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect_addr(address).await };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.connect(&address.into()) {
        const EINPROGRESS: i32 = 115;
        if error.raw_os_error() != Some(EINPROGRESS) {
            return Err(error);
        }
    }
    // Both descriptors are the same socket.
    let stream = TcpStream::from_std(socket.try_clone()?.into())?;
    stream.writable(false).await?;
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // io_uring waits by itself; a socket that doesn't block would make it give up at once.
    socket.set_nonblocking(monoio::utils::is_legacy())?;
    Ok(stream)
}
