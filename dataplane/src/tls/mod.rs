//! TLS towards origins: identities and their checks, trust, client configs, and the record engine.
//!
//! - [`identity`]: a client certificate as the node presents it to origins, loaded and checked (spec S6.1).
//! - [`trust`]: whose certificates the node accepts from origins.
//! - [`client_config`]: origin name, trust and identity together as one rustls configuration.
//! - [`engine`]: ciphertext in, plaintext out and back, without I/O and without a buffer while idle.
//! - [`failure`]: why TLS towards an origin failed, with codes that stay stable for metrics and events.
//! - [`forge`]: an authority that makes certificates on the spot, for the demo and for tests.

pub mod client_config;
pub mod engine;
pub mod failure;
pub mod forge;
pub mod identity;
pub mod trust;

mod issuer;
mod key;
mod pem;
mod provider;

#[cfg(test)]
pub(crate) mod tests;

pub use client_config::{OriginTls, TlsConfigError};
pub use engine::{ClientEngine, Ingested};
pub use failure::TlsFailure;
pub use identity::{Identity, IdentityError, IdentityFiles};
pub use trust::{Trust, TrustError};
