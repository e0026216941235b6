//! The Debian package: what it holds, and that its config is in order. It is built around binaries that stand in for the real ones,
//! whose compression would take longer than all of this.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn build(folder: &Path) -> PathBuf {
    for name in ["weir", "weir-loadgen"] {
        std::fs::copy("/bin/true", folder.join(name)).unwrap();
    }
    output(Command::new(repository().join("packaging/build-deb")).args([folder, folder]));
    let package = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    package.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb")).unwrap()
}

#[test]
fn the_package_holds_program_service_config_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let field = |name: &str| {
        output(Command::new("dpkg-deb").arg("--field").args([package.as_os_str(), name.as_ref()]))
    };
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").contains("libc6 (>= "), "{}", field("Depends"));
    let contents = output(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for (rights, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/weir\n"),
        ("-rwxr-xr-x root/root", "./usr/bin/weir-loadgen\n"),
        ("-rw-r--r-- root/root", "./etc/weir/weir.toml\n"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/weir.service\n"),
        ("-rw-r--r-- root/root", "./usr/share/doc/weir/operations.md\n"),
        ("-rw-r--r-- root/root", "./usr/share/doc/weir/examples/full.toml\n"),
    ] {
        let found = contents.split_inclusive('\n').find(|line| line.ends_with(path));
        assert!(found.is_some_and(|line| line.starts_with(rights)), "{path}: {contents}");
    }
}

#[test]
fn an_installation_makes_a_token_once() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("admin.token");
    // Stand-ins for what needs rights or another system; the first configured version has an empty second argument. None is a
    // script that is written here: one that another test's child still holds open can't be started.
    for name in ["systemd-sysusers", "systemctl"] {
        std::os::unix::fs::symlink("/bin/true", folder.path().join(name)).unwrap();
    }
    let script = std::fs::read_to_string(repository().join("packaging/debian/postinst")).unwrap();
    let script = script.replace("/etc/weir/admin.token", token.to_str().unwrap());
    let script = format!("chown() {{ echo \"$@\" >&2; }}\n{script}");
    let configure = || {
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let done = Command::new("sh")
            .env("PATH", path)
            .args(["-c", &script, "postinst", "configure", ""])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(configure().starts_with("root:weir "), "the service must be able to read it");
    let read = || {
        let made = std::fs::read_to_string(&token).unwrap();
        assert!(made.len() == 64 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        made
    };
    let made = read();
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o640);
    // An upgrade keeps it.
    assert_eq!(configure(), "");
    assert_eq!(read(), made);
    // An empty one, which a full disk may have left, keeps the service from starting.
    std::fs::write(&token, "").unwrap();
    assert!(configure().starts_with("root:weir "));
    assert_ne!(read(), made);
}

#[test]
fn the_same_binaries_give_the_same_package() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let read = |folder: &Path| std::fs::read(build(folder)).unwrap();
    assert!(read(first.path()) == read(second.path()), "two builds differ");
}

#[test]
fn the_config_of_the_package_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(repository().join("packaging/debian/weir.toml")).unwrap();
    // The folders of the service are there once it has been started.
    let text = text.replace("\"/var/", &format!("\"{}/", folder.path().display()));
    // The token is made when the package is installed: without one, every local user could change rules.
    let token = folder.path().join("admin.token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let named = "token_file = \"/etc/weir/admin.token\"";
    assert!(text.contains(named), "{text}");
    let text = text.replace(named, &format!("token_file = {token:?}"));
    let config = folder.path().join("weir.toml");
    std::fs::write(&config, text).unwrap();
    for name in ["log/weir", "lib/weir"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let summary = output(
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .env_remove("WEIR_MODE")
            .env("XDG_CACHE_HOME", folder.path())
            .args(["check", "--config"])
            .arg(&config),
    );
    assert!(summary.contains("mode monitoring"), "{summary}");
}
