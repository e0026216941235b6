//! `weir-loadgen`: the command line of the load generator and the origin stub.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
