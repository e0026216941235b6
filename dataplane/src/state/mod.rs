//! What was changed over the admin API and must survive a restart: a layer over the rules and lists of the files.
//!
//! It lives in `[node].state_dir`, one file for the rules and one for the lists. A change is on the disk before it is in
//! force, and in force before it is answered.

pub(crate) mod file;
pub(crate) mod folder;
pub(crate) mod lists;
pub(crate) mod rules;

use std::io;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::{Config, ConfigError, IpListsConfig, RulesConfig, Where};
use file::Kind;
use folder::Folder;
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

    /// Lays the changes over a config that was just read, and gives what its files said. Changes that the files have settled
    /// are gone from the layer; they are on the disk until it is [stored](Self::store).
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
            lists: Arc::new(self.lists.over(&files.lists).map_err(|error| vec![self.lists_error(&error)])?),
        };
        config.rules = layer.rules.apply(&files.rules);
        config.ip_lists = layer.lists.apply(&files.lists);
        Ok((layer, files))
    }

    fn lists_error(&self, error: &serde_json::Error) -> ConfigError {
        ConfigError {
            place: Where::File(self.lists.path().to_owned()),
            key: String::new(),
            message: format!("a change of the lists can't be written: {error}"),
            advice: String::new(),
        }
    }

    /// Names what it says.
    pub(crate) fn digests(&self) -> (&str, &str) {
        (self.rules.digest(), self.lists.digest())
    }

    /// Names what the disk holds of it.
    pub(crate) fn stored_digests(&self) -> (&str, &str) {
        (self.rules.stored_digest(), self.lists.stored_digest())
    }

    /// Whether the disk holds what it says.
    pub(crate) fn is_stored(&self) -> bool {
        self.digests() == self.stored_digests()
    }

    /// Notes that the disk holds what it says.
    pub(crate) fn mark_stored(&mut self) {
        Arc::make_mut(&mut self.rules).mark_stored();
        Arc::make_mut(&mut self.lists).mark_stored();
    }

    /// Stores what of it isn't on the disk yet.
    ///
    /// # Errors
    /// It can't be written; the disk holds what `former` says then, if that is given and can be written.
    pub(crate) fn store(&mut self, folder: &Folder, former: Option<&Self>) -> io::Result<()> {
        let (rules, lists) = (&self.rules, &self.lists);
        let has_new_rules = rules.digest() != rules.stored_digest();
        if has_new_rules {
            folder.write(Kind::Rules, &rules.body(), rules.digest())?;
        }
        if lists.digest() != lists.stored_digest() {
            let body = lists.body().map_err(io::Error::other);
            let written = body.and_then(|body| folder.write(Kind::IpLists, &body, lists.digest()));
            if let Err(error) = written {
                if has_new_rules
                    && let Some(former) = former
                    && let Err(error) = folder.write(Kind::Rules, &former.rules.body(), former.rules.digest())
                {
                    tracing::error!(%error, "state_dir holds other changes of rules than those in force");
                }
                return Err(error);
            }
        }
        self.mark_stored();
        Ok(())
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
    crate::text::hex(&sum.finalize())
}

/// Names a version of the rules, or of the lists: what the files say and what is laid over them.
pub(crate) fn entity_tag(of_files: &str, of_layer: &str) -> String {
    format!("\"{}\"", &combined(&[of_files, of_layer])[..32])
}
