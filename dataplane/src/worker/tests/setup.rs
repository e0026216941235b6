//! Snapshots for the simulated worker, each made once for the whole test binary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::config::{self, Environment, OriginConfig};
use crate::origins::{AddressTable, Names};
use crate::snapshot::{self, Snapshot};
use crate::tls::forge::DemoAuthority;

/// Hosts, one for each thing that differs by place.
pub(super) const OFF: &str = "off.test";
pub(super) const MONITORING: &str = "monitoring.test";
pub(super) const SAFE: &str = "safe.test";
pub(super) const BLOCK: &str = "block.test";
/// Two addresses.
pub(super) const PAIR: &str = "pair.test";
/// Few connections and a short queue.
pub(super) const NARROW: &str = "narrow.test";
/// Short time-outs of the origin.
pub(super) const HASTY: &str = "hasty.test";
/// Short limits of tunnels.
pub(super) const BRIEF: &str = "brief.test";
/// Short limits of the client's body.
pub(super) const LIMITED: &str = "limited.test";

/// Its origin is told whose connections it gets.
pub(super) const TOLD: &str = "told.test";

/// Under [`FULL`]: fails closed.
pub(super) const CLOSED: &str = "closed.test";

/// Inspected bytes of a body under [`MAIN`].
pub(super) const BODY_LIMIT: usize = 16 * 1024;

/// Sources on the lists.
pub(super) const DENIED: &str = "192.0.2.66";
pub(super) const GRAY: &str = "192.0.2.77";
pub(super) const ALLOWED: &str = "192.0.2.88";

/// The config that most scenarios run under.
pub(super) const MAIN: &str = r#"
[http.limits]
parked_bytes = "64KiB"

[[server]]
name = "off"
hosts = ["off.test"]
mode = "off"
origin = "app"

[[server]]
name = "monitoring"
hosts = ["monitoring.test"]
default = true
mode = "monitoring"
origin = "app"

[[server]]
name = "safe"
hosts = ["safe.test"]
mode = "safe_blocking"
origin = "app"

[[server]]
name = "block"
hosts = ["block.test"]
mode = "block"
origin = "app"

[[server]]
name = "pair"
hosts = ["pair.test"]
origin = "pair"

[[server]]
name = "narrow"
hosts = ["narrow.test"]
origin = "narrow"

[[server]]
name = "hasty"
hosts = ["hasty.test"]
origin = "hasty"

[[server]]
name = "told"
hosts = ["told.test"]
origin = "told"

[[server]]
name = "brief"
hosts = ["brief.test"]
origin = "app"
[server.limits]
send_timeout = "2s"
tunnel_timeout = "1s"

[[server]]
name = "limited"
hosts = ["limited.test"]
origin = "app"
websocket = "off"
[server.limits]
request_body_bytes = "4KiB"
body_timeout = "1s"
body_rate_min_bytes = "1KiB"
body_rate_grace = "3s"
send_timeout = "2s"

[[origin]]
name = "app"
addresses = ["10.0.0.2:9000"]
connection_age_max = "1s"

[[origin]]
name = "pair"
addresses = ["10.0.0.3:9000", "10.0.0.4:9000"]
connect_timeout = "500ms"

[[origin]]
name = "narrow"
addresses = ["10.0.0.5:9000"]
connections = 2
stalled_connections = 3
idle_connections = 1
queue = 2
queue_timeout = "2s"
requests_per_connection = 4

[[origin]]
name = "hasty"
addresses = ["10.0.0.6:9000"]
connect_timeout = "500ms"
first_byte_timeout = "500ms"
idle_timeout = "500ms"
keep_alive_timeout = "1s"

[[origin]]
name = "told"
addresses = ["10.0.0.7:9000"]
proxy_protocol = "v2"
connections = 2
queue = 8

[ip_lists]
file = "lists.toml"

[detection]
body_limit = "16KiB"
"#;

/// As [`MAIN`], with a small cap over all origins and on client connections.
pub(super) const CAPPED: &str = r#"
[node]
max_connections = 3
max_tunnels = 1
origin_connections_total = 2

[http.limits]
parked_bytes = "64KiB"
keep_alive_requests = 3
keep_alive_timeout = "1s"

[[server]]
name = "monitoring"
hosts = ["monitoring.test"]
default = true
origin = "app"

[[server]]
name = "pair"
hosts = ["pair.test"]
origin = "pair"

[[origin]]
name = "app"
addresses = ["10.0.0.2:9000"]

[[origin]]
name = "pair"
addresses = ["10.0.0.3:9000"]
"#;

/// A small cap on the bodies that are kept, and places that fail open and closed.
pub(super) const FULL: &str = r#"
[node]
body_bytes_total = "1MiB"

[rules]
file = "rules.toml"

[[server]]
name = "open"
hosts = ["block.test"]
default = true
mode = "block"
origin = "app"

[[server]]
name = "closed"
hosts = ["closed.test"]
mode = "block"
overload = "block"
inspection_failure = "block"
origin = "app"

[[server]]
name = "watched"
hosts = ["monitoring.test"]
overload = "block"
inspection_failure = "block"
origin = "app"

[[origin]]
name = "app"
addresses = ["10.0.0.2:9000"]
"#;

/// Connections that are kept ready.
pub(super) const WARM: &str = r#"
[[server]]
name = "monitoring"
hosts = ["monitoring.test"]
default = true
origin = "app"

[[origin]]
name = "app"
addresses = ["10.0.0.2:9000"]
connections = 4
idle_connections = 4
min_idle_connections = 3
keep_alive_timeout = "10s"
"#;

/// What a reload goes to: fewer origins than before.
pub(super) const RELOADED: &str = r#"
[[server]]
name = "block"
hosts = ["block.test"]
default = true
mode = "block"
origin = "app"

[[origin]]
name = "app"
addresses = ["10.0.0.2:9000"]
"#;

/// A rate limit that looks into requests, and holds nobody back; and one that holds requests back for five seconds.
const RULES: &str = r#"
[[rule]]
id = 1
type = "rate_limit"
rate = 1000000
point = ["get", "panic"]

[[rule]]
id = 2
type = "rate_limit"
rate = 12
per = "minute"
burst = 8
point = ["get", "paced"]

[[rule]]
id = 3
type = "disable_attack_type"
attack_type = "sqli"
point = ["body", "json", "note"]
"#;

const LISTS: &str = r#"
[[entry]]
list = "deny"
address = "192.0.2.66"

[[entry]]
list = "gray"
address = "192.0.2.77"

[[entry]]
list = "allow"
address = "192.0.2.88"
"#;

/// Where the worker listens.
pub(super) fn front() -> SocketAddr {
    "10.0.0.1:80".parse().unwrap()
}

/// The addresses of the origins.
pub(super) fn backs() -> [SocketAddr; 6] {
    [2, 3, 4, 5, 6, 7].map(|last| format!("10.0.0.{last}:9000").parse().unwrap())
}

/// The origin whose connections begin with a PROXY header.
pub(super) fn told() -> SocketAddr {
    "10.0.0.7:9000".parse().unwrap()
}

static MADE: LazyLock<Mutex<BTreeMap<&'static str, Made>>> = LazyLock::new(Mutex::default);
/// Compiled signatures, so that only the first snapshot compiles them.
static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

/// What a config text makes.
#[derive(Clone)]
struct Made {
    snapshot: Arc<Snapshot>,
    origins: Arc<[OriginConfig]>,
}

/// The snapshot of a config text.
pub(super) fn snapshot(text: &'static str) -> Arc<Snapshot> {
    made(text).snapshot
}

/// The addresses of a config text's origins, all of them healthy.
pub(super) fn addresses(text: &'static str) -> Arc<AddressTable> {
    Arc::new(AddressTable::new(&made(text).origins, &Names::default(), None))
}

fn made(text: &'static str) -> Made {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let number = made.len() as u64 + 1;
    made.entry(text).or_insert_with(|| make(text, number)).clone()
}

fn make(text: &str, generation: u64) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.toml");
    let listener = "[[listener]]\nname = \"public\"\naddress = \"10.0.0.1:80\"\n";
    std::fs::write(&file, format!("{text}\n{listener}")).unwrap();
    std::fs::write(folder.path().join("lists.toml"), LISTS).unwrap();
    std::fs::write(folder.path().join("rules.toml"), RULES).unwrap();
    if text.contains("site.pem") {
        let site = DemoAuthority::new("Test CA").unwrap().server(&["app.internal"], &[]).unwrap();
        std::fs::write(folder.path().join("site.pem"), site.certificate_pem).unwrap();
        std::fs::write(folder.path().join("site.key"), site.private_key_pem).unwrap();
    }
    let environment = Environment { cache_home: Some(CACHE.path().to_owned()), ..Environment::default() };
    let loaded = config::load(&file, &environment).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let built = snapshot::build(&loaded.config, &file, &loaded.digest, generation, 1, 1_767_225_600)
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    Made { snapshot: Arc::new(built.snapshot), origins: loaded.config.origins.into() }
}
