//! `weir demo`.

use super::Outcome;

/// Arguments of `weir demo`.
#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> Outcome {
    Outcome::Failed
}
