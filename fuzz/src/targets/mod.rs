//! The targets.

mod bodies;
mod chunks;
mod config;
mod documents;
mod heads;
mod paths;
mod pem;
mod proxy_header;
mod values;

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
    bodies::GRAPHQL,
    bodies::COMPRESSED,
    bodies::UTF_7,
    values::VALUES,
    config::CONFIG,
    config::RULES,
    config::IP_LISTS,
    documents::RULES,
    documents::IP_LISTS,
    documents::BATCH_LINE,
    pem::PEM,
];
