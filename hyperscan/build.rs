//! Finds the static Hyperscan library (`libhs.a`) and links it, with the C++ runtime that it needs.

use std::path::{Path, PathBuf};

/// Names a folder that holds `libhs.a`, for systems where it is not in a usual place.
const FOLDER_VARIABLE: &str = "WEIR_HYPERSCAN_LIB_DIR";

fn main() {
    println!("cargo::rerun-if-env-changed={FOLDER_VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let folders = candidate_folders();
    let Some(folder) = folders.iter().find(|folder| folder.join("libhs.a").is_file()) else {
        let looked_in: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        println!(
            "cargo::error=libhs.a (Hyperscan) was not found in {}. Install it with `make deps` or \
             `apt-get install libhyperscan-dev`, or set {FOLDER_VARIABLE} to the folder that holds it.",
            looked_in.join(", ")
        );
        return;
    };
    println!("cargo::rerun-if-changed={}", folder.join("libhs.a").display());
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static=hs");
    println!("cargo::rustc-link-lib=dylib=stdc++");
    println!("cargo::rustc-link-lib=dylib=m");
}

/// The folder that the environment names, or else the usual ones of the target's architecture.
fn candidate_folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return vec![PathBuf::from(folder)];
    }
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| "x86_64".to_owned());
    [
        format!("/usr/lib/{architecture}-linux-gnu"),
        "/usr/lib64".into(),
        "/usr/local/lib".into(),
        "/usr/lib".into(),
    ]
    .iter()
    .map(|folder| Path::new(folder).to_path_buf())
    .collect()
}
