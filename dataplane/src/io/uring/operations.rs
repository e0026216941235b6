//! Ring entries: the only place where addresses are handed to the kernel.
#![allow(unsafe_code)] // Entries hold raw addresses; each function says why its own stay valid.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::squeue::{self, Flags};
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use socket2::SockAddr;

use super::buffers::{BufferPool, UringBuffer};
use super::ring::Ring;
use super::sockets::Slot;
use super::user_data::{Kind, UserData};

/// Group under which the pool is registered; a ring has just one.
const BUFFER_GROUP: u16 = 0;

/// Most bytes in one send entry. The kernel cuts a longer one to about this; the rest follows.
const SEND_LIMIT_BYTES: usize = 1 << 30;

/// How often, and for how long each, the answer to a question to the kernel is awaited; it comes at once.
const PROBE_ATTEMPTS: u32 = 100;
const PROBE_WAIT: Duration = Duration::from_millis(100);

/// What the kernel reads by address during a send or a connect.
pub(super) struct Wire {
    message: libc::msghdr,
    parts: [libc::iovec; 2],
    /// Where a connection goes to. Boxed, because it is large and clients' sockets have none.
    pub(super) address: Option<Box<SockAddr>>,
}

impl Default for Wire {
    fn default() -> Self {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: a msghdr of zeros is a valid empty message.
        let message = unsafe { std::mem::zeroed() };
        Self { message, parts: [nothing; 2], address: None }
    }
}

/// Registers the pool's entries with the ring.
pub(super) fn register_buffers(ring: &Ring, pool: &BufferPool) -> std::io::Result<()> {
    // SAFETY: the entries are a page-aligned mapping of `count` entries, which `UringIo` keeps until it has
    // unregistered them.
    unsafe {
        ring.uring().submitter().register_buf_ring_with_flags(
            pool.entries_address(),
            pool.count(),
            BUFFER_GROUP,
            0,
        )
    }
}

/// Takes the pool's entries away from the ring.
pub(super) fn unregister_buffers(ring: &Ring) -> std::io::Result<()> {
    ring.uring().submitter().unregister_buf_ring(BUFFER_GROUP)
}

/// The buffer that a completion of a receive brought, if any.
pub(super) fn received_buffer(pool: &Rc<BufferPool>, result: i32, flags: u32) -> Option<UringBuffer> {
    let id = cqueue::buffer_select(flags)?;
    let length = u32::try_from(result).unwrap_or(0);
    // SAFETY: the flags of a completion name the buffer, each completion is looked at once, and the kernel
    // gives a buffer to one completion only.
    let buffer = unsafe { pool.take(id, length) };
    if buffer.is_none() {
        tracing::error!(id, length, "the kernel named a receive buffer that doesn't exist");
    }
    buffer
}

/// The descriptor that a completion of an accept brought.
pub(super) fn accepted_descriptor(result: i32) -> Option<OwnedFd> {
    // SAFETY: a result that isn't negative is a new descriptor, ours alone, and is looked at once.
    (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) })
}

/// Starts a multishot accept on listener `index`.
pub(super) fn accept(ring: &mut Ring, listener: RawFd, index: u32) {
    let entry = opcode::AcceptMulti::new(Fd(listener))
        .flags(libc::SOCK_CLOEXEC)
        .build()
        .user_data(UserData::plain(Kind::Accept, index).encode());
    // SAFETY: the entry holds no address.
    unsafe { ring.push(entry) };
    ring.in_flight += 1;
}

/// How a socket receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReceiveForm {
    /// One operation completes again and again, until it has brought so many bytes (Linux 6.17).
    Multishot {
        /// The receive that reaches it is the last.
        limit_bytes: u32,
    },
    /// Each operation completes once.
    Single,
}

/// Flag of a receive: wait until there is something, without a look at the socket first (`IORING_RECVSEND_POLL_FIRST`).
const POLL_FIRST: u16 = 1 << 0;
/// Flag of a receive: complete again and again (`IORING_RECV_MULTISHOT`).
const MULTISHOT: u16 = 1 << 1;
/// Where an entry has the bytes after which a multishot receive ends (`optlen` of `struct io_uring_sqe`).
const OPTION_LENGTH_OFFSET: usize = 44;

/// A receive into a buffer of the pool.
fn receive_entry(descriptor: RawFd, form: ReceiveForm, flags: u16) -> squeue::Entry {
    let (flags, limit_bytes) = match form {
        ReceiveForm::Multishot { limit_bytes } => (flags | MULTISHOT, limit_bytes),
        ReceiveForm::Single => (flags, 0),
    };
    let mut entry = opcode::Recv::new(Fd(descriptor), std::ptr::null_mut(), 0)
        .ioprio(flags)
        .buf_group(BUFFER_GROUP)
        .build()
        .flags(Flags::BUFFER_SELECT);
    const { assert!(size_of::<squeue::Entry>() == 64) };
    // SAFETY: an entry is `struct io_uring_sqe` and nothing else, 64 bytes that the kernel reads as numbers; four of them,
    // aligned, are at the offset. The library has no setter for them.
    unsafe { std::ptr::from_mut(&mut entry).byte_add(OPTION_LENGTH_OFFSET).cast::<u32>().write(limit_bytes) };
    entry
}

/// Whether the kernel ends a multishot receive after so many bytes: an older one refuses the number before it looks at the
/// descriptor. Nothing else may be in flight on the ring.
///
/// # Errors
/// If the ring can't be entered.
pub(super) fn limits_receives(ring: &mut Ring) -> std::io::Result<bool> {
    let entry = receive_entry(-1, ReceiveForm::Multishot { limit_bytes: 1 }, 0);
    // SAFETY: the entry holds no address.
    unsafe { ring.push(entry) };
    let mut space = [MaybeUninit::uninit()];
    for _ in 0..PROBE_ATTEMPTS {
        ring.enter(Some(PROBE_WAIT))?;
        if let [completion, ..] = ring.completions(&mut space) {
            return Ok(completion.result() == -libc::EBADF);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no io_uring: a receive never completed"))
}

/// Starts a receive into buffers of the pool.
pub(super) fn receive(ring: &mut Ring, slot: &mut Slot, index: u32, form: ReceiveForm) {
    let Some(descriptor) = &slot.descriptor else { return };
    let flags = if slot.has_more { 0 } else { POLL_FIRST };
    let entry = receive_entry(descriptor.as_raw_fd(), form, flags)
        .user_data(slot.user_data(Kind::Receive, index).encode());
    // SAFETY: the entry holds no address; the buffers are those of the registered pool.
    unsafe { ring.push(entry) };
    slot.in_flight += 1;
    ring.in_flight += 1;
}

/// Sends what is left of the slot's `sending`. Of several parts, one entry sends both.
pub(super) fn send(ring: &mut Ring, slot: &mut Slot, index: u32) {
    let (Some(descriptor), Some(sending)) = (&slot.descriptor, &slot.sending) else { return };
    let descriptor = Fd(descriptor.as_raw_fd());
    let (head, body) = sending.remaining();
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let entry = if head.is_empty() || body.is_empty() {
        let part = if head.is_empty() { body } else { head };
        let length = part.len().min(SEND_LIMIT_BYTES) as u32;
        opcode::Send::new(descriptor, part.as_ptr(), length).flags(flags).build()
    } else {
        let body_length = body.len().min(SEND_LIMIT_BYTES);
        slot.wire.parts = [
            libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() },
            libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body_length },
        ];
        slot.wire.message.msg_iov = slot.wire.parts.as_mut_ptr();
        slot.wire.message.msg_iovlen = 2;
        opcode::SendMsg::new(descriptor, &raw const slot.wire.message).flags(flags as u32).build()
    };
    let entry = entry.user_data(slot.user_data(Kind::Send, index).encode());
    // SAFETY: head and body belong to `slot.sending` and the message to the boxed `slot.wire`; neither is
    // touched, moved or freed before the completion, which `slot.in_flight` stands for.
    unsafe { ring.push(entry) };
    slot.in_flight += 1;
    ring.in_flight += 1;
}

/// Connects to the address in `slot.wire`.
pub(super) fn connect(ring: &mut Ring, slot: &mut Slot, index: u32) {
    let (Some(descriptor), Some(address)) = (&slot.descriptor, &slot.wire.address) else { return };
    let entry = opcode::Connect::new(Fd(descriptor.as_raw_fd()), address.as_ptr().cast(), address.len())
        .build()
        .user_data(slot.user_data(Kind::Connect, index).encode());
    // SAFETY: the address is boxed, and `slot.wire` keeps the box unchanged until the completion.
    unsafe { ring.push(entry) };
    slot.in_flight += 1;
    ring.in_flight += 1;
}

/// Starts the read that a wake completes.
pub(super) fn read_wake(ring: &mut Ring, eventfd: RawFd, counter: &mut u64) {
    let entry = opcode::Read::new(Fd(eventfd), std::ptr::from_mut(counter).cast(), size_of::<u64>() as u32)
        .build()
        .user_data(UserData::plain(Kind::Wake, 0).encode());
    // SAFETY: `counter` is boxed by `UringIo`, which frees it only after the read's completion.
    unsafe { ring.push(entry) };
    ring.in_flight += 1;
}

/// Cancels the operation that was submitted with `target`. It still completes, with ECANCELED or otherwise.
pub(super) fn cancel(ring: &mut Ring, target: UserData) {
    let entry = opcode::AsyncCancel::new(target.encode())
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(UserData::plain(Kind::Cancel, target.index).encode());
    // SAFETY: the entry holds no address.
    unsafe { ring.push(entry) };
}

/// Cancels everything that is in flight on the ring.
pub(super) fn cancel_everything(ring: &mut Ring) {
    let entry = opcode::AsyncCancel2::new(CancelBuilder::any())
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(UserData::plain(Kind::Cancel, 0).encode());
    // SAFETY: the entry holds no address.
    unsafe { ring.push(entry) };
}

/// Closes a descriptor together with the next submit.
pub(super) fn close(ring: &mut Ring, descriptor: OwnedFd) {
    let descriptor = descriptor.into_raw_fd();
    let entry = opcode::Close::new(Fd(descriptor))
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(UserData::plain(Kind::Close, descriptor as u32).encode());
    // SAFETY: the entry holds no address, and the descriptor was given up by its owner.
    unsafe { ring.push(entry) };
}
