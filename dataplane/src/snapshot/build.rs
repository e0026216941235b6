//! Makes a snapshot from a config: policy, signatures, identities, trust. All errors are reported, not the
//! first alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_inspect::{Engine, EngineOptions, GraphqlLimits, Pack};
use weir_policy::{CompileError, LocationIndex, Place};

use super::addresses::AddressDatabases;
use super::limits::{connection_settings, share, with_request_limits};
use super::listeners::{certificate_ends, listeners};
use super::policy_source::{
    PlacesOfRules, entries_without_database, error_in_files, policy_source, policy_source_with,
    rule_error_in_files, rule_warning_in_files, warning_in_files,
};
use super::signatures::{own_pack, signature_error};
use super::{
    DetectionSettings, HttpSettings, LocationSettings, Origin, OriginLimits, OriginTlsSettings, RulePlaces,
    Snapshot, TlsKey,
};
use crate::config::{
    ClientCertificateConfig, Config, ConfigError, ConfigWarning, GraphqlConfig, HandlingConfig,
    LocationConfig, OriginConfig, OriginTrust, ServerConfig, Where, point_at_keys,
};
use crate::files;
use crate::rules::{self, RuleSet};
use crate::text::hex;
use crate::tls::{Identity, IdentityFiles, OriginTls, Trust, Verification};

/// A larger file of compiled signatures is not used.
const CACHE_BYTES_MAX: u64 = 256 << 20;

/// A snapshot and what is odd about its config.
pub struct Built {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Warnings of the compilers.
    pub warnings: Vec<ConfigWarning>,
}

/// Days before its expiry at which a certificate is warned about.
pub(super) const EXPIRY_WARNING_DAYS: i64 = 30;

/// Compiles `config` into generation `generation`.
///
/// `file` is the config file, for errors that have no closer place. `digest` names the files that the config was read from; `workers` share the caps of the whole process.
///
/// # Errors
/// Everything that is wrong with certificates, policy and signatures, each with its place.
pub fn build(
    config: &Config,
    file: &Path,
    digest: &str,
    generation: u64,
    workers: usize,
    now_unix: i64,
) -> Result<Built, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let identities = load_identities(config, now_unix, &mut errors, &mut warnings);
    let origins: Vec<Option<Origin>> =
        config.origins.iter().map(|origin| build_origin(origin, &identities, &mut errors)).collect();
    let listeners = listeners(config, workers, now_unix, &mut errors, &mut warnings);
    let addresses = AddressDatabases::open(&config.ip_lists.databases, &mut errors);
    let (mut engine_errors, mut engine_warnings) = (Vec::new(), Vec::new());
    let engine = build_engine(config, file, &mut engine_errors, &mut engine_warnings);
    let policy = compile_policy(config, file, engine.as_ref(), &mut errors, &mut warnings);
    errors.append(&mut engine_errors);
    warnings.append(&mut engine_warnings);
    let rules = match (&policy, &engine) {
        (Some(policy), Some(engine)) => build_rules(config, file, policy, engine, &mut errors, &mut warnings),
        (None, _) => {
            errors.extend(rule_faults(config, file));
            None
        }
        _ => None,
    };
    let (Some(policy), Some(engine), Some(rules), true) = (policy, engine, rules, errors.is_empty()) else {
        point_at_keys(&mut errors);
        return Err(errors);
    };
    let locations = location_settings(config, &policy);
    let listeners = with_request_limits(listeners, config, &policy);
    let listener_certificates = certificate_ends(&config.listeners, &listeners);
    let snapshot = Snapshot {
        generation,
        digest: digest.to_owned(),
        policy,
        rules,
        rule_places: RulePlaces::new(&config.rules),
        engine: Arc::new(engine),
        http: http_settings(config, workers),
        listeners,
        locations,
        origins: origins.into_iter().flatten().collect(),
        detection: DetectionSettings {
            body_limit_bytes: usize::try_from(config.detection.body_limit_bytes).unwrap_or(usize::MAX),
            over_body_limit: config.detection.over_body_limit,
            time_limit: config.detection.time_limit,
            over_time_limit: config.detection.over_time_limit,
        },
        addresses,
        address_counts: Arc::default(),
        trusted_proxies: config.http.trusted_proxies.clone(),
        real_ip_header: config.http.real_ip_header.clone(),
        server_names: config.servers.iter().map(|server| Arc::from(server.name.as_str())).collect(),
        listener_certificates,
        certificate_expiries: identities
            .iter()
            .flatten()
            .map(|identity| (identity.name().to_owned(), identity.not_after()))
            .collect(),
    };
    Ok(Built { snapshot, warnings })
}

/// Compiles the rules and lists of `config` into generation `generation`. All else is what `previous` was made of, and
/// must not have changed since.
///
/// # Errors
/// Everything that is wrong with rules and lists, each with its place.
pub fn rebuild(
    config: &Config,
    file: &Path,
    digest: &str,
    generation: u64,
    previous: &Snapshot,
) -> Result<Built, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let engine = Arc::clone(&previous.engine);
    let Some(policy) = compile_policy(config, file, Some(&engine), &mut errors, &mut warnings) else {
        errors.extend(rule_faults(config, file));
        return Err(errors);
    };
    let Some(rules) = build_rules(config, file, &policy, &engine, &mut errors, &mut warnings) else {
        return Err(errors);
    };
    let snapshot = Snapshot {
        generation,
        digest: digest.to_owned(),
        locations: location_settings(config, &policy),
        listeners: with_request_limits(previous.listeners.clone(), config, &policy),
        policy,
        rules,
        rule_places: RulePlaces::new(&config.rules),
        engine,
        http: previous.http.clone(),
        origins: Arc::clone(&previous.origins),
        detection: previous.detection,
        addresses: previous.addresses.clone(),
        address_counts: Arc::clone(&previous.address_counts),
        trusted_proxies: previous.trusted_proxies.clone(),
        real_ip_header: previous.real_ip_header.clone(),
        server_names: previous.server_names.clone(),
        certificate_expiries: previous.certificate_expiries.clone(),
        listener_certificates: previous.listener_certificates.clone(),
    };
    Ok(Built { snapshot, warnings })
}

fn compile_policy(
    config: &Config,
    file: &Path,
    engine: Option<&Engine>,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<weir_policy::Policy> {
    let known = errors.len();
    errors.extend(entries_without_database(config));
    let has_databases = errors.len() == known;
    match weir_policy::compile(policy_source_with(config, engine)) {
        Ok(compiled) => {
            warnings.extend(compiled.warnings.iter().map(|warning| warning_in_files(config, file, warning)));
            has_databases.then_some(compiled.policy)
        }
        Err(found) => {
            errors.extend(found.iter().map(|error| error_in_files(config, file, error)));
            None
        }
    }
}

/// What is wrong with the certificates and trust bundles of a config that has other errors, so that all are
/// told at once. What that config doesn't say is left out: its absence is one of those errors.
pub fn certificate_errors(config: &Config, now_unix: i64) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let is_whole = |certificate: &&ClientCertificateConfig| {
        let paths = [&certificate.certificate, &certificate.private_key, &certificate.ca_bundle];
        paths.iter().all(|path| !path.as_os_str().is_empty())
    };
    let mut parts = config.clone();
    parts.client_certificates = config.client_certificates.iter().filter(is_whole).cloned().collect();
    load_identities(&parts, now_unix, &mut errors, &mut Vec::new());
    for origin in &mut parts.origins {
        let Some(tls) = &mut origin.tls else { continue };
        tls.client_certificate = None;
        if !tls.server_name.is_empty() {
            build_origin(origin, &[], &mut errors);
        }
    }
    errors
}

fn load_identities(
    config: &Config,
    now_unix: i64,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Vec<Option<Identity>> {
    let mut identities = Vec::new();
    for certificate in &config.client_certificates {
        let key = format!("client_certificate `{}`", certificate.name);
        let files = IdentityFiles {
            name: certificate.name.clone(),
            certificate: certificate.certificate.clone(),
            private_key: certificate.private_key.clone(),
            ca_bundle: certificate.ca_bundle.clone(),
        };
        match Identity::load(&files, now_unix) {
            Ok(identity) => {
                let days = (identity.not_after() - now_unix) / 86_400;
                if days < EXPIRY_WARNING_DAYS {
                    warnings.push(ConfigWarning {
                        place: Where::Text(certificate.place.clone()),
                        key,
                        message: format!(
                            "expires in {days} days; after that, origins refuse it and `check` fails"
                        ),
                    });
                }
                identities.push(Some(identity));
            }
            Err(found) => {
                errors.extend(found.iter().map(|error| {
                    ConfigError::at(&certificate.place, &key, error.to_string(), String::new())
                }));
                identities.push(None);
            }
        }
    }
    identities
}

fn build_origin(
    config: &OriginConfig,
    identities: &[Option<Identity>],
    errors: &mut Vec<ConfigError>,
) -> Option<Origin> {
    let tls = match &config.tls {
        None => None,
        Some(tls) => {
            let identity = tls.client_certificate.and_then(|index| identities.get(index)?.as_ref());
            let trust = match &tls.trust {
                OriginTrust::SystemRoots => Trust::SystemRoots,
                OriginTrust::Bundle(path) => Trust::Bundle(path.clone()),
                OriginTrust::Unverified => Trust::Insecure,
            };
            let verification = Verification {
                trust,
                revocation_lists: tls.crl.clone(),
                pinned_keys: tls.pinned_keys.clone(),
            };
            match OriginTls::build(&tls.server_name, verification, identity) {
                // The certificate's errors are reported already; what is wrong with the trust is told with them.
                Ok(_) if tls.client_certificate.is_some() && identity.is_none() => return None,
                Ok(settings) => Some(OriginTlsSettings {
                    key: TlsKey {
                        server_name: tls.server_name.clone(),
                        identity: identity.map(Identity::chain_digest),
                        require_mtls: tls.require_mtls,
                        trust: settings.verification_digest,
                    },
                    settings,
                }),
                Err(error) => {
                    let key = format!("origin `{}`: tls", config.name);
                    errors.push(ConfigError::at(&tls.place, &key, error.to_string(), String::new()));
                    return None;
                }
            }
        }
    };
    Some(Origin {
        name: Arc::from(config.name.as_str()),
        fallback_host: match &config.tls {
            Some(tls) => tls.server_name.clone(),
            None => config.addresses.first().map(ToString::to_string).unwrap_or_default(),
        },
        balance: config.balance,
        proxy_protocol: config.proxy_protocol,
        panic_threshold_percent: config.panic_threshold_percent,
        health_check: config.health_check.clone().map(Arc::new),
        outliers: Arc::new(config.outliers.clone()),
        tls,
        limits: origin_limits(config),
    })
}

fn origin_limits(config: &OriginConfig) -> OriginLimits {
    let limits = &config.limits;
    OriginLimits {
        connect_timeout: limits.connect_timeout,
        first_byte_timeout: limits.first_byte_timeout,
        idle_timeout: limits.idle_timeout,
        keep_alive_timeout: limits.keep_alive_timeout,
        connections: limits.connections,
        uploads: limits.upload_connections.unwrap_or(0),
        stalled: limits.stalled_connections.unwrap_or(0),
        idle_connections: limits.idle_connections,
        // A connection that carries one client only can't be opened before the client is known.
        min_idle_connections: match config.proxy_protocol {
            None => limits.min_idle_connections,
            Some(_) => 0,
        },
        queue: limits.queue,
        queue_timeout: limits.queue_timeout,
        requests_per_connection: limits.requests_per_connection.unwrap_or(u32::MAX),
        connection_age_max: limits.connection_age_max.unwrap_or(Duration::MAX),
    }
}

fn http_settings(config: &Config, workers: usize) -> HttpSettings {
    HttpSettings {
        connection: connection_settings(config, &config.http.connection_limits, &config.http.limits),
        refusal_events_per_second: config.events.refusals_per_second,
        ambiguous_path: config.http.ambiguous_path,
        connections_per_worker: share(config.node.max_connections, workers),
        tunnels_per_worker: share(config.node.max_tunnels, workers),
        body_bytes_per_worker: usize::try_from(config.node.body_bytes_total).unwrap_or(usize::MAX)
            / workers.max(1),
        origin_connections_total: config.node.origin_connections_total,
    }
}

/// Servers and locations by the policy's location numbers.
pub(super) fn places<'a>(
    config: &'a Config,
    policy: &weir_policy::Policy,
) -> impl Iterator<Item = (&'a ServerConfig, Option<&'a LocationConfig>)> {
    (0..policy.location_count()).map(|number| {
        let number = LocationIndex(u32::try_from(number).unwrap_or(u32::MAX));
        // Every number below the count has its position.
        let (server, location) = policy.location_position(number).unwrap_or((0, None));
        let server = &config.servers[server];
        (server, location.map(|index| &server.locations[index]))
    })
}

/// Settings by the policy's location numbers.
fn location_settings(config: &Config, policy: &weir_policy::Policy) -> Vec<LocationSettings> {
    let settings = |origin: usize, handling: &HandlingConfig| LocationSettings {
        origin: u32::try_from(origin).unwrap_or(u32::MAX),
        websocket: handling.websocket,
        inspection_failure: handling.inspection_failure,
        overload: handling.overload,
        block_responses: handling.block_responses.clone(),
    };
    let all = places(config, policy).map(|(server, location)| match location {
        Some(location) => settings(location.origin, &location.handling),
        None => settings(server.origin, &server.handling),
    });
    all.collect()
}

/// What rules beside those of modes do.
fn surroundings(config: &Config) -> rules::Surroundings {
    rules::Surroundings {
        body_limit_bytes: config.detection.body_limit_bytes,
        rate_limit_memory_bytes: usize::try_from(config.node.rate_limit_memory_bytes).unwrap_or(usize::MAX),
    }
}

/// What is wrong with the rules of a config beside what the policy's compiler says, for when it has refused them.
fn rule_faults(config: &Config, file: &Path) -> Vec<ConfigError> {
    let faults = rules::faults(&policy_source(config).rules, surroundings(config));
    let places = PlacesOfRules::new(config, file);
    faults.iter().map(|error| rule_error_in_files(&places, error)).collect()
}

/// What is wrong with the rules and locations of a config that has the errors `known` already, so that all are told at
/// once. What may be a consequence of those errors is left out, as a reference to a rule that can't be read.
pub fn rule_errors(config: &Config, file: &Path, known: &[ConfigError]) -> Vec<ConfigError> {
    let mut errors = unplaced_rule_errors(config, file);
    point_at_keys(&mut errors);
    errors.retain(|error| known.iter().all(|known| known.place != error.place));
    errors
}

/// The same for rules that came over the admin API: they are in no file whose keys could be looked for, so that errors have
/// the place where their rule begins.
pub fn rule_errors_of_text(config: &Config, name: &Path, known: &[ConfigError]) -> Vec<ConfigError> {
    let mut errors = unplaced_rule_errors(config, name);
    errors.retain(|error| known.iter().all(|known| known.place != error.place));
    errors
}

/// What is wrong with rules and locations, each with the place where that begins.
fn unplaced_rule_errors(config: &Config, file: &Path) -> Vec<ConfigError> {
    let refused = weir_policy::compile(policy_source(config)).err().unwrap_or_default();
    let is_of_its_own = |error: &&CompileError| {
        let is_of_its_own = match (&error.place, &*error.key) {
            (Place::Rule { .. }, "id") => false,
            (Place::Rule { index, .. }, "rule") => !names_unread_rule(config, *index),
            _ => true,
        };
        matches!(error.place, Place::Rule { .. } | Place::Location { .. }) && is_of_its_own
    };
    let refused = refused.iter().filter(is_of_its_own).map(|error| error_in_files(config, file, error));
    refused.chain(rule_faults(config, file)).collect()
}

/// Whether a rule names one that may be among those that can't be read.
fn names_unread_rule(config: &Config, index: usize) -> bool {
    let named = match config.rules.rules.get(index).map(|rule| &rule.kind) {
        Some(weir_policy::RuleKind::IgnoreRegex { rule, .. }) => *rule,
        _ => return true,
    };
    config.rules.unread_ids.iter().any(|id| *id == 0 || *id == named)
}

fn build_rules(
    config: &Config,
    file: &Path,
    policy: &weir_policy::Policy,
    engine: &Engine,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<RuleSet> {
    match rules::compile(policy, engine, surroundings(config)) {
        Ok((rules, odd)) => {
            if !odd.is_empty() {
                let places = PlacesOfRules::new(config, file);
                warnings.extend(odd.iter().map(|warning| rule_warning_in_files(&places, warning)));
            }
            Some(rules)
        }
        Err(found) => {
            let places = PlacesOfRules::new(config, file);
            errors.extend(found.iter().map(|error| rule_error_in_files(&places, error)));
            None
        }
    }
}

fn graphql_limits(config: GraphqlConfig) -> GraphqlLimits {
    let bytes = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    GraphqlLimits {
        document_bytes: bytes(config.document_limit_bytes),
        value_bytes: bytes(config.value_limit_bytes),
        depth: config.depth_limit,
        aliases: config.alias_limit,
        documents: config.batch_limit as usize,
        introspection: config.introspection,
        debug: config.debug,
    }
}

fn build_engine(
    config: &Config,
    file: &Path,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<Engine> {
    let pack = if config.detection.signatures.is_empty() {
        Pack::embedded()
    } else {
        own_pack(&config.detection.signatures, errors, warnings)?
    };
    let options = EngineOptions {
        min_score: config.detection.min_score,
        graphql: config.detection.graphql.map(graphql_limits),
        ..EngineOptions::default()
    };
    let cache_file = config
        .detection
        .cache_dir
        .as_ref()
        .map(|folder| folder.join(format!("signatures-{}.hsdb", hex(&pack.digest()))));
    let cached = cache_file.as_ref().and_then(|path| files::read_bounded(path, CACHE_BYTES_MAX).ok());
    let compiled = Engine::compile_with_cache(pack.clone(), options, cached.as_deref())
        .and_then(|(engine, fresh)| Ok((engine.check_own_examples(&pack)?, engine, fresh)));
    match compiled {
        Ok((wrong_examples, ..)) if !wrong_examples.is_empty() => {
            errors.extend(wrong_examples.iter().map(signature_error));
            None
        }
        Ok((_, engine, fresh)) => {
            if let (Some(path), Some(bytes)) = (&cache_file, fresh)
                && let Err(error) = store(path, &bytes)
            {
                warnings.push(ConfigWarning {
                    place: Where::File(path.clone()),
                    key: "detection.cache_dir".to_owned(),
                    message: format!(
                        "the compiled signatures can't be kept ({error}); every start compiles them anew"
                    ),
                });
            }
            Some(engine)
        }
        Err(error) => {
            errors.push(ConfigError {
                place: Where::File(file.to_owned()),
                key: "detection".to_owned(),
                message: error.to_string(),
                advice: String::new(),
            });
            None
        }
    }
}

/// Writes a cache file so that no other process ever reads half of it.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    /// Errors of a text that is no file stay where their rule begins, whatever a file of its name holds there.
    #[test]
    fn only_the_keys_of_files_are_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write(
            "rules.toml",
            "[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"off\"\n\
             when = [{ point = [\"path\", 1], is = \"regex\", value = \"a(?=b)\" }]\n",
        );
        let path = write(
            "weir.toml",
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[server]]\nname = \"a\"\norigin = \"a\"\n\
             [[origin]]\nname = \"a\"\naddresses = [\"127.0.0.1:1\"]\n[rules]\nfile = \"rules.toml\"\n",
        );
        let config = config::load(&path, &Environment::default()).unwrap().config;
        let line = |errors: Vec<ConfigError>| match errors.first().map(|error| &error.place) {
            Some(Where::Text(place)) => Some(place.line),
            _ => None,
        };
        assert_eq!(line(rule_errors(&config, &path, &[])), Some(5), "where the pattern is");
        assert_eq!(line(rule_errors_of_text(&config, &path, &[])), Some(1), "where the rule begins");
    }
}
