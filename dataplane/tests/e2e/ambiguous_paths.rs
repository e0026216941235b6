//! Paths that an origin reads differently from policy: a place that isn't looked at must not open the others.

use crate::support::client;
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::setup::Setup;

const ATTACK: &str = "q=%27%20union%20select%20password%20from%20users--";

/// Spellings of the shop that lie in `/off` by their normalised form; nginx serves the shop for the first four.
const DETOURS: [&str; 9] = [
    "/off/..%2fshop/%252e%252e/off/x",
    "/off/..%2fshop",
    "/off/%2e%2e%2Fshop",
    "/off/x%2f..%2f..%2fshop",
    "/off/..%5cshop",
    "/off/..;/shop",
    "/off/..%252fshop",
    "/off/..\\shop",
    "/off/;/..\\..\\shop",
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
    assert_eq!((&explained["path"], &explained["read_as"]), (&"/off/..%2Fshop".into(), &"/shop".into()));
}

/// Rules and settings of places whose names have characters that can be encoded; what they do at `/r%3Aq/x` is what they do
/// at `/r:q/x`.
#[test]
fn what_adds_to_what_is_looked_at_holds_at_every_spelling() {
    let nginx = Nginx::plain("location / { return 200 elsewhere; }");
    let places = "mode = \"monitoring\"\n\
        [[server.location]]\npath = \"/l:q\"\nmode = \"block\"\nblock_response = { status = 418 }\n\
        limits = { request_body_bytes = \"10B\" }\n";
    let rules = [
        ("r:q", "type = \"response_header\"\naction = \"set\"\nname = \"X-Rule\"\nvalues = [\"here\"]"),
        ("r:q", "type = \"mask\"\npoint = [\"query\", \"q\"]"),
        ("p:q", "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = [\"query\", \"q\"]"),
        ("d:q", "type = \"regex\"\nregex = \"evil\"\nattack_type = \"vpatch\"\npoint = [\"query\", \"q\"]"),
        ("t:q", "type = \"rate_limit\"\nrate = 1\nper = \"1d\""),
        ("u:q", "type = \"upload_size\"\nlimit = \"10B\"\naction = \"block\""),
        ("n/1", "type = \"virtual_patch\"\nattack_type = \"any\"\npoint = [\"path\", 2]"),
    ];
    let rules: String = (1..)
        .zip(rules)
        .map(|(id, (place, rule))| format!("[[rule]]\nid = {id}\nuri = \"/{place}/**\"\n{rule}\n"))
        .collect();
    let node = Setup::new(nginx.address).server(places).rules(&rules).start();
    let post = |target: &str| node.connect().ask(client::post(target, b"12345678901"));
    for [r, p, d, u, l] in [
        ["/r:q/x", "/p:q/x", "/d:q/x", "/u:q/x", "/l:q/x"],
        ["/r%3Aq/x", "/p%3Aq/x", "/d%3aq/x", "/u%3Aq/x", "/l%3aq/x"],
        ["/r:q;v=1/x", "/p:q;v=1/x", "/d:q%2fx", "/u%253Aq/x", "/z/..%2fl:q/x"],
    ] {
        let answer = node.get(&format!("{r}?{ATTACK}"));
        assert_eq!((answer.status(), answer.field("x-rule")), (200, Some("here")), "{r}");
        let event = node.await_event_of(&answer);
        assert_eq!(event["payload"], "*", "{r}: {event}");
        assert_eq!(node.get(&format!("{p}?{ATTACK}")).status(), 403, "{p}");
        assert_eq!(node.get(&format!("{d}?q=evil")).status(), 403, "{d}");
        assert_eq!(post(u).status(), 403, "{u}");
        assert_eq!(node.get(&format!("{l}?{ATTACK}")).status(), 418, "{l}");
        assert_eq!(post(l).status(), 413, "{l}");
    }
    assert_eq!(node.get("/t:q/x").status(), 200);
    for spelling in ["/t:q/x", "/t%3Aq/x", "/./t:q/y", "/t%3aq;/x"] {
        assert_eq!(node.get(spelling).status(), 503, "{spelling}: one bucket for all spellings");
    }
    for numbered in ["/n/1/z", "/./n/1/z", "/n%2f1/z", "/x/../n/1/z"] {
        assert_eq!(node.get(numbered).status(), 403, "{numbered}");
    }
    assert_eq!(node.get("/n/1x/z").status(), 200);
}

/// What takes something away holds only where every reading says so.
#[test]
fn what_takes_something_away_holds_for_no_detour() {
    let nginx = nginx();
    let places = "mode = \"block\"\n[[server.location]]\npath = \"/open\"\ndisable_acl = true\n";
    let rules = [
        "type = \"disable_attack_type\"\nattack_type = \"any\"\npoint = [\"query\", \"q\"]\nuri = \"/a/**\"",
        "type = \"binary_data\"\npoint = [\"query\", \"q\"]\nuri = \"/c/**\"",
        "type = \"parser_state\"\nparser = \"base64\"\nenabled = false\npoint = [\"query\", \"q\"]\nuri = \"/d/**\"",
        "type = \"regex\"\nregex = \"evil\"\nattack_type = \"scanner\"\npoint = [\"query\", \"q\"]",
        "type = \"ignore_regex\"\nrule = 4\npoint = [\"query\", \"q\"]\nuri = \"/e/**\"",
    ];
    let rules: String = (1..).zip(rules).map(|(id, rule)| format!("[[rule]]\nid = {id}\n{rule}\n")).collect();
    let lists = "[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.12\"\n";
    let node = Setup::new(nginx.address).server(places).rules(&rules).lists(lists).start();
    let encoded = "q=JyB1bmlvbiBzZWxlY3QgcGFzc3dvcmQgZnJvbSB1c2Vycy0t";
    for (place, query) in [("a", ATTACK), ("c", ATTACK), ("d", encoded), ("e", "q=evil")] {
        assert_eq!(node.get(&format!("/{place}/x?{query}")).status(), 200, "{place}");
        assert_eq!(node.get(&format!("/{place}/x%3Ay?{query}")).status(), 200, "{place}: read alike");
        for detour in ["..%2fshop", "..;/shop", "..%5cshop", "x/..%252f..%252fshop"] {
            assert_eq!(node.get(&format!("/{place}/{detour}?{query}")).status(), 403, "{place}/{detour}");
        }
    }
    let denied = |target: &str| node.connect_from(12).get(target).status();
    assert_eq!((denied("/open/x"), denied("/shop")), (200, 403));
    assert_eq!(denied("/open/..%2fshop"), 403);
}

#[test]
fn explain_names_the_rules_of_every_reading() {
    let nginx = nginx();
    let rules = "[[rule]]\nid = 1\ntype = \"mask\"\npoint = \"query.q\"\nuri = \"/shop\"\n\
                 [[rule]]\nid = 2\ntype = \"binary_data\"\npoint = \"query.q\"\nuri = \"/off/**\"\n";
    let node = Setup::new(nginx.address).server("mode = \"block\"\n").rules(rules).start();
    let answer =
        node.admin_request("POST", "/v1/explain", r#"{"url": "http://site.example/off/..%2fshop?q=1"}"#);
    let explained: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let rules: Vec<_> =
        explained["rules"].as_array().unwrap().iter().map(|rule| (&rule["id"], &rule["wins"])).collect();
    assert_eq!(rules, [(&2.into(), &false.into()), (&1.into(), &true.into())], "{explained}");
}

/// A detector at a segment, an extension or the target finds it however it is spelled.
#[test]
fn detectors_of_the_path_see_every_reading() {
    let nginx = nginx();
    let detectors =
        [("[\"path\", 0]", "^evil$"), ("[\"action_ext\"]", "^php$"), ("[\"uri\"]", "^/hidden/x[?]a=1$")];
    let rules: String = (1..)
        .zip(detectors)
        .map(|(id, (point, regex))| {
            format!("[[rule]]\nid = {id}\ntype = \"regex\"\nattack_type = \"vpatch\"\npoint = {point}\nregex = \"{regex}\"\n")
        })
        .collect();
    let node = Setup::new(nginx.address).server("mode = \"monitoring\"\n").rules(&rules).start();
    for target in [
        "/evil/x",
        "/evil%2fx",
        "/evil;/x",
        "/a/..%2fevil/x",
        "/evil\\x",
        "/%2fevil/x",
        "/a.php",
        "/a.php;x",
        "/a%252ephp",
        "/a.php%3bx",
        "/hidden/x?a=1",
        "/%68idden/x?a=1",
        "/z/..%2fhidden/x?a=1",
        "//hidden/./x?a=%31",
    ] {
        assert_eq!(node.get(target).status(), 403, "{target}");
    }
    for target in ["/evils/x", "/a/devil%2fx", "/a.phps;x", "/hidden/x?a=12"] {
        assert_eq!(node.get(target).status(), 200, "{target}");
    }
}
