//! By which listener a described request comes in.

use super::described::{Described, DescriptionError, DescriptionErrors};
use crate::io::ListenerId;
use crate::snapshot::Snapshot;

/// The listener that a description names; or else the first one that speaks what its URL asks for, plain HTTP or TLS; or
/// else the first one of all.
///
/// # Errors
/// There is none of that name.
pub(super) fn of(snapshot: &Snapshot, request: &Described) -> Result<ListenerId, DescriptionErrors> {
    let listeners = &snapshot.listeners;
    let position = match (&request.listener, request.secure) {
        (Some(name), _) => match listeners.iter().position(|listener| *listener.name == **name) {
            Some(position) => position,
            None => return Err(unknown(snapshot, name)),
        },
        (None, Some(secure)) => {
            listeners.iter().position(|listener| listener.tls.is_some() == secure).unwrap_or(0)
        }
        (None, None) => 0,
    };
    Ok(ListenerId(u32::try_from(position).unwrap_or(0)))
}

fn unknown(snapshot: &Snapshot, name: &str) -> DescriptionErrors {
    let names: Vec<_> = snapshot.listeners.iter().map(|listener| format!("{:?}", listener.name)).collect();
    let message = format!("found {name:?}, allowed is the name of a listener: {}", names.join(", "));
    DescriptionErrors(vec![DescriptionError { field: "listener".to_owned(), message }])
}

/// Its name.
pub(super) fn name(snapshot: &Snapshot, listener: ListenerId) -> String {
    snapshot.listeners.get(listener.0 as usize).map_or_else(String::new, |listener| listener.name.to_string())
}

/// What its clients speak: the scheme that rules see.
pub(super) fn scheme(snapshot: &Snapshot, listener: ListenerId) -> &'static str {
    let is_secure =
        snapshot.listeners.get(listener.0 as usize).is_some_and(|listener| listener.tls.is_some());
    if is_secure { "https" } else { "http" }
}
