//! `weir check`: validates everything that `run` would load, and says what it would serve.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;

use weir_policy::LocationIndex;

use super::{Outcome, prepare, print_errors, print_warnings};
use crate::config::{Config, Environment, MatchKind, OriginAddress, OriginConfig, RuleMode};
use crate::node::Prepared;
use crate::origins::Names;
use crate::snapshot::{Origin, Snapshot};

/// Checks the config at `path`. Opens no socket and writes nothing outside the cache.
pub(super) fn run(path: &Path, environment: &Environment) -> Outcome {
    match prepare(path, environment) {
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
    let mut summary = String::new();
    // Writing to a String can't fail, and a reader that closed the pipe early has seen what it wanted.
    let _ = summarise(&mut summary, path, prepared);
    let _ = std::io::stdout().write_all(summary.as_bytes());
}

fn summarise(out: &mut String, path: &Path, prepared: &Prepared) -> fmt::Result {
    let Prepared { config, snapshot, .. } = prepared;
    writeln!(out, "{}: in order", path.display())?;
    writeln!(out, "digest {}", snapshot.digest)?;
    for listener in &config.listeners {
        writeln!(out, "listener {} on {}", listener.name, listener.address)?;
    }
    summarise_modes(out, config, snapshot)?;
    for (origin, written) in snapshot.origins.iter().zip(&config.origins) {
        summarise_origin(out, origin, written, prepared.names.as_ref())?;
    }
    let general = match config.rules.general_mode {
        RuleMode::Default => "default",
        RuleMode::Set(mode) => mode.as_str(),
    };
    let memory = snapshot.policy.memory();
    write!(out, "{}, general mode {general}", counted(config.rules.rules.len(), "rule", "rules"))?;
    write_memory(out, memory.rule_tables + memory.rule_texts, config.rules.rules.len())?;
    write!(out, "{}", counted(config.ip_lists.entries.len(), "list entry", "list entries"))?;
    write_memory(out, memory.list_tables + memory.list_texts, config.ip_lists.entries.len())?;
    writeln!(out, "{}", counted(snapshot.engine.signature_count(), "signature", "signatures"))
}

/// What the compiled form of so many takes; of a few the tables' least sizes would say nothing.
fn write_memory(out: &mut String, bytes: usize, count: usize) -> fmt::Result {
    const TOLD_FROM: usize = 100;
    if count < TOLD_FROM {
        return writeln!(out);
    }
    writeln!(out, "; compiled {} KiB, {} bytes each", bytes.div_ceil(1024), bytes / count)
}

/// The mode of http, and that of every server and location, each with who set it.
fn summarise_modes(out: &mut String, config: &Config, snapshot: &Snapshot) -> fmt::Result {
    let http = &config.http.context;
    match http.mode {
        Some(mode) if http.mode_from_environment => writeln!(out, "mode {}, from WEIR_MODE", mode.as_str())?,
        Some(mode) => writeln!(out, "mode {}, from [http]", mode.as_str())?,
        None => writeln!(out, "mode not set in [http]")?,
    }
    let locations = config.servers.iter().map(|server| server.locations.len()).sum();
    let servers = counted(config.servers.len(), "server", "servers");
    writeln!(out, "{servers} with {}", counted(locations, "location", "locations"))?;
    for (number, settings) in (0..).zip(&snapshot.locations) {
        let number = LocationIndex(number);
        let Some((server, location)) = snapshot.policy.location_position(number) else { continue };
        let Some(modes) = snapshot.policy.location_modes(number) else { continue };
        let server = &config.servers[server];
        match location.map(|index| &server.locations[index]) {
            None => write!(out, "server {}", server.name)?,
            Some(location) => write!(
                out,
                "  location {}{}",
                location.path,
                match location.match_kind {
                    MatchKind::Prefix => String::new(),
                    kind => format!(" ({})", kind.as_str()),
                }
            )?,
        }
        let (mode, policy) = (&modes.local_mode, &modes.mode_allow_override);
        write!(out, ": mode {}, from {}", mode.value.as_str(), mode.from)?;
        for header in &modes.headers {
            write!(out, ", unless {header} chooses another")?;
        }
        write!(out, "; override {}, from {}", policy.value.as_str(), policy.from)?;
        writeln!(out, "; origin {}", snapshot.origins[settings.origin as usize].name)?;
    }
    Ok(())
}

fn summarise_origin(
    out: &mut String,
    origin: &Origin,
    written: &OriginConfig,
    names: Option<&Names>,
) -> fmt::Result {
    let show = |address: &OriginAddress| {
        let found = names.filter(|_| address.ip().is_none()).map(|names| names.addresses(&address.host));
        match found {
            None => address.to_string(),
            Some(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                format!("{address} ({})", found.join(", "))
            }
        }
    };
    let addresses: Vec<String> = written.addresses.iter().map(show).collect();
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
    writeln!(out, "origin {}: {} ({tls})", origin.name, addresses.join(", "))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
