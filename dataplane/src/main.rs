//! The binary `weir`.

fn main() -> std::process::ExitCode {
    weir::commands::main()
}
