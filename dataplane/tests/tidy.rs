//! What no compiler checks: that the pages' links, commands and examples are true, and that nothing was left lying
//! about in the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where compiled signatures are kept, so that each set is compiled once.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/pages");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All files of the repository that are text, with their paths from its root; hidden ones are left out, as many of
/// them belong to tools.
fn texts() -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == "target" || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                texts.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    texts
}

fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = texts();
    pages.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "md"));
    pages
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The contents of a page's fenced blocks of one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Targets of a page's links: what stands in `](...)`.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// What `weir check` prints about `weir.toml` in a folder, which must be in order.
fn check(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", "--config"])
        .arg(folder.join("weir.toml"))
        .env("XDG_CACHE_HOME", CACHE)
        .env_remove("WEIR_MODE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sources_name_no_private_place_and_leave_nothing_to_do() {
    // In halves, or this file would find itself.
    let private = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (path, text) in texts() {
        // Signatures look for private places.
        let private = if path.starts_with("inspect") { &private[1..] } else { &private[..] };
        for (number, line) in text.lines().enumerate() {
            let found = private.iter().chain(&notes).find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{}: {}", path.display(), number + 1, line.trim());
        }
    }
}

#[test]
fn links_of_pages_resolve() {
    for (path, text) in pages() {
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(path.parent().unwrap());
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let place = format!("{}: the link `{link}`", path.display());
            assert!(target.exists(), "{place} leads nowhere");
            if !heading.is_empty() {
                let target = fs::read_to_string(target).unwrap();
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches(['#', ' '])));
                assert!(anchors.any(|anchor| anchor == heading), "{place} names no heading");
            }
        }
    }
}

#[test]
fn the_readme_links_to_every_page() {
    let readme = page("README.md");
    let linked: Vec<&str> = links(&readme).collect();
    for (path, _) in pages().iter().filter(|(path, _)| path.starts_with("docs")) {
        assert!(linked.contains(&path.to_str().unwrap()), "README.md doesn't link to {}", path.display());
    }
}

#[test]
fn make_commands_of_pages_exist() {
    let makefile = page("Makefile");
    for (path, text) in pages() {
        let commands = text.split('`').skip(1).step_by(2).chain(text.lines());
        for command in commands.filter_map(|command| command.strip_prefix("make ")) {
            let target = command.split_whitespace().next().unwrap_or_default();
            let exists = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(exists, "{}: `make {target}` is no target of the Makefile", path.display());
        }
    }
    for command in ["\nmake demo ", "\nmake test "] {
        assert!(page("README.md").contains(command), "README.md doesn't say `{}`", command.trim());
    }
    assert!(page(".ci/run").ends_with("\nexec make test\n"), ".ci/run runs the tests and nothing else");
}

#[test]
fn the_config_of_the_readme_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weir.toml"), blocks(&page("README.md"), "toml")[0]).unwrap();
    assert!(check(folder.path()).contains("1 server with 1 location"));
}

#[test]
fn the_example_of_the_policy_page_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let policy = page("docs/policy.md");
    let [config, rules] = blocks(&policy, "toml")[..] else { panic!("two files were expected") };
    fs::write(folder.path().join("weir.toml"), config).unwrap();
    fs::write(folder.path().join("rules.toml"), rules).unwrap();
    assert!(check(folder.path()).contains("3 rules, general mode monitoring"));
}

#[test]
fn the_signature_of_the_detection_page_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (readme, detection) = (page("README.md"), page("docs/detection.md"));
    let [graphql, config, signatures] = blocks(&detection, "toml")[..] else {
        panic!("two parts of a config and a file of signatures were expected")
    };
    let config = [blocks(&readme, "toml")[0], config, graphql].concat();
    fs::write(folder.path().join("weir.toml"), config).unwrap();
    fs::create_dir(folder.path().join("signatures")).unwrap();
    fs::write(folder.path().join("signatures/own.toml"), signatures).unwrap();
    check(folder.path());
}

/// Runs the `weir explain` commands that a page shows, in a folder with the files that they need, and compares what they
/// print. A line `...` on the page stands for any lines.
fn assert_explained_as_shown(path: &str, folder: &Path, commands: usize) {
    let text = page(path);
    let shown = blocks(&text, "console").into_iter().filter_map(|block| block.split_once('\n'));
    let shown =
        shown.filter(|(command, _)| command.starts_with("$ weir explain ") && !command.contains("--batch"));
    let shown: Vec<_> = shown.collect();
    assert_eq!(shown.len(), commands, "{path}: {shown:?}");
    for (command, expected) in shown {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("weir() {{ \"$WEIR\" \"$@\"; }}; {}", &command[2..]))
            .current_dir(folder)
            .env("WEIR", env!("CARGO_BIN_EXE_weir"))
            .env("XDG_CACHE_HOME", CACHE)
            .env_remove("WEIR_MODE")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            is_shown(&printed, expected),
            "{path} shows of {command}\n{expected}\nbut it prints\n{printed}{error}"
        );
    }
}

fn is_shown(printed: &str, expected: &str) -> bool {
    let mut printed = printed.lines();
    let mut skips = false;
    for expected in expected.lines() {
        if expected == "..." {
            skips = true;
            continue;
        }
        let found =
            if skips { printed.any(|line| line == expected) } else { printed.next() == Some(expected) };
        if !found {
            return false;
        }
        skips = false;
    }
    skips || printed.next().is_none()
}

#[test]
fn explanations_on_the_pages_are_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (readme, policy, detection) = (page("README.md"), page("docs/policy.md"), page("docs/detection.md"));
    write("weir.toml", blocks(&readme, "toml")[0]);
    assert_explained_as_shown("README.md", folder.path(), 1);
    for (name, text) in ["weir.toml", "rules.toml"].into_iter().zip(blocks(&policy, "toml")) {
        write(name, text);
    }
    assert_explained_as_shown("docs/policy.md", folder.path(), 1);
    let [_, config, signatures] = blocks(&detection, "toml")[..] else { panic!("three files were expected") };
    // its GraphQL limits are those of the table beside the command, not of the example
    write("weir.toml", &[blocks(&readme, "toml")[0], config, "\n[detection.graphql]\n"].concat());
    fs::create_dir(folder.path().join("signatures")).unwrap();
    write("signatures/own.toml", signatures);
    assert_explained_as_shown("docs/detection.md", folder.path(), 4);
    assert_explained_as_shown("docs/rules.md", root(), 1);
}
