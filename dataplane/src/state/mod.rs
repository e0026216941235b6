//! What was changed over the admin API and must survive a restart: a layer over the rules and lists of the files.
//!
//! It lives in `[node].state_dir`, one file for the rules and one for the lists. A change is on the disk before it is in
//! force, and in force before it is answered.

pub(crate) mod file;
pub(crate) mod folder;
pub(crate) mod lists;
pub(crate) mod rules;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::{Config, ConfigError, IpListsConfig, RulesConfig};
use lists::ListsLayer;
use rules::RulesLayer;

/// All changes. A copy is cheap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) rules: Arc<RulesLayer>,
    pub(crate) lists: Arc<ListsLayer>,
}

/// Rules and lists as the files have them.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Names all files of the config.
    pub(crate) digest: String,
    pub(crate) rules: RulesConfig,
    pub(crate) lists: IpListsConfig,
}

impl Layer {
    /// The changes that are stored in a folder; none if there is no such folder. Writes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the stored files.
    pub(crate) fn read(folder: &Path) -> Result<Self, Vec<ConfigError>> {
        match (RulesLayer::read(folder), ListsLayer::read(folder)) {
            (Ok(rules), Ok(lists)) => Ok(Self { rules: Arc::new(rules), lists: Arc::new(lists) }),
            (rules, lists) => Err([rules.err(), lists.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Lays the changes over a config that was just read, and gives what its files said.
    ///
    /// # Errors
    /// Every change that the files contradict.
    pub(crate) fn lay_over(
        self,
        config: &mut Config,
        digest: String,
    ) -> Result<(Self, Files), Vec<ConfigError>> {
        let files = Files { digest, rules: config.rules.clone(), lists: config.ip_lists.clone() };
        let layer = Self {
            rules: Arc::new(self.rules.over(&files.rules)?),
            lists: Arc::new(self.lists.over(&files.lists)),
        };
        config.rules = layer.rules.apply(&files.rules);
        config.ip_lists = layer.lists.apply(&files.lists);
        Ok((layer, files))
    }

    /// Names what is stored of it.
    pub(crate) fn digests(&self) -> (&str, &str) {
        (self.rules.digest(), self.lists.digest())
    }

    /// The digest of a config with this layer over its files: that of the files if nothing was changed.
    pub(crate) fn digest(&self, of_files: &str) -> String {
        if self.rules.digest().is_empty() && self.lists.digest().is_empty() {
            return of_files.to_owned();
        }
        combined(&[of_files, self.rules.digest(), self.lists.digest()])
    }
}

/// One digest of several.
fn combined(digests: &[&str]) -> String {
    let mut sum = Sha256::new();
    for digest in digests {
        sum.update((digest.len() as u64).to_le_bytes());
        sum.update(digest);
    }
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names a version of the rules, or of the lists: what the files say and what is laid over them.
pub(crate) fn entity_tag(of_files: &str, of_layer: &str) -> String {
    format!("\"{}\"", &combined(&[of_files, of_layer])[..32])
}
