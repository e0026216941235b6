//! What a config file means: plain data that knows no TOML, with every default filled in and every name
//! resolved.
//!
//! Times are [`Duration`]s, sizes are bytes, paths are joined to the folder of the file that names them.
//! Where `0` switches a limit off in the file, the field here is an `Option` and `None` means "no limit".

mod listener;
mod rules;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::limits::OwnRequestLimits;
use crate::control::Token;
use crate::http::{BlockPage, UnderscoreNames};
pub use listener::{ClientAuth, ListenerCertificateConfig, ListenerConfig, ListenerTlsConfig, TlsVersion};
pub use rules::{
    AddressDatabasesConfig, ConditionConfig, EntrySubject, IpListsConfig, ListEntryConfig, ListKind,
    RuleConfig, RulesConfig,
};
pub use weir_policy::{MatchKind, Mode, Point, RuleKind, RuleMode, Test};

/// A position in a config file, for errors that are found after reading (by the policy compiler, by
/// certificate checks).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file as it was named on the command line, or joined from the config's folder.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    /// `file:line:column`, the form that editors jump to.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A whole, validated configuration: the file, its rules and its lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`: the process.
    pub node: NodeConfig,
    /// `[http]`: the most global context.
    pub http: HttpConfig,
    /// `[[listener]]`, in file order; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[[server]]`, in file order; at least one.
    pub servers: Vec<ServerConfig>,
    /// `[[origin]]`, in file order; at least one. Servers and locations refer to them by index.
    pub origins: Vec<OriginConfig>,
    /// `[[client_certificate]]`, in file order. Origins refer to them by index.
    pub client_certificates: Vec<ClientCertificateConfig>,
    /// `[detection]`.
    pub detection: DetectionConfig,
    /// `[rules]` and what its file says.
    pub rules: RulesConfig,
    /// `[ip_lists]` and what its file says.
    pub ip_lists: IpListsConfig,
    /// `[events]`.
    pub events: EventsConfig,
    /// `[admin]`; `None` when the table is absent: no admin endpoint.
    pub admin: Option<AdminConfig>,
}

/// `[node]`: the process and its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Number of workers, 1 to 1024; `None` = one per core that this process may use.
    pub workers: Option<u16>,
    /// Client connections open at once in the whole process.
    pub max_connections: u32,
    /// WebSockets open at once in the whole process. They don't count as connections to origins.
    pub max_tunnels: u32,
    /// Bytes of request bodies that are kept for inspection at once in the whole process.
    pub body_bytes_total: u64,
    /// Connections to all origins together, per worker, idle ones included.
    pub origin_connections_total: u32,
    /// Memory for the buckets of rate limits.
    pub rate_limit_memory_bytes: u64,
    /// How long running requests may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    /// How often the files of certificates are looked at; zero is never.
    pub certificate_check_interval: Duration,
    /// Folder of what must survive a restart.
    pub state_dir: PathBuf,
    /// Which I/O backend runs the workers.
    pub io: IoBackend,
    /// `[node.resolver]`.
    pub resolver: ResolverConfig,
}

/// `[node.resolver]`: how the names of origins are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// DNS servers; none = those of the system.
    pub addresses: Vec<SocketAddr>,
    /// The shortest time that an answer counts, and after which a failed lookup is repeated.
    pub ttl_min: Duration,
    /// The longest time that an answer counts.
    pub ttl_max: Duration,
    /// For one lookup as a whole.
    pub timeout: Duration,
    /// Whether IPv6 addresses are asked for.
    pub ipv6: bool,
}

/// `[node].io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoBackend {
    /// The best that a probe at start finds.
    Auto,
    /// io_uring, or the start fails.
    Uring,
    /// epoll, which every kernel and container has.
    Portable,
}

/// `[http]`: what holds for every server unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// Mode and the other inherited settings. `mode` is already what `WEIR_MODE` says, where that is set.
    pub context: ContextConfig,
    /// Whether denylisted addresses are blocked before anything else is looked at (spec S1.4).
    pub acl_access_phase: bool,
    /// Peers whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Name of the forwarding header, as written.
    pub real_ip_header: String,
    /// What happens to header fields of clients with `_` in their names.
    pub underscore_headers: UnderscoreNames,
    /// What happens to a path that servers may read in different ways.
    pub ambiguous_path: AmbiguousPath,
    /// Limits of a client connection, before a request's server is known, for every listener that doesn't set its own.
    pub connection_limits: ConnectionLimits,
    /// Limits of a request, for every listener, server and location that doesn't set its own.
    pub limits: RequestLimits,
    /// How requests are handled, for every server and location that doesn't say otherwise.
    pub handling: HandlingConfig,
}

/// What happens to a request whose path servers may read in different ways, where those lead to different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousPath {
    /// The strictest of the places decides how the request is looked at.
    Strictest,
    /// The request is refused (400).
    Reject,
    /// The path counts as normalised by the rules for locations, and no other reading is looked for.
    Literal,
}

impl AmbiguousPath {
    /// Whether other readings than the normalised one count.
    pub const fn compares_readings(self) -> bool {
        match self {
            Self::Strictest | Self::Reject => true,
            Self::Literal => false,
        }
    }
}

/// Settings that http, server and location share; `None` = inherited from the context around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextConfig {
    /// Filtering mode.
    pub mode: Option<Mode>,
    /// Whether `mode` comes from the environment variable `WEIR_MODE`. Only ever true in the http context.
    pub mode_from_environment: bool,
    /// What rules may do to the mode.
    pub mode_allow_override: Option<ModeOverride>,
    /// The mode as a map over a header's value.
    pub mode_by_header: Option<ModeByHeaderConfig>,
    /// Application id: -1 or 1 to 2147483647.
    pub application: Option<i64>,
    /// Whether IP lists are ignored here.
    pub disable_acl: Option<bool>,
}

/// What rules may do to the local mode (spec S2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeOverride {
    /// Nothing.
    Off,
    /// Only make it stricter.
    Strict,
    /// Change it either way.
    On,
}

/// `mode_by_header`: the local mode as a map over what a header's value contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeByHeaderConfig {
    /// Where it is written.
    pub place: Place,
    /// Header name, as written.
    pub header: String,
    /// Text to look for and the mode it gives, in file order; at least one, and no text is empty or there
    /// twice.
    pub contains: Vec<(String, Mode)>,
}

/// Limits of one client connection. They hold before the server is known, so `[http.limits]` and `[listener.limits]` alone
/// set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that one client address may have open at one listener, over all workers; `None` = no limit.
    pub connections_per_address: Option<u32>,
    /// Request head in all, request line included. More is 431.
    pub head_bytes: u32,
    /// Request target. More is 414. Never above `head_bytes`.
    pub target_bytes: u32,
    /// Header fields of a request. More is 431.
    pub header_count: u16,
    /// One header line of a request, its line end included. More is 431.
    pub header_bytes: u32,
    /// From a request's first byte (for the first request: from accept) to the end of its head; 408 after
    /// that.
    pub head_timeout: Duration,
    /// How long a connection may stay idle between two requests.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection, then it is closed; `None` = no limit.
    pub keep_alive_requests: Option<u32>,
    /// Age at which a connection is closed after the answer in progress; `None` = no limit.
    pub connection_age_max: Option<Duration>,
    /// Bytes received but not yet handled, per connection; above it receiving pauses until half is gone.
    pub parked_bytes: u32,
    /// Input that is discarded after an error answer, so that the answer arrives.
    pub lingering_bytes: u64,
    /// How long input is discarded after an error answer.
    pub lingering_timeout: Duration,
}

/// Limits of one request, once its server and location are known: what the location sets, or else its server, the listener
/// that the request came in by, http.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest forwarded request body. More is 413; `None` = no limit.
    pub request_body_bytes: Option<u64>,
    /// Between two reads of a request body; 408 after that.
    pub body_timeout: Duration,
    /// Lowest mean rate of a request body, in bytes a second, once `body_rate_grace` is over; `None` = no
    /// limit.
    pub body_rate_min_bytes: Option<u64>,
    /// How long a body may be slower than `body_rate_min_bytes`.
    pub body_rate_grace: Duration,
    /// Between two successful writes to the client; the connection is closed after that.
    pub send_timeout: Duration,
    /// Silence of a WebSocket in both directions; its connections are closed after that.
    pub tunnel_timeout: Duration,
}

/// How requests to a place are handled beyond their mode; inherited key by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlingConfig {
    /// Whether requests may open a WebSocket.
    pub websocket: bool,
    /// What happens to a request whose inspection failed by a fault of our own.
    pub inspection_failure: OverLimit,
    /// What happens to a request that can't be inspected in whole for lack of memory for bodies.
    pub overload: OverLimit,
    /// What blocked requests are answered.
    pub block_responses: BlockResponses,
}

/// `block_response`, by the reason; `None` = the built-in page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockResponses {
    /// For what the request holds.
    pub attack: Option<Arc<BlockPage>>,
    /// For a source that is denylisted by address or network.
    pub acl_ip: Option<Arc<BlockPage>>,
    /// For a source that is denylisted in another way.
    pub acl_source: Option<Arc<BlockPage>>,
}

/// `[[server]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it is written.
    pub place: Place,
    /// Name, unique among servers.
    pub name: String,
    /// Host names as written: exact, or `*.` and a suffix. May be empty.
    pub hosts: Vec<String>,
    /// Whether it answers hosts that no server names. At most one server does.
    pub default: bool,
    /// Mode and the other inherited settings.
    pub context: ContextConfig,
    /// Index into [`Config::origins`].
    pub origin: usize,
    /// What it sets of the limits of a request.
    pub limits: OwnRequestLimits,
    /// How requests are handled here: its own settings, else those of http.
    pub handling: HandlingConfig,
    /// `[[server.location]]`, in file order.
    pub locations: Vec<LocationConfig>,
}

/// `[[server.location]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationConfig {
    /// Where it is written.
    pub place: Place,
    /// Path or pattern, as written.
    pub path: String,
    /// How `path` is compared.
    pub match_kind: MatchKind,
    /// Mode and the other inherited settings.
    pub context: ContextConfig,
    /// Index into [`Config::origins`]: its own, else the server's.
    pub origin: usize,
    /// What it, or else its server, sets of the limits of a request.
    pub limits: OwnRequestLimits,
    /// How requests are handled here: its own settings, else those of the server.
    pub handling: HandlingConfig,
}

/// `[[origin]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginConfig {
    /// Where it is written.
    pub place: Place,
    /// Name, unique among origins.
    pub name: String,
    /// Addresses in file order; at least one.
    pub addresses: Vec<OriginAddress>,
    /// How an address is picked.
    pub balance: Balance,
    /// The PROXY protocol header that its connections begin with; `None` = none.
    pub proxy_protocol: Option<crate::proxy_protocol::Version>,
    /// Share of usable addresses, in percent, below which all are used.
    pub panic_threshold_percent: u32,
    /// `[origin.health_check]`; `None` = no checks.
    pub health_check: Option<HealthCheckConfig>,
    /// `[origin.outlier_detection]`.
    pub outliers: OutlierConfig,
    /// Times and caps.
    pub limits: OriginLimits,
    /// `[origin.tls]`; `None` = plain TCP.
    pub tls: Option<OriginTlsConfig>,
}

/// An item of `addresses`: an IP address or a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginAddress {
    /// Where it is written.
    pub place: Place,
    /// The path of its key, for errors.
    pub path: String,
    /// An IP address (without brackets), or a name to be resolved.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl OriginAddress {
    /// The IP address that is written, unless it is a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `[origin.health_check]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// What is asked for: a path, maybe with a query.
    pub path: String,
    /// HEAD instead of GET.
    pub is_head: bool,
    /// The Host of the request; `None` = that of the origin.
    pub host: Option<String>,
    /// From one check of an address to the next, about.
    pub interval: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// Checks passed in a row that make an address healthy.
    pub healthy_threshold: u32,
    /// Checks failed in a row that make an address unhealthy.
    pub unhealthy_threshold: u32,
    /// Statuses that pass, as ranges with both ends included.
    pub statuses: Vec<(u16, u16)>,
}

/// `[origin.outlier_detection]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Connections in a row that can't be made until an address is left out; `None` = never.
    pub connect_failures: Option<u32>,
    /// Requests in a row that fail until an address is left out; `None` = never.
    pub request_failures: Option<u32>,
    /// Statuses that count as failures, as ranges with both ends included.
    pub statuses: Vec<(u16, u16)>,
    /// How long an address is left out the first time.
    pub base_ejection_time: Duration,
    /// How long an address is left out at most.
    pub max_ejection_time: Duration,
    /// Addresses that may be left out at once for failed requests, in percent; one always may.
    pub max_ejected_percent: u32,
}

/// How an address of an origin is picked for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest running requests (of this worker).
    LeastRequests,
    /// By a hash of the client's address.
    ClientIp,
}

/// Times and caps of one origin. Counts are per worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginLimits {
    /// For a connection: TCP and TLS handshake together. 504 after that.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's first. 504 after that.
    pub first_byte_timeout: Duration,
    /// Between two reads of an answer, and between two successful writes of a request.
    pub idle_timeout: Duration,
    /// How long an unused connection stays in the pool.
    pub keep_alive_timeout: Duration,
    /// Connections, idle ones included, over all addresses.
    pub connections: u32,
    /// How many of them requests may have whose body is still coming in; `None` = three quarters.
    pub upload_connections: Option<u32>,
    /// How many more there may be while their answers wait for slow clients; `None` = four times as many.
    pub stalled_connections: Option<u32>,
    /// Unused connections that are kept, over all addresses; 0 = none.
    pub idle_connections: u32,
    /// Unused connections that are kept ready, over all addresses; 0 = none is opened ahead of a request.
    pub min_idle_connections: u32,
    /// Requests on one connection, then it is closed; `None` = no limit.
    pub requests_per_connection: Option<u32>,
    /// The age at which a connection is closed once it serves nobody, less up to a tenth; `None` = no limit.
    pub connection_age_max: Option<Duration>,
    /// Requests that may wait for a connection; one more is 503. 0 = none waits.
    pub queue: u32,
    /// How long a request may wait for a connection; 503 after that.
    pub queue_timeout: Duration,
}

/// `[origin.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTlsConfig {
    /// Where it is written.
    pub place: Place,
    /// SNI, and the DNS name or IP address that the origin's certificate must carry.
    pub server_name: String,
    /// What the origin's certificate is verified against.
    pub trust: OriginTrust,
    /// Whether the origin is known to demand a client certificate.
    pub require_mtls: bool,
    /// Revocation lists that the origin's certificate is checked against.
    pub crl: Option<PathBuf>,
    /// SHA-256 over the public keys one of which the origin's certificate must have; empty is any.
    pub pinned_keys: Vec<[u8; 32]>,
    /// Index into [`Config::client_certificates`]: the identity that is shown. Always set with
    /// `require_mtls`.
    pub client_certificate: Option<usize>,
}

/// What an origin's certificate is verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginTrust {
    /// The roots of the system.
    SystemRoots,
    /// The certificates of a PEM file.
    Bundle(PathBuf),
    /// Nothing: `verify = false`.
    Unverified,
}

/// `[[client_certificate]]`: an identity towards origins. The files are not opened by the config reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateConfig {
    /// Where it is written.
    pub place: Place,
    /// Name, unique among client certificates.
    pub name: String,
    /// PEM file: the leaf, then intermediates.
    pub certificate: PathBuf,
    /// PEM file: the leaf's private key.
    pub private_key: PathBuf,
    /// PEM file: the chain up to the issuer's root.
    pub ca_bundle: PathBuf,
}

/// `[detection]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectionConfig {
    /// Folder of compiled databases; `None` when neither the file nor the environment names one: nothing is
    /// cached.
    pub cache_dir: Option<PathBuf>,
    /// Inspected bytes of one body; 0 = bodies aren't inspected.
    pub body_limit_bytes: u64,
    /// What happens to a body longer than that.
    pub over_body_limit: OverLimit,
    /// Inspection time of one request.
    pub time_limit: Duration,
    /// What happens to a request that takes longer.
    pub over_time_limit: OverLimit,
    /// Score from which findings of one class are an attack.
    pub min_score: u32,
    /// Folders of signatures beside the built-in pack.
    pub signatures: Vec<PathBuf>,
    /// What GraphQL requests may be; `None`: anything.
    pub graphql: Option<GraphqlConfig>,
}

/// `[detection.graphql]`. A limit of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphqlConfig {
    /// Bytes of one document.
    pub document_limit_bytes: u64,
    /// Bytes of one string.
    pub value_limit_bytes: u64,
    /// How deep fields may nest.
    pub depth_limit: u32,
    /// Aliases of one document.
    pub alias_limit: u32,
    /// Documents of one request.
    pub batch_limit: u32,
    /// Whether documents may ask for the schema.
    pub introspection: bool,
    /// Whether requests may ask for debugging.
    pub debug: bool,
}

/// What happens to a request that goes over an inspection limit. Either way there is an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// The rest passes uninspected.
    Pass,
    /// The request is an attack.
    Block,
}

/// `[events]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// The file, one JSON object a line; `None` = events are counted only.
    pub file: Option<PathBuf>,
    /// Events that may wait in one worker's queue; one more is dropped and counted.
    pub queue_length: u32,
    /// Bytes that may wait in memory while the file can't be written; what is over is dropped and counted.
    pub queue_bytes: u64,
    /// Events of refused requests that a worker writes in a second, on average; 0 = none.
    pub refusals_per_second: u32,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it is written.
    pub place: Place,
    /// Where it listens. Port 0 = any free port.
    pub address: SocketAddr,
    /// File of the bearer token that every call needs. Always set unless the address is loopback.
    pub token_file: Option<PathBuf>,
    /// What that file held when it was read; absent as well where nothing is to be served.
    pub token: Option<Token>,
}
