//! Reads the signature files of the configured folders.

use std::path::{Path, PathBuf};

use weir_inspect::{Pack, PackError};

use crate::config::{ConfigError, ConfigWarning, Where};
use crate::files::read_bounded;

/// The most bytes of one signature file.
const SIGNATURE_FILE_BYTES_MAX: u64 = 1 << 20;

/// The built-in signatures and those of the configured folders.
pub(super) fn own_pack(
    folders: &[PathBuf],
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<Pack> {
    let known_errors = errors.len();
    let mut files: Vec<(String, String)> = Vec::new();
    for folder in folders {
        read_signatures(folder, &mut files, errors, warnings);
    }
    if errors.len() > known_errors {
        return None;
    }
    let borrowed: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match Pack::embedded_with(&borrowed) {
        Ok(pack) => {
            for (name, _) in files.iter().filter(|(name, _)| !pack.has_signatures_of(name)) {
                let message = "the file has no [[signature]]; nothing is looked for by it".to_owned();
                warnings.push(signature_warning(Path::new(name), message));
            }
            Some(pack)
        }
        Err(found) => {
            errors.extend(found.iter().map(signature_error));
            None
        }
    }
}

fn signature_warning(file: &Path, message: String) -> ConfigWarning {
    ConfigWarning { place: Where::File(file.to_owned()), key: "detection.signatures".to_owned(), message }
}

pub(super) fn signature_error(error: &PackError) -> ConfigError {
    ConfigError {
        place: Where::File(PathBuf::from(&error.file)),
        key: "detection.signatures".to_owned(),
        message: error.to_string(),
        advice: String::new(),
    }
}

/// Reads the signature files of a folder; what can't be read is told by its name.
fn read_signatures(
    folder: &Path,
    files: &mut Vec<(String, String)>,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) {
    let unreadable = |path: &Path, reason: String, advice: &str| ConfigError {
        place: Where::File(path.to_owned()),
        key: "detection.signatures".to_owned(),
        message: format!("can't be read: {reason}"),
        advice: advice.to_owned(),
    };
    let listed = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths: Vec<PathBuf> = match listed {
        Ok(paths) => paths,
        Err(error) => {
            let advice = "name a folder of .toml files that this user may read";
            errors.push(unreadable(folder, error.to_string(), advice));
            return;
        }
    };
    paths.sort();
    for path in paths {
        let Some(extension) = path.extension() else { continue };
        if extension != "toml" {
            if extension.eq_ignore_ascii_case("toml") {
                let message = "the file is left out: names of signature files end with .toml".to_owned();
                warnings.push(signature_warning(&path, message));
            }
            continue;
        }
        let advice =
            "write the signatures as text in UTF-8 into a regular file of at most 1MiB, or move it elsewhere";
        let text = read_bounded(&path, SIGNATURE_FILE_BYTES_MAX).map_err(|error| error.to_string()).and_then(
            |bytes| String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error())),
        );
        match text {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(reason) => errors.push(unreadable(&path, reason, advice)),
        }
    }
}

/// Where the bytes stop being UTF-8.
fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> String {
    let line = memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count() + 1;
    format!("line {line} holds bytes that are no UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "class = \"rce\"\n[[signature]]\nid = \"own\"\ndescription = \"d\"\n\
                             pattern = \"__debug__\"\nscore = 5\n[signature.examples]\n\
                             attack = [\"__debug__\"]\nclean = [\"debug\"]\n";

    fn read(folder: &Path) -> (bool, Vec<String>, Vec<String>) {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let pack = own_pack(&[folder.to_owned()], &mut errors, &mut warnings);
        let errors = errors.iter().map(ToString::to_string).collect();
        (pack.is_some(), errors, warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn files_that_are_no_signatures_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.toml"), b"class = \"rce\"\n# \xff\n").unwrap();
        std::fs::create_dir(path("b.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("c.toml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("d.toml")).unwrap();
        std::fs::write(path("e.toml"), vec![b'#'; 2 << 20]).unwrap();
        let (made, errors, _) = read(folder.path());
        assert!(!made);
        assert_eq!(errors.len(), 5, "{errors:#?}");
        for (error, (name, reason)) in errors.iter().zip([
            ("a.toml", "line 2 holds bytes that are no UTF-8"),
            ("b.toml", "no regular file"),
            ("c.toml", "No such file"),
            ("d.toml", "no regular file"),
            ("e.toml", "larger than 1 MiB"),
        ]) {
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn files_without_effect_are_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("good.toml"), SIGNATURE).unwrap();
        std::fs::write(path("empty.toml"), "class = \"rce\"\n").unwrap();
        std::fs::write(path("UP.TOML"), SIGNATURE).unwrap();
        std::fs::write(path("README"), "text").unwrap();
        let (made, errors, warnings) = read(folder.path());
        assert!(made && errors.is_empty(), "{errors:#?}");
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        assert!(warnings[0].contains("UP.TOML") && warnings[1].contains("empty.toml"), "{warnings:#?}");
    }
}
