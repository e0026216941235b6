//! `weir run`: serves in the foreground.

use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Outcome, prepare, print_errors};
use crate::config::{Config, Environment};
use crate::control::{AdminLimits, AdminSocket, Control, Signals};
use crate::listen::Inherited;
use crate::node::{self, Node};
use crate::upgrade::ADMIN_NAME;

/// Serves the config at `path` until a signal asks to stop.
pub(super) fn run(path: &Path, environment: Environment) -> Outcome {
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(error) => {
            tracing::error!(%error, "what this process was started with can't be used");
            return Outcome::Refused;
        }
    };
    let prepared = match prepare(path, &environment) {
        Ok(prepared) => prepared,
        Err(errors) => {
            print_errors(&errors);
            return Outcome::Refused;
        }
    };
    for warning in &prepared.warnings {
        tracing::warn!(%warning, "config");
    }
    match serve(path, environment, prepared, inherited) {
        Ok(()) => Outcome::Fine,
        Err(error) => {
            tracing::error!(%error, "weir can't go on");
            Outcome::Failed
        }
    }
}

fn serve(
    path: &Path,
    environment: Environment,
    prepared: node::Prepared,
    mut inherited: Inherited,
) -> Result<(), String> {
    raise_descriptor_limit(&prepared.config);
    let admin = admin_socket(&prepared.config, &mut inherited)?;
    let admin_address = match &admin {
        Some(socket) => Some(socket.address().map_err(|error| error.to_string())?),
        None => None,
    };
    let readiness = inherited.readiness();
    // Before anybody is accepted: whoever is served must not be cut off by a stop that comes early.
    let signals = Signals::catch().map_err(|error| format!("signals can't be caught: {error}"))?;
    let node = Node::start(path, environment, prepared, &mut inherited)?;
    let admin_copy = admin.as_ref().map(AdminSocket::copy).transpose();
    node.handle()
        .allow_upgrade(admin_copy.map_err(|error| format!("the admin socket can't be kept: {error}"))?);
    let control = Control::start(signals, admin, node.events(), node.handle())
        .map_err(|error| format!("the control thread can't start: {error}"))?;
    for (name, address) in &node.listeners {
        tracing::info!(listener = name.as_str(), %address, "accepting");
    }
    if let Some(address) = admin_address {
        tracing::info!(%address, "admin endpoints answer");
    }
    readiness.announce();
    let outcome = node.serve();
    control.stop();
    let abandoned = outcome?;
    if abandoned > 0 {
        tracing::warn!(abandoned, "connections were cut off because drain_timeout was over");
    }
    tracing::info!("stopped");
    Ok(())
}

fn admin_socket(config: &Config, inherited: &mut Inherited) -> Result<Option<AdminSocket>, String> {
    let Some(admin) = &config.admin else { return Ok(None) };
    let socket = inherited.take_other(ADMIN_NAME);
    AdminSocket::open(admin.address, socket, admin.token.is_some(), AdminLimits::default()).map(Some)
}

/// Descriptors beside those of connections: listeners, rings, files, admin connections.
const DESCRIPTORS_BESIDE: u64 = 256;

/// Asks for as many descriptors as the config may need, and says so if there won't be enough.
fn raise_descriptor_limit(config: &Config) {
    let workers = config.node.workers.map_or_else(
        || std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        u64::from,
    );
    let to_origins = workers * u64::from(config.node.origin_connections_total);
    let of_clients = u64::from(config.node.max_connections) + u64::from(config.node.max_tunnels);
    let wanted = of_clients + to_origins + DESCRIPTORS_BESIDE;
    let mut limit = getrlimit(Resource::Nofile);
    // None is unlimited.
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    if limit.current < Some(wanted) {
        tracing::warn!(
            wanted,
            limit = limit.current,
            "fewer files may be open than max_connections, max_tunnels and origin_connections_total need: when they run out, \
             accepting pauses; raise LimitNOFILE (systemd) or `ulimit -Hn`"
        );
    }
}
