//! The commands of the binary: `run`, `check`, `explain`, `demo`.

/// Parses the command line and runs the command. Exit codes: 0 fine, 1 a finding or a failed check,
/// 2 wrong usage or config.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
