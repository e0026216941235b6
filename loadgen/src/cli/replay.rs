//! `weir-loadgen replay`.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use weir_loadgen::{
    Identity,
    replay::{self, Options},
    run::{self, RunError},
    units::parse_duration,
};

use super::{Failure, interrupted, output::ReportFiles};

/// Sends each request of a corpus once and scores what the target blocked.
///
/// A corpus has one JSON object a line, with `id`, `label` (attack or benign), `category`, and `raw`, the whole request in
/// base64, which is sent byte for byte.
#[derive(Args)]
pub(super) struct ReplayArguments {
    /// A corpus, compressed with gzip or not; repeatable
    #[arg(long = "corpus", value_name = "FILE", required = true)]
    corpora: Vec<PathBuf>,
    /// Where to: http:// or https://, host and port; requests keep their own Host
    #[arg(long, value_name = "URL")]
    target: String,
    /// Statuses that mean that a request was taken for an attack
    #[arg(long, value_name = "STATUS,..", value_delimiter = ',', default_value = "403")]
    block_status: Vec<u16>,
    /// Statuses that count as passed although they look refused; 404 and 405 do anyway
    #[arg(long, value_name = "STATUS,..", value_delimiter = ',')]
    pass_status: Vec<u16>,
    /// A connection that is closed or reset in place of an answer counts as blocked
    #[arg(long)]
    close_blocks: bool,
    /// Send only records with this label
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value = "16")]
    connections: usize,
    /// Threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), default_value = "1")]
    threads: u16,
    /// Use connections for more than one request [default: one each]
    #[arg(long)]
    keep_alive: bool,
    /// How long a connection's set-up, and then each answer, may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// CA that vouches for the target (PEM) [default: the system's]
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// Client certificate chain (PEM)
    #[arg(long, value_name = "PEM", requires = "key")]
    certificate: Option<PathBuf>,
    /// The client certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "certificate")]
    key: Option<PathBuf>,
    /// Take any certificate of the target
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Write misses and false alarms to this file, a line each
    #[arg(long, value_name = "FILE")]
    findings: Option<PathBuf>,
    #[command(flatten)]
    files: ReportFiles,
}

/// Replays and reports; fails when not every request was sent.
pub(super) fn run(arguments: ReplayArguments) -> Result<(), Failure> {
    let files = arguments.files.open()?;
    let mut records = Vec::new();
    for corpus in &arguments.corpora {
        records.extend(replay::read(corpus).map_err(Failure::usage)?);
    }
    records.retain(|record| arguments.label.as_ref().is_none_or(|label| record.label == *label));
    if records.is_empty() {
        return Err(Failure::usage("there is no record to send in the corpus"));
    }
    let identity = arguments.certificate.zip(arguments.key);
    let request = run::Options {
        connections: arguments.connections,
        threads: usize::from(arguments.threads),
        timeout: arguments.timeout,
        ca: arguments.ca,
        identity: identity.map(|(certificate, private_key)| Identity { certificate, private_key }),
        insecure: arguments.insecure,
        ..run::Options::new(&arguments.target)
    };
    let options = Options {
        request,
        block_statuses: arguments.block_status,
        pass_statuses: arguments.pass_status,
        close_blocks: arguments.close_blocks,
        keep_alive: arguments.keep_alive,
    };
    let report = replay::run(&options, &records, &*interrupted()?).map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    // The figures come first: they are worth having even where the list can't be written.
    files.write(&report.url, &report)?;
    if let Some(path) = arguments.findings {
        fs::write(&path, report.findings())
            .map_err(|error| Failure::failed(format!("can't write {}: {error}", path.display())))?;
    }
    if report.sent < report.records {
        let (sent, all) = (report.sent, report.records);
        return Err(Failure::failed(format!("interrupted: {sent} of {all} records were sent")));
    }
    Ok(())
}
