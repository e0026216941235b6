//! Ending a connection with a reset: a socket option that the runtime has no name for.
#![allow(unsafe_code)] // Its stream lends its descriptor as a bare number.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use monoio::net::TcpStream;
use socket2::SockRef;

/// Makes `stream` end with a reset when it is closed; bytes that the peer has not read are lost then.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // SAFETY: the descriptor is open as long as `stream` lives, which is borrowed for longer than this.
    let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // Only fails on a connection that is gone already.
    let _gone = SockRef::from(&descriptor).set_linger(Some(Duration::ZERO));
}
