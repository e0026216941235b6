//! `weir explain`: what would happen to a request, without a network.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::{Outcome, prepare, print_errors};
use crate::config::Environment;
use crate::explain::{Described, Explainer, Explanation, Parts};

/// Longest line of a batch.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Arguments of `weir explain`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The config file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The address that the request comes from [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
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
    /// object a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "method", "headers", "body", "client"])]
    batch: Option<PathBuf>,
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
        Some(path) => batch(&mut explainer, path),
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
    let explanation = explainer.explain(&described);
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

fn batch(explainer: &mut Explainer<'_>, path: &Path) -> Outcome {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                eprintln!("error: {}: {error}", path.display());
                return Outcome::Refused;
            }
        }
    };
    match explain_lines(explainer, BufReader::new(input), &mut BufWriter::new(std::io::stdout().lock())) {
        Ok(()) => Outcome::Fine,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Outcome::Fine,
        Err(error) => {
            eprintln!("error: {}: {error}", path.display());
            Outcome::Failed
        }
    }
}

/// One answer a line, whatever the line holds.
fn explain_lines(
    explainer: &mut Explainer<'_>,
    mut input: BufReader<impl Read>,
    output: &mut impl Write,
) -> std::io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut input).take(LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        if line.len() == LINE_BYTES_MAX {
            return Err(std::io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let answer = explain_line(explainer, &line);
        serde_json::to_writer(&mut *output, &answer)?;
        output.write_all(b"\n")?;
        // Whoever writes a line and waits for its answer gets it; in bulk, answers leave together.
        if !input.buffer().contains(&b'\n') {
            output.flush()?;
        }
    }
}

/// Members of a line that its answer repeats: they say nothing of the request.
const REPEATED: [&str; 3] = ["id", "label", "category"];

/// The answer to one line, a request or a line of a corpus (`raw` is the request's bytes in base64); an `id`, a `label` and
/// a `category` in the line are repeated in it.
fn explain_line(explainer: &mut Explainer<'_>, line: &[u8]) -> Value {
    let mut repeated = Vec::new();
    let described =
        serde_json::from_slice::<Value>(line).map_err(|error| error.to_string()).and_then(|mut value| {
            if let Some(parts) = value.as_object_mut() {
                repeated.extend(REPEATED.into_iter().filter_map(|key| Some((key, parts.remove(key)?))));
                if let Some(raw) = parts.remove("raw") {
                    parts.insert("raw_base64".to_owned(), raw);
                }
            }
            Described::from_json(&value).map_err(|error| error.to_string())
        });
    let mut answer = match described {
        Ok(described) => explainer.explain(&described).to_json(),
        Err(detail) => {
            let error = json!(format!("this line describes no request: {detail}"));
            let refused = Explanation::Refused { status: 400, code: "bad_description".to_owned(), detail };
            let mut answer = refused.to_json();
            answer["error"] = error;
            answer
        }
    };
    for (key, value) in repeated {
        answer[key] = value;
    }
    answer
}
