//! Attack detection: one request in, findings out.
//!
//! A request is taken apart into named values, which are decoded into one buffer and scanned once by Hyperscan. A match
//! only nominates a value; a confirmer then looks at that value, and what it confirms adds its score to its class. A
//! request is an attack when one class reaches the score that the engine is set to.
//!
//! Signatures are data ([`Pack`]); a pack is compiled into an [`Engine`], which all workers share, and each worker
//! inspects with an [`Inspector`] of its own. The crate does no I/O and knows no clock.
//!
//! ```
//! use weir_inspect::{Engine, EngineOptions, Pack, RequestView};
//!
//! let engine = Engine::compile(Pack::embedded(), EngineOptions::default())?;
//! let mut inspector = engine.inspector()?;
//! let report = inspector.inspect(&engine, &RequestView {
//!     method: b"GET",
//!     path: b"/search",
//!     query: Some(b"q=1'+union+select+password+from+users--"),
//!     headers: &[(b"host", b"shop.example")],
//!     body: b"",
//!     body_complete: true,
//! });
//! assert!(report.attack);
//! assert_eq!(report.findings[0].point, "query.q");
//! # Ok::<(), weir_inspect::EngineError>(())
//! ```

mod arena;
mod cache;
mod class;
mod confirm;
mod decode;
mod directives;
mod engine;
mod examples;
mod graphql;
mod inspector;
mod limits;
mod nominate;
mod pack;
mod place;
mod points;
mod reading;
mod repeated;
mod report;
mod request;
#[cfg(test)]
mod tests;
mod trace;

pub use class::AttackClass;
pub use directives::{
    Applied, DirectiveAction, DirectiveError, DirectiveSource, Directives, HitKind, POINT_VALUES_MAX, Parser,
    Part, PointValues, RuleHit, Selector,
};
pub use engine::{Engine, EngineError, EngineOptions};
pub use graphql::GraphqlLimits;
pub use inspector::Inspector;
pub use limits::{Limits, OverLimit, OverLimits};
pub use pack::{Pack, PackError};
pub use report::{Finding, Report};
pub use request::RequestView;
pub use trace::{Nominated, Outcome};
