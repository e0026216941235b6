//! `weir explain`: what would happen to a request, without a network.

mod batch;
mod score;

use std::fs::File;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::{Outcome, prepare, print_errors};
use crate::config::Environment;
use crate::explain::{Described, Explainer, Parts};

/// Arguments of `weir explain`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The config file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The address that the request comes from [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The listener that it comes in by, by its name [default: the first one that speaks the URL's scheme, or else the first].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The method [default: GET, or POST with a body].
    #[arg(short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// A header; may be given often.
    #[arg(short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The body; `@FILE` reads it from a file (`@-` from standard input) and leaves out line ends and NULs.
    #[arg(short = 'd', value_name = "BODY", allow_hyphen_values = true)]
    body: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Read one request a line (JSON) from this file, or from standard input if it is `-`, and print one
    /// object a line. The lines of a corpus are fine as they are, and so is a file that is compressed with gzip.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "method", "headers", "body", "client", "listener"])]
    batch: Option<PathBuf>,
    /// Print how well the batch was told apart in place of its answers: recall, false positives, misses. Each line needs a
    /// `label`, `attack` or `benign`.
    #[arg(long, requires = "batch")]
    score: bool,
    /// The URL, or a path alone.
    #[arg(required_unless_present = "batch")]
    url: Option<String>,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    Ok((name.to_owned(), value.trim_start().to_owned()))
}

/// Explains one request or a batch of them.
pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Outcome {
    let prepared = match prepare(&arguments.config, environment) {
        Ok(prepared) => prepared,
        Err(errors) => {
            print_errors(&errors);
            return Outcome::Refused;
        }
    };
    let mut explainer = match Explainer::new(&prepared.snapshot) {
        Ok(explainer) => explainer,
        Err(error) => {
            eprintln!("error: {error}");
            return Outcome::Failed;
        }
    };
    match &arguments.batch {
        Some(path) if arguments.score => score::run(&mut explainer, path, arguments.json),
        Some(path) => batch::run(&mut explainer, path),
        None => single(&mut explainer, arguments),
    }
}

fn single(explainer: &mut Explainer<'_>, arguments: &Arguments) -> Outcome {
    let described = match describe(arguments) {
        Ok(described) => described,
        Err(error) => {
            eprintln!("error: {error}");
            return Outcome::Refused;
        }
    };
    let explanation = match explainer.explain(&described) {
        Ok(explanation) => explanation,
        Err(error) => {
            eprintln!("error: {error}");
            return Outcome::Refused;
        }
    };
    // A reader that closed the pipe early has seen what it wanted.
    let _ = if arguments.json {
        writeln!(std::io::stdout(), "{}", explanation.to_json())
    } else {
        write!(std::io::stdout(), "{explanation}")
    };
    Outcome::Fine
}

fn describe(arguments: &Arguments) -> Result<Described, String> {
    let (body, body_base64) = match &arguments.body {
        Some(text) => match text.strip_prefix('@') {
            Some(file) => (None, Some(STANDARD.encode(read_body(file)?))),
            None => (Some(text.clone()), None),
        },
        None => (None, None),
    };
    let described = Described::from_parts(Parts {
        method: arguments.method.clone(),
        url: arguments.url.clone(),
        client: arguments.client,
        listener: arguments.listener.clone(),
        headers: arguments.headers.clone(),
        body,
        body_base64,
        raw_base64: None,
    });
    described.map_err(|error| error.to_string())
}

/// A body out of a file, as curl's `-d @FILE` sends it: without line ends and NULs.
fn read_body(file: &str) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = if file == "-" {
        std::io::stdin().read_to_end(&mut body)
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut body))
    };
    read.map_err(|error| {
        format!("-d @{file}: {error}; name a file with the body, or write the body itself")
    })?;
    body.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    Ok(body)
}
