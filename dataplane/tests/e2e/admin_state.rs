//! What was changed over the admin API survives whatever ends the node, and is never dropped silently.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::command::run;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;
use crate::support::{Seeded, eventually};

const ATTACK: &str = "/api/x?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

fn blocking() -> String {
    json!({ "type": "mode", "mode": "block", "uri": "/api/**" }).to_string()
}

fn state_file(node: &Node, name: &str) -> PathBuf {
    node.setup.folder.path().join("state").join(name)
}

#[test]
fn changes_outlive_the_node_and_are_seen_by_every_command() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    assert_eq!(node.api("PUT", "/v1/rules/3", &blocking()).0, 201);
    assert_eq!(node.api("POST", "/v1/ip-lists", r#"{"list": "deny", "address": "127.0.0.9"}"#).0, 201);
    let digest = node.api("GET", "/status", "").1["config_digest"].clone();
    node.kill_and_restart();
    assert_eq!(node.get(ATTACK).status(), 403);
    assert_eq!(node.connect_from(9).get("/").status(), 403);
    assert_eq!(node.api("GET", "/status", "").1["config_digest"], digest, "the same config");
    let place = node.api("GET", "/v1/rules/3", "").1["place"].as_str().unwrap().to_owned();
    assert!(place.ends_with("state/rules.json:2:9"), "{place}");

    for name in ["rules.json", "ip-lists.json", "lock"] {
        let mode = std::fs::metadata(state_file(&node, name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(state_file(&node, "")).unwrap().permissions().mode() & 0o777, 0o700);

    let names = |node: &Node| {
        let mut names: Vec<_> = std::fs::read_dir(state_file(node, ""))
            .unwrap()
            .map(|file| {
                let file = file.unwrap();
                (file.file_name(), file.metadata().unwrap().modified().unwrap())
            })
            .collect();
        names.sort();
        names
    };
    let before = names(&node);
    let config = node.setup.config_path();
    let check = run("check", &config, &[]);
    assert!(check.stdout.contains("1 rule,") && check.stdout.contains("1 list entry"), "{check:?}");
    let explain = run("explain", &config, &["--json", "--client", "127.0.0.1", ATTACK]);
    assert_eq!(
        (&explain.json_lines()[0]["mode"], &explain.json_lines()[0]["mode_from"]),
        (&json!("block"), &json!("rule 3"))
    );
    assert_eq!(names(&node), before, "they write nothing");
}

/// A real process, killed at moments that nobody chose, while it is sent one set of rules after another.
#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    let mut random = Seeded(9);
    let sent = AtomicU64::new(0);
    let acknowledged = AtomicU64::new(0);
    for round in 0..8 {
        let pause = Duration::from_millis(5 + random.next(120) as u64);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // Each set has its number in three places, which must agree.
                while !ended.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed) + 1;
                    let rule = |id: u64| json!({ "id": id, "type": "mode", "mode": "block", "uri": format!("/{number}") });
                    let set = json!({ "rules": [rule(1), rule(2), rule(number + 2)] }).to_string();
                    let call = std::panic::AssertUnwindSafe(|| node.admin_request("PUT", "/v1/rules", &set).status());
                    match std::panic::catch_unwind(call) {
                        Ok(200) => acknowledged.store(number, Ordering::Relaxed),
                        Ok(other) => panic!("answered {other}"),
                        // The node is gone.
                        Err(_) => return,
                    }
                }
            });
            // However slow the machine is, some rounds end behind an acknowledged set.
            let known = acknowledged.load(Ordering::Relaxed);
            while round % 2 == 0 && acknowledged.load(Ordering::Relaxed) == known && !writer.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(pause);
            node.kill_now();
            ended.store(true, Ordering::Relaxed);
        });
        node.kill_and_restart();
        let (_, rules) = node.api("GET", "/v1/rules", "");
        let rules = rules["rules"].as_array().unwrap();
        if rules.is_empty() {
            assert_eq!(acknowledged.load(Ordering::Relaxed), 0, "an acknowledged set is gone");
            continue;
        }
        let number: u64 = rules[0]["uri"].as_str().unwrap()[1..].parse().unwrap();
        assert!(
            rules.len() == 3 && rules.iter().all(|rule| rule["uri"] == format!("/{number}")),
            "{rules:?}"
        );
        assert_eq!(rules[2]["id"], number + 2);
        let (acknowledged, sent) = (acknowledged.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
        assert!((acknowledged..=sent).contains(&number), "{number} is not between {acknowledged} and {sent}");
    }
    assert!(acknowledged.load(Ordering::Relaxed) > 0, "nothing was ever acknowledged");
}

#[test]
fn a_damaged_state_file_stops_the_start_and_is_named() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    assert_eq!(node.api("PUT", "/v1/rules/3", &blocking()).0, 201);
    node.kill();
    let path = state_file(&node, "rules.json");
    let whole = std::fs::read(&path).unwrap();
    let config = node.setup.config_path();
    let mut changed = whole.clone();
    let last = changed.len() - 10;
    changed[last] ^= 0x20;
    let foreign = b"[[rule]]\nid = 1\n".to_vec();
    for (bytes, expected) in
        [(whole[..whole.len() - 5].to_vec(), "cut short"), (changed, "checksum"), (foreign, "no state file")]
    {
        std::fs::write(&path, bytes).unwrap();
        for (command, code) in [("run", 2), ("check", 1)] {
            let done = run(command, &config, &[]);
            assert_eq!(done.code, code, "{done:?}");
            let [error] = done.errors()[..] else { panic!("{done:?}") };
            assert!(
                error.contains(expected) && error.contains("rules.json") && error.contains("mv "),
                "{error}"
            );
        }
    }
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let done = run("check", &config, &[]);
    assert!(done.errors()[0].contains("larger than 64 MiB"), "{done:?}");

    // Its remedy works.
    std::fs::rename(&path, path.with_extension("bad")).unwrap();
    node.kill_and_restart();
    assert_eq!(node.get(ATTACK).status(), 200);
}

#[test]
fn a_state_folder_has_one_node() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let config = node.setup.config_path();
    let done = run("run", &config, &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("in use by another node (process "), "{done:?}");
    assert_eq!(run("check", &config, &[]).code, 0, "looking is fine");
}

#[test]
fn a_change_that_can_not_be_stored_is_refused() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    assert_eq!(node.api("PUT", "/v1/rules/3", &blocking()).0, 201);
    let in_the_way = state_file(&node, "rules.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let (status, answer) = node.api("DELETE", "/v1/rules/3", "");
    assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("state_dir"), "{answer}");
    assert_eq!(node.get(ATTACK).status(), 403, "nothing has changed");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(node.api("DELETE", "/v1/rules/3", "").0, 200);
}

#[test]
fn without_a_state_folder_the_node_serves_and_refuses_changes() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).node("state_dir = \"taken\"");
    let taken = setup.write("taken", "a file");
    let node = setup.start();
    node.await_log("a warning", |entry| {
        entry["error"].as_str().is_some_and(|error| error.contains("state_dir"))
    });
    assert_eq!(node.get("/").status(), 200);
    assert_eq!(node.api("PUT", "/v1/rules/3", &blocking()).0, 503);
    std::fs::remove_file(&taken).unwrap();
    let (status, answer) = node.api("PUT", "/v1/rules/3", &blocking());
    assert_eq!(status, 201, "no restart is needed: {answer}");
    assert!(taken.is_dir());
}

/// The general mode as the API has it, and the ids of the rules that it removed.
fn layer_of_rules(node: &Node) -> (String, String) {
    let (_, rules) = node.api("GET", "/v1/rules", "");
    (rules["general_mode"].as_str().unwrap().to_owned(), rules["removed"].to_string())
}

/// Writes the files and puts them in force, by a reload or by a start.
fn with_files(node: &mut Node, rules: &str, lists: &str, restarts: bool) {
    if restarts {
        node.kill();
    }
    node.setup.write("rules.toml", rules);
    node.setup.write("ip-lists.toml", lists);
    if restarts {
        node.restart();
    } else {
        let (status, answer) = node.api("POST", "/v1/reload", "");
        assert_eq!(status, 200, "{answer}");
    }
}

/// Changes that the files have settled are forgotten for good: neither files that are put back nor a restart bring them back.
#[test]
fn what_the_files_have_settled_stays_settled() {
    let rule = |uri: &str| format!("[[rule]]\nid = 7\ntype = \"mode\"\nmode = \"off\"\nuri = \"{uri}\"\n");
    let before = format!("general_mode = \"monitoring\"\n{}", rule("/off/**"));
    let after = "general_mode = \"block\"\n";
    let denied = "[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.3\"\n";
    for restarts in [false, true] {
        let origin = Origin::echoing_targets();
        let setup = Setup::new(origin.address).rules(&before).lists(denied);
        let mut node = setup.start();
        assert_eq!(node.api("PATCH", "/v1/rules", r#"{"general_mode": "block"}"#).0, 200);
        assert_eq!(node.api("DELETE", "/v1/rules/7", "").0, 200);
        assert_eq!(node.api("DELETE", "/v1/ip-lists?list=deny&address=127.0.0.3", "").0, 200);
        assert_eq!(layer_of_rules(&node), ("block".to_owned(), "[7]".to_owned()));
        assert_eq!(node.connect_from(3).get("/").status(), 200);

        with_files(&mut node, after, "", restarts);
        assert_eq!(layer_of_rules(&node), ("block".to_owned(), "[]".to_owned()));
        eventually("the state folder to hold nothing of it", || {
            let holds = |name: &str, words: &str| {
                std::fs::read_to_string(state_file(&node, name)).unwrap().contains(words)
            };
            (!holds("rules.json", "general_mode") && !holds("ip-lists.json", "removed")).then_some(())
        });

        // The rule is another one of that id, or the one that it was.
        for text in [before.replace("/off/**", "/other/**"), before.clone()] {
            with_files(&mut node, &text, denied, restarts);
            for _ in 0..2 {
                assert_eq!(layer_of_rules(&node), ("monitoring".to_owned(), "[]".to_owned()));
                assert_eq!(node.connect_from(3).get("/").status(), 403);
                node.kill_and_restart();
            }
        }
    }
}

#[test]
fn what_can_not_be_taken_out_of_the_state_folder_is_not_settled() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules("general_mode = \"monitoring\"\n").start();
    assert_eq!(node.api("PATCH", "/v1/rules", r#"{"general_mode": "block"}"#).0, 200);
    let in_the_way = state_file(&node, "rules.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    node.setup.write("rules.toml", "general_mode = \"block\"\n");
    let (status, answer) = node.api("POST", "/v1/reload", "");
    assert_eq!(status, 422, "{answer}");
    let told = answer["errors"][0].as_str().unwrap();
    assert!(told.contains("state_dir") && told.contains("nothing was put in force"), "{told}");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
}

/// Entries that have ended are taken out of the store and of what names the config, at the same time.
#[test]
fn the_digest_is_that_of_what_is_stored() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    let entry = r#"{"list": "deny", "address": "127.0.0.9", "ttl": "1s"}"#;
    assert_eq!(node.api("POST", "/v1/ip-lists", entry).0, 201);
    node.kill();
    let ends = SystemTime::now() + Duration::from_secs(2);
    eventually("the entry to end", || (SystemTime::now() >= ends).then_some(()));
    node.restart();
    eventually("the entry to be forgotten", || {
        let stored = std::fs::read_to_string(state_file(&node, "ip-lists.json")).unwrap();
        (!stored.contains("127.0.0.9")).then_some(())
    });
    let digest = |node: &Node| node.api("GET", "/status", "").1["config_digest"].clone();
    // (the disk is written first)
    let _waits_for_the_change = node.api("DELETE", "/v1/ip-lists?only=api", "");
    let before = digest(&node);
    node.kill_and_restart();
    assert_eq!(digest(&node), before);
}
