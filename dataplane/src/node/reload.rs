//! A reload: the files are read anew, and if all of them are sound the workers get the next generation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::certificates::FileWatch;
use super::prepare::{Prepared, load, prepare_loaded};
use super::state::{store_settled, warn_of_unsettled};
use super::workers::labels;
use super::{Handle, changes, socket_limit, unix_seconds};
use crate::config::{Config, ConfigError};
use crate::listen::ListenAddress;
use crate::origins::AddressTable;
use crate::worker::Message;

/// How long a reload waits for all workers to serve the new generation.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(5);

impl Handle {
    /// Reads and compiles the files anew and puts them in force. Gives the new generation.
    ///
    /// # Errors
    /// What is wrong with them, or needs a restart; nothing has changed then.
    pub(super) fn reload_files(&self) -> Result<u64, Vec<String>> {
        // Held to the end: no other change meanwhile.
        let held = self.changing();
        let texts = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (generation, layer, names, workers) = {
            let in_force = self.in_force();
            let generation = in_force.snapshot.generation + 1;
            (generation, in_force.layer.clone(), in_force.names.clone(), in_force.workers.len())
        };
        let loaded = load(&self.path, &self.environment).map_err(texts)?;
        let mut blockers = changes_that_need_a_restart(&self.in_force().config, &loaded.config);
        blockers
            .extend(sockets_that_need_a_restart(self.socket_limit, socket_limit(&loaded.config, workers)));
        if !blockers.is_empty() {
            return Err(blockers);
        }
        let former = layer.clone();
        let mut prepared =
            prepare_loaded(loaded, &self.path, layer, names, generation, workers).map_err(texts)?;
        let state_dir = &prepared.config.node.state_dir;
        let settles = prepared.layer.digests() != former.digests();
        match store_settled(held.as_ref(), state_dir, &mut prepared.layer, Some(&former)) {
            Err(error) if settles => {
                return Err(vec![format!(
                    "the files settle changes made over the admin API, and these can't be taken out of the state folder: \
                     {error}; nothing was put in force"
                )]);
            }
            Err(error) => warn_of_unsettled(&error),
            Ok(()) => {}
        }
        for warning in &prepared.warnings {
            tracing::warn!(%warning, "config");
        }
        self.adopt(prepared);
        if !self.await_all(generation) {
            tracing::warn!(
                generation,
                "not every worker has taken the new config after {} s; those that haven't serve the former one until they do",
                ADOPT_TIMEOUT.as_secs()
            );
        }
        Ok(generation)
    }

    pub(super) fn adopt(&self, mut prepared: Prepared) {
        if let Some(files) = prepared.certificate_files {
            self.certificates().0 = FileWatch::new(files);
        }
        let labels = labels(&prepared.snapshot);
        let mut in_force = self.in_force();
        prepared.snapshot.rules.keep_rates_of(&in_force.snapshot.rules);
        prepared.snapshot.keep_counts_of(&in_force.snapshot);
        let snapshot = Arc::new(prepared.snapshot);
        let names = prepared.names.unwrap_or_else(|| in_force.names.clone());
        let addresses = AddressTable::new(&prepared.config.origins, &names, Some(&in_force.addresses));
        let addresses = Arc::new(addresses);
        for worker in &mut in_force.workers {
            worker.metrics = self.registry.next_generation(&worker.metrics, &labels);
            let message =
                Message::Adopt(Arc::clone(&snapshot), Arc::clone(&addresses), Arc::clone(&worker.metrics));
            let _ = worker.messages.send(message);
            worker.waker.wake();
        }
        in_force.config = prepared.config;
        in_force.files = prepared.files;
        in_force.layer = prepared.layer;
        in_force.snapshot = snapshot;
        in_force.names = names;
        in_force.addresses = addresses;
        in_force.warnings = Arc::new(changes::warning_texts(&prepared.warnings));
        in_force.rule_warnings = changes::rule_warnings(&prepared.warnings);
        in_force.list_warnings = changes::list_warnings(&prepared.warnings);
        in_force.since_unix = unix_seconds();
        drop(in_force);
        self.origins_changed.notify_one();
    }

    /// Waits until every worker serves a generation, for a while. Gives whether they do.
    pub(super) fn await_all(&self, generation: u64) -> bool {
        let deadline = Instant::now() + ADOPT_TIMEOUT;
        while !self.all_serve(generation) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn all_serve(&self, generation: u64) -> bool {
        self.in_force().workers.iter().all(|worker| !worker.alive || worker.serving >= generation)
    }
}

/// What can't change while the node runs, as errors of a reload that tries to.
fn changes_that_need_a_restart(old: &Config, new: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |changed: bool, what: &str| {
        if changed {
            found.push(format!("{what} changed: that needs a restart; nothing was put in force"));
        }
    };
    let addresses = |config: &Config| -> Vec<(String, ListenAddress)> {
        config.listeners.iter().map(|listener| (listener.name.clone(), listener.address.clone())).collect()
    };
    let admin =
        |config: &Config| config.admin.as_ref().map(|admin| (admin.address, admin.token_file.clone()));
    check(addresses(old) != addresses(new), "the set of listeners");
    check(old.node.workers != new.node.workers, "node.workers");
    check(old.node.io != new.node.io, "node.io");
    check(old.node.state_dir != new.node.state_dir, "node.state_dir");
    check(old.events.queue_length != new.events.queue_length, "events.queue_length");
    check(old.events.queue_bytes != new.events.queue_bytes, "events.queue_bytes");
    check(old.events.file != new.events.file, "events.file");
    check(admin(old) != admin(new), "the admin endpoint");
    found
}

/// Each worker has made room for so many sockets when it started.
fn sockets_that_need_a_restart(room: u32, wanted: u32) -> Option<String> {
    (wanted > room).then(|| {
        format!(
            "node.max_connections, node.max_tunnels and node.origin_connections_total ask for {wanted} sockets of a \
             worker, and it started with room for {room}: more needs a restart or an upgrade; nothing was put in force"
        )
    })
}
