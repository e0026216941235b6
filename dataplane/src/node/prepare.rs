//! Configs are read and compiled before anything that runs hears of them.

use std::path::Path;

use super::certificates::FileStamps;
use super::{origins, unix_seconds};
use crate::config::{self, Config, ConfigError, ConfigWarning, Environment, Loaded};
use crate::origins::Names;
use crate::snapshot::{self, Snapshot};
use crate::state::{Files, Layer};

/// A config that was read and compiled: ready to be put in force.
pub struct Prepared {
    /// What the files say, with what was changed over the admin API.
    pub config: Config,
    /// Rules and lists as the files alone have them.
    pub(crate) files: Files,
    /// What was changed over the admin API.
    pub(crate) layer: Layer,
    /// The files of its certificates as they were when they were read; absent where none was.
    pub(crate) certificate_files: Option<FileStamps>,
    /// What the names among the origins' addresses were resolved to; absent where they stay as they are.
    pub names: Option<Names>,
    /// What it compiles to.
    pub snapshot: Snapshot,
    /// What is odd about it.
    pub warnings: Vec<ConfigWarning>,
}

/// Reads and compiles the config file at `path`, with the changes that its `state_dir` holds, into generation 1.
/// Touches nothing that runs, and writes nothing but the signature cache.
///
/// # Errors
/// Everything that is wrong with it.
pub fn prepare(path: &Path, environment: &Environment) -> Result<Prepared, Vec<ConfigError>> {
    let loaded = load(path, environment)?;
    let layer = Layer::read(&loaded.config.node.state_dir)?;
    let workers = worker_count(&loaded.config);
    prepare_loaded(loaded, path, layer, Names::default(), 1, workers)
}

/// Reads the config; where it has errors, those are told too that compiling its rules would find.
pub(super) fn load(path: &Path, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
    config::load(path, environment).map_err(|mut errors| {
        if let Some(mut parts) = config::load_parts(path, environment) {
            // What the API has added isn't laid over this, and a rule may name it.
            if Layer::read(&parts.node.state_dir).map_or(true, |layer| layer.rules.len() > 0) {
                parts.rules.unread_ids.push(0);
            }
            let found = snapshot::rule_errors(&parts, path, &errors);
            errors.extend(found);
        }
        errors
    })
}

/// For `workers` of them: those that run, whatever the machine has now.
pub(super) fn prepare_loaded(
    loaded: Loaded,
    path: &Path,
    layer: Layer,
    known_names: Names,
    generation: u64,
    workers: usize,
) -> Result<Prepared, Vec<ConfigError>> {
    let Loaded { mut config, mut warnings, digest } = loaded;
    let (layer, files) = layer.lay_over(&mut config, digest)?;
    let digest = layer.digest(&files.digest);
    let certificate_files = Some(FileStamps::of(&config));
    let names = origins::resolve(&config, known_names, &mut warnings);
    let built = snapshot::build(&config, path, &digest, generation, workers, unix_seconds());
    let (names, built) = match (names, built) {
        (Ok(names), Ok(built)) => (Some(names), built),
        (names, built) => {
            return Err(names.err().into_iter().chain(built.err()).flatten().collect());
        }
    };
    warnings.extend(built.warnings);
    Ok(Prepared { config, files, layer, certificate_files, names, snapshot: built.snapshot, warnings })
}

/// One worker for each core that this process may use, unless the config says how many.
pub(super) fn worker_count(config: &Config) -> usize {
    config
        .node
        .workers
        .map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}
