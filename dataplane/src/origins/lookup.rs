//! One lookup of a name: `/etc/hosts`, then DNS.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig as DnsConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

use crate::config::ResolverConfig;

/// Addresses of one family that a name may have; more are left out.
const ADDRESSES_MAX: usize = 64;

/// What a lookup has brought, by family.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ipv4: Found,
    pub(crate) ipv6: Found,
}

/// What a lookup says of one family.
#[derive(Debug)]
pub(crate) enum Found {
    /// Addresses, in order and without repeats, and how long they count.
    Addresses(Vec<IpAddr>, Duration),
    /// The name has none.
    Nothing,
    /// Nobody knows.
    Failure(String),
}

impl Answer {
    pub(crate) fn finds_any(&self) -> bool {
        [&self.ipv4, &self.ipv6].iter().any(|found| matches!(found, Found::Addresses(..)))
    }

    /// How long all of it counts.
    pub(crate) fn ttl(&self) -> Duration {
        let ttl = |found: &Found| match found {
            Found::Addresses(_, ttl) => Some(*ttl),
            _ => None,
        };
        [&self.ipv4, &self.ipv6].into_iter().filter_map(ttl).min().unwrap_or_default()
    }

    /// What went wrong, if not all is well.
    pub(crate) fn error(&self) -> Option<String> {
        let failure = |found: &Found| match found {
            Found::Failure(reason) => Some(reason.clone()),
            _ => None,
        };
        let failed = failure(&self.ipv4).or_else(|| failure(&self.ipv6));
        failed.or_else(|| (!self.finds_any()).then(|| "it has no address".to_owned()))
    }

    pub(crate) fn failed(reason: &str) -> Self {
        Self { ipv4: Found::Failure(reason.to_owned()), ipv6: Found::Failure(reason.to_owned()) }
    }
}

/// Looks a name up.
pub(crate) async fn look_up(host: &str, settings: &ResolverConfig) -> Answer {
    let Ok(name) = Name::from_utf8(host) else { return Answer::failed("it is no name that DNS could know") };
    if let Some(answer) = in_hosts_file(&name, settings) {
        return answer;
    }
    ask(&name, settings).await
}

fn in_hosts_file(name: &Name, settings: &ResolverConfig) -> Option<Answer> {
    let hosts = Hosts::from_system().ok()?;
    let look = |kind| {
        let lookup = hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let records = lookup.iter().flat_map(|lookup| lookup.answers());
        // The file says nothing of times: it is read again after the longest one.
        found(records.filter_map(|record| record.data.ip_addr()).collect(), settings.ttl_max)
    };
    let ipv6 = if settings.ipv6 { look(RecordType::AAAA) } else { Found::Nothing };
    Some(Answer { ipv4: look(RecordType::A), ipv6 }).filter(Answer::finds_any)
}

fn found(mut addresses: Vec<IpAddr>, ttl: Duration) -> Found {
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Found::Nothing } else { Found::Addresses(addresses, ttl) }
}

async fn ask(name: &Name, settings: &ResolverConfig) -> Answer {
    let resolver = match resolver(settings) {
        Ok(resolver) => resolver,
        Err(reason) => return Answer::failed(&reason),
    };
    let ask_ipv6 = async || match settings.ipv6 {
        true => ask_for(&resolver, name, RecordType::AAAA, settings.timeout).await,
        false => Found::Nothing,
    };
    let (ipv4, ipv6) = tokio::join!(ask_for(&resolver, name, RecordType::A, settings.timeout), ask_ipv6());
    Answer { ipv4, ipv6 }
}

async fn ask_for(resolver: &TokioResolver, name: &Name, kind: RecordType, timeout: Duration) -> Found {
    match tokio::time::timeout(timeout, resolver.lookup(name.clone(), kind)).await {
        Ok(Ok(lookup)) => {
            let records = lookup.answers().iter();
            let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
            found(records.filter_map(|record| record.data.ip_addr()).collect(), ttl)
        }
        Ok(Err(error)) if error.is_no_records_found() => Found::Nothing,
        Ok(Err(error)) => Found::Failure(error.to_string()),
        Err(_) => Found::Failure("no DNS server answered in time".to_owned()),
    }
}

/// Made for each lookup: the system's settings may have changed, and nothing is to be remembered.
fn resolver(settings: &ResolverConfig) -> Result<TokioResolver, String> {
    let mut builder = if settings.addresses.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?
    } else {
        let server = |address: &std::net::SocketAddr| {
            let connection = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, connections)
        };
        let servers = settings.addresses.iter().map(server).collect();
        TokioResolver::builder_with_config(
            DnsConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        )
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    // So that a server that doesn't answer leaves time for the next one.
    options.timeout = options.timeout.min(settings.timeout / 3);
    builder.build().map_err(|error| error.to_string())
}
