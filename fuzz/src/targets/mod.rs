//! The targets.

mod bodies;
mod chunks;
mod config;
mod heads;
mod paths;
mod proxy_header;

use crate::Target;

/// All targets.
pub static TARGETS: &[Target] = &[
    heads::REQUEST,
    heads::RESPONSE,
    chunks::CHUNKED,
    paths::PATH,
    proxy_header::PROXY_HEADER,
    bodies::FORM,
    bodies::MULTIPART,
    bodies::JSON,
    bodies::XML,
    config::CONFIG,
];
