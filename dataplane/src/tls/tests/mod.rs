//! Tests of TLS towards origins: the engine against a rustls server in memory, and identities good and bad.

pub(crate) mod counting;
mod engine;
mod engine_failures;
mod identity;
mod link;
mod openssl_server;
