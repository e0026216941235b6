//! What the control thread asks the rest of the program.

use super::Token;
use super::changes::{Answer, Changed, EntryChoice, ListsChange, Page, Refused, RulesChange};
use crate::explain::DescriptionErrors;
use crate::origins::{LastCheck, NameStatus};
use crate::telemetry::MetricsSnapshot;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The rest of the program, as the control thread sees it. Methods may be called from any thread and at the same
/// time; none is called on the data path.
pub trait Backend: Send + Sync + 'static {
    /// Whether the process does its work; `false` once a worker has died, while draining too. Answers `GET /live`.
    fn live(&self) -> bool;

    /// Whether all workers accept and serve the same config; `false` while draining. A refused config changes nothing. Answers `GET /ready`.
    fn ready(&self) -> bool;

    /// What is running.
    fn status(&self) -> Status;

    /// Everything that was counted, for example from [`crate::telemetry::MetricsRegistry::snapshot`].
    fn metrics(&self) -> MetricsSnapshot;

    /// Reads the config again and puts it in force. May take seconds; calls don't overlap.
    ///
    /// # Errors
    /// Every reason why the new config can't be used, one a line. Nothing has changed then.
    fn reload(&self) -> Result<u64, Vec<String>>;

    /// Says what would happen to a request, from the config in force. `request` has the keys of one line of
    /// `weir explain --batch`.
    ///
    /// # Errors
    /// Why `request` is no such description, or why it can't be explained now.
    fn explain(&self, request: serde_json::Value) -> Result<serde_json::Value, Unexplained>;

    /// The rules in force, as the body of `GET /v1/rules`.
    fn rules(&self) -> Answer;

    /// One of them, or nothing if there is none with this id.
    fn rule(&self, id: u64) -> Option<Answer>;

    /// Changes the rules: compiles and checks the change, stores it, and puts it in force. `if_match` holds the tags
    /// of versions that it may be made to. Calls don't overlap, nor with a reload.
    ///
    /// # Errors
    /// Why nothing has changed.
    fn change_rules(&self, change: RulesChange, if_match: Option<&str>) -> Result<Changed, Refused>;

    /// A part of the list entries in force, as the body of `GET /v1/ip-lists`.
    fn ip_lists(&self, choice: &EntryChoice, page: Page) -> Answer;

    /// Changes the lists, in the same way as the rules are.
    ///
    /// # Errors
    /// Why nothing has changed.
    fn change_ip_lists(&self, change: ListsChange, if_match: Option<&str>) -> Result<Changed, Refused>;

    /// Forgets list entries that have ended, and changes that the config's files have settled. Is called now and then.
    fn drop_expired(&self);

    /// The token that calls of the admin endpoints need now, if they need one. A reload may change it.
    fn admin_token(&self) -> Option<Token>;

    /// A signal asked the process to stop. Returns at once.
    fn stop(&self, how: Stop);

    /// How often the files of certificates are to be looked at; not at all if absent.
    fn certificate_check_interval(&self) -> Option<Duration>;

    /// Announces in the log the certificates that expire soon, and says whether files of certificates have changed, so that
    /// a reload is due.
    fn check_certificates(&self) -> bool;

    /// Starts this program anew, hands it the listening sockets, and leaves once it serves. Returns its process id.
    ///
    /// # Errors
    /// Why there is no successor; nothing has changed then.
    fn upgrade(&self) -> Result<u32, String>;
}

/// Why a request isn't explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unexplained {
    /// It isn't described as it should be.
    Description(DescriptionErrors),
    /// There is no memory for it now.
    NoMemory(String),
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description(errors) => errors.fmt(f),
            Self::NoMemory(reason) => f.write_str(reason),
        }
    }
}

impl From<DescriptionErrors> for Unexplained {
    fn from(errors: DescriptionErrors) -> Self {
        Self::Description(errors)
    }
}

/// How to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The first SIGTERM or SIGINT: accept no more, finish what runs.
    Graceful,
    /// A further one: don't wait for what runs.
    Now,
}

/// What is running.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Digest of the config in force, in hex.
    pub config_digest: String,
    /// Number of the config in force; the first is 1.
    pub generation: u64,
    /// When the config came in force: seconds since 1970 UTC.
    pub config_since_unix_seconds: u64,
    /// When the process started: seconds since 1970 UTC.
    pub started_unix_seconds: u64,
    /// How many workers the config asks for.
    pub workers: u32,
    /// How many of them accept, with the config in force.
    pub workers_ready: u32,
    /// Whether the process is stopping.
    pub draining: bool,
    /// The I/O backend in use and, for `uring`, what was found of its features.
    pub io: String,
    /// Client certificates and when they expire.
    pub client_certificates: Vec<CertificateExpiry>,
    /// Certificates of listeners and when they expire.
    pub listener_certificates: Vec<CertificateExpiry>,
    /// Origins and their addresses.
    pub origins: Vec<OriginStatus>,
    /// The names that origins have among their addresses.
    pub names: Vec<NameStatus>,
}

/// An origin and its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginStatus {
    /// Its name in the config.
    pub name: String,
    /// Whether its addresses are checked.
    pub is_checked: bool,
    /// Health checks passed and failed.
    pub checks: (u64, u64),
    /// Its addresses.
    pub addresses: Vec<AddressStatus>,
}

/// One address of an origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressStatus {
    /// Where connections go to.
    pub address: SocketAddr,
    /// Whether health checks let it be used.
    pub healthy: bool,
    /// How the last check went, if there was one.
    pub last_check: Option<LastCheck>,
}

/// A certificate's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateExpiry {
    /// Its name in the config.
    pub name: String,
    /// The last second at which it is valid: seconds since 1970 UTC.
    pub not_after_unix_seconds: i64,
}
