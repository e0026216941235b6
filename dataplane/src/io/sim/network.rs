//! The virtual network: connections, what is under way on them, and when it arrives.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use super::random::Random;
use super::{Cutting, Faults, SimBuffer, SimOptions, SimPeer};
use crate::io::{Errno, Event, ListenerId, Outgoing, ReceiveBuffer, ReceiveEnd, SocketId};

/// After how long a socket that a fault kept from a buffer tries again.
const STARVED_RETRY_NANOS: u64 = 50_000;

/// Most receives of one socket that one wait reports. They end with the one that makes a buffer's worth.
const BURST_LIMIT: u64 = 3;

/// Most bytes that travel together where bytes are cut at random.
const SEGMENT_LIMIT_BYTES: usize = 16 * 1024;

/// Who acts for an end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Backend(SocketId),
    Test,
}

/// One end of a connection. The ends of a connection are neighbours: an even number and the next.
pub(super) struct End {
    pub(super) owner: Owner,
    address: SocketAddr,
    pub(super) connected: bool,
    pub(super) refused: bool,
    /// Its owner has closed it.
    closed: bool,
    /// Bytes that arrived and wait to be read.
    arrived: VecDeque<u8>,
    /// Bytes read so far.
    read: u64,
    /// Bytes sent to this end that weren't read yet, arrived or not; bounded by the window.
    unread: usize,
    /// FIN arrived.
    finish: bool,
    /// The connection broke.
    pub(super) broken: Option<Errno>,
    /// When the last thing that is under way to this end arrives, so that nothing overtakes it.
    last_arrival: u64,
    stalled_until: u64,
    /// Bytes to send that wait for room in the other end's window.
    pub(super) outbox: VecDeque<u8>,
    finish_wanted: bool,
    finish_sent: bool,
    /// The backend's send until its `Sent`.
    sending: Option<Outgoing<SimBuffer>>,
    sent_scheduled: bool,
    /// Test ends: whether arriving bytes are read at once, and those that were.
    pub(super) reading: bool,
    pub(super) received: Vec<u8>,
}

impl End {
    fn new(address: SocketAddr) -> Self {
        Self {
            owner: Owner::Nobody,
            address,
            connected: false,
            refused: false,
            closed: false,
            arrived: VecDeque::new(),
            read: 0,
            unread: 0,
            finish: false,
            broken: None,
            last_arrival: 0,
            stalled_until: 0,
            outbox: VecDeque::new(),
            finish_wanted: false,
            finish_sent: false,
            sending: None,
            sent_scheduled: false,
            reading: true,
            received: Vec::new(),
        }
    }

    /// How receiving ended, once all that arrived was read.
    pub(super) fn receive_end(&self) -> Option<ReceiveEnd> {
        match self.broken {
            _ if !self.arrived.is_empty() => None,
            Some(errno) => Some(ReceiveEnd::Failed(errno)),
            None => self.finish.then_some(ReceiveEnd::Finished),
        }
    }
}

/// A socket of the backend.
struct Slot {
    generation: u32,
    end: Option<usize>,
    wants_bytes: bool,
    /// One more receive although paused, as one that raced with the pause.
    late: bool,
    starved: bool,
    ended: bool,
}

enum Payload {
    Bytes(Vec<u8>),
    Finish,
    Reset,
}

enum Action {
    /// A connect reaches its destination.
    Knock {
        end: usize,
    },
    /// The answer to a connect arrives.
    Answer {
        end: usize,
        result: Result<(), Errno>,
    },
    Arrive {
        end: usize,
        payload: Payload,
    },
    Sent {
        end: usize,
        result: Result<(), Errno>,
    },
    /// A socket may go on after a stall or a starvation.
    Retry {
        end: usize,
    },
}

pub(super) struct Network {
    pub(super) options: SimOptions,
    pub(super) faults: Faults,
    random: Random,
    pub(super) now: u64,
    /// What is going to happen, by time and then by the order in which it was decided.
    agenda: BTreeMap<(u64, u64), Action>,
    order: u64,
    pub(super) ends: Vec<End>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots that may have something to deliver.
    ready: BTreeSet<u32>,
    pub(super) pending: VecDeque<Event<SimBuffer>>,
    pub(super) listeners: Vec<SocketAddr>,
    pub(super) origins: BTreeMap<SocketAddr, VecDeque<SimPeer>>,
    pub(super) black_holes: BTreeSet<SocketAddr>,
    pub(super) buffers_left: Rc<Cell<usize>>,
    pub(super) starved_count: u64,
    next_port: u16,
}

impl Network {
    pub(super) fn new(options: SimOptions, faults: Faults) -> Self {
        Self {
            random: Random::new(options.seed),
            buffers_left: Rc::new(Cell::new(options.buffer_count)),
            options,
            faults,
            now: 0,
            agenda: BTreeMap::new(),
            order: 0,
            ends: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            ready: BTreeSet::new(),
            pending: VecDeque::new(),
            listeners: Vec::new(),
            origins: BTreeMap::new(),
            black_holes: BTreeSet::new(),
            starved_count: 0,
            next_port: 32_768,
        }
    }

    fn schedule(&mut self, at: u64, action: Action) {
        self.order += 1;
        self.agenda.insert((at, self.order), action);
    }

    /// Schedules an arrival at `end`, behind everything that is under way to it.
    fn schedule_arrival(&mut self, end: usize, action: Action) {
        let at = (self.now + self.random.nanos(&self.faults.delay)).max(self.ends[end].last_arrival);
        self.ends[end].last_arrival = at;
        self.schedule(at, action);
    }

    fn send_payload(&mut self, to: usize, payload: Payload) {
        self.schedule_arrival(to, Action::Arrive { end: to, payload });
    }

    // ---- connections ----

    /// Starts a connect from a new end; `from` is made up if not given.
    pub(super) fn knock(&mut self, owner: Owner, from: Option<SocketAddr>, to: SocketAddr) -> usize {
        let from = from.unwrap_or_else(|| {
            self.next_port = self.next_port.checked_add(1).unwrap_or(32_768);
            SocketAddr::new(to.ip(), self.next_port)
        });
        let end = self.ends.len();
        self.ends.push(End { owner, ..End::new(from) });
        self.ends.push(End::new(to));
        self.schedule_arrival(end + 1, Action::Knock { end });
        end
    }

    fn knocked(&mut self, end: usize) {
        let server = end ^ 1;
        let address = self.ends[server].address;
        if self.ends[end].closed || self.black_holes.contains(&address) {
            return;
        }
        let listener = self.listeners.iter().position(|&listener| listener == address);
        let refused = self.random.one_in(self.faults.refuse_one_in);
        let mut result = Ok(());
        if refused || (listener.is_none() && !self.origins.contains_key(&address)) {
            result = Err(Errno(libc::ECONNREFUSED));
        } else {
            self.ends[server].connected = true;
            if let Some(listener) = listener {
                let socket = self.open_slot(server);
                let peer = self.ends[end].address;
                let listener = ListenerId(listener as u32);
                self.pending.push_back(Event::Accepted { listener, socket, peer });
            } else if let Some(queue) = self.origins.get_mut(&address) {
                self.ends[server].owner = Owner::Test;
                queue.push_back(SimPeer(server));
            }
        }
        self.schedule_arrival(end, Action::Answer { end, result });
    }

    fn answered(&mut self, end: usize, result: Result<(), Errno>) {
        let this = &mut self.ends[end];
        if this.closed {
            return;
        }
        this.connected = result.is_ok();
        this.refused = result.is_err();
        if let Owner::Backend(socket) = this.owner {
            self.pending.push_back(Event::Connected { socket, result });
            self.ready.insert(socket.index);
        }
        if result.is_ok() {
            self.transmit(end);
        }
    }

    // ---- bytes ----

    /// Moves bytes from the outbox into the other end's window, and what follows once all are gone.
    pub(super) fn transmit(&mut self, end: usize) {
        let other = end ^ 1;
        if !self.ends[end].connected || self.ends[end].broken.is_some() {
            return;
        }
        let mut room = self.options.window_bytes.saturating_sub(self.ends[other].unread);
        while room > 0 && !self.ends[end].outbox.is_empty() {
            let most = room.min(self.ends[end].outbox.len());
            let length = match self.faults.cutting {
                Cutting::Random => 1 + self.random.below(most.min(SEGMENT_LIMIT_BYTES) as u64) as usize,
                Cutting::Whole | Cutting::EveryByte | Cutting::At(_) => most,
            };
            let bytes: Vec<u8> = self.ends[end].outbox.drain(..length).collect();
            self.ends[other].unread += length;
            room -= length;
            self.send_payload(other, Payload::Bytes(bytes));
        }
        let this = &mut self.ends[end];
        if !this.outbox.is_empty() {
            return;
        }
        if this.finish_wanted && !this.finish_sent {
            this.finish_sent = true;
            self.send_payload(other, Payload::Finish);
        }
        self.schedule_sent(end, Ok(()));
    }

    fn schedule_sent(&mut self, end: usize, result: Result<(), Errno>) {
        let this = &mut self.ends[end];
        if this.sending.is_some() && !this.sent_scheduled {
            this.sent_scheduled = true;
            let at = self.now + self.random.nanos(&self.faults.sent_delay);
            self.schedule(at, Action::Sent { end, result });
        }
    }

    fn arrived(&mut self, end: usize, payload: Payload) {
        if self.ends[end].broken.is_some() {
            return;
        }
        match payload {
            Payload::Bytes(_) if self.ends[end].closed => self.send_payload(end ^ 1, Payload::Reset),
            Payload::Bytes(_) if self.random.one_in(self.faults.reset_one_in) => {
                self.break_end(end);
                self.send_payload(end ^ 1, Payload::Reset);
            }
            Payload::Bytes(bytes) => {
                self.ends[end].arrived.extend(bytes);
                if self.random.one_in(self.faults.stall_one_in) {
                    let at = self.now + self.random.nanos(&self.faults.stall);
                    self.ends[end].stalled_until = at;
                    self.schedule(at, Action::Retry { end });
                }
            }
            Payload::Finish => self.ends[end].finish = true,
            Payload::Reset => self.break_end(end),
        }
        self.noticed(end);
    }

    /// The connection is gone for this end. Bytes that arrived before may be lost or not.
    fn break_end(&mut self, end: usize) {
        let lost = self.random.one_in(2);
        let this = &mut self.ends[end];
        this.broken = Some(Errno(libc::ECONNRESET));
        this.outbox.clear();
        if lost {
            this.arrived.clear();
        }
        self.schedule_sent(end, Err(Errno(libc::ECONNRESET)));
    }

    /// Lets the owner of an end look at what arrived.
    pub(super) fn noticed(&mut self, end: usize) {
        let this = &mut self.ends[end];
        match this.owner {
            Owner::Nobody => {}
            Owner::Backend(socket) => {
                self.ready.insert(socket.index);
            }
            Owner::Test if this.reading && this.stalled_until <= self.now => {
                let length = this.arrived.len();
                this.received.extend(this.arrived.drain(..));
                this.unread = this.unread.saturating_sub(length);
                self.transmit(end ^ 1);
            }
            Owner::Test => {}
        }
    }

    /// FIN after what is in the outbox.
    pub(super) fn finish(&mut self, end: usize) {
        self.ends[end].finish_wanted = true;
        self.transmit(end);
    }

    pub(super) fn close(&mut self, end: usize, reset: bool) {
        let this = &mut self.ends[end];
        if this.closed {
            return;
        }
        this.closed = true;
        this.owner = Owner::Nobody;
        this.outbox.clear();
        this.sending = None;
        if this.broken.is_some() {
            return;
        }
        // As TCP does: whoever closes over unread bytes resets.
        if reset || !this.arrived.is_empty() {
            self.send_payload(end ^ 1, Payload::Reset);
        } else if !this.finish_sent {
            this.finish_sent = true;
            self.send_payload(end ^ 1, Payload::Finish);
        }
    }

    // ---- the backend's sockets ----

    pub(super) fn open_slot(&mut self, end: usize) -> SocketId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                end: None,
                wants_bytes: false,
                late: false,
                starved: false,
                ended: false,
            });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        *slot = Slot {
            generation: slot.generation + 1,
            end: Some(end),
            wants_bytes: false,
            late: false,
            starved: false,
            ended: false,
        };
        let socket = SocketId { index, generation: slot.generation };
        self.ends[end].owner = Owner::Backend(socket);
        socket
    }

    /// The connection end of an open socket.
    pub(super) fn end_of(&self, socket: SocketId) -> Option<usize> {
        let slot = self.slots.get(socket.index as usize)?;
        slot.end.filter(|_| slot.generation == socket.generation)
    }

    /// The address of this side of an open socket.
    pub(super) fn local_address(&self, socket: SocketId) -> Option<SocketAddr> {
        self.end_of(socket).map(|end| self.ends[end].address)
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn receive(&mut self, socket: SocketId) {
        if self.end_of(socket).is_some() {
            self.slots[socket.index as usize].wants_bytes = true;
            self.ready.insert(socket.index);
        }
    }

    pub(super) fn pause(&mut self, socket: SocketId) {
        if let Some(end) = self.end_of(socket) {
            let late = self.random.one_in(self.faults.late_receive_one_in);
            let slot = &mut self.slots[socket.index as usize];
            slot.late = late && slot.wants_bytes && !self.ends[end].arrived.is_empty();
            slot.wants_bytes = false;
        }
    }

    pub(super) fn send(&mut self, socket: SocketId, data: Outgoing<SimBuffer>) {
        let Some(end) = self.end_of(socket) else { return };
        let this = &mut self.ends[end];
        assert!(this.sending.is_none(), "a second send on {socket:?} before its first was Sent");
        assert!(!this.finish_wanted, "a send on {socket:?} after shutdown_write");
        this.outbox.extend(&data.head);
        if let Some((buffer, range)) = &data.body {
            this.outbox.extend(&buffer.bytes()[range.clone()]);
        }
        this.sending = Some(data);
        this.sent_scheduled = false;
        if let Some(errno) = this.broken {
            this.outbox.clear();
            self.schedule_sent(end, Err(errno));
        } else {
            self.transmit(end);
        }
    }

    pub(super) fn close_socket(&mut self, socket: SocketId, reset: bool) {
        let Some(end) = self.end_of(socket) else { return };
        self.close(end, reset);
        self.slots[socket.index as usize].end = None;
        self.free.push(socket.index);
        self.ready.remove(&socket.index);
        self.pending.retain(|event| socket_of(event) != Some(socket));
    }

    fn sent(&mut self, end: usize, result: Result<(), Errno>) {
        let this = &mut self.ends[end];
        if let (Owner::Backend(socket), Some(sending)) = (this.owner, this.sending.take()) {
            self.pending.push_back(Event::Sent { socket, result, head: sending.head });
        }
    }

    /// Reports what sockets that want bytes have, in an order that the seed decides.
    pub(super) fn deliver_ready(&mut self) {
        let mut order: Vec<u32> = self.ready.iter().copied().collect();
        let first = self.random.below(order.len() as u64) as usize;
        order.rotate_left(first);
        for index in order {
            let burst = 1 + self.random.below(BURST_LIMIT);
            let mut left = self.options.buffer_bytes;
            let again = (0..burst).all(|_| {
                let delivered = if left == 0 { Some(0) } else { self.deliver(index) };
                left = left.saturating_sub(delivered.unwrap_or(0));
                delivered.is_some()
            });
            if !again {
                self.ready.remove(&index);
            }
        }
    }

    /// Reports one receive or the end of receiving. Unless there can't be more at once: how many bytes it was.
    fn deliver(&mut self, index: u32) -> Option<usize> {
        let slot = &self.slots[index as usize];
        let (Some(end), false) = (slot.end, slot.ended) else { return None };
        let socket = SocketId { index, generation: slot.generation };
        let this = &self.ends[end];
        if !this.connected || this.stalled_until > self.now || !(slot.wants_bytes || slot.late) {
            return None;
        }
        if let Some(result) = this.receive_end() {
            self.slots[index as usize].ended = true;
            self.pending.push_back(Event::ReceiveEnded { socket, end: result });
            return None;
        }
        if this.arrived.is_empty() {
            return None;
        }
        if self.buffers_left.get() == 0 {
            // Stays ready: it gets its turn when the caller gives a buffer back.
            self.starve(index);
            return Some(0);
        }
        if self.random.one_in(self.faults.starve_one_in) {
            self.starve(index);
            self.schedule(self.now + STARVED_RETRY_NANOS, Action::Retry { end });
            return None;
        }
        let length = self.cut(end);
        let this = &mut self.ends[end];
        let bytes: Vec<u8> = this.arrived.drain(..length).collect();
        this.read += length as u64;
        this.unread -= length;
        let slot = &mut self.slots[index as usize];
        slot.late = false;
        slot.starved = false;
        self.pending.push_back(Event::Received { socket, buffer: SimBuffer::new(bytes, &self.buffers_left) });
        self.transmit(end ^ 1);
        Some(length)
    }

    fn starve(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if !slot.starved {
            slot.starved = true;
            self.starved_count += 1;
        }
    }

    /// How many of the arrived bytes the next receive brings.
    fn cut(&mut self, end: usize) -> usize {
        let this = &self.ends[end];
        let most = this.arrived.len().min(self.options.buffer_bytes);
        match self.faults.cutting {
            Cutting::Whole => most,
            Cutting::EveryByte => 1,
            Cutting::At(place) if this.read < place => {
                most.min(usize::try_from(place - this.read).unwrap_or(usize::MAX))
            }
            Cutting::At(_) => most,
            Cutting::Random => 1 + self.random.below(most as u64) as usize,
        }
    }

    // ---- time ----

    /// Lets what is due next happen, with all that happens at the same moment, unless it is after `limit`.
    /// Returns whether there was anything.
    pub(super) fn step(&mut self, limit: Option<u64>) -> bool {
        let Some((&(at, _), _)) = self.agenda.first_key_value() else { return false };
        if limit.is_some_and(|limit| at > limit) {
            return false;
        }
        self.now = self.now.max(at);
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Action::Knock { end } => self.knocked(end),
                Action::Answer { end, result } => self.answered(end, result),
                Action::Arrive { end, payload } => self.arrived(end, payload),
                Action::Sent { end, result } => self.sent(end, result),
                Action::Retry { end } => self.noticed(end),
            }
        }
        true
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.agenda.is_empty()
    }
}

fn socket_of(event: &Event<SimBuffer>) -> Option<SocketId> {
    match event {
        Event::Accepted { socket, .. }
        | Event::Connected { socket, .. }
        | Event::Received { socket, .. }
        | Event::ReceiveEnded { socket, .. }
        | Event::Sent { socket, .. } => Some(*socket),
        Event::Woken => None,
    }
}
