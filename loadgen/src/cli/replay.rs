//! `weir-loadgen replay`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use weir_loadgen::{
    Identity,
    replay::{self, Options},
    run::{self, RunError},
    units::parse_duration,
};

use super::{
    Failure, interrupted,
    output::{Opener, ReportFiles, write_whole},
};

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
    #[arg(long, value_name = "STATUS,..", value_delimiter = ',', value_parser = parse_status, default_value = "403")]
    block_status: Vec<u16>,
    /// Statuses that count as passed although they look refused; 404 and 405 do anyway
    #[arg(long, value_name = "STATUS,..", value_delimiter = ',', value_parser = parse_status)]
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

/// Replays and reports; fails when not every request was sent, or too few were answered.
pub(super) fn run(arguments: ReplayArguments) -> Result<(), Failure> {
    let tls_files = [&arguments.ca, &arguments.certificate, &arguments.key];
    let mut opener = Opener::of_inputs(arguments.corpora.iter().chain(tls_files.into_iter().flatten()));
    let files = arguments.files.open(&mut opener)?;
    let findings = opener.open(arguments.findings)?;
    if let Some(status) = arguments.block_status.iter().find(|one| arguments.pass_status.contains(one)) {
        return Err(Failure::usage(format!("{status} is in --block-status and in --pass-status")));
    }
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
    let written = files.write(&report.url, &report);
    let listed = findings.map_or(Ok(()), |mut file| write_whole(&mut file, report.findings().as_bytes()));
    let not_valid = (!report.valid).then(|| format!("not valid: {}", report.reasons.join("; ")));
    let written = written.err().map(|failure| failure.text);
    let listed = listed.err().map(|error| error.to_string());
    let failures: Vec<String> = written.into_iter().chain(listed).chain(not_valid).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::failed(failures.join("; "))) }
}

fn parse_status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (200..600).contains(status));
    status.ok_or_else(|| format!("`{text}` is no status of an answer: expected 200 to 599"))
}
