//! `weir-loadgen origin`.

use std::{
    fs,
    io::{self, Write},
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use weir_loadgen::{
    Identity, files,
    origin::{
        self, Answered, Body, CloseAfter, Draw, Faults, Listen, LogTarget, Options, StartError, TlsOptions,
    },
    units::{parse_duration, parse_size},
};

use super::{Failure, output::Opener, parse_header};

/// Serves HTTP/1.1 with fixed answers until SIGTERM or SIGINT.
///
/// Requests choose their answer by query, as in `/?size=1000&delay=10ms&status=404&chunked=1&close=1&rate=1KiB`, or by the
/// header fields X-Origin-Size, X-Origin-Delay, X-Origin-Status, X-Origin-Chunked, X-Origin-Close, X-Origin-Rate and
/// X-Origin-Fault.
///
/// Sizes, delays and statuses may differ from answer to answer: `5ms-20ms` is drawn evenly, `exp:10ms` exponentially with
/// this mean, and `1ms=95,exp:50ms=5` is a mix with weights.
#[derive(Args)]
pub(super) struct OriginArguments {
    /// Where to listen: ADDRESS:PORT, port 0 takes a free one, or unix:PATH. `listening ADDRESS` on standard output says that
    /// it accepts
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Threads [default: one per core that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Size of each answer's body, such as 1000, 64KiB or 1KiB=90,64KiB=10 [default: 1024]
    #[arg(long, value_name = "SIZES", value_parser = parse_sizes, conflicts_with = "body_file")]
    body_bytes: Option<Draw>,
    /// File with each answer's body
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Wait before each answer, such as 10ms or exp:10ms
    #[arg(long, value_name = "TIMES", value_parser = parse_times, default_value = "0s")]
    delay: Draw,
    /// Status of each answer, such as 404 or 200=99,503=1
    #[arg(long, value_name = "STATUSES", value_parser = parse_statuses, default_value = "200")]
    status: Draw,
    /// Percentages of answers that fail: close, reset, truncate, break, stall or slow, as in reset=1,slow=0.5
    #[arg(long, value_name = "KIND=PERCENT", value_parser = Faults::parse)]
    faults: Option<Faults>,
    /// Send bodies at this many bytes a second
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    body_rate: Option<u64>,
    /// Close each connection behind its Nth answer, which says so
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "drop_after")]
    close_after: Option<u64>,
    /// The same, unannounced
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    drop_after: Option<u64>,
    /// What is drawn follows from this number and the order of requests
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// One more header field of each answer; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Serve TLS with this certificate chain (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Demand client certificates that one of these CAs signed (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_certificate")]
    client_ca: Option<PathBuf>,
    /// Write one JSON line per request to this file, or to standard output with `-`
    #[arg(long, value_name = "FILE")]
    request_log: Option<PathBuf>,
    /// How much of each body goes into the request log
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0", requires = "request_log")]
    log_body_bytes: u64,
    /// Answer with JSON that tells what was received
    #[arg(long, conflicts_with_all = ["body_bytes", "body_file"])]
    echo: bool,
    /// Ignore what requests ask for by query and X-Origin- header fields
    #[arg(long)]
    no_steering: bool,
    /// How long a connection may wait for its next request
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "75s")]
    idle_timeout: Duration,
    /// Write the address to this file once it accepts
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Serves until a signal.
pub(super) fn run(arguments: OriginArguments) -> Result<(), Failure> {
    reserve_files(&arguments)?;
    let ready_file = arguments.ready_file.clone();
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(Failure::failed)?;
    let origin = origin::spawn(options(arguments)?).map_err(|error| match error {
        StartError::Header(_) | StartError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    if let Some(path) = ready_file {
        // Renamed into place, so that who sees the file sees all of it.
        let part = part_of(&path);
        fs::write(&part, format!("{}\n", origin.listens_on()))
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|error| Failure::failed(format!("can't write {}: {error}", path.display())))?;
    }
    let mut output = io::stdout();
    writeln!(output, "listening {}", origin.listens_on())
        .and_then(|()| output.flush())
        .map_err(Failure::failed)?;
    let _signal = signals.forever().next();
    let Answered { requests, ready_made } = origin.finish();
    eprintln!("answered {requests} requests, {ready_made} of them with the ready-made answer");
    Ok(())
}

/// Where the ready file is written before it gets its name.
fn part_of(ready_file: &Path) -> PathBuf {
    let mut part = ready_file.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// What is written must be none of the files that are read, and each a file of its own.
fn reserve_files(arguments: &OriginArguments) -> Result<(), Failure> {
    let inputs = [&arguments.body_file, &arguments.tls_certificate, &arguments.tls_key, &arguments.client_ca];
    let mut opener = Opener::of_inputs(inputs.into_iter().flatten());
    if let Some(log) = arguments.request_log.as_ref().filter(|log| log.as_os_str() != "-") {
        opener.reserve(log)?;
    }
    if let Some(ready_file) = &arguments.ready_file {
        opener.reserve(ready_file)?;
        opener.reserve(&part_of(ready_file))?;
    }
    Ok(())
}

fn options(arguments: OriginArguments) -> Result<Options, Failure> {
    let body = match (arguments.body_bytes, arguments.body_file) {
        (_, Some(path)) => Body::Bytes(files::read(&path, files::MOST_BODY_BYTES).map_err(Failure::usage)?),
        (size, None) => Body::Size(size.unwrap_or(Draw::fixed(1024))),
    };
    let tls = arguments.tls_certificate.zip(arguments.tls_key).map(|(certificate, private_key)| TlsOptions {
        identity: Identity { certificate, private_key },
        client_ca: arguments.client_ca,
    });
    let request_log = arguments
        .request_log
        .map(|path| if path.as_os_str() == "-" { LogTarget::StandardOutput } else { LogTarget::File(path) });
    let announced = arguments.close_after.map(|answers| CloseAfter { answers, announced: true });
    let silent = arguments.drop_after.map(|answers| CloseAfter { answers, announced: false });
    Ok(Options {
        listen: resolve(&arguments.listen)?,
        threads: arguments.threads.map_or_else(weir_loadgen::default_threads, usize::from),
        body,
        delay_nanoseconds: arguments.delay,
        status: arguments.status,
        faults: arguments.faults.unwrap_or_default(),
        body_bytes_per_second: arguments.body_rate,
        close_after: announced.or(silent),
        seed: arguments.seed,
        headers: arguments.headers,
        tls,
        request_log,
        log_body_bytes: usize::try_from(arguments.log_body_bytes).unwrap_or(usize::MAX),
        echo: arguments.echo,
        steering: !arguments.no_steering,
        idle_timeout: arguments.idle_timeout,
    })
}

fn parse_sizes(text: &str) -> Result<Draw, String> {
    Draw::parse(text, parse_size)
}

fn parse_times(text: &str) -> Result<Draw, String> {
    Draw::parse(text, |time| {
        // A year, which is the longest time, fits.
        parse_duration(time).map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    })
}

fn parse_statuses(text: &str) -> Result<Draw, String> {
    Draw::parse(text, |status| {
        let status = status.parse().ok().filter(|status| (200..600).contains(status));
        status.ok_or_else(|| format!("`{text}`: expected statuses from 200 to 599, as in `200=99,503=1`"))
    })
}

fn parse_rate(text: &str) -> Result<u64, String> {
    parse_size(text).and_then(|rate| {
        if rate == 0 { Err("a rate of 0 is a stall: use --faults stall=100".to_owned()) } else { Ok(rate) }
    })
}

fn resolve(listen: &str) -> Result<Listen, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "--listen {listen}: {why}; expected ADDRESS:PORT or unix:PATH, as in 127.0.0.1:8080 or unix:origin.sock"
        ))
    };
    match listen.strip_prefix("unix:") {
        Some("") => Err(wrong(&"no path")),
        Some(path) => Ok(Listen::Unix(path.into())),
        None => {
            let mut addresses = listen.to_socket_addrs().map_err(|error| wrong(&error))?;
            addresses.next().map(Listen::Tcp).ok_or_else(|| wrong(&"no address"))
        }
    }
}
