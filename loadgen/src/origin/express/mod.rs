//! The short way to an answer: an origin whose answers are all the same needs to know of a request no more than where it ends.
//!
//! [`Express`] serves plain connections on a ring of its own and hands those over to [`super::connection`] that send
//! something else than ordinary requests. While there are none of these, the thread does nothing but wait in that ring.

mod client;
mod requests;

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use self::{
    client::{Client, End, Waiting},
    requests::Departure,
};
use super::{
    ACCEPT_PAUSE, CONNECTIONS_PER_THREAD, Shared, Worker,
    connection::{self, PROGRESS_TIMEOUT, Refusal},
};
use crate::net::{AnsweringRing, Completion, Listener, TICK, Transport};

/// Answers to several requests go out together, so many bytes of them.
const BLOCK_BYTES: usize = 64 * 1024;
/// And so many answers.
const BLOCK_ANSWERS: usize = 32;

/// How long the runtime gets for the last of its work.
const LAST_WORK_TIME: Duration = Duration::from_millis(1);

/// What a tag says above the number of the connection that it is about.
const KIND_SHIFT: u32 = 32;
const ACCEPT: u64 = 0;
const STOP: u64 = 1;
const RECEIVE: u64 = 2;
const SEND: u64 = 3;

/// One thread's connections that get the same answer again and again.
pub(super) struct Express {
    worker: Rc<Worker>,
    /// Before the sockets that its operations use, so that it is dropped before them.
    ring: AnsweringRing,
    listener: Listener,
    stop: UnixStream,
    stopping: bool,
    /// When to accept again, after the kernel has refused.
    accept_at: Option<Instant>,
    answer_bytes: usize,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Connections that the present turn has to do with.
    touched: Vec<usize>,
    leaving: Vec<(OwnedFd, Vec<u8>, Option<Refusal>)>,
    /// Counts [`TICK`]s.
    tick: u64,
    next_tick: Instant,
}

impl Express {
    /// `None` where answers differ, or each request is logged; or where the kernel can't do this, which costs speed and
    /// nothing else.
    pub(super) fn ring(shared: &Shared) -> Option<AnsweringRing> {
        let answer = shared.answers.ready_made()?;
        if shared.tls.is_some() || shared.log.is_some() || shared.close_after.is_some() {
            return None;
        }
        // A runtime without io_uring would wait in the blocking sockets that it is handed.
        if monoio::utils::is_legacy() {
            return None;
        }
        let copies = (BLOCK_BYTES / answer.len()).clamp(1, BLOCK_ANSWERS);
        AnsweringRing::new(Arc::from(answer.repeat(copies))).ok()
    }

    /// # Errors
    ///
    /// The listening socket can't be used.
    pub(super) fn new(
        worker: Rc<Worker>,
        ring: AnsweringRing,
        listener: Listener,
        stop: UnixStream,
    ) -> io::Result<Self> {
        listener.prepare()?;
        let answer_bytes = worker.shared.answers.ready_made().map_or(1, <[u8]>::len);
        let mut express = Self {
            worker,
            ring,
            listener,
            stop,
            stopping: false,
            accept_at: None,
            answer_bytes,
            clients: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
            leaving: Vec::new(),
            tick: 0,
            next_tick: Instant::now() + TICK,
        };
        express.ring.accept(express.listener.as_fd(), tag(ACCEPT, 0));
        express.ring.poll(express.stop.as_fd(), tag(STOP, 0));
        Ok(express)
    }

    /// Serves until the other end of the stop signal is gone.
    ///
    /// # Errors
    ///
    /// The ring is broken.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let signal = monoio::net::UnixStream::from_std(self.ring.signal().try_clone_to_owned()?.into())?;
        // The runtime hands the last of its work, such as closing what is served to its end, to the kernel only when it waits.
        let mut runtime_has_work = false;
        while !self.stopping {
            self.ring.signal_completions(runtime_has_work)?;
            self.turn(if runtime_has_work { Duration::ZERO } else { TICK })?;
            for (socket, unread, refusal) in std::mem::take(&mut self.leaving) {
                self.hand_over(socket, unread, refusal);
            }
            let has_others = self.worker.watcher.len() > 0;
            if runtime_has_work {
                // The answers to what this turn has brought must not wait for the next.
                self.ring.submit()?;
                monoio::select! {
                    _ready = signal.readable(false) => {}
                    () = monoio::time::sleep(if has_others { TICK } else { LAST_WORK_TIME }) => {}
                }
            }
            runtime_has_work = has_others;
        }
        Ok(())
    }

    fn hand_over(&self, socket: OwnedFd, unread: Vec<u8>, refusal: Option<Refusal>) {
        // What the runtime refuses is closed.
        let Ok(stream) = self.listener.adopt(socket) else { return };
        let worker = Rc::clone(&self.worker);
        let number = worker.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let transport = Transport::new(stream, None, worker.watcher.add());
        monoio::spawn(async move { connection::resume(worker, transport, number, &unread, refusal).await });
    }

    /// Waits up to `time`, and does all that is to be done about what has happened.
    fn turn(&mut self, time: Duration) -> io::Result<()> {
        self.ring.wait(time)?;
        while let Some(completion) = self.ring.next_completion() {
            let number = (completion.tag & u64::from(u32::MAX)) as usize;
            match completion.tag >> KIND_SHIFT {
                ACCEPT => self.accepted(completion),
                STOP => self.stopping = true,
                RECEIVE => self.received(number, completion),
                SEND => self.sent(number, completion.result),
                // A cancellation that came too late.
                _ => {}
            }
        }
        self.keep_time();
        while let Some(number) = self.touched.pop() {
            self.settle(number);
        }
        Ok(())
    }

    fn accepted(&mut self, completion: Completion) {
        if !completion.more {
            let pause = if completion.result < 0 { ACCEPT_PAUSE } else { Duration::ZERO };
            self.accept_at = Some(Instant::now() + pause);
        }
        let Some(socket) = self.ring.accepted(completion) else { return };
        if self.clients.len() - self.free.len() + self.worker.watcher.len() >= CONNECTIONS_PER_THREAD {
            return;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        self.clients[number] = Some(Client::new(socket));
        self.touch(number);
    }

    fn received(&mut self, number: usize, completion: Completion) {
        let Self { ring, clients, worker, answer_bytes, .. } = self;
        let result = completion.result;
        let Some(client) = clients.get_mut(number).and_then(Option::as_mut) else { return };
        client.receiving = completion.more;
        ring.received(completion, |bytes| match (&client.end, result) {
            (End::Departure(_), _) => client.requests.keep(bytes),
            (End::Close, _) => {}
            (End::No, 1..) => {
                let (count, departure) = client.requests.take(bytes, &worker.shared.answers);
                client.owe(count, *answer_bytes);
                client.end = departure.map_or(End::No, End::Departure);
            }
            (End::No, 0) => client.end = client.requests.end().map_or(End::Close, End::Departure),
            // All buffers were in use; it begins anew.
            (End::No, error) if error == -libc::ENOBUFS => {}
            (End::No, _) => client.abandon(),
        });
        self.touch(number);
    }

    fn sent(&mut self, number: usize, result: i32) {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return };
        let count = client.sent(usize::try_from(result).unwrap_or(0), self.answer_bytes);
        self.worker.answered.set(self.worker.answered.get() + count);
        self.worker.ready_made.set(self.worker.ready_made.get() + count);
        if result < 0 {
            client.abandon();
        }
        self.touch(number);
    }

    fn touch(&mut self, number: usize) {
        if let Some(Some(client)) = self.clients.get_mut(number)
            && !std::mem::replace(&mut client.is_touched, true)
        {
            self.touched.push(number);
        }
    }

    /// Starts what a connection needs next, or ends it.
    fn settle(&mut self, number: usize) {
        let Some(Some(client)) = self.clients.get_mut(number) else { return };
        client.is_touched = false;
        if let Some((offset, bytes)) = client.next_send() {
            client.sending = self.ring.send(client.socket.as_fd(), offset, bytes, tag(SEND, number));
        } else if client.is_stuck() {
            self.ring.cancel(tag(SEND, number));
        }
        match client.end {
            End::No if client.receiving => {}
            End::No => {
                self.ring.receive(client.socket.as_fd(), tag(RECEIVE, number));
                client.receiving = true;
            }
            End::Close | End::Departure(_) if client.receiving => {
                if !std::mem::replace(&mut client.cancelled, true) {
                    self.ring.cancel(tag(RECEIVE, number));
                }
            }
            End::Close | End::Departure(_) if client.is_even() => return self.let_go(number),
            End::Close | End::Departure(_) => {}
        }
        if let Some(wait) = client.begins_to_wait() {
            let limit =
                if wait == Waiting::Request { self.worker.shared.idle_timeout } else { PROGRESS_TIMEOUT };
            let ticks = u64::try_from(limit.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX);
            // One more, because the present tick is partly over.
            client.expires_at = self.tick.saturating_add(ticks).saturating_add(1);
        }
    }

    /// Closes a connection that the kernel is done with, or lets it be handed over.
    fn let_go(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number).and_then(Option::take) else { return };
        self.free.push(number);
        if let End::Departure(departure) = client.end {
            let refusal = match departure {
                Departure::Request => None,
                Departure::Refusal(refusal) => Some(refusal),
            };
            self.leaving.push((client.socket, client.requests.into_unread(), refusal));
        }
    }

    /// Does what is due: accepts again, and gives up what has waited for too long.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.ring.accept(self.listener.as_fd(), tag(ACCEPT, 0));
        }
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.tick += 1;
        for number in 0..self.clients.len() {
            if let Some(client) = &mut self.clients[number]
                && client.expires_at <= self.tick
            {
                client.expires_at = u64::MAX;
                client.abandon();
                self.touch(number);
            }
        }
    }
}

/// What an operation of connection `number` is started with.
const fn tag(kind: u64, number: usize) -> u64 {
    kind << KIND_SHIFT | number as u64
}
