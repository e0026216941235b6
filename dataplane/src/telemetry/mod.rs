//! Counters, latency histograms, events and logs.
//!
//! A worker writes into memory of its own and never waits for a reader: [`WorkerMetrics`] holds counters that one
//! thread writes and others read, [`EventSender`] is the worker's end of a bounded ring. The other side (the
//! [`MetricsRegistry`], the [`EventWriter`]) belongs to the control thread and may take its time.

mod codes;
mod counters;
pub mod event_writer;
pub mod events;
mod failure_log;
pub mod histogram;
pub mod labels;
pub mod log;
pub mod metrics;
pub mod prometheus;
mod rate;
pub mod registry;
#[cfg(test)]
mod tests;

pub use event_writer::{EventCounters, EventWriter, EventWriterHandle};
pub(crate) use events::rfc3339_milliseconds;
pub use events::{
    AttackDetail, Event, EventReceiver, EventSender, EventText, OriginFailure, ProtocolRefusal, event_queue,
};
pub use labels::{
    AttackAction, BlockReason, ConnectionState, EjectionReason, HandshakeResult, Labels, Limit,
    UpstreamError, VerdictLabel,
};
pub use metrics::WorkerMetrics;
pub(crate) use rate::RateLimit;
pub use registry::{Family, MetricsRegistry, MetricsSnapshot};
