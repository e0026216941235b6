//! What `run` and `compare` both ask: the request, TLS, threads and patience.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use weir_loadgen::{Identity, run::Options, scenario::Scenario, units::parse_duration};

use super::{Failure, parse_header};

/// One kind of request and how it is sent.
#[derive(Args)]
pub(super) struct RequestArguments {
    /// Threads [default: one per core that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Method [default: GET, or POST with a body]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// One more header field; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The body
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// File with the body
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Send a mix of requests with labels, described in this file, in place of one kind of request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "headers", "body", "body_file"])]
    scenario: Option<PathBuf>,
    /// CA that vouches for the target (PEM) [default: the system's]
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// SNI, and the name that the target's certificate must have [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Client certificate chain (PEM)
    #[arg(long, value_name = "PEM", requires = "key")]
    certificate: Option<PathBuf>,
    /// The client certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "certificate")]
    key: Option<PathBuf>,
    /// Take any certificate of the target
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Do not resume TLS sessions
    #[arg(long)]
    no_resumption: bool,
    /// A new connection for each request
    #[arg(long)]
    new_connections: bool,
    /// How long a connection's set-up, and then each answer, may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
}

impl RequestArguments {
    /// The options that these flags make, and for the rest the defaults of a closed loop.
    pub(super) fn options(self, url: &str) -> Result<Options, Failure> {
        let body = match (self.body, self.body_file) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(path)) => fs::read(&path)
                .map_err(|error| Failure::usage(format!("can't read {}: {error}", path.display())))?,
            (None, None) => Vec::new(),
        };
        let default_method = if body.is_empty() { "GET" } else { "POST" };
        let defaults = Options::new(url);
        Ok(Options {
            threads: self.threads.map_or(defaults.threads, usize::from),
            method: self.method.unwrap_or_else(|| default_method.to_owned()),
            headers: self.headers,
            body,
            scenario: self
                .scenario
                .map(|path| Scenario::read(&path).map(Arc::new).map_err(Failure::usage))
                .transpose()?,
            ca: self.ca,
            server_name: self.server_name,
            identity: self
                .certificate
                .zip(self.key)
                .map(|(certificate, private_key)| Identity { certificate, private_key }),
            insecure: self.insecure,
            resume: !self.no_resumption,
            keep_alive: !self.new_connections,
            timeout: self.timeout,
            ..defaults
        })
    }
}
