//! What `run`, `search`, `compare` and `slow` ask alike: the request, TLS, threads and patience.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use weir_loadgen::{
    Identity,
    files::{self, MOST_BODY_BYTES},
    run::Options,
    scenario::Scenario,
    units::parse_duration,
};

use super::{Failure, parse_header, warn};

/// Tells which of these flags are given in vain.
fn warn_no_effect(flags: &[(&str, bool)], when: &str) {
    for (flag, _) in flags.iter().filter(|(_, is_given)| *is_given) {
        warn(&format!("{flag} has no effect {when}"));
    }
}

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
    /// The files that flags name and that are read for it.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        let files = [&self.body_file, &self.scenario, &self.ca, &self.certificate, &self.key];
        files.into_iter().flatten().cloned().collect()
    }

    /// Tells of flags that say nothing about requests to these URLs.
    pub(super) fn warn<'a>(&self, mut urls: impl Iterator<Item = &'a str> + Clone) {
        let tls_flags = [
            ("--ca", self.ca.is_some()),
            ("--server-name", self.server_name.is_some()),
            ("--certificate", self.certificate.is_some()),
            ("--insecure", self.insecure),
            ("--no-resumption", self.no_resumption),
        ];
        if !urls.clone().any(|url| url.starts_with("https:")) {
            warn_no_effect(&tls_flags, "without https://");
        }
        let has_path = |url: &str| {
            url.split_once("://")
                .and_then(|(_, rest)| rest.split_once('/'))
                .is_some_and(|(_, path)| !path.is_empty())
        };
        if self.scenario.is_some() && urls.any(has_path) {
            warn("the URL's path has no effect: the scenario says what is asked for");
        }
    }

    /// Tells of flags that say nothing about slow clients, or about one kind of them.
    pub(super) fn warn_slow(&self, sends_body: bool) {
        warn_no_effect(&[("--new-connections", self.new_connections)], "with slow clients");
        let bodies = [("--body", self.body.is_some()), ("--body-file", self.body_file.is_some())];
        if !sends_body {
            warn_no_effect(&bodies, "with this kind of slow clients, other than on the probe's requests");
        }
    }

    /// Tells of flags that say nothing about handshakes.
    pub(super) fn warn_handshakes(&self) {
        warn_no_effect(&[("--new-connections", self.new_connections)], "with --handshakes");
    }

    /// Tells of keys of the scenario that say nothing about requests to these URLs.
    pub(super) fn warn_scenario<'a>(options: &Options, mut urls: impl Iterator<Item = &'a str>) {
        let keys = options.scenario.as_ref().map_or_else(Vec::new, |scenario| scenario.tls_keys());
        if !keys.is_empty() && !urls.any(|url| url.starts_with("https:")) {
            warn(&format!("the scenario's {} has no effect without https://", keys.join(", ")));
        }
    }

    /// The options that these flags make, and for the rest the defaults of a closed loop.
    pub(super) fn options(self, url: &str) -> Result<Options, Failure> {
        let body = match (self.body, self.body_file) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(path)) => files::read(&path, MOST_BODY_BYTES).map_err(Failure::usage)?,
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
