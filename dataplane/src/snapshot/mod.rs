//! One generation of everything that decides about a request: compiled, immutable, shared by all workers.
//!
//! A snapshot is made from a config that was read and checked; if any part can't be made, none is, and the
//! generation in force stays.

mod addresses;
mod build;
mod limits;
mod listeners;
mod policy_source;
mod rule_places;
mod signatures;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use weir_policy::LocationIndex;

use crate::address_counts::AddressCounts;
use crate::config::{
    AmbiguousPath, Balance, BlockResponses, HealthCheckConfig, OutlierConfig, OverLimit, RequestLimits,
};
use crate::http::HeadLimits;
use crate::io::ListenerId;
use crate::proxy_protocol;
use crate::rules::RuleSet;
use crate::tls::OriginTls;
use crate::tls::listener::ListenerTls;

use addresses::AddressDatabases;
pub(crate) use rule_places::{API, FILE};
pub use rule_places::{RulePlaces, Written};

pub(crate) use policy_source::lacks_database;

pub use build::{Built, build, certificate_errors, rebuild, rule_errors, rule_errors_of_text};

/// A compiled generation.
pub struct Snapshot {
    /// Counts up from 1 with every generation put in force.
    pub generation: u64,
    /// Names what it was made from, as hex: the SHA-256 of the config files, or, where the admin API has changed something, of
    /// that and of the changes. Certificates, block pages, signatures and address databases aren't in it.
    pub digest: String,
    /// Modes, rules, lists.
    pub policy: weir_policy::Policy,
    /// What rules beside those of modes do.
    pub rules: RuleSet,
    /// Where the rules are written.
    pub rule_places: RulePlaces,
    /// Compiled signatures. Generations that differ in rules or lists alone share them.
    pub engine: Arc<weir_inspect::Engine>,
    /// Settings that hold before a server is known.
    pub http: HttpSettings,
    /// By the listeners' order in the config.
    pub listeners: Vec<ListenerSettings>,
    /// By `LocationIndex` of the policy.
    pub locations: Vec<LocationSettings>,
    /// By origin number.
    pub origins: Arc<[Origin]>,
    /// What inspection may cost and what happens beyond.
    pub detection: DetectionSettings,
    /// Connections by client address, where a listener has a cap on them.
    pub(crate) address_counts: Arc<AddressCounts>,
    /// What tells where addresses belong.
    pub(crate) addresses: AddressDatabases,
    /// Whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The forwarding header that trusted proxies set, in lower case.
    pub real_ip_header: String,
    /// Names of the servers, for labels.
    pub server_names: Vec<Arc<str>>,
    /// `(name, unix seconds of expiry)` of every client certificate.
    pub certificate_expiries: Vec<(String, i64)>,
    /// The same of the listeners' certificates; a name is that of the listener and the first one in the certificate.
    pub listener_certificates: Vec<(String, i64)>,
}

/// Limits and times of a client connection as such, before a server is known.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Limits of a request head.
    pub head: HeadLimits,
    /// For the whole head, from its first byte.
    pub head_timeout: Duration,
    /// Between two requests of a connection, and before the first.
    pub keep_alive_timeout: Duration,
    /// Requests per client connection.
    pub keep_alive_requests: u32,
    /// Age from which a client connection is closed after its answer.
    pub connection_age_max: Duration,
    /// For what is sent to a client whose server isn't known.
    pub send_timeout: Duration,
    /// Bytes that may wait for a slow peer before the other side isn't read any more.
    pub parked_bytes: usize,
    /// Input thrown away after an error answer, so that the answer arrives.
    pub lingering_bytes: u64,
    /// Time for the same.
    pub lingering_timeout: Duration,
    /// Connections of one client address at one listener, in the whole process.
    pub connections_per_address: Option<u32>,
}

/// Limits and times that hold for the whole node.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// What holds for connections wherever their listener says nothing else, and for heads of origins' answers.
    pub connection: ConnectionSettings,
    /// Events of refused requests that a worker writes in a second; 0 = none.
    pub refusal_events_per_second: u32,
    /// What happens to a path that servers may read in different ways.
    pub ambiguous_path: AmbiguousPath,
    /// Client connections of one worker.
    pub connections_per_worker: usize,
    /// WebSockets of one worker.
    pub tunnels_per_worker: usize,
    /// Bytes of request bodies that one worker keeps for inspection.
    pub body_bytes_per_worker: usize,
    /// Connections to all origins together, of one worker.
    pub origin_connections_total: u32,
}

/// What a listener's connections begin with, and what limits hold for them.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its name in the config.
    pub name: Arc<str>,
    /// A PROXY protocol header, from trusted proxies only.
    pub proxy_protocol: bool,
    /// TLS.
    pub tls: Option<Arc<ListenerTls>>,
    /// Limits of its connections.
    pub connection: ConnectionSettings,
    /// Its connections at one worker.
    pub connections_per_worker: usize,
    /// Limits of requests that come in by it, by `LocationIndex` of the policy.
    pub request_limits: Arc<[RequestLimits]>,
}

/// What a location adds to its policy.
#[derive(Clone, Debug)]
pub struct LocationSettings {
    /// Number of its origin.
    pub origin: u32,
    /// Whether requests may open a WebSocket.
    pub websocket: bool,
    /// What happens to a request whose inspection failed by a fault of our own.
    pub inspection_failure: OverLimit,
    /// What happens to a request that can't be inspected in whole for lack of memory for bodies.
    pub overload: OverLimit,
    /// What blocked requests are answered.
    pub block_responses: BlockResponses,
}

/// Where clean requests go.
pub struct Origin {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The Host that it gets where the client named none: its TLS name, or else its first address as it is written.
    pub fallback_host: String,
    /// How an address is chosen.
    pub balance: Balance,
    /// The header that tells it whose connection it gets; absent for none.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// Share of usable addresses, in percent, below which all are used.
    pub panic_threshold_percent: u32,
    /// How its addresses are checked; absent if they aren't.
    pub health_check: Option<Arc<HealthCheckConfig>>,
    /// When an address is left out because of what requests met there.
    pub outliers: Arc<OutlierConfig>,
    /// Absent for plain TCP.
    pub tls: Option<OriginTlsSettings>,
    /// Times and caps.
    pub limits: OriginLimits,
}

/// TLS towards an origin.
pub struct OriginTlsSettings {
    /// What the config compiled to.
    pub settings: OriginTls,
    /// The part of the pool key that it makes.
    pub key: TlsKey,
}

/// The TLS part of a pool's key. The protocol (ALPN) is always `http/1.1` and so is no part of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TlsKey {
    /// The name asked for (SNI) and verified.
    pub server_name: String,
    /// SHA-256 of the client certificate presented and its intermediates; absent if none is.
    pub identity: Option<[u8; 32]>,
    /// Whether the origin must ask for it.
    pub require_mtls: bool,
    /// SHA-256 of what the origin's certificate is verified against.
    pub trust: [u8; 32],
}

/// Times and caps of the connections to an origin, per worker. Those of a pool are its address's share.
#[derive(Clone, Copy, Debug)]
pub struct OriginLimits {
    /// For the TCP connection and the TLS handshake together.
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Between two reads of an answer.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept.
    pub keep_alive_timeout: Duration,
    /// Connections.
    pub connections: u32,
    /// How many of them requests may have whose body is still coming in; 0 = all but a quarter.
    pub uploads: u32,
    /// How many connections more there may be while answers wait for slow clients; 0 = four times `connections`.
    pub stalled: u32,
    /// Unused connections that are kept.
    pub idle_connections: u32,
    /// Unused connections that are kept ready.
    pub min_idle_connections: u32,
    /// Requests that may wait for a connection.
    pub queue: u32,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// Requests per connection before it is closed.
    pub requests_per_connection: u32,
    /// The age at which a connection is closed once it serves nobody, less up to a tenth.
    pub connection_age_max: Duration,
}

impl OriginLimits {
    /// What each of so many addresses may have of it.
    #[must_use]
    pub fn shared_by(self, addresses: usize) -> Self {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
        let connections = self.connections.div_ceil(addresses);
        let uploads = match self.uploads {
            // A quarter is left for those that make nobody wait.
            0 => connections - connections.div_ceil(4),
            uploads => uploads.div_ceil(addresses),
        };
        let stalled = match self.stalled {
            0 => connections.saturating_mul(4),
            stalled => stalled.div_ceil(addresses),
        };
        Self {
            connections,
            uploads: uploads.max(1),
            stalled,
            idle_connections: self.idle_connections.div_ceil(addresses),
            min_idle_connections: self.min_idle_connections.div_ceil(addresses),
            queue: self.queue.div_ceil(addresses),
            ..self
        }
    }
}

/// What inspection may cost.
#[derive(Clone, Copy, Debug)]
pub struct DetectionSettings {
    /// Inspected bytes of one body.
    pub body_limit_bytes: usize,
    /// What happens to a request whose body is longer.
    pub over_body_limit: OverLimit,
    /// Time for the inspection of one request.
    pub time_limit: Duration,
    /// What happens to a request whose inspection was cut short.
    pub over_time_limit: OverLimit,
}

/// Attack classes as metrics number them: those of inspection, then those that the dataplane itself records.
const OWN_ATTACK_CLASSES: [&str; 4] =
    ["overlimit_res", "blocked_source", VIRTUAL_PATCH_CLASS, FILE_UPLOAD_CLASS];

/// What a virtual patch, or a detector that is one, finds (spec S4.4).
pub const VIRTUAL_PATCH_CLASS: &str = "vpatch";

/// A body, or a value in it, above the size that a rule sets (spec S4.4).
pub const FILE_UPLOAD_CLASS: &str = "file_upload_violation";

/// The names of all attack classes, by their number.
pub fn attack_class_names() -> Vec<String> {
    let inspected = weir_inspect::AttackClass::ALL.iter().map(|class| class.as_str());
    inspected.chain(OWN_ATTACK_CLASSES).map(str::to_owned).collect()
}

/// The number of an attack class.
pub fn attack_class_number(name: &str) -> Option<u32> {
    let inspected = weir_inspect::AttackClass::ALL.iter().map(|class| class.as_str());
    let position = inspected.chain(OWN_ATTACK_CLASSES).position(|class| class == name)?;
    u32::try_from(position).ok()
}

impl Snapshot {
    /// Goes on counting where another generation is: the connections are the same.
    pub(crate) fn keep_counts_of(&mut self, previous: &Self) {
        self.address_counts = Arc::clone(&previous.address_counts);
    }

    /// The limits of a request that came in by a listener.
    pub fn request_limits(&self, listener: ListenerId, location: LocationIndex) -> Option<&RequestLimits> {
        self.listeners.get(listener.0 as usize)?.request_limits.get(location.0 as usize)
    }

    /// The limits of a listener's connections.
    pub fn connection(&self, listener: ListenerId) -> &ConnectionSettings {
        let settings = self.listeners.get(listener.0 as usize);
        settings.map_or(&self.http.connection, |settings| &settings.connection)
    }

    /// The address that a request is judged by: the peer's, or the one that a trusted proxy forwarded.
    ///
    /// The header is read from the right: trusted hops are skipped, the first address that isn't trusted is
    /// the client. Anything that isn't an address ends the walk at the last hop that was believed.
    pub fn client_address(&self, peer: IpAddr, headers: &[(&[u8], &[u8])]) -> IpAddr {
        if self.trusted_proxies.is_empty() || !self.is_trusted(peer) {
            return peer;
        }
        let name = self.real_ip_header.as_bytes();
        let mut client = peer;
        for (_, value) in headers.iter().rev().filter(|(field, _)| field.eq_ignore_ascii_case(name)) {
            for item in value.rsplit(|byte| *byte == b',') {
                let Some(address) = parse_forwarded_address(item) else { return client };
                client = address;
                if !self.is_trusted(client) {
                    return client;
                }
            }
        }
        client
    }

    /// What is known of a client's address, as far as lists ask.
    pub fn client(&self, address: IpAddr) -> weir_policy::Client {
        self.addresses.client(&self.policy, address)
    }

    /// Whether a peer is one of the trusted proxies.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// One element of a forwarding header: an address, perhaps with a port, perhaps in brackets.
fn parse_forwarded_address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    text.parse::<SocketAddr>()
        .map(|address| address.ip())
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}
