//! A ring for a server whose every answer is the same bytes: io_uring with as little as such an answer needs.
//!
//! One operation receives for as long as a connection lasts (multishot), into buffers that all connections share; one
//! operation accepts; a send is an address in memory that never changes. Everything queued goes to the kernel in the call that
//! waits, and completions are made in that call alone (`DEFER_TASKRUN`), many at a time. Linux 6.1 has all of it.
#![allow(unsafe_code)] // Entries hold raw addresses, and completions bare descriptors.

mod buffers;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use io_uring::{
    IoUring, cqueue, opcode,
    squeue::{self, Flags},
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};

use self::buffers::Buffers;

/// What is queued between two waits, mostly; more goes to the kernel in several calls.
const SUBMISSION_ENTRIES: u32 = 1024;
/// The most completions that one wait brings. The kernel keeps what is beyond that for the next.
const COMPLETION_ENTRIES: u32 = 4096;
/// How often and how long the end of everything is waited for.
const END_ATTEMPTS: u32 = 50;
const END_WAIT: Duration = Duration::from_millis(20);
/// Completions that nobody waits for have this tag.
const NOBODY: u64 = u64::MAX;

/// A ring with the bytes that are sent on it.
pub(crate) struct AnsweringRing {
    uring: IoUring,
    buffers: Buffers,
    answers: Arc<[u8]>,
    /// What goes to the kernel with the next wait.
    queue: VecDeque<squeue::Entry>,
    /// Operations whose last completion is still to come.
    in_flight: u64,
    /// What accepts were started with, if there was one.
    accept_tag: Option<u64>,
    /// What waits have brought and nobody has looked at.
    completions: VecDeque<cqueue::Entry>,
    /// Counts completions, while `signals` says so.
    signal: OwnedFd,
    signals: bool,
}

/// What has happened to an operation. There is one of each: the connection or the buffer that it names is taken by it.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What the operation was started with.
    pub(crate) tag: u64,
    /// What came of it: a count, or an error's number, negative.
    pub(crate) result: i32,
    /// The operation goes on.
    pub(crate) more: bool,
    /// The buffer that was received into.
    buffer: Option<u16>,
}

impl AnsweringRing {
    /// A ring that sends parts of `answers`.
    ///
    /// # Errors
    ///
    /// The kernel refuses io_uring, or is older than Linux 6.1.
    pub(crate) fn new(answers: Arc<[u8]>) -> io::Result<Self> {
        let uring = build(true).or_else(|_| build(false))?;
        let buffers = Buffers::new();
        let signal = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )?;
        // SAFETY: `drop` keeps the buffers until nothing is in flight any more, or for ever.
        unsafe { buffers.register(&uring.submitter())? };
        Ok(Self {
            uring,
            buffers,
            answers,
            queue: VecDeque::new(),
            in_flight: 0,
            accept_tag: None,
            completions: VecDeque::new(),
            signal,
            signals: false,
        })
    }

    /// Becomes readable when something has completed since the last wait, see [`Self::signal_completions`].
    pub(crate) fn signal(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    /// Whether [`Self::signal`] is to tell of completions, which costs a bit for each. Look at the ring once more before you rely
    /// on it.
    ///
    /// # Errors
    ///
    /// The kernel has no memory left.
    pub(crate) fn signal_completions(&mut self, signals: bool) -> io::Result<()> {
        match (self.signals, signals) {
            (false, true) => self.uring.submitter().register_eventfd(self.signal.as_raw_fd())?,
            (true, false) => self.uring.submitter().unregister_eventfd()?,
            _ => {}
        }
        self.signals = signals;
        Ok(())
    }

    /// Accepts connections from now on, until a completion without `more`. [`Self::accepted`] has the connection. All accepts of
    /// a ring have the same tag, and nothing else has it.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>, tag: u64) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        self.accept_tag = Some(tag);
        self.start(entry, tag);
    }

    /// Receives from now on, until a completion without `more`. [`Self::received`] has the bytes.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, tag: u64) {
        self.start(opcode::RecvMulti::new(Fd(socket.as_raw_fd()), buffers::GROUP).build(), tag);
    }

    /// Sends so many of the answers' bytes, from an offset on. One send may be in flight for each socket. Returns how many
    /// bytes it is.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, offset: usize, bytes: u64, tag: u64) -> usize {
        let part = &self.answers[offset..];
        let part = &part[..usize::try_from(bytes).map_or(part.len(), |bytes| bytes.min(part.len()))];
        let (address, length) = (part.as_ptr(), part.len());
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), address, length as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.start(entry, tag);
        length
    }

    /// Completes once when there is something to read, or the other end is gone.
    pub(crate) fn poll(&mut self, descriptor: BorrowedFd<'_>, tag: u64) {
        let entry = opcode::PollAdd::new(Fd(descriptor.as_raw_fd()), libc::POLLIN as u32).build();
        self.start(entry, tag);
    }

    /// Ends the operation with this tag early. It completes all the same, one way or the other.
    pub(crate) fn cancel(&mut self, tag: u64) {
        let entry = opcode::AsyncCancel::new(tag).build().flags(Flags::SKIP_SUCCESS).user_data(NOBODY);
        self.queue.push_back(entry);
    }

    fn start(&mut self, entry: squeue::Entry, tag: u64) {
        self.queue.push_back(entry.user_data(tag));
        self.in_flight += 1;
    }

    /// Hands everything queued to the kernel, and waits until something has completed or `time` is over.
    ///
    /// # Errors
    ///
    /// The ring is broken.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<()> {
        self.buffers.publish();
        if !self.fill_submissions() {
            pass(self.uring.submit())?;
        }
        if !self.fill_submissions() || time.is_zero() {
            self.look()?;
        } else {
            let limit = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
            pass(self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit)))?;
        }
        self.completions.extend(self.uring.completion());
        Ok(())
    }

    /// Hands what is queued to the kernel, as far as it takes it at once. What completes by that is signalled.
    ///
    /// # Errors
    ///
    /// The ring is broken.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        if self.fill_submissions() && self.uring.submission().is_empty() {
            return Ok(());
        }
        pass(self.uring.submit())
    }

    /// Hands over what is queued without waiting, and takes back the signal for what has completed by now.
    fn look(&mut self) -> io::Result<()> {
        pass(self.uring.submit())?;
        if self.signals {
            // There may be nothing to take back.
            let _nothing = rustix::io::read(&self.signal, &mut [0_u8; 8]);
            // It may have been for what was still to be completed. Once more is enough, because what completes by that signals
            // anew; and no more than that, because the kernel may say that there is something to do when nothing is left.
            if self.uring.submission().taskrun() {
                pass(self.uring.submit())?;
            }
        }
        Ok(())
    }

    /// Moves what is queued to where the kernel reads it; false if it isn't all of it.
    fn fill_submissions(&mut self) -> bool {
        let mut submissions = self.uring.submission();
        while let Some(entry) = self.queue.front() {
            // SAFETY: what has an address is a send, whose bytes are kept until it has completed, see `drop`.
            if unsafe { submissions.push(entry) }.is_err() {
                return false;
            }
            self.queue.pop_front();
        }
        true
    }

    /// The next of the completions that waits have brought.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        let entry = self.completions.pop_front()?;
        let more = cqueue::more(entry.flags());
        if !more && entry.user_data() != NOBODY {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        Some(Completion {
            tag: entry.user_data(),
            result: entry.result(),
            more,
            buffer: cqueue::buffer_select(entry.flags()),
        })
    }

    /// Lends what was received to `reader`, and takes it back.
    pub(crate) fn received<R>(&mut self, completion: Completion, reader: impl FnOnce(&[u8]) -> R) -> R {
        let length = usize::try_from(completion.result).unwrap_or(0);
        let Some(number) = completion.buffer else { return reader(&[]) };
        // SAFETY: the kernel has named the buffer in this completion, of which there is one, and nothing gives it back before the
        // line behind.
        let read = reader(unsafe { self.buffers.bytes(number, length) });
        self.buffers.give_back(number);
        read
    }

    /// The connection that a completion of an accept has brought.
    pub(crate) fn accepted(&self, completion: Completion) -> Option<OwnedFd> {
        let is_connection = Some(completion.tag) == self.accept_tag && completion.result >= 0;
        // SAFETY: an accept's result that isn't negative is a new descriptor, and nobody else's, because there is one completion.
        is_connection.then(|| unsafe { OwnedFd::from_raw_fd(completion.result) })
    }
}

/// A queue of submissions with an index (`no_sqarray` is of Linux 6.6) or without.
fn build(no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_clamp().setup_submit_all().setup_cqsize(COMPLETION_ENTRIES).dontfork();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(SUBMISSION_ENTRIES)
}

/// Lets errors pass that the next wait gets over: a signal, the end of the time, or a shortage that handling completions
/// relieves.
fn pass(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if !matches!(
                error.raw_os_error(),
                Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

impl Drop for AnsweringRing {
    /// Ends everything and waits until the kernel is done with the buffers and the answers.
    fn drop(&mut self) {
        for _ in 0..END_ATTEMPTS {
            if self.in_flight == 0 {
                break;
            }
            let everything = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            self.queue.push_back(everything.flags(Flags::SKIP_SUCCESS).user_data(NOBODY));
            if self.wait(END_WAIT).is_err() {
                break;
            }
            while let Some(completion) = self.next_completion() {
                let _closed = self.accepted(completion);
            }
        }
        if self.in_flight > 0 {
            // Memory that is never freed can't be written to after it was freed.
            std::mem::forget(std::mem::replace(&mut self.buffers, Buffers::new()));
            std::mem::forget(Arc::clone(&self.answers));
        }
    }
}
