//! A worker, its network, its clients and its origins, and what must hold of them at all times.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::super::{Life, Mailbox, Message, Notice, Worker};
use super::client::{Client, Step, nanos};
use super::origin::Origin;
use super::random::Random;
use super::script::Request;
use super::setup;
use crate::io::sim::{Faults, SimBuffer, SimIo, SimNetwork, SimOptions};
use crate::io::{Errno, Event, Io, IoCounters, Monotonic, Outgoing, ReceiveBuffer, SocketId, Waker};
use crate::origins::AddressTable;
use crate::snapshot::{Snapshot, attack_class_names};
use crate::telemetry::{Event as Record, Family};
use crate::telemetry::{EventReceiver, Labels, MetricsRegistry, WorkerMetrics, event_queue};
use crate::tls::tests::counting::allocations;

/// Turns after which a run counts as one that never comes to rest.
const TURNS_MAX: u32 = 2_000_000;

/// A request that a client has, and what came of it.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) client_ip: IpAddr,
    pub(super) from: SocketAddr,
    /// Bytes that the client has sent, of `total`.
    pub(super) sent: usize,
    pub(super) total: usize,
    /// Times that its head, and that all of it, came to an origin.
    pub(super) heads: u32,
    pub(super) wholes: u32,
    /// Of the whole answer that the client got.
    pub(super) status: Option<u16>,
}

/// What happens to the worker from outside the network.
pub(super) enum Command {
    Drain,
    Stop,
    Adopt(&'static str),
    Addresses(Arc<AddressTable>),
    StopOrigin(SocketAddr),
    ListenOrigin(SocketAddr),
}

/// What the world sees of the worker's calls.
#[derive(Default)]
struct Probe {
    /// No wait lasts longer than until then.
    limit: Cell<Option<Monotonic>>,
    trace: RefCell<DefaultHasher>,
    /// Events of the last wait.
    events: Cell<usize>,
    /// Allocations made inside the simulator.
    allocations: Cell<usize>,
}

/// The simulator, watched.
pub(super) struct Watched {
    inner: SimIo,
    probe: Rc<Probe>,
}

impl Watched {
    /// Calls the simulator, and remembers what it allocates.
    fn call<T>(&mut self, work: impl FnOnce(&mut SimIo) -> T) -> T {
        let (count, _, result) = allocations(|| work(&mut self.inner));
        self.probe.allocations.set(self.probe.allocations.get() + count);
        result
    }
}

impl Io for Watched {
    type Buffer = SimBuffer;

    fn now(&self) -> Monotonic {
        self.inner.now()
    }

    fn unix_nanos(&self) -> u64 {
        self.inner.unix_nanos()
    }

    fn connect(&mut self, address: SocketAddr) -> Result<SocketId, Errno> {
        self.call(|io| io.connect(address))
    }

    fn local_address(&mut self, socket: SocketId) -> Option<SocketAddr> {
        self.inner.local_address(socket)
    }

    fn receive(&mut self, socket: SocketId) {
        self.call(|io| io.receive(socket));
    }

    fn pause(&mut self, socket: SocketId) {
        self.call(|io| io.pause(socket));
    }

    fn send(&mut self, socket: SocketId, data: Outgoing<SimBuffer>) {
        self.call(|io| io.send(socket, data));
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        self.call(|io| io.shutdown_write(socket));
    }

    fn close(&mut self, socket: SocketId, reset: bool) {
        self.call(|io| io.close(socket, reset));
    }

    fn stop_accepting(&mut self) {
        self.call(Io::stop_accepting);
    }

    fn is_accepting(&self) -> bool {
        self.inner.is_accepting()
    }

    fn wait(
        &mut self,
        deadline: Option<Monotonic>,
        events: &mut Vec<Event<SimBuffer>>,
    ) -> std::io::Result<()> {
        let probe = Rc::clone(&self.probe);
        self.call(|io| {
            let limit = probe.limit.get();
            let deadline = match (deadline, limit) {
                (Some(deadline), Some(limit)) => Some(deadline.min(limit)),
                (deadline, limit) => deadline.or(limit),
            };
            io.wait(deadline, events)?;
            probe.events.set(events.len());
            let mut trace = probe.trace.borrow_mut();
            trace.write_u64(io.now().0);
            events.iter().for_each(|event| trace.write(summary(event).as_bytes()));
            Ok(())
        })
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn counters(&self) -> IoCounters {
        self.inner.counters()
    }
}

/// An event without its bytes: request ids are random in every run.
fn summary(event: &Event<SimBuffer>) -> String {
    match event {
        Event::Received { socket, buffer } => format!("received {socket:?} {}", buffer.bytes().len()),
        Event::Sent { socket, result, head } => format!("sent {socket:?} {result:?} {}", head.len()),
        other => format!("{other:?}"),
    }
}

/// The conditions of a run.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) config: &'static str,
    pub(super) options: SimOptions,
}

impl Weather {
    pub(super) fn calm(seed: u64) -> Self {
        let options = SimOptions {
            seed,
            buffer_count: 64,
            buffer_bytes: 32 * 1024,
            window_bytes: 64 * 1024,
            ..SimOptions::default()
        };
        Self { seed, faults: Faults::default(), config: setup::MAIN, options }
    }

    /// Whether connections may break for no reason.
    fn breaks(&self) -> bool {
        self.faults.reset_one_in > 0 || self.faults.refuse_one_in > 0
    }
}

/// Everything of one run.
pub(super) struct World {
    pub(super) network: SimNetwork,
    pub(super) worker: Worker<Watched>,
    pub(super) random: Random,
    pub(super) asked: Vec<Asked>,
    pub(super) clients: Vec<Client>,
    origins: Vec<Origin>,
    commands: Vec<(Duration, Command)>,
    pub(super) weather: Weather,
    probe: Rc<Probe>,
    events: Vec<Event<SimBuffer>>,
    fired: Vec<super::super::timers::Fired<super::super::TimerKey>>,
    records: EventReceiver,
    messages: Sender<Message>,
    notices: Receiver<(usize, Notice)>,
    pub(super) registry: MetricsRegistry,
    pub(super) metrics: Vec<Arc<WorkerMetrics>>,
    /// Virtual time that a wait lasts at most while something is under way.
    quantum: u64,
    /// Allocations of the worker from `counts_from` on, while there are clients.
    pub(super) allocated: usize,
    pub(super) counts_from: Monotonic,
}

impl World {
    pub(super) fn new(weather: &Weather) -> Self {
        let network = SimNetwork::new(weather.options, weather.faults.clone());
        for address in setup::backs() {
            network.listen_origin(address);
        }
        let probe = Rc::new(Probe::default());
        let io = Watched { inner: network.io(&[setup::front()]), probe: Rc::clone(&probe) };
        let snapshot = setup::snapshot(weather.config);
        let registry = MetricsRegistry::new();
        let metrics = registry.add_worker(&labels(&snapshot));
        let (sender, records) = event_queue(1024);
        let (messages, inbox) = channel();
        let (notice_sender, notices) = channel();
        let mailbox = Mailbox { messages: inbox, notices: notice_sender };
        let addresses = setup::addresses(weather.config);
        let worker = Worker::new(0, io, mailbox, snapshot, &addresses, Arc::clone(&metrics), sender).unwrap();
        let mut random = Random::new(weather.seed);
        let quantum = random.pick(&[100_000, 1_000_000, 5_000_000]);
        Self {
            network,
            worker,
            random,
            asked: Vec::new(),
            clients: Vec::new(),
            origins: Vec::new(),
            commands: Vec::new(),
            weather: weather.clone(),
            probe,
            events: Vec::new(),
            fired: Vec::new(),
            records,
            messages,
            notices,
            registry,
            metrics: vec![metrics],
            quantum,
            allocated: 0,
            counts_from: Monotonic(0),
        }
    }

    /// Lets something happen at a time.
    pub(super) fn at(&mut self, time: Duration, command: Command) {
        self.commands.push((time, command));
    }

    /// Adds a client that takes its steps from what `script` makes of its requests' bytes (head, body).
    pub(super) fn client_at(
        &mut self,
        ip: &str,
        starts: Duration,
        requests: Vec<Request>,
        script: impl FnOnce(&[(Vec<u8>, Vec<u8>)]) -> Vec<Step>,
    ) {
        let number = self.clients.len();
        let ip: IpAddr = ip.parse().unwrap();
        let from = SocketAddr::new(ip, 40_000 + u16::try_from(number).unwrap());
        let first = self.asked.len();
        let mut wires = Vec::new();
        for (position, mut request) in requests.into_iter().enumerate() {
            request.tag = format!("c{number}r{position}");
            let wire = request.wire();
            let total = wire.0.len() + wire.1.len();
            wires.push(wire);
            let asked =
                Asked { request, client_ip: ip, from, sent: 0, total, heads: 0, wholes: 0, status: None };
            self.asked.push(asked);
        }
        let places = (first..self.asked.len()).collect();
        self.clients.push(Client::new(from, starts, places, script(&wires)));
    }

    pub(super) fn client(
        &mut self,
        requests: Vec<Request>,
        script: impl FnOnce(&[(Vec<u8>, Vec<u8>)]) -> Vec<Step>,
    ) {
        self.client_at("192.0.2.1", Duration::ZERO, requests, script);
    }

    /// A client that waits for each answer before it asks the next.
    pub(super) fn sequential(&mut self, requests: Vec<Request>) {
        self.client(requests, sequential);
    }

    /// A client that sends everything at once.
    pub(super) fn pipelined(&mut self, requests: Vec<Request>) {
        self.client(requests, pipelined);
    }

    /// A client that sends everything at once, and that it has finished.
    pub(super) fn finishing(&mut self, requests: Vec<Request>) {
        self.client(requests, |wires| {
            let mut steps = pipelined(wires);
            steps.push(Step::FinishAndListen);
            steps
        });
    }

    /// Runs until nothing can happen any more, and looks whether all is as it must be.
    pub(super) fn run(&mut self) {
        let mut quiet = false;
        for _ in 0..TURNS_MAX {
            let next = self.act();
            let busy = !self.network.is_idle();
            let timers = self.worker.timers.next().is_some();
            let stopped = self.worker.life == Life::Stopped;
            if quiet && !busy && next.is_none() && (stopped || !timers) {
                return self.at_rest();
            }
            let now = self.network.now().0;
            let limit = [next, busy.then_some(now + self.quantum)].into_iter().flatten().min();
            self.probe.limit.set(limit.map(Monotonic));
            if stopped {
                // What is on its way still arrives, although nobody turns the worker any more.
                self.worker.io.wait(limit.map(Monotonic), &mut self.events).unwrap();
                self.events.clear();
            } else {
                self.turn();
            }
            quiet = self.probe.events.get() == 0;
            self.check();
        }
        panic!("the worker does not come to rest");
    }

    /// Lets time pass, for scenarios that play the other sides themselves.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.network.now().0 + nanos(span);
        while self.network.now().0 < end && self.worker.life != Life::Stopped {
            let next = self.act();
            let soon = (!self.network.is_idle()).then_some(self.network.now().0 + self.quantum);
            self.probe.limit.set([next, soon, Some(end)].into_iter().flatten().min().map(Monotonic));
            self.turn();
            self.check();
        }
    }

    /// One turn of the worker, with its allocations counted, those of the simulator left out.
    fn turn(&mut self) {
        let inside = self.probe.allocations.get();
        let (count, _, result) = allocations(|| self.worker.turn(&mut self.events, &mut self.fired));
        result.unwrap();
        if self.network.now() >= self.counts_from && self.clients.iter().any(|client| !client.over) {
            self.allocated += count - (self.probe.allocations.get() - inside);
        }
    }

    /// Lets everyone but the worker act. Says when the next of them wants to.
    fn act(&mut self) -> Option<u64> {
        let breaks = self.weather.breaks();
        let mut next: Vec<u64> = Vec::new();
        let now = self.network.now().0;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.commands).into_iter().partition(|(at, _)| nanos(*at) <= now);
        next.extend(later.iter().map(|(at, _)| nanos(*at)));
        self.commands = later;
        if !due.is_empty() {
            next.push(now);
        }
        due.into_iter().for_each(|(_, command)| self.command(command));
        for address in setup::backs() {
            while let Some(peer) = self.network.accept_origin(address) {
                self.origins.push(Origin::new(peer, address == setup::told()));
            }
        }
        next.extend(self.origins.iter_mut().filter_map(|it| it.act(&self.network, &mut self.asked)));
        next.extend(self.clients.iter_mut().filter_map(|it| it.act(&self.network, &mut self.asked, breaks)));
        next.into_iter().min()
    }

    fn command(&mut self, command: Command) {
        let message = match command {
            Command::StopOrigin(address) => return self.network.stop_origin(address),
            Command::ListenOrigin(address) => return self.network.listen_origin(address),
            Command::Drain => Message::Drain,
            Command::Stop => Message::Stop,
            Command::Addresses(addresses) => Message::Addresses(addresses),
            Command::Adopt(config) => {
                let snapshot = setup::snapshot(config);
                let current = self.metrics.last().unwrap();
                let metrics = self.registry.next_generation(current, &labels(&snapshot));
                self.metrics.push(Arc::clone(&metrics));
                Message::Adopt(snapshot, setup::addresses(config), metrics)
            }
        };
        self.messages.send(message).unwrap();
        self.worker.waker().wake();
    }

    /// The events written so far.
    pub(super) fn records(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.records.receive()).map(|record| *record).collect()
    }

    /// What the worker told the control thread.
    pub(super) fn notices(&self) -> Vec<Notice> {
        self.notices.try_iter().map(|(_, notice)| notice).collect()
    }

    /// Connections that the worker made to origins.
    pub(super) fn origin_connections(&self) -> usize {
        self.origins.len()
    }

    /// How often a limit was reached.
    pub(super) fn limit_hits(&self, limit: &str) -> u64 {
        self.registry.snapshot().total_where(Family::LimitHits, "limit", limit)
    }

    /// The sum of a metric over all its labels.
    pub(super) fn total(&self, family: Family) -> u64 {
        self.registry.snapshot().total(family)
    }

    pub(super) fn breaks(&self) -> bool {
        self.weather.breaks()
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.worker.life == Life::Stopped
    }

    /// Bytes of the longest stream that a client or an origin sent.
    pub(super) fn longest_stream(&self) -> u64 {
        let sent = self
            .clients
            .iter()
            .map(|client| client.requests.iter().map(|place| self.asked[*place].sent).sum::<usize>());
        let answered = self.origins.iter().map(Origin::sent_bytes);
        sent.chain(answered).max().unwrap_or(0) as u64
    }

    /// A number that stands for all that happened.
    pub(super) fn trace(&self) -> u64 {
        let mut trace = self.probe.trace.borrow().clone();
        for asked in &self.asked {
            trace.write(format!("{:?} {} {}", asked.status, asked.heads, asked.wholes).as_bytes());
        }
        trace.finish()
    }
}

fn labels(snapshot: &Snapshot) -> Arc<Labels> {
    Arc::new(Labels {
        servers: snapshot.server_names.iter().map(|name| name.to_string()).collect(),
        origins: snapshot.origins.iter().map(|origin| origin.name.to_string()).collect(),
        attack_classes: attack_class_names(),
    })
}

/// Steps that wait for each answer before the next request.
pub(super) fn sequential(wires: &[(Vec<u8>, Vec<u8>)]) -> Vec<Step> {
    let each = wires.iter().enumerate().flat_map(|(number, (head, body))| {
        [Step::Send(number, [head.as_slice(), body].concat()), Step::Await(number + 1)]
    });
    each.collect()
}

/// Steps that send everything at once.
pub(super) fn pipelined(wires: &[(Vec<u8>, Vec<u8>)]) -> Vec<Step> {
    let each = wires.iter().enumerate();
    each.map(|(number, (head, body))| Step::Send(number, [head.as_slice(), body].concat())).collect()
}
