//! The bearer token of the admin endpoints.

use sha2::{Digest as _, Sha256};
use std::path::Path;

use crate::files::read_bounded;

/// A token that is shorter can be guessed.
const LENGTH_MIN_BYTES: usize = 16;
const LENGTH_MAX_BYTES: u64 = 4_096;

/// A token, kept as its digest only: it can be checked but not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digest: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token from a file: one line, 16 bytes at least, printable ASCII without spaces.
    ///
    /// # Errors
    /// The file can't be read or doesn't hold a token; the message names the file and never the contents.
    pub fn read(path: &Path) -> Result<Self, String> {
        let fail = |reason: String| format!("token file {}: {reason}", path.display());
        // White space around it is allowed.
        let text = read_bounded(path, 2 * LENGTH_MAX_BYTES).map_err(|error| fail(error.to_string()))?;
        Self::from_bytes(text.trim_ascii()).map_err(|reason| fail(reason.to_owned()))
    }

    fn from_bytes(token: &[u8]) -> Result<Self, &'static str> {
        if token.len() < LENGTH_MIN_BYTES {
            return Err("a token of at least 16 bytes is expected, for example from `openssl rand -hex 32`");
        }
        if token.len() as u64 > LENGTH_MAX_BYTES {
            return Err("a token of at most 4096 bytes is expected");
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("one line of printable ASCII without spaces is expected");
        }
        Ok(Self { digest: Sha256::digest(token).into() })
    }

    /// Whether an `Authorization` header carries this token. Takes the same time wherever a wrong token differs:
    /// digests are compared, in full.
    pub(crate) fn accepts(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, credentials)) = authorization.and_then(|value| value.split_at_checked(7)) else {
            return false;
        };
        let offered: [u8; 32] = Sha256::digest(credentials.trim_ascii()).into();
        let difference = self.digest.iter().zip(offered).fold(0, |sum, (known, other)| sum | (known ^ other));
        scheme.eq_ignore_ascii_case(b"bearer ") && std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_accepted() {
        let token = Token::from_bytes(b"0123456789abcdef").unwrap();
        assert!(token.accepts(Some(b"Bearer 0123456789abcdef")));
        assert!(token.accepts(Some(b"bearer  0123456789abcdef")));
        for wrong in [
            &b"Bearer 0123456789abcdeF"[..],
            b"Bearer 0123456789abcde",
            b"Bearer 0123456789abcdef0",
            b"Bearer ",
            b"Bearer",
            b"Basic 0123456789abcdef",
            b"0123456789abcdef",
            b"",
        ] {
            assert!(!token.accepts(Some(wrong)), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(!token.accepts(None));
    }

    #[test]
    fn files_are_read_and_bad_ones_named_without_their_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(Token::read(&path).unwrap().accepts(Some(b"Bearer 0123456789abcdef")));
        for bad in ["short-secret", "", "two words of which one is secret", &"secret".repeat(1_000)] {
            std::fs::write(&path, bad).unwrap();
            let error = Token::read(&path).unwrap_err();
            assert!(error.contains("token") && !error.contains("secret"), "{error}");
        }
        assert!(Token::read(&folder.path().join("absent")).unwrap_err().contains("absent"));
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::from_bytes(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "Token");
    }
}
