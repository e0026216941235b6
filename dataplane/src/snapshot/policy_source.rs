//! The config's words for the policy compiler, and the compiler's errors back at their places in the files.

use std::collections::HashMap;
use std::path::Path;

use weir_policy::{
    Attribute, AttributeEntry, CompileError, Condition, ContextSource, List, ListEntry, LocationSource,
    ModeByHeader, Override, Place, PolicySource, RuleKind, RuleSource, ServerSource, Warning,
};

use crate::config::{self, Config, ConfigError, ConfigWarning, EntrySubject, Where};
use crate::rules::{RuleError, attack_type};
use weir_inspect::Engine;

/// What the policy compiler is given.
pub(super) fn policy_source(config: &Config) -> PolicySource {
    PolicySource {
        http: context(&config.http.context),
        servers: config.servers.iter().map(server).collect(),
        general_mode: config.rules.general_mode,
        rules: config.rules.rules.iter().map(|one| rule(one)).collect(),
        lists: config.ip_lists.entries.iter().filter_map(list_entry).collect(),
        attribute_lists: config.ip_lists.entries.iter().filter_map(attribute_entry).collect(),
        acl_access_phase: config.http.acl_access_phase,
        signature_classes: HashMap::new(),
    }
}

/// The same with the classes of the signatures that rules name.
pub(super) fn policy_source_with(config: &Config, engine: Option<&Engine>) -> PolicySource {
    let mut source = policy_source(config);
    let Some(engine) = engine else { return source };
    for rule in &source.rules {
        if let RuleKind::DisableSignature { signature, .. } = &rule.kind
            && let Some(class) = engine.signature_class(signature).and_then(attack_type)
        {
            source.signature_classes.insert(signature.clone(), class);
        }
    }
    source
}

fn context(context: &config::ContextConfig) -> ContextSource {
    ContextSource {
        mode: context.mode,
        mode_from_environment: context.mode_from_environment,
        mode_allow_override: context.mode_allow_override.map(|value| match value {
            config::ModeOverride::Off => Override::Off,
            config::ModeOverride::Strict => Override::Strict,
            config::ModeOverride::On => Override::On,
        }),
        mode_by_header: context.mode_by_header.as_ref().map(|map| ModeByHeader {
            header: map.header.clone(),
            contains: map.contains.iter().map(|(text, value)| (text.clone(), *value)).collect(),
        }),
        application: context.application,
        disable_acl: context.disable_acl,
    }
}

fn server(server: &config::ServerConfig) -> ServerSource {
    ServerSource {
        name: server.name.clone(),
        hosts: server.hosts.clone(),
        default: server.default,
        context: context(&server.context),
        locations: server.locations.iter().map(location).collect(),
    }
}

fn location(location: &config::LocationConfig) -> LocationSource {
    LocationSource {
        path: location.path.clone(),
        kind: location.match_kind,
        context: context(&location.context),
    }
}

fn rule(rule: &config::RuleConfig) -> RuleSource {
    RuleSource {
        id: rule.id,
        kind: rule.kind.clone(),
        uri: rule.uri.clone(),
        when: rule.when.iter().map(condition).collect(),
    }
}

fn condition(condition: &config::ConditionConfig) -> Condition {
    Condition { point: condition.point.clone(), is: condition.is, value: condition.value.clone() }
}

fn list(list: config::ListKind) -> List {
    match list {
        config::ListKind::Allow => List::Allow,
        config::ListKind::Deny => List::Deny,
        config::ListKind::Gray => List::Gray,
    }
}

fn list_entry(entry: &config::ListEntryConfig) -> Option<ListEntry> {
    Some(ListEntry {
        list: list(entry.list),
        address: *entry.subject.network()?,
        applications: entry.applications.clone(),
        expires: entry.expires,
        reason: entry.reason.clone(),
    })
}

fn attribute_of(subject: &EntrySubject) -> Option<(Attribute, &str)> {
    match subject {
        EntrySubject::Address(_) => None,
        EntrySubject::Country(name) => Some((Attribute::Country, name)),
        EntrySubject::Datacenter(name) => Some((Attribute::Datacenter, name)),
        EntrySubject::Proxy(name) => Some((Attribute::Proxy, name)),
    }
}

fn attribute_entry(entry: &config::ListEntryConfig) -> Option<AttributeEntry> {
    let (attribute, name) = attribute_of(&entry.subject)?;
    Some(AttributeEntry {
        list: list(entry.list),
        attribute,
        name: name.to_owned(),
        applications: entry.applications.clone(),
        expires: entry.expires,
        reason: entry.reason.clone(),
    })
}

/// Errors for entries about something that no database tells.
pub(super) fn entries_without_database(config: &Config) -> impl Iterator<Item = ConfigError> {
    let databases = &config.ip_lists.databases;
    config.ip_lists.entries.iter().filter_map(|entry| lacks_database(entry, databases))
}

/// The error for an entry about something that no database tells.
pub(crate) fn lacks_database(
    entry: &config::ListEntryConfig,
    databases: &config::AddressDatabasesConfig,
) -> Option<ConfigError> {
    let (attribute, name) = attribute_of(&entry.subject)?;
    let database = match attribute {
        Attribute::Country => &databases.country,
        Attribute::Datacenter => &databases.datacenter,
        Attribute::Proxy => &databases.proxy,
    };
    if database.is_some() {
        return None;
    }
    let key = attribute.as_str();
    let message = format!("found {name:?}, but no database tells the {key} of an address");
    let advice = format!("set [ip_lists].{key}_database to a file of MaxMind's format");
    Some(ConfigError::at(&entry.place, key, message, advice))
}

/// Where in the files the compiler's place is.
fn place_in_files<'a>(config: &'a Config, place: &Place) -> Option<&'a config::Place> {
    match place {
        Place::Policy | Place::Http | Place::Lists => None,
        Place::Server { server, .. } => config.servers.get(*server).map(|server| &server.place),
        Place::Location { server, location, .. } => {
            config.servers.get(*server)?.locations.get(*location).map(|location| &location.place)
        }
        Place::Rule { index, .. } => config.rules.rules.get(*index).map(|rule| &rule.place),
        Place::Entry { index } => {
            let mut entries =
                config.ip_lists.entries.iter().filter(|entry| entry.subject.network().is_some());
            entries.nth(*index).map(|entry| &entry.place)
        }
        Place::AttributeEntry { index } => {
            let mut entries =
                config.ip_lists.entries.iter().filter(|entry| entry.subject.network().is_none());
            entries.nth(*index).map(|entry| &entry.place)
        }
    }
}

/// A compiler's error as an error of the file that it comes from.
pub(super) fn error_in_files(config: &Config, file: &Path, error: &CompileError) -> ConfigError {
    let key = if error.key.is_empty() {
        error.place.to_string()
    } else {
        format!("{}: {}", error.place, error.key)
    };
    match place_in_files(config, &error.place) {
        Some(place) => ConfigError::at(place, &key, error.problem.clone(), error.expected.clone()),
        None => ConfigError {
            place: Where::File(file.to_owned()),
            key,
            message: error.problem.clone(),
            advice: error.expected.clone(),
        },
    }
}

/// The same for a warning.
pub(super) fn warning_in_files(config: &Config, file: &Path, warning: &Warning) -> ConfigWarning {
    let place = match place_in_files(config, &warning.place) {
        Some(place) => Where::Text(place.clone()),
        None => Where::File(file.to_owned()),
    };
    ConfigWarning { place, key: warning.place.to_string(), message: warning.message.clone() }
}

/// Where the rules of a config are written, by their ids: there may be as many errors and warnings as rules.
pub(super) struct PlacesOfRules<'a> {
    file: &'a Path,
    places: HashMap<u64, &'a config::Place>,
}

impl<'a> PlacesOfRules<'a> {
    /// `file` is the config file, for what has no closer place.
    pub(super) fn new(config: &'a Config, file: &'a Path) -> Self {
        // of rules with the same id the first one is meant
        let rules = config.rules.rules.iter().rev();
        Self { file, places: rules.map(|rule| (rule.id, &rule.place)).collect() }
    }
}

/// An error of the rules' compiler as an error of the file that it comes from.
pub(super) fn rule_error_in_files(rules: &PlacesOfRules<'_>, error: &RuleError) -> ConfigError {
    let key = format!("rule {}: {}", error.rule, error.key);
    match rules.places.get(&error.rule) {
        Some(place) => ConfigError::at(place, &key, error.message.clone(), error.advice.clone()),
        None => ConfigError {
            place: Where::File(rules.file.to_owned()),
            key,
            message: error.message.clone(),
            advice: error.advice.clone(),
        },
    }
}

/// The same for a warning.
pub(super) fn rule_warning_in_files(rules: &PlacesOfRules<'_>, warning: &RuleError) -> ConfigWarning {
    let place = match rules.places.get(&warning.rule) {
        Some(&place) => Where::Text(place.clone()),
        None => Where::File(rules.file.to_owned()),
    };
    let key = format!("rule {}: {}", warning.rule, warning.key);
    ConfigWarning { place, key, message: format!("{}; {}", warning.message, warning.advice) }
}
