//! Commands of the binary that end by themselves: `check` and `explain`, and `run` on a bad config.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::node::weir;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The lines of standard error that name an error.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
    }

    /// The JSON objects of standard output, one a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}\n{self:?}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs `weir COMMAND --config CONFIG ARGUMENTS...` with nothing on standard input.
pub(crate) fn run(command: &str, config: &Path, arguments: &[&str]) -> Done {
    run_with_input(command, config, arguments, b"")
}

/// Runs it with `input` on standard input.
pub(crate) fn run_with_input(command: &str, config: &Path, arguments: &[&str], input: &[u8]) -> Done {
    let mut process = weir()
        .arg(command)
        .arg("--config")
        .arg(config)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that reads nothing may be gone before all of it is written.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
