//! The config file: what is written, what it means, what is wrong with it.
//!
//! [`Config`] is plain data. Nothing in it refers to TOML; places are kept for errors that are found later.

mod error;
mod model;

pub use error::{ConfigError, ConfigWarning, Where};
pub use model::{
    AdminConfig, Balance, ClientCertificateConfig, ConditionConfig, Config, ConnectionLimits, ContextConfig,
    DetectionConfig, EventsConfig, HttpConfig, IoBackend, IpListsConfig, ListEntryConfig, ListKind,
    ListenerConfig, LocationConfig, MatchKind, Mode, ModeByHeaderConfig, ModeOverride, NodeConfig,
    OriginConfig, OriginLimits, OriginTlsConfig, OriginTrust, OverLimit, Place, Point, RequestLimits,
    RuleConfig, RuleKind, RuleMode, RulesConfig, ServerConfig, Test,
};
