//! `weir demo`: the main job on one machine in one go.

mod cases;
mod check;
mod client;
mod origin;
mod stage;
mod table;
mod verifier;

use std::fmt::Write as _;
use std::io::Write as _;

use super::Outcome;
use crate::config::Environment;
use crate::control::Backend;
use crate::telemetry::{Family, MetricsSnapshot};
use stage::Stage;

/// Arguments of `weir demo`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Keep origins and node running after the table, until SIGINT or SIGTERM, and say where they are.
    #[arg(long)]
    hold: bool,
}

/// Sets everything up, sends the requests, and prints what came of them.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    // The demo's expectations are those of its own config, whatever the environment says.
    let environment = Environment { mode: None, ..Environment::of_process() };
    match play(arguments, environment) {
        Ok(true) => Outcome::Fine,
        Ok(false) => Outcome::Failed,
        Err(error) => {
            eprintln!("error: {error}");
            Outcome::Failed
        }
    }
}

/// Says whether all was as expected.
fn play(arguments: &Arguments, environment: Environment) -> Result<bool, String> {
    let stage = Stage::set_up(environment)?;
    let cases = cases::all();
    let observed = match check::play(&stage, &cases) {
        Ok(observed) => observed,
        Err(error) => {
            stage.stop()?;
            return Err(error);
        }
    };
    let report = table::report(&cases, &observed);
    print(&report.table);
    print(&summary(cases.len(), &report.failures, &stage.node.metrics()));
    if arguments.hold {
        print(&places(&stage));
        stage.wait()?;
    } else {
        stage.stop()?;
        print(
            "config, events and the origins' log are removed; `weir demo --hold` keeps all up to look at\n",
        );
    }
    Ok(report.failures.is_empty())
}

/// Writes to standard output at once. A reader that closed the pipe early has seen what it wanted.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn summary(rows: usize, failures: &[String], metrics: &MetricsSnapshot) -> String {
    let mut text = format!(
        "\nstatus and expected: the answer, the identity that the origin saw, and what the event says; \
         a rule in brackets was not applied\n\n{rows} rows, {} not as expected\n",
        failures.len()
    );
    for failure in failures {
        text.push_str(&format!("NO  {failure}\n"));
    }
    let handshakes = |result| metrics.total_where(Family::UpstreamHandshakes, "result", result);
    let (full, resumed) = (handshakes("full"), handshakes("resumed"));
    let failed = metrics.total(Family::UpstreamHandshakes) - full - resumed;
    let micros = |share: f64| {
        metrics
            .inspection
            .quantile_nanos(share)
            .map_or_else(|| "-".to_owned(), |nanos| format!("{:.1} us", nanos as f64 / 1_000.0))
    };
    // Writing to a string doesn't fail.
    let _ = writeln!(text, "handshakes with origins: {full} full, {resumed} resumed, {failed} failed");
    let _ = writeln!(
        text,
        "inspection: p50 {}, p99 {} over {} requests",
        micros(0.5),
        micros(0.99),
        metrics.inspection.count()
    );
    text
}

/// Where things are while the demo is held, each line with its own first words.
fn places(stage: &Stage) -> String {
    let files = &stage.files;
    format!(
        "\nlistening http://{}\nadmin http://{}\nconfig {}\nevents {}\norigin log {}\n\
         try curl -i 'http://{}/main/login?id=1%27%20UNION%20SELECT%20password%20FROM%20users--'\n\
         stop with Ctrl-C\n",
        stage.listener,
        stage.admin,
        files.config().display(),
        files.events().display(),
        files.origin_log().display(),
        stage.listener,
    )
}
