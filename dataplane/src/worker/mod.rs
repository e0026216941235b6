//! A worker: one ring, its connections, its pools, its timers, and nothing that is shared.
//!
//! Where things are: `client` is a client's connection, `transport` what lies between its socket and HTTP, `input` reads from it,
//! `deadlines` and `body_clock` watch its time, `answers` writes what we say ourselves, `tunnel` is a WebSocket; `request` is the
//! life of one request, `decide` what becomes of it, `rules` what rules beside that of the mode say; `dispatch` finds it a connection or a place
//! in a `queue`, `connect` opens connections and `warm` keeps some ready, `upstream` is such a connection, `relay` carries the
//! answer back, `stalled` is about answers that wait for slow clients, `failures` and `refused_certificate` are about connections
//! that fail, `refusals` about requests that are refused for what they are; `balance` chooses an address, `outliers` leaves addresses out;
//! `pool`, `idle`, `carried`, `output`, `timers` and `buffers` are what these stand on. All of it is generic over
//! [`Io`], so that the same code runs on io_uring and in the simulator.
//!
//! ```text
//! client ── head ── policy ── access ── inspect ── verdict ──> dispatch ──> upstream
//!    ^                                               │ 403                     │
//!    └───────────────── output <─────────────────────┴──────── relay <─────────┘
//! ```

mod answers;
mod balance;
mod body_clock;
mod buffers;
mod carried;
mod client;
mod connect;
mod deadlines;
mod decide;
#[cfg(any(test, debug_assertions))]
mod defect;
mod dispatch;
mod failures;
mod idle;
mod input;
mod outliers;
mod output;
mod pool;
mod queue;
mod refusals;
mod refused_certificate;
mod relay;
mod request;
mod rules;
mod stalled;
#[cfg(test)]
mod tests;
mod timers;
mod transport;
mod tunnel;
mod upstream;
mod warm;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use slotmap::{SlotMap, new_key_type};

use self::buffers::BufferPool;
use self::client::Client;
use self::pool::{PoolIndex, Pools, Target};
use self::refusals::RefusalLimit;
use self::request::{Request, RequestIds};
use self::timers::{Fired, TICK, TimerWheel};
use self::upstream::Upstream;
use crate::http::PathReadings;
use crate::io::{Event, Io, Monotonic, SocketId, Waker};
use crate::origins::AddressTable;
use crate::rules::PathKeyScratch;
use crate::snapshot::Snapshot;
use crate::telemetry::{EventSender, Limit, RateLimit, WorkerMetrics};

new_key_type! {
    /// A client connection of this worker.
    pub(crate) struct ClientId;
    /// An origin connection of this worker.
    pub(crate) struct UpstreamId;
}

/// Received buffers that may be on their way to slow clients at once. Beyond it bytes are copied, so that
/// slow clients can't drain the receive buffers of the whole worker.
const HANDED_OVER_MAX: usize = 64;
/// A line of the log about an address with too many connections comes no more often than this.
const ADDRESS_REFUSALS_EVERY: Duration = Duration::from_secs(10);
/// Places for so many clients are set aside at once: a table that grows leaves holes as large as itself. What is set aside
/// takes no memory before it is used.
const RESERVED_CLIENTS_MAX: usize = 65_536;
/// Finished request states kept for reuse.
const REQUESTS_KEPT_MAX: usize = 1024;

/// What the control thread tells a worker.
pub enum Message {
    /// Put this generation in force, between requests; its origins have these addresses.
    Adopt(Arc<Snapshot>, Arc<AddressTable>, Arc<WorkerMetrics>),
    /// The origins of the generation in force have these addresses from now on.
    Addresses(Arc<AddressTable>),
    /// Stop accepting, close what is idle, finish what runs, end.
    Drain,
    /// Stop accepting, for others do that now, and end when the clients are gone. Idle ones may send another request; its
    /// answer tells them to come again on a new connection, so that none of them finds its connection closed.
    Leave,
    /// End now: the time for the drain is over.
    Stop,
}

/// What a worker tells the control thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The worker serves this generation.
    Serving(u64),
    /// The worker has finished; `abandoned` connections were cut off.
    Finished {
        /// Client connections that were still busy.
        abandoned: usize,
    },
    /// The worker's thread ended without having finished.
    Died,
    /// Not from a worker: somebody asks the node to stop.
    StopAsked,
    /// Not from a worker: another process accepts in this one's place.
    Succeeded,
}

/// A worker's side of the channel pair to the control thread.
pub struct Mailbox {
    /// What to do.
    pub messages: Receiver<Message>,
    /// What was done.
    pub notices: Sender<(usize, Notice)>,
}

/// A generation as this worker holds it: the shared snapshot and what belongs to this worker alone.
struct Generation {
    snapshot: Arc<Snapshot>,
    inspector: RefCell<weir_inspect::Inspector>,
    /// The addresses of each origin, and their pools. They may change within a generation.
    targets: RefCell<Vec<Vec<Target>>>,
    /// Whose turn it is among each origin's addresses.
    rotation: RefCell<Vec<usize>>,
    /// Whether too few of each origin's addresses are usable, as far as the log knows.
    shortages: RefCell<Vec<balance::Shortage>>,
    metrics: Arc<WorkerMetrics>,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("number", &self.snapshot.generation).finish_non_exhaustive()
    }
}

/// Who a socket belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Nobody,
    Client(ClientId),
    Upstream(UpstreamId),
}

/// Keys of the timer wheel.
#[derive(Clone, Copy, Debug)]
enum TimerKey {
    Client(ClientId),
    Upstream(UpstreamId),
    /// The turn of a client's request under a rate limit.
    Turn(ClientId),
    /// The next attempt to keep connections of a pool ready.
    Pool(PoolIndex),
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Serving,
    Leaving,
    Draining,
    Stopped,
}

/// One worker. Lives and dies on its thread.
pub struct Worker<I: Io> {
    number: usize,
    io: I,
    mailbox: Mailbox,
    life: Life,
    current: Rc<Generation>,
    /// Those that requests started with and still hold.
    former: Vec<Weak<Generation>>,
    metrics: Arc<WorkerMetrics>,
    events: EventSender,
    clients: SlotMap<ClientId, Client<I::Buffer>>,
    /// How many of them came in by each listener.
    open_by_listener: Vec<usize>,
    /// Connections that were closed because their address had too many, in the log.
    address_refusals: RateLimit,
    upstreams: SlotMap<UpstreamId, Upstream<I::Buffer>>,
    /// By socket index, with the socket's generation.
    owners: Vec<(u32, Owner)>,
    pools: Pools,
    timers: TimerWheel<TimerKey>,
    buffers: BufferPool,
    /// Boxed, because they move in and out of clients all the time.
    #[expect(clippy::vec_box)]
    free_requests: Vec<Box<Request>>,
    request_ids: RequestIds,
    policy_scratch: weir_policy::Scratch,
    path_readings: PathReadings,
    path_keys: PathKeyScratch,
    refusal_limit: RefusalLimit,
    /// Plaintext of the TLS record being handled.
    plaintext: Vec<u8>,
    handed_over: usize,
    /// WebSockets that are open, and requests that may open one.
    tunnels: usize,
    /// Bytes of request bodies that are kept, over all requests.
    body_bytes: usize,
    /// Clients that may go on with what they sent already.
    later: Vec<ClientId>,
}

impl<I: Io> Worker<I> {
    /// A worker that serves `snapshot` on `io`, whose origins have these `addresses`.
    ///
    /// # Errors
    /// If the inspector's scratch memory can't be had.
    pub fn new(
        number: usize,
        io: I,
        mailbox: Mailbox,
        snapshot: Arc<Snapshot>,
        addresses: &AddressTable,
        metrics: Arc<WorkerMetrics>,
        events: EventSender,
    ) -> Result<Self, String> {
        let mut pools = Pools::default();
        let generation = Generation::new(number, snapshot, addresses, Arc::clone(&metrics), &mut pools)?;
        let now = io.now();
        let connections = generation.snapshot.http.connections_per_worker.min(RESERVED_CLIENTS_MAX);
        let mut worker = Self {
            number,
            io,
            mailbox,
            life: Life::Serving,
            current: Rc::new(generation),
            former: Vec::new(),
            metrics,
            events,
            clients: SlotMap::with_capacity_and_key(connections),
            open_by_listener: Vec::new(),
            address_refusals: RateLimit::new(ADDRESS_REFUSALS_EVERY),
            upstreams: SlotMap::with_key(),
            owners: Vec::new(),
            pools,
            timers: TimerWheel::new(now),
            buffers: BufferPool::default(),
            free_requests: Vec::new(),
            request_ids: RequestIds::new(),
            policy_scratch: weir_policy::Scratch::default(),
            path_readings: PathReadings::default(),
            path_keys: PathKeyScratch::default(),
            refusal_limit: RefusalLimit::default(),
            plaintext: Vec::new(),
            handed_over: 0,
            tunnels: 0,
            body_bytes: 0,
            later: Vec::new(),
        };
        worker.warm_cold_pools();
        Ok(worker)
    }

    /// A handle by which the control thread wakes this worker after it wrote a message.
    pub fn waker(&self) -> Waker {
        self.io.waker()
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// If the ring breaks.
    pub fn run(&mut self) -> std::io::Result<()> {
        self.notify(Notice::Serving(self.current.snapshot.generation));
        let mut events = Vec::new();
        let mut fired = Vec::new();
        while self.life != Life::Stopped {
            self.turn(&mut events, &mut fired)?;
        }
        let abandoned = self.clients.len();
        self.io.stop_accepting();
        self.notify(Notice::Finished { abandoned });
        Ok(())
    }

    /// One turn: waits, handles what came, and looks at the timers.
    fn turn(
        &mut self,
        events: &mut Vec<Event<I::Buffer>>,
        fired: &mut Vec<Fired<TimerKey>>,
    ) -> std::io::Result<()> {
        self.io.wait(self.timers.next(), events)?;
        for event in events.drain(..) {
            self.handle(event);
            self.go_on();
        }
        let now = self.io.now();
        self.timers.expire(now, fired);
        for entry in fired.drain(..) {
            self.fire(&entry, now);
            self.go_on();
        }
        self.metrics.io_counters(&self.io.counters());
        let ends = matches!(self.life, Life::Leaving | Life::Draining);
        if ends && self.clients.is_empty() && !self.io.is_accepting() {
            self.life = Life::Stopped;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event<I::Buffer>) {
        match event {
            Event::Accepted { listener, socket, peer } => self.client_accepted(listener, socket, peer),
            Event::Connected { socket, result } => {
                if let Owner::Upstream(id) = self.owner(socket) {
                    self.upstream_connected(id, result);
                }
            }
            Event::Received { socket, mut buffer } => match self.owner(socket) {
                Owner::Client(id) => self.client_received(id, &mut buffer),
                Owner::Upstream(id) => self.upstream_received(id, buffer),
                Owner::Nobody => {}
            },
            Event::ReceiveEnded { socket, end } => match self.owner(socket) {
                Owner::Client(id) => self.client_receive_ended(id, end),
                Owner::Upstream(id) => self.upstream_receive_ended(id, end),
                Owner::Nobody => {}
            },
            Event::Sent { socket, result, head } => {
                self.buffers.put(head);
                match self.owner(socket) {
                    Owner::Client(id) => self.client_sent(id, result),
                    Owner::Upstream(id) => self.upstream_sent(id, result),
                    Owner::Nobody => {}
                }
            }
            Event::Woken => self.read_mailbox(),
        }
    }

    /// Lets clients go on whose request ended outside their own events: more of them may have come in already.
    fn go_on(&mut self) {
        while let Some(id) = self.later.pop() {
            self.client_use_unread(id);
        }
        self.warm_cold_pools();
    }

    fn client_later(&mut self, id: ClientId) {
        self.later.push(id);
    }

    fn fire(&mut self, entry: &Fired<TimerKey>, now: Monotonic) {
        match entry.key {
            TimerKey::Client(id) => {
                let Some(client) = self.clients.get_mut(id) else { return };
                if self.timers.check(&mut client.deadline, entry, now) {
                    self.client_timed_out(id);
                }
            }
            TimerKey::Turn(id) => {
                let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut())
                else {
                    return;
                };
                if self.timers.check(&mut request.turn, entry, now) {
                    self.request_has_its_turn(id);
                }
            }
            TimerKey::Pool(index) => {
                if self.timers.check(&mut self.pools.get(index).warming.deadline, entry, now) {
                    self.warm(index);
                }
            }
            TimerKey::Upstream(id) => {
                let Some(upstream) = self.upstreams.get_mut(id) else { return };
                if self.timers.check(&mut upstream.deadline, entry, now) {
                    self.upstream_timed_out(id);
                }
            }
        }
    }

    fn read_mailbox(&mut self) {
        loop {
            match self.mailbox.messages.try_recv() {
                Ok(Message::Adopt(snapshot, addresses, metrics)) => self.adopt(snapshot, &addresses, metrics),
                Ok(Message::Addresses(addresses)) => self.adopt_addresses(&addresses),
                Ok(Message::Drain) => self.drain(),
                Ok(Message::Leave) => self.leave(),
                // Without a control thread there is nobody to serve for.
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => {
                    for _ in &self.clients {
                        self.metrics.limit(Limit::DrainTimeout);
                    }
                    self.life = Life::Stopped;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Puts a generation in force. Requests that run keep theirs.
    fn adopt(&mut self, snapshot: Arc<Snapshot>, addresses: &AddressTable, metrics: Arc<WorkerMetrics>) {
        let number = snapshot.generation;
        self.vacate_pools();
        match Generation::new(self.number, snapshot, addresses, Arc::clone(&metrics), &mut self.pools) {
            Ok(generation) => {
                let former = std::mem::replace(&mut self.current, Rc::new(generation));
                self.former.push(Rc::downgrade(&former));
                self.metrics = metrics;
                self.close_unwanted_idle();
                self.notify(Notice::Serving(number));
            }
            Err(reason) => tracing::error!(worker = self.number, reason, "a generation could not be adopted"),
        }
    }

    /// Puts other addresses of the origins in force. What runs finishes where it is.
    fn adopt_addresses(&mut self, addresses: &AddressTable) {
        if !belong_together(addresses, &self.current.snapshot) {
            // Those of a generation that could not be adopted. They are joined by number: others would get requests.
            return;
        }
        self.vacate_pools();
        let targets = self.pools.adopt(&self.current.snapshot, addresses, &self.metrics);
        *self.current.targets.borrow_mut() = targets;
        self.close_unwanted_idle();
    }

    fn close_unwanted_idle(&mut self) {
        for id in self.pools.unwanted_idle() {
            self.upstream_discard(id);
        }
    }

    /// Gives back the places of pools that nothing refers to, so that their table doesn't grow with every address that
    /// ever was.
    fn vacate_pools(&mut self) {
        self.former.retain(|generation| generation.strong_count() > 0);
        let mut used = HashSet::new();
        for generation in self.former.iter().filter_map(Weak::upgrade).chain([Rc::clone(&self.current)]) {
            used.extend(generation.targets.borrow().iter().flatten().map(|target| target.pool));
        }
        used.extend(self.upstreams.values().map(|upstream| upstream.pool));
        let requests = self.clients.values().filter_map(|client| client.request.as_ref());
        used.extend(requests.flat_map(|request| request.tried.iter().copied()));
        self.pools.vacate(|pool| used.contains(&pool));
    }

    fn leave(&mut self) {
        if self.life == Life::Serving {
            self.life = Life::Leaving;
            self.io.stop_accepting();
        }
    }

    fn drain(&mut self) {
        if matches!(self.life, Life::Draining | Life::Stopped) {
            return;
        }
        self.life = Life::Draining;
        self.io.stop_accepting();
        let (mut new, mut idle) = (Vec::new(), Vec::new());
        for (id, client) in &self.clients {
            if client.is_new() {
                new.push(id);
            } else if client.is_idle() {
                idle.push(id);
            }
        }
        // The first request of a new connection is probably on its way.
        new.into_iter().for_each(|id| self.client_awaits_first_head(id));
        idle.into_iter().for_each(|id| self.client_close(id, false));
        for id in self.pools.all_idle() {
            self.upstream_discard(id);
        }
    }

    fn notify(&self, notice: Notice) {
        // The control thread may be gone already; then nobody needs to know.
        let _ = self.mailbox.notices.send((self.number, notice));
    }

    fn owner(&self, socket: SocketId) -> Owner {
        match self.owners.get(socket.index as usize) {
            Some((generation, owner)) if *generation == socket.generation => *owner,
            _ => Owner::Nobody,
        }
    }

    fn own(&mut self, socket: SocketId, owner: Owner) {
        let index = socket.index as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, (0, Owner::Nobody));
        }
        self.owners[index] = (socket.generation, owner);
    }

    fn close_socket(&mut self, socket: SocketId, reset: bool) {
        self.own(socket, Owner::Nobody);
        self.io.close(socket, reset);
    }

    fn take_request(&mut self) -> Box<Request> {
        self.free_requests.pop().unwrap_or_default()
    }

    fn put_request(&mut self, mut request: Box<Request>) {
        self.tunnels -= usize::from(request.websocket);
        request.websocket = false;
        self.release_body(&mut request);
        self.buffers.put(std::mem::take(&mut request.to_origin));
        if self.free_requests.len() < REQUESTS_KEPT_MAX {
            request.clear();
            self.free_requests.push(request);
        }
    }
}

impl Generation {
    fn new(
        worker: usize,
        snapshot: Arc<Snapshot>,
        addresses: &AddressTable,
        metrics: Arc<WorkerMetrics>,
        pools: &mut Pools,
    ) -> Result<Self, String> {
        let inspector = snapshot.engine.inspector().map_err(|error| error.to_string())?;
        let targets = pools.adopt(&snapshot, addresses, &metrics);
        // Workers start at different addresses, so that the first one doesn't get all first requests.
        let rotation = RefCell::new(vec![worker; targets.len()]);
        let shortages = RefCell::new(vec![balance::Shortage::default(); targets.len()]);
        let targets = RefCell::new(targets);
        Ok(Self { snapshot, inspector: RefCell::new(inspector), targets, rotation, shortages, metrics })
    }
}

/// Whether a table has the addresses of a snapshot's origins.
fn belong_together(addresses: &AddressTable, snapshot: &Snapshot) -> bool {
    let names = snapshot.origins.iter().map(|origin| &*origin.name);
    names.eq(addresses.origins.iter().map(|origin| &*origin.name))
}

/// The time until which something lasts.
fn until(now: Monotonic, span: Duration) -> Monotonic {
    now.after(span.max(TICK))
}
