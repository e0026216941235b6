//! `weir check`: validates everything that `run` would load, and says what it would serve.

use std::path::Path;

use super::{Outcome, print_errors, print_warnings};
use crate::config::Environment;
use crate::node::{self, Prepared};

/// Checks the config at `path`. Opens no socket and writes nothing outside the cache.
pub(super) fn run(path: &Path, environment: &Environment) -> Outcome {
    match node::prepare(path, environment, 1) {
        Ok(prepared) => {
            print_warnings(&prepared.warnings);
            print_summary(path, &prepared);
            Outcome::Fine
        }
        Err(errors) => {
            print_errors(&errors);
            Outcome::Failed
        }
    }
}

fn print_summary(path: &Path, prepared: &Prepared) {
    let Prepared { config, snapshot, .. } = prepared;
    let locations: usize = config.servers.iter().map(|server| server.locations.len()).sum();
    println!("{}: in order", path.display());
    println!("digest {}", snapshot.digest);
    for listener in &config.listeners {
        println!("listener {} on {}", listener.name, listener.address);
    }
    println!("{} servers with {locations} locations", config.servers.len());
    for origin in &snapshot.origins {
        let addresses: Vec<String> = origin.addresses.iter().map(ToString::to_string).collect();
        let tls = match &origin.tls {
            None => "plain TCP".to_owned(),
            Some(tls) => format!(
                "TLS as `{}`, {}{}",
                tls.key.server_name,
                if tls.settings.verifies_origin { "verified" } else { "NOT verified" },
                tls.settings
                    .identity_name
                    .as_ref()
                    .map_or_else(String::new, |name| format!(", showing certificate `{name}`")),
            ),
        };
        println!("origin {}: {} ({tls})", origin.name, addresses.join(", "));
    }
    println!(
        "{} rules, general mode {}",
        config.rules.rules.len(),
        match config.rules.general_mode {
            crate::config::RuleMode::Default => "default",
            crate::config::RuleMode::Set(mode) => mode.as_str(),
        }
    );
    println!("{} list entries", config.ip_lists.entries.len());
    println!("{} signatures", snapshot.engine.signature_count());
}
