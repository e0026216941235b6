//! The form in which a compiled database is kept between starts: a key, a digest, the bytes.
//!
//! The caller reads and writes the file. A database is only ever restored from bytes whose digest fits and whose key is
//! that of this pack, this library, this CPU and this format.

use sha2::{Digest, Sha256};

use crate::pack::Pack;
use weir_hyperscan::{self as hyperscan, Database, HyperscanError};

const DIGEST_BYTES: usize = 32;

/// Names this format; a change of it makes old files foreign.
const FORMAT: &[u8] = b"weir hyperscan database 2";

/// What a compiled database depends on, as a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; DIGEST_BYTES]);

impl Key {
    /// The key of a pack's database on this machine.
    pub(crate) fn of(pack: &Pack) -> Result<Self, HyperscanError> {
        let (tune, cpu_features) = hyperscan::platform()?;
        let mut digest = Sha256::new();
        digest.update(FORMAT);
        digest.update(pack.digest());
        digest.update(tune.to_le_bytes());
        digest.update(cpu_features.to_le_bytes());
        digest.update(hyperscan::version());
        Ok(Self(digest.finalize().into()))
    }
}

/// Puts key and digest before the bytes of a serialized database.
pub(crate) fn seal(database: &[u8], key: &Key) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(2 * DIGEST_BYTES + database.len());
    sealed.extend_from_slice(&key.0);
    sealed.extend_from_slice(&Sha256::digest(database));
    sealed.extend_from_slice(database);
    sealed
}

/// The database in `sealed`, if it is whole and belongs to `key`.
pub(crate) fn open(sealed: &[u8], key: &Key) -> Option<Database> {
    let (found_key, rest) = sealed.split_at_checked(DIGEST_BYTES)?;
    let (digest, database) = rest.split_at_checked(DIGEST_BYTES)?;
    if found_key != key.0 || digest != Sha256::digest(database).as_slice() {
        return None;
    }
    Database::deserialize(database).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_hyperscan::Pattern;

    #[test]
    fn only_whole_bytes_of_the_same_key_open() {
        let key = Key::of(&Pack::embedded()).unwrap();
        let database = Database::compile(&[Pattern { expression: "abc", caseless: true }]).unwrap();
        let sealed = seal(&database.serialize().unwrap(), &key);
        assert!(open(&sealed, &key).is_some());
        assert!(open(&sealed, &Key([7; DIGEST_BYTES])).is_none());
        assert!(open(&sealed[..sealed.len() - 1], &key).is_none());
        assert!(open(&[], &key).is_none());
        for position in [0, 40, 100, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(open(&changed, &key).is_none(), "a flipped bit at {position} went unnoticed");
        }
    }
}
