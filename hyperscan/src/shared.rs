//! Databases in use, by what they were compiled from, so that the same is not compiled twice.

use std::collections::HashMap;
use std::ffi::c_uint;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{Database, HyperscanError};

/// The expressions, each behind its flags and its length: no two lists have the same key.
type Key = Box<[u8]>;

/// Whoever compiles looks here, that is, threads that prepare a config; no one who scans does. Nothing is kept alive by it.
static IN_USE: Mutex<Option<HashMap<Key, Weak<Database>>>> = Mutex::new(None);

fn key<'a>(expressions: impl Iterator<Item = (&'a str, c_uint)>) -> Key {
    let mut key = Vec::new();
    for (expression, flags) in expressions {
        key.extend_from_slice(&flags.to_le_bytes());
        key.extend_from_slice(&(expression.len() as u64).to_le_bytes());
        key.extend_from_slice(expression.as_bytes());
    }
    key.into()
}

/// The database of these expressions, with these flags, that is in use, or else a new one.
pub(super) fn database<'a>(
    expressions: impl Iterator<Item = (&'a str, c_uint)>,
    compile: impl FnOnce() -> Result<Database, HyperscanError>,
) -> Result<Arc<Database>, HyperscanError> {
    let key = key(expressions);
    // a thread that panicked in here has left nothing half done
    let lock = || IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().as_ref().and_then(|in_use| in_use.get(&key)?.upgrade());
    if let Some(database) = known {
        return Ok(database);
    }
    let database = Arc::new(compile()?);
    let mut in_use = lock();
    let in_use = in_use.get_or_insert_default();
    in_use.retain(|_, database| database.strong_count() > 0);
    in_use.insert(key, Arc::downgrade(&database));
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_expressions_share_a_database_while_it_is_in_use() {
        let compile = |expressions: &[&str], caseless: &[bool]| {
            Database::compile_for_one_report(expressions, caseless).unwrap()
        };
        let first = compile(&["shared", "by two"], &[]);
        assert!(Arc::ptr_eq(&first, &compile(&["shared", "by two"], &[false, false])));
        for (expressions, caseless) in [
            (&["shared", "by two"][..], &[true][..]),
            (&["by two", "shared"], &[]),
            (&["sharedby two"], &[]),
            (&["shared", "by two", ""], &[]),
        ] {
            assert!(!Arc::ptr_eq(&first, &compile(expressions, caseless)), "{expressions:?} {caseless:?}");
        }
        let identity = first.identity();
        drop(first);
        assert_ne!(compile(&["shared", "by two"], &[]).identity(), identity, "it is gone with its last user");
    }
}
