//! Tests of the whole reader: files in, configs or errors out.

mod bad;
mod bad_files;
mod full;
mod good;

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A folder of config files; `weir.toml` is the main one.
struct Folder(TempDir);

impl Folder {
    fn new(main: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("weir.toml", main);
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load_with(&self, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
        load(&self.path("weir.toml"), environment)
    }

    fn load(&self) -> Result<Loaded, Vec<ConfigError>> {
        self.load_with(&Environment::default())
    }

    /// The error lines, without the folder.
    fn error_lines(&self) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let errors = self.load().expect_err("the config has an error");
        errors.iter().map(|error| error.to_string().replace(&folder, "")).collect()
    }

    fn warning_lines(&self) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let loaded = self.load().unwrap();
        loaded.warnings.iter().map(|warning| warning.to_string().replace(&folder, "")).collect()
    }
}

/// The three tables without which no config is whole.
const MINIMAL: &str = r#"
[[listener]]
name = "public"
address = "127.0.0.1:0"
[[server]]
name = "a"
origin = "app"
[[origin]]
name = "app"
addresses = ["127.0.0.1:9000"]
"#;

fn environment(mode: &str) -> Environment {
    Environment { mode: Some(mode.into()), ..Environment::default() }
}
