//! Socket options that the runtime has no names for.
#![allow(unsafe_code)] // Its stream lends its descriptor as a bare number.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use monoio::net::TcpStream;
use socket2::SockRef;

/// The descriptor of `stream`, for as long as that is borrowed.
pub(super) fn descriptor_of(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as `stream` lives, which is borrowed for as long as what is returned.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Makes `stream` end with a reset when it is closed; bytes that the peer has not read are lost then.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Only fails on a connection that is gone already.
    let _gone = SockRef::from(&descriptor_of(stream)).set_linger(Some(Duration::ZERO));
}
