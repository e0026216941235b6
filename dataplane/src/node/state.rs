//! The state folder of a node: who holds it, and what a reload or a start has to take out of it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Handle;
use super::changes::Current;
use crate::config::{Config, ConfigError};
use crate::control::Refused;
use crate::state::Layer;
use crate::state::folder::{Folder, FolderError};

/// Takes the state folder for this node, so that rules and lists can be changed over the admin API. A node without
/// that API needs none.
///
/// # Errors
/// Another node has it, or has changed what it holds since it was read.
pub(super) fn hold_state_folder(
    config: &Config,
    layer: &Layer,
    inherited: Option<OwnedFd>,
) -> Result<Option<Folder>, String> {
    if config.admin.is_none() {
        return Ok(None);
    }
    let path = &config.node.state_dir;
    match Folder::take_over(path, inherited) {
        Ok(folder) => {
            let stored = Layer::read(path);
            if stored.is_ok_and(|stored| stored.digests() == layer.stored_digests()) {
                return Ok(Some(folder));
            }
            Err(format!("{} was changed while the node started: start it again", path.display()))
        }
        Err(error @ FolderError::InUse { .. }) => Err(error.to_string()),
        Err(error @ FolderError::Unwritable { .. }) => {
            tracing::warn!(%error, "rules and lists can't be changed over the admin API");
            Ok(None)
        }
    }
}

impl Handle {
    /// The state folder, and the right to change anything. Reloads hold it, too.
    pub(super) fn changing(&self) -> MutexGuard<'_, Option<Folder>> {
        // What a panic leaves behind is the folder as it was.
        self.state_folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state folder. Where it couldn't be had at the start it is tried again: the cause may have been mended.
    pub(super) fn folder<'h>(
        &self,
        held: &'h mut Option<Folder>,
        draft: &Current,
    ) -> Result<&'h Folder, Refused> {
        let folder = match held.take() {
            Some(folder) => folder,
            None => take(&draft.config.node.state_dir, &draft.layer).map_err(Refused::Unavailable)?,
        };
        Ok(held.insert(folder))
    }

    /// Takes what the start has found the config's files to have settled out of the state folder, now that this process stays. On
    /// a thread of its own: whoever has the right to change anything may wait for the thread that calls this.
    pub(super) fn begin_to_settle(self: &Arc<Self>) {
        self.may_settle.store(true, Ordering::Relaxed);
        if self.in_force().layer.is_stored() {
            return;
        }
        let handle = Arc::clone(self);
        let settle = move || {
            if let Err(error) = handle.store_settled() {
                warn_of_unsettled(&error);
            }
        };
        let settling = std::thread::Builder::new().name("weir-settle".to_owned()).spawn(settle);
        if let Err(error) = settling {
            warn_of_unsettled(&error.to_string());
        }
    }

    /// Takes out of the state folder what the config's files have settled, unless that is done.
    ///
    /// # Errors
    /// Why it can't be done now.
    pub(super) fn store_settled(&self) -> Result<(), String> {
        if !self.may_settle.load(Ordering::Relaxed) || self.in_force().layer.is_stored() {
            return Ok(());
        }
        let held = self.changing();
        // By now the folder may be a successor's.
        if self.draining.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (mut layer, path) = {
            let in_force = self.in_force();
            (in_force.layer.clone(), in_force.config.node.state_dir.clone())
        };
        store_settled(held.as_ref(), &path, &mut layer, None)?;
        self.in_force().layer = layer;
        Ok(())
    }
}

/// Warns of a folder that still holds what the config's files have settled.
pub(super) fn warn_of_unsettled(error: &str) {
    tracing::warn!(
        error,
        "changes made over the admin API that the files have settled can't be taken out of the state folder: they come back \
         at a start with other files"
    );
}

/// Brings the state folder in line with a layer of which the config's files have settled some, so that this doesn't come
/// back at the next start. `former` is what is in force until then.
///
/// # Errors
/// Why it can't be done.
pub(super) fn store_settled(
    held: Option<&Folder>,
    path: &Path,
    layer: &mut Layer,
    former: Option<&Layer>,
) -> Result<(), String> {
    if layer.is_stored() {
        return Ok(());
    }
    // A node without the admin API holds no folder, and may share it with others of its kind that were quicker.
    if held.is_none() && Layer::read(path).is_ok_and(|stored| stored.digests() == layer.digests()) {
        layer.mark_stored();
        return Ok(());
    }
    let taken = match held {
        Some(_) => None,
        None => Some(take(path, layer)?),
    };
    let Some(folder) = held.or(taken.as_ref()) else { return Ok(()) };
    layer.store(folder, former).map_err(|error| format!("[node].state_dir {}: {error}", path.display()))
}

/// Takes a folder that must hold what it held when `layer` was read out of it.
fn take(path: &Path, layer: &Layer) -> Result<Folder, String> {
    let folder = Folder::open(path).map_err(|error| error.to_string())?;
    let stored = Layer::read(path).map_err(|errors| lines(&errors))?;
    if stored.digests() != layer.stored_digests() {
        return Err(format!("what {} holds isn't what is in force: restart the node", path.display()));
    }
    Ok(folder)
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
