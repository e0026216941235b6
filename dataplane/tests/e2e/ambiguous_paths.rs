//! Paths that an origin reads differently from policy: a place that isn't looked at must not open the others.

use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::setup::Setup;

const ATTACK: &str = "q=%27%20union%20select%20password%20from%20users--";

/// Spellings of the shop that lie in `/off` by their normalised form; nginx serves the shop for the first three.
const DETOURS: [&str; 7] = [
    "/off/..%2fshop",
    "/off/%2e%2e%2Fshop",
    "/off/x%2f..%2f..%2fshop",
    "/off/..%5cshop",
    "/off/..;/shop",
    "/off/..%252fshop",
    "/off/..\\shop",
];

fn start(nginx: &Nginx, setting: &str) -> Node {
    let places = "mode = \"block\"\n[[server.location]]\npath = \"/off\"\nmode = \"off\"\n";
    Setup::new(nginx.address).http(setting).server(places).start()
}

fn nginx() -> Nginx {
    Nginx::plain("location /shop { return 200 shop; } location / { return 200 elsewhere; }")
}

fn get(node: &Node, target: &str) -> (u16, String) {
    let answer = node.get(target);
    (answer.status(), answer.text())
}

#[test]
fn an_attack_on_a_detour_through_an_uninspected_place_is_blocked() {
    let nginx = nginx();
    let node = start(&nginx, "");
    assert_eq!(
        get(&node, &format!("/off/x?{ATTACK}")),
        (200, "elsewhere".to_owned()),
        "the mode is off there"
    );
    for detour in DETOURS {
        let answer = node.get(&format!("{detour}?{ATTACK}"));
        assert_eq!(answer.status(), 403, "{detour}");
        node.await_event_of(&answer);
    }
    for event in node.events() {
        assert_eq!((&event["mode"], &event["action"]), (&"block".into(), &"blocked".into()), "{event}");
    }
    assert_eq!(get(&node, "/off/a%2fb;c").0, 200, "a harmless path is served whatever it holds");
}

#[test]
fn ambiguous_paths_are_refused_where_the_config_says_so() {
    let nginx = nginx();
    let node = start(&nginx, "ambiguous_path = \"reject\"");
    for detour in DETOURS {
        let answer = node.get(detour);
        assert_eq!(answer.status(), 400, "{detour}");
        assert!(answer.text().contains("ambiguous_path"), "{detour}");
    }
    for path in ["/off/a%2fb", "/shop/a%2fb;c", "/shop/./x", "/.well-known/x%20y"] {
        assert_eq!(get(&node, path).0, 200, "{path} leads to one place, however it is read");
    }
    assert_eq!(
        node.metric("weir_protocol_errors_total", &[("status", "400"), ("code", "ambiguous_path")]),
        DETOURS.len() as u64
    );
}

#[test]
fn encoded_reserved_characters_evade_no_location_and_no_rule() {
    let nginx = Nginx::plain("location /$meta { return 200 meta; } location / { return 200 elsewhere; }");
    let places = "mode = \"monitoring\"\n[[server.location]]\npath = \"/$meta\"\nmode = \"block\"\n\
                  [[server.location]]\npath = \"/caf%c3%a9\"\nmode = \"block\"\n";
    let rule = "[[rule]]\nid = 2\ntype = \"mode\"\nmode = \"block\"\nuri = \"/r:q/**\"\n";
    let node = Setup::new(nginx.address).server(places).rules(rule).start();
    assert_eq!(get(&node, "/%24meta"), (200, "meta".to_owned()), "the origin decodes it");
    for path in
        ["/$meta", "/%24meta", "/%24met%61", "/caf%C3%A9", "/caf%c3%a9", "/r:q/x", "/r%3Aq/x", "/r%3aq/x"]
    {
        assert_eq!(node.get(&format!("{path}?{ATTACK}")).status(), 403, "{path}");
    }
    assert_eq!(node.get(&format!("/other%3ax?{ATTACK}")).status(), 200, "monitoring");
}

#[test]
fn a_literal_path_is_what_it_says() {
    let nginx = nginx();
    let node = start(&nginx, "ambiguous_path = \"literal\"");
    assert_eq!(get(&node, &format!("/off/..%2fshop?{ATTACK}")), (200, "shop".to_owned()));
}

#[test]
fn explain_names_the_reading_that_decides() {
    let nginx = nginx();
    let node = start(&nginx, "");
    let body = r#"{"url": "http://site.example/off/..%2fshop"}"#;
    let answer = node.admin_request("POST", "/v1/explain", body);
    let explained: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&explained["location"], &explained["mode"]),
        (&"/off".into(), &"block".into()),
        "{explained}"
    );
    assert_eq!(
        (&explained["path"], &explained["read_as"]),
        (&"/off/..%2Fshop".into(), &"/off/../shop".into())
    );
}
