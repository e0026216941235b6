//! Rules beside those of modes, end to end: what they let through, stop, hide and change.

mod detection;
mod files;
mod headers;
mod rates;
mod secrets;
mod sizes;

/// A rule that holds everywhere.
fn rule(id: u64, keys: &str) -> String {
    format!("[[rule]]\nid = {id}\n{keys}\n")
}
