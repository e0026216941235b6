//! TLS towards origins and clients: identities and their checks, trust, configs, and the record engine.
//!
//! - [`identity`]: a client certificate as the node presents it to origins, loaded and checked (spec S6.1).
//! - [`trust`]: whose certificates the node accepts from origins.
//! - [`client_config`]: origin name, trust and identity together as one rustls configuration.
//! - [`listener`]: the certificates of a listener, the choice among them, and what clients must present.
//! - [`tickets`]: the keys by which clients resume their sessions.
//! - [`engine`]: ciphertext in, plaintext out and back, without I/O and without a buffer while idle.
//! - [`failure`]: why TLS failed, with codes that stay stable for metrics and events.
//! - [`forge`]: an authority that makes certificates on the spot, for the demo and for tests.

pub mod client_config;
pub mod engine;
pub mod failure;
pub mod forge;
pub mod identity;
pub mod listener;
pub mod tickets;
pub mod trust;

mod certificate_file;
mod client_verifier;
mod issuer;
mod key;
mod pem;
mod pinned;
mod provider;
mod role;

#[cfg(test)]
pub(crate) mod tests;

pub use certificate_file::{CertificateFileError, CertificateFileProblem};
pub use client_config::{OriginTls, TlsConfigError, WorkerTls};
pub use engine::{ClientEngine, Engine, Ingested, ServerEngine};
pub use failure::TlsFailure;
pub use identity::{Identity, IdentityError, IdentityFiles};
pub use role::Role;
pub use trust::{Trust, TrustError, Verification};
