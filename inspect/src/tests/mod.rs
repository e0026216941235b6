//! Tests of the whole way from a request to its report.

mod bypasses;
mod directives;
mod graphql;
mod hidden;
mod hostile;
mod names;
mod packs;
mod requests;
mod signatures;

use std::sync::OnceLock;

use crate::{Engine, EngineOptions, Pack, RequestView};

/// The embedded pack, compiled once for all tests.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::compile(Pack::embedded(), EngineOptions::default()).unwrap())
}

/// A GET of `/` without anything.
const EMPTY: RequestView<'_> =
    RequestView { method: b"GET", path: b"/", query: None, headers: &[], body: b"", body_complete: true };
