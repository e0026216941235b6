//! IP lists over the admin API.

use serde_json::json;

use crate::support::eventually;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

fn node() -> (Origin, Node) {
    let origin = Origin::echoing_targets();
    let lists = "[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.3\"\nreason = \"file\"\n";
    let node = Setup::new(origin.address).lists(lists).start();
    (origin, node)
}

#[track_caller]
fn status_from(node: &Node, last: u8) -> u16 {
    node.connect_from(last).get("/").status()
}

#[test]
fn entries_come_and_go() {
    let (_origin, node) = node();
    let entry =
        json!({ "list": "deny", "address": "127.0.0.5", "reason": "scanner", "ttl": "1h" }).to_string();
    assert_eq!(status_from(&node, 5), 200);
    let (status, answer) = node.api("POST", "/v1/ip-lists", &entry);
    assert_eq!((status, &answer["added"], &answer["entry_count"]), (201, &json!(1), &json!(2)), "{answer}");
    assert_eq!(status_from(&node, 5), 403);

    let (_, lists) = node.api("GET", "/v1/ip-lists?source=api", "");
    let shown = &lists["entries"][0];
    assert_eq!((shown["list"].as_str(), shown["address"].as_str()), (Some("deny"), Some("127.0.0.5")));
    assert_eq!((shown["reason"].as_str(), shown["source"].as_str()), (Some("scanner"), Some("api")));
    assert!(shown["expires"].as_str().unwrap().ends_with('Z'), "{shown}");
    let (_, lists) = node.api("GET", "/v1/ip-lists?covers=127.0.0.3", "");
    assert_eq!((&lists["total"], lists["entries"][0]["source"].as_str()), (&json!(1), Some("file")));

    // The same entry again takes the place of the first.
    assert_eq!(node.api("POST", "/v1/ip-lists", &entry).1["entry_count"], 2);
    assert_eq!(node.api("DELETE", "/v1/ip-lists?list=deny&address=127.0.0.5", "").0, 200);
    assert_eq!(status_from(&node, 5), 200);
    assert_eq!(node.api("DELETE", "/v1/ip-lists?list=deny&address=127.0.0.5", "").0, 404);

    // An entry of the file can be taken out, and comes back with the file.
    let named = json!({ "entries": [{ "list": "deny", "address": "127.0.0.3" }] }).to_string();
    assert_eq!(node.api("DELETE", "/v1/ip-lists", &named).1["deleted"], 1);
    assert_eq!(status_from(&node, 3), 200);
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
    assert_eq!(status_from(&node, 3), 200);
    assert_eq!(node.api("DELETE", "/v1/ip-lists?only=api", "").0, 200);
    assert_eq!(status_from(&node, 3), 403);
}

#[test]
fn lists_are_replaced_as_a_whole_and_read_in_parts() {
    let (_origin, node) = node();
    let entries: Vec<_> =
        (0..30).map(|number| json!({ "list": "gray", "address": format!("10.0.{number}.0/24") })).collect();
    let (status, answer) = node.api("PUT", "/v1/ip-lists", &json!({ "entries": entries }).to_string());
    assert_eq!((status, &answer["entry_count"]), (200, &json!(30)), "{answer}");
    assert_eq!(status_from(&node, 3), 200, "the file's entry is gone");
    let (_, part) = node.api("GET", "/v1/ip-lists?offset=25&limit=10", "");
    assert_eq!((part["entries"].as_array().unwrap().len(), &part["next_offset"]), (5, &json!(null)));
    let (_, part) = node.api("GET", "/v1/ip-lists?limit=10&list=gray", "");
    assert_eq!(
        (part["entries"][0]["address"].as_str(), &part["next_offset"]),
        (Some("10.0.0.0/24"), &json!(10))
    );

    let covered = json!({ "list": "gray", "address": "10.0.7.7" }).to_string();
    assert_eq!(part["warnings"], json!([]));
    assert_eq!(node.api("POST", "/v1/ip-lists", &covered).0, 201);
    let (_, part) = node.api("GET", "/v1/ip-lists?covers=127.0.0.3", "");
    let told = part["warnings"][0].as_str().unwrap_or_default();
    assert!(told.contains("`gray 10.0.7.0/24` holds for all that it holds for"), "{part}");

    let got = node.admin_get("/v1/ip-lists");
    assert_eq!(node.api("PUT", "/v1/ip-lists", &got.text()).0, 200);
    assert_eq!(node.admin_get("/v1/ip-lists").field("etag"), got.field("etag"), "nothing has changed");

    // What isn't all of them would remove the rest.
    let put = |sent: &str, field: &str| {
        let (status, answer) = node.api("PUT", "/v1/ip-lists", sent);
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!(field)), "{answer}");
    };
    put(&node.admin_get("/v1/ip-lists?limit=10").text(), "next_offset");
    put(&node.admin_get("/v1/ip-lists?offset=10").text(), "offset");
    put(&covered, "entries");
    assert_eq!(node.admin_get("/v1/ip-lists").field("etag"), got.field("etag"), "nothing has changed");
}

#[test]
fn of_entries_that_a_file_has_twice_those_that_were_put_hold_alone() {
    let origin = Origin::echoing_targets();
    let once = "[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.3\"\n";
    let lists = format!("{once}expires = \"2099-01-01T00:00:00Z\"\n{once}");
    let node = Setup::new(origin.address).lists(&lists).start();
    let with_end = json!({ "list": "deny", "address": "127.0.0.3", "expires": "2099-01-01T00:00:00Z" });
    let sent = json!({ "entries": [with_end] }).to_string();
    assert_eq!(node.api("PUT", "/v1/ip-lists", &sent).0, 200);
    let (_, found) = node.api("GET", "/v1/ip-lists", "");
    assert_eq!(
        (&found["total"], &found["entries"][0]["expires"]),
        (&json!(1), &with_end["expires"]),
        "{found}"
    );
}

#[test]
fn entries_end_by_themselves_in_the_store_too() {
    let (_origin, node) = node();
    let entries = json!({ "entries": [
        { "list": "deny", "address": "127.0.0.5", "ttl": "1s" },
        { "list": "deny", "address": "127.0.0.6", "ttl": "1h" },
    ]});
    assert_eq!(node.api("POST", "/v1/ip-lists", &entries.to_string()).0, 201);
    eventually("the entry to end", || (status_from(&node, 5) == 200).then_some(()));
    assert_eq!(status_from(&node, 6), 403);
    let (_, lists) = node.api("GET", "/v1/ip-lists?source=api", "");
    assert_eq!(lists["total"], 1, "{lists}");
    // At the latest the next change takes it out of the store.
    assert_eq!(node.api("POST", "/v1/ip-lists", r#"{"list":"deny","address":"127.0.0.7"}"#).0, 201);
    let stored = std::fs::read_to_string(node.setup.folder.path().join("state/ip-lists.json")).unwrap();
    assert!(!stored.contains("127.0.0.5") && stored.contains("127.0.0.6"), "{stored}");
}

#[test]
fn wrong_entries_are_refused_whole_and_the_field_is_named() {
    let (_origin, node) = node();
    let right = json!({ "list": "deny", "address": "127.0.0.5" });
    for (wrong, field, message) in [
        (json!({ "list": "denny", "address": "127.0.0.5" }), "list", "denny"),
        (json!({ "list": "deny", "address": "127.0.0.500" }), "address", "127.0.0.500"),
        (json!({ "list": "deny", "address": "10.0.0.0/33" }), "address", "10.0.0.0/33"),
        (json!({ "list": "deny" }), "address", "no \"address\""),
        (json!({ "list": "deny", "address": "10.0.0.1", "ttl": "soon" }), "ttl", "soon"),
        (json!({ "list": "deny", "address": "10.0.0.1", "ttl": "0s" }), "ttl", "0s"),
        (json!({ "list": "deny", "address": "10.0.0.1", "ttl": 600 }), "ttl", "600"),
        (
            json!({ "list": "deny", "address": "10.0.0.1", "expires": "2001-01-01T00:00:00Z" }),
            "expires",
            "over",
        ),
        (json!({ "list": "deny", "address": "10.0.0.1", "expires": "2030-01-01" }), "expires", "2030-01-01"),
        (
            json!({ "list": "deny", "address": "10.0.0.1", "ttl": "1m", "expires": "2099-01-01T00:00:00Z" }),
            "ttl",
            "expires",
        ),
        (json!({ "list": "deny", "address": "10.0.0.1", "applications": [0] }), "applications[0]", "0"),
        (json!({ "list": "deny", "address": "10.0.0.1", "why": "x" }), "why", "unknown key"),
    ] {
        let (status, answer) = node.api("POST", "/v1/ip-lists", &wrong.to_string());
        assert_eq!(status, 400, "{wrong}: {answer}");
        let error = &answer["errors"][0];
        assert_eq!(error["field"], field, "{wrong}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(message), "{wrong}: {answer}");
        let list = json!({ "entries": [right, wrong] }).to_string();
        let (status, answer) = node.api("POST", "/v1/ip-lists", &list);
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (400, &json!(format!("entries[1].{field}"))),
            "{answer}"
        );
    }
    assert_eq!(status_from(&node, 5), 200, "nothing of it is in force");
    assert_eq!(node.api("DELETE", "/v1/ip-lists", "").0, 400, "not by accident");
    assert_eq!(node.api("DELETE", "/v1/ip-lists?address=x", "").0, 400);
    assert_eq!(node.api("GET", "/v1/ip-lists?limit=-1", "").0, 400);
    assert_eq!(node.api("GET", "/v1/ip-lists?limit=0", "").0, 400, "there would always be a next part");
    let (status, answer) = node.api("PUT", "/v1/ip-lists", "{}");
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("entries")), "{answer}");
    assert_eq!(node.api("GET", "/v1/ip-lists?lists=deny", "").0, 400);
}
