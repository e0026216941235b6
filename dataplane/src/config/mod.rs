//! The config file: what is written, what it means, what is wrong with it.
//!
//! [`load`] reads a file and the rules and lists files that it names, and gives a [`Config`]: plain data that
//! knows no TOML, with defaults filled in and every cross check passed; or all errors at
//! once, each with its place. The tables in the files beside this one say what keys there are;
//! `docs/configuration.md` is made from them.

mod block_response;
mod context;
mod detection;
mod document;
mod entries;
mod error;
mod handling;
mod http;
mod ip_lists;
pub(crate) mod json;
mod key_places;
mod limits;
mod listener;
mod load;
mod model;
mod names;
mod node;
mod origin;
mod origin_health;
mod plain_entries;
mod points;
mod problems;
mod read;
mod reference;
mod rule_types;
mod rules;
mod schema;
mod server;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

pub use document::{Document, RulesDocument, Sent};
pub use entries::ListEntries;
pub use error::{ConfigError, ConfigWarning, Where};
pub(crate) use http::{canonical_network, parse_network};
pub(crate) use ip_lists::{SUBJECTS, read_subject, subject_advice};
pub(crate) use key_places::point_at_keys;
pub use limits::{ListenerLimits, OwnRequestLimits};
pub use load::{Environment, Loaded, load, load_parts};
pub use model::{
    AddressDatabasesConfig, AdminConfig, AmbiguousPath, Balance, BlockResponses, ClientAuth,
    ClientCertificateConfig, ConditionConfig, Config, ConnectionLimits, ContextConfig, DetectionConfig,
    EntrySubject, EventsConfig, GraphqlConfig, HandlingConfig, HealthCheckConfig, HttpConfig, IoBackend,
    IpListsConfig, ListEntryConfig, ListKind, ListenerCertificateConfig, ListenerConfig, ListenerTlsConfig,
    LocationConfig, MatchKind, Mode, ModeByHeaderConfig, ModeOverride, NodeConfig, OriginAddress,
    OriginConfig, OriginLimits, OriginTlsConfig, OriginTrust, OutlierConfig, OverLimit, Place, Point,
    RequestLimits, ResolverConfig, RuleConfig, RuleKind, RuleMode, RulesConfig, ServerConfig, Test,
    TlsVersion,
};
pub use reference::reference;
