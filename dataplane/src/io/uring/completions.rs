//! What completions mean: events for the caller, and the next operation of a socket.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use io_uring::cqueue;
use socket2::SockRef;

use super::buffers::UringBuffer;
use super::sockets::{Phase, Receiving, SocketTable};
use super::user_data::{Kind, UserData};
use super::{UringIo, operations};
use crate::io::sending::Sending;
use crate::io::system::{ACCEPT_PAUSE, finish, monotonic, peer_address};
use crate::io::{Errno, Event, ListenerId, ReceiveEnd, SocketId};

/// Completions that are looked at together; they are copied out of the queue first.
const COMPLETION_BATCH: usize = 64;

impl UringIo {
    pub(super) fn drain_completions(&mut self, events: &mut Vec<Event<UringBuffer>>) {
        let mut space = [const { MaybeUninit::<cqueue::Entry>::uninit() }; COMPLETION_BATCH];
        loop {
            let batch = self.ring.completions(&mut space);
            for completion in batch {
                self.complete(completion.user_data(), completion.result(), completion.flags(), events);
            }
            if batch.len() < COMPLETION_BATCH {
                return;
            }
        }
    }

    fn complete(&mut self, user_data: u64, result: i32, flags: u32, events: &mut Vec<Event<UringBuffer>>) {
        let Some(user_data) = UserData::decode(user_data) else {
            tracing::error!(user_data, result, "a completion of an unknown kind");
            return;
        };
        let ended = !cqueue::more(flags);
        if ended && !matches!(user_data.kind, Kind::Cancel | Kind::Close) {
            self.ring.in_flight -= 1;
        }
        match user_data.kind {
            Kind::Accept => self.accept_completed(user_data.index, result, ended, events),
            Kind::Receive => self.receive_completed(user_data, result, flags, events),
            Kind::Send => self.send_completed(user_data, result, events),
            Kind::Connect => self.connect_completed(user_data, result, events),
            Kind::Wake => self.wake_completed(events),
            // The operation had completed before its cancel: nothing is left to do.
            Kind::Cancel => {}
            Kind::Close => tracing::error!(descriptor = user_data.index, result, "closing a socket failed"),
        }
    }

    fn accept_completed(
        &mut self,
        index: u32,
        result: i32,
        ended: bool,
        events: &mut Vec<Event<UringBuffer>>,
    ) {
        match operations::accepted_descriptor(result) {
            Some(descriptor) => match self.admit(descriptor) {
                Some((socket, peer)) => {
                    let listener = self.listeners.get(index as usize).map_or(ListenerId(index), |one| one.id);
                    events.push(Event::Accepted { listener, socket, peer });
                }
                None => self.accept_failures += 1,
            },
            None if self.stopping => {}
            None => self.accept_failures += 1,
        }
        if !ended {
            return;
        }
        let Some(listener) = self.listeners.get_mut(index as usize) else { return };
        listener.accepting = false;
        if self.stopping && !listener.last_accept && !self.shutting_down {
            self.accept_for_the_last_time(index);
        } else if self.stopping {
            listener.socket = None;
        } else if result >= 0 || result == -libc::ECONNABORTED {
            self.accept(index);
        } else {
            listener.resume_at = Some(monotonic().after(ACCEPT_PAUSE));
        }
    }

    /// Gives an accepted connection a slot. `None` if it is gone already or the table is full.
    fn admit(&mut self, descriptor: OwnedFd) -> Option<(SocketId, SocketAddr)> {
        let peer = peer_address(&SockRef::from(&descriptor).peer_addr().ok()?)?;
        let socket = self.sockets.insert(descriptor).ok()?;
        Some((socket, peer))
    }

    fn receive_completed(
        &mut self,
        user_data: UserData,
        result: i32,
        flags: u32,
        events: &mut Vec<Event<UringBuffer>>,
    ) {
        // Taken in any case, so that it returns to the ring if nobody wants it.
        let buffer = operations::received_buffer(&self.pool, result, flags);
        let Some(slot) = self.sockets.completed(user_data) else { return };
        let ended = !cqueue::more(flags);
        if ended {
            slot.in_flight -= 1;
        }
        if slot.phase == Phase::Draining {
            self.settle(user_data.index);
            return;
        }
        let socket = SocketTable::id_of(user_data);
        if let Some(buffer) = buffer
            && result > 0
        {
            events.push(Event::Received { socket, buffer });
        }
        if !ended {
            return;
        }
        let end = match -result {
            0 => Some(ReceiveEnd::Finished),
            libc::ENOBUFS => {
                slot.receiving = Receiving::Starved;
                self.starve(socket);
                return;
            }
            // Cancelled, interrupted, or it has brought what it was to bring.
            number if number < 0 || matches!(number, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => None,
            number => Some(ReceiveEnd::Failed(Errno(number))),
        };
        match end {
            Some(end) => {
                slot.receiving = Receiving::Ended;
                events.push(Event::ReceiveEnded { socket, end });
            }
            None if slot.wants_bytes => {
                // Not at once: what it would bring could be more than the caller wants when it sees what is here.
                slot.receiving = Receiving::Due;
                slot.has_more = cqueue::sock_nonempty(flags);
                self.due.push(socket);
            }
            None => slot.receiving = Receiving::Idle,
        }
    }

    fn send_completed(&mut self, user_data: UserData, result: i32, events: &mut Vec<Event<UringBuffer>>) {
        let Some(slot) = self.sockets.completed(user_data) else { return };
        slot.in_flight -= 1;
        if slot.phase == Phase::Draining {
            self.settle(user_data.index);
            return;
        }
        let Some(sending) = &mut slot.sending else { return };
        sending.advance(usize::try_from(result).unwrap_or(0));
        let finished = sending.is_finished();
        if result == -libc::EINTR || (result > 0 && !finished) {
            operations::send(&mut self.ring, slot, user_data.index);
            return;
        }
        let result = match result {
            number if number < 0 => Err(Errno(-number)),
            _ if finished => Ok(()),
            // Nothing taken although there was something to send: the kernel never does that.
            _ => Err(Errno(libc::EIO)),
        };
        let head = slot.sending.take().map(Sending::into_head).unwrap_or_default();
        if slot.finish_after_send
            && let Some(descriptor) = &slot.descriptor
        {
            finish(&SockRef::from(descriptor));
        }
        events.push(Event::Sent { socket: SocketTable::id_of(user_data), result, head });
    }

    fn connect_completed(&mut self, user_data: UserData, result: i32, events: &mut Vec<Event<UringBuffer>>) {
        let Some(slot) = self.sockets.completed(user_data) else { return };
        slot.in_flight -= 1;
        if slot.phase == Phase::Draining {
            self.settle(user_data.index);
            return;
        }
        slot.connecting = false;
        let connected = if result < 0 { Err(Errno(-result)) } else { Ok(()) };
        if connected.is_err() {
            slot.receiving = Receiving::Ended;
        } else if slot.wants_bytes {
            slot.receiving = Receiving::Armed;
            operations::receive(&mut self.ring, slot, user_data.index, self.receive_form);
        }
        events.push(Event::Connected { socket: SocketTable::id_of(user_data), result: connected });
    }

    fn wake_completed(&mut self, events: &mut Vec<Event<UringBuffer>>) {
        self.wake.take_notice();
        if !self.shutting_down {
            operations::read_wake(&mut self.ring, self.wake.as_raw_fd(), &mut self.wake_counter);
            events.push(Event::Woken);
        }
    }
}
