//! Certificates in force: their files are looked at for changes, and their ends are announced in time.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, OriginTrust};

/// Days before the end of a certificate at which it is announced. The last one is the end itself.
const ANNOUNCED_DAYS: [i64; 4] = [30, 7, 1, 0];

const SECONDS_PER_DAY: i64 = 86_400;

/// What tells one content of a file from the next: device, inode, size and time of change. A file that is gone has none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Files and what they were like.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct FileStamps(Vec<(PathBuf, Stamp)>);

impl FileStamps {
    /// The files of a config. Take it before they are read: a change in between is then one that is still to come.
    pub(super) fn of(config: &Config) -> Self {
        Self::taken(certificate_files(config))
    }

    fn taken(files: Vec<PathBuf>) -> Self {
        Self(files.into_iter().map(|path| (stamp(&path), path)).map(|(stamp, path)| (path, stamp)).collect())
    }

    fn again(&self) -> Self {
        Self::taken(self.0.iter().map(|(path, _)| path.clone()).collect())
    }
}

/// Looks at files again and again.
#[derive(Debug, Default)]
pub(super) struct FileWatch {
    /// As of the config in force, or of the last change that was told.
    known: FileStamps,
    /// A change that was seen once.
    seen: Option<FileStamps>,
}

impl FileWatch {
    /// For the files of the config in force.
    pub(super) fn new(known: FileStamps) -> Self {
        Self { known, seen: None }
    }

    /// Whether the files have changed and stayed the same for one look: whoever replaces a certificate writes several
    /// files, and half of them are no pair. A change is told once, whether it can be used or not.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = self.known.again();
        if now == self.known {
            self.seen = None;
            return false;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return false;
        }
        self.known = now;
        self.seen = None;
        true
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// The files of every certificate, key, bundle and revocation list.
fn certificate_files(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for one in &config.client_certificates {
        files.extend([one.certificate.clone(), one.private_key.clone(), one.ca_bundle.clone()]);
    }
    for tls in config.origins.iter().filter_map(|origin| origin.tls.as_ref()) {
        if let OriginTrust::Bundle(file) = &tls.trust {
            files.push(file.clone());
        }
        files.extend(tls.crl.clone());
    }
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        for one in &tls.certificates {
            files.extend([one.certificate.clone(), one.private_key.clone()]);
        }
        files.extend(tls.client_ca.iter().chain(&tls.client_crl).cloned());
    }
    files.sort();
    files.dedup();
    files
}

/// Announces the ends of certificates, each threshold once.
#[derive(Debug, Default)]
pub(super) struct ExpiryWatch {
    /// By name: the end, and the days that were announced for it last.
    announced: HashMap<String, (i64, i64)>,
}

impl ExpiryWatch {
    /// The certificates whose next threshold has come, with the days that are left.
    pub(super) fn due<'a>(
        &mut self,
        certificates: impl Iterator<Item = (&'a str, i64)>,
        now_unix: i64,
    ) -> Vec<(&'a str, i64)> {
        let mut due = Vec::new();
        for (name, not_after) in certificates {
            let left = (not_after - now_unix).div_euclid(SECONDS_PER_DAY);
            let reached = ANNOUNCED_DAYS.into_iter().filter(|days| left < *days).min();
            let Some(days) = reached else {
                self.announced.remove(name);
                continue;
            };
            let announced = self.announced.insert(name.to_owned(), (not_after, days));
            if announced.is_none_or(|(end, before)| end != not_after || days < before) {
                due.push((name, left));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.pem"), folder.path().join("a.key"));
        std::fs::write(&first, "1").unwrap();
        let mut watch = FileWatch::new(FileStamps::taken(vec![first.clone(), second.clone()]));
        assert!(!watch.has_changed());
        std::fs::write(&first, "22").unwrap();
        assert!(!watch.has_changed(), "it may be half of a change");
        std::fs::write(&second, "22").unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed() && !watch.has_changed());
        std::fs::remove_file(&first).unwrap();
        assert!(!watch.has_changed());
        std::fs::write(&first, "22").unwrap();
        std::fs::remove_file(&second).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }

    #[test]
    fn each_threshold_is_announced_once_and_a_new_certificate_begins_anew() {
        let mut watch = ExpiryWatch::default();
        let day = SECONDS_PER_DAY;
        let end = 1_000 * day;
        let mut due = |left: i64, end: i64| {
            watch
                .due([("edge", end)].into_iter(), end - left)
                .iter()
                .map(|(_, days)| *days)
                .collect::<Vec<_>>()
        };
        assert_eq!(due(30 * day, end), [0; 0]);
        assert_eq!(due(30 * day - 1, end), [29]);
        assert_eq!(due(8 * day, end), [0; 0]);
        assert_eq!(due(6 * day, end), [6]);
        assert_eq!(due(2 * day, end), [0; 0]);
        assert_eq!(due(day / 2, end), [0]);
        assert_eq!(due(0, end), [0; 0]);
        assert_eq!(due(-1, end), [-1]);
        assert_eq!(due(-day, end), [0; 0]);
        assert_eq!(due(20 * day, end + 365 * day), [20]);
    }
}
