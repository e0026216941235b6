//! The entries of the IP lists: those of the files, which may be a million, and what was changed about them.

use std::path::Path;
use std::sync::Arc;

use super::model::{ListEntryConfig, Place};

/// The entries that are in force. A copy is cheap: the entries themselves are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEntries {
    /// Those of the files, in their order.
    files: Arc<Vec<ListEntryConfig>>,
    /// Which of these don't count, as indexes in ascending order.
    hidden: Arc<[u32]>,
    /// Those from elsewhere, which follow.
    added: Arc<[Arc<ListEntryConfig>]>,
}

impl ListEntries {
    /// The entries of files alone.
    #[must_use]
    pub fn of_files(entries: Vec<ListEntryConfig>) -> Self {
        Self { files: Arc::new(entries), ..Self::default() }
    }

    /// These entries without some of the files', by their indexes in ascending order, and with others behind them.
    pub(crate) fn changed(&self, hidden: Vec<u32>, added: &[Arc<ListEntryConfig>]) -> Self {
        Self { files: Arc::clone(&self.files), hidden: hidden.into(), added: added.into() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len() - self.hidden.len() + self.added.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them: first the files', then the others.
    pub fn iter(&self) -> impl Iterator<Item = &ListEntryConfig> {
        self.of_files_in_force().chain(self.added.iter().map(|entry| &**entry))
    }

    fn of_files_in_force(&self) -> impl Iterator<Item = &ListEntryConfig> {
        let mut hidden = self.hidden.iter().copied().peekable();
        let counts = move |(index, _): &(u32, _)| hidden.next_if_eq(index).is_none();
        (0..).zip(self.files.iter()).filter(counts).map(|(_, entry)| entry)
    }

    /// The entry at a position of [`Self::iter`].
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&ListEntryConfig> {
        let files = self.files.len() - self.hidden.len();
        match index.checked_sub(files) {
            Some(index) => self.added.get(index).map(|entry| &**entry),
            None if self.hidden.is_empty() => self.files.get(index),
            None => self.of_files_in_force().nth(index),
        }
    }

    /// All of the files' entries, those that don't count included.
    pub(crate) fn files(&self) -> &[ListEntryConfig] {
        &self.files
    }
}

impl ListEntryConfig {
    /// Where it is written, if that is the file at `path`.
    pub(crate) fn is_written_in(&self, path: &Path) -> bool {
        *self.place.file == *path
    }

    /// The same entry under another place.
    pub(crate) fn placed(self: &Arc<Self>, place: Place) -> Arc<Self> {
        if self.place == place { Arc::clone(self) } else { Arc::new(Self { place, ..(**self).clone() }) }
    }
}
