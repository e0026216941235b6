//! The program's own log, on standard error.
//!
//! Workers don't log requests: what happened to a request is an event, and numbers are metrics. The log is for
//! what concerns the node: start and stop, configs, origins that fail, files that can't be written.

use super::events::rfc3339_milliseconds;
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The environment variable that sets the level: `error`, `warn`, `info`, `debug`, `trace`, or directives by module
/// such as `info,weir::tls=debug`.
pub const LEVEL_VARIABLE: &str = "WEIR_LOG";

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `human` on a terminal, otherwise `json`.
    #[default]
    Auto,
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The log could not be set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogError {
    /// The level variable holds something that is no level.
    BadLevel {
        /// What it holds.
        found: String,
        /// Why that can't be read.
        reason: String,
    },
    /// Something in this process has set up a log already.
    AlreadySet,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadLevel { found, reason } => write!(
                f,
                "environment variable {LEVEL_VARIABLE}: {found:?} is no log level ({reason}); \
                 use error, warn, info, debug or trace"
            ),
            Self::AlreadySet => f.write_str("the log was set up twice"),
        }
    }
}

impl std::error::Error for LogError {}

/// Time stamps as in events: RFC 3339, UTC, milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        writer.write_str(&rfc3339_milliseconds(u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Sets up the log of the process, with the level from [`LEVEL_VARIABLE`], or `default_level` if it isn't set.
///
/// # Errors
/// The level can't be read, or a log was set up before.
pub fn init(format: LogFormat, default_level: &str) -> Result<(), LogError> {
    let level = std::env::var_os(LEVEL_VARIABLE).unwrap_or_default();
    let filter = filter(&level.to_string_lossy(), default_level)?;
    let terminal = std::io::stderr().is_terminal();
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let subscriber = subscriber(json, terminal, filter, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)
}

fn filter(level: &str, default_level: &str) -> Result<EnvFilter, LogError> {
    let level = if level.trim().is_empty() { default_level } else { level.trim() };
    // The parser below takes a word that is no level for the name of a module, and then nothing is logged.
    for directive in level.split(',') {
        let wanted = directive.rsplit('=').next().unwrap_or_default().trim();
        if wanted.is_empty() || wanted.parse::<LevelFilter>().is_err() {
            let reason = format!("{wanted:?} is none");
            return Err(LogError::BadLevel { found: level.to_owned(), reason });
        }
    }
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| LogError::BadLevel { found: level.to_owned(), reason: error.to_string() })
}

fn subscriber<W>(
    json: bool,
    colours: bool,
    filter: EnvFilter,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Milliseconds)
        // It would tell standard error, which is where the log goes: a thread would panic once nobody reads that.
        .log_internal_errors(false)
        .with_writer(writer);
    if json {
        Box::new(builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
    } else {
        Box::new(builder.with_ansi(colours).with_target(false).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, level: &str) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(json, false, filter(level, "info").unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(generation = 7, "config \"in force\"\nsecond line");
            tracing::debug!("detail");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_no_level_is_refused_and_not_taken_for_a_module() {
        for level in ["WARNING", "nonsense", "info,foo=bar", "info,notice", "info,"] {
            assert!(matches!(filter(level, "info"), Err(LogError::BadLevel { .. })), "{level}");
        }
        for level in ["warn", "INFO", "off", "info,weir::tls=debug", " error "] {
            assert!(filter(level, "info").is_ok(), "{level}");
        }
    }

    #[test]
    fn json_lines_are_objects_of_their_own() {
        let text = logged(true, "");
        assert_eq!(text.lines().count(), 1, "info is the default level: {text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "config \"in force\"\nsecond line");
        assert_eq!(line["generation"], 7);
        assert_eq!(line["level"], "INFO");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn lines_for_people_carry_no_escape_codes_where_no_terminal_is() {
        let text = logged(false, "debug");
        assert!(text.contains("INFO") && text.contains("generation=7") && text.contains("detail"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_bad_level_is_refused_with_its_place() {
        let error = filter("weir=loud", "info").unwrap_err().to_string();
        assert!(error.contains("WEIR_LOG") && error.contains("loud"), "{error}");
    }
}
