//! The dataplane of Weir: per-core workers that parse HTTP, decide, and forward over mutual-TLS pools.
//!
//! The folder tree is the architecture; see `docs/architecture.md` for the way of a request through it.

mod address_counts;
pub mod commands;
pub mod config;
pub mod control;
pub mod decision;
pub mod explain;
mod files;
pub mod http;
pub mod io;
pub mod listen;
pub mod node;
pub mod origins;
pub mod placement;
pub mod proxy_protocol;
pub mod rules;
pub mod snapshot;
mod state;
pub mod telemetry;
mod text;
pub mod tls;
pub mod upgrade;
pub mod worker;
