//! `block_response`: own pages, statuses and redirects, by place and reason, read by curl.

use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const ATTACK: &str = "?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

const CONFIG: &str = "[http.block_response]
html = \"blocked.html\"
json = \"blocked.json\"
";

const SERVER: &str = "block_response = { acl_ip = { status = 404 } }
[[server.location]]
path = \"/gone\"
block_response = { status = 410 }
[[server.location]]
path = \"/moved\"
[server.location.block_response.attack]
redirect = \"https://help.example/blocked?id={{request_id}}&at={{path}}\"
";

fn node() -> Node {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address)
        .mode("block")
        .server(SERVER)
        .more(CONFIG)
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.66\"\n");
    setup.write(
        "blocked.html",
        "<h1 class={{host}}>{{status}} {{reason}}</h1><code>{{request_id}}</code>{{method}}{{path}}",
    );
    setup.write(
        "blocked.json",
        r#"{"id": "{{request_id}}", "status": {{status}}, "path": "{{path}}", "ip": "{{client_ip}}"}"#,
    );
    setup.start()
}

/// What curl prints: head and body, without the line ends of the head.
fn curl(node: &Node, arguments: &[&str], target: &str) -> String {
    let output = node.curl(&[&["-i", "-H", "Host: site.example"], arguments].concat(), target);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[test]
fn own_pages_in_the_form_that_the_client_prefers() {
    let node = node();
    let answer = curl(&node, &[], &format!("/a<b>\"{ATTACK}"));
    let id = field(&answer, "X-Request-Id").to_owned();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\n"), "{answer}");
    assert_eq!(field(&answer, "Content-Type"), "text/html; charset=utf-8");
    let page = format!("<h1 class=site.example>403 attack</h1><code>{id}</code>GET/a&#60;b&#62;&#34;");
    assert!(answer.ends_with(&format!("\n\n{page}")), "{answer}");
    assert_eq!(field(&answer, "Content-Length"), page.len().to_string());

    let answer = curl(&node, &["-H", "Accept: application/json"], &format!("/a\"{ATTACK}"));
    assert_eq!(field(&answer, "Content-Type"), "application/json");
    let (_, body) = answer.split_once("\n\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["id"], &body["status"]), (&field(&answer, "X-Request-Id").into(), &403.into()));
    assert_eq!((&body["path"], &body["ip"]), (&"/a\"".into(), &"127.0.0.1".into()));
    assert_eq!(node.await_events(2)[0]["request_id"], id);
}

#[test]
fn places_and_reasons_have_their_own() {
    let node = node();
    let answer = curl(&node, &[], &format!("/gone/x{ATTACK}"));
    assert!(
        answer.starts_with("HTTP/1.1 410 ") && answer.contains("Reason: <code>attack</code>"),
        "{answer}"
    );

    let answer = curl(&node, &[], &format!("/moved/a&b{ATTACK}"));
    assert!(answer.starts_with("HTTP/1.1 302 Found\n"), "{answer}");
    let id = field(&answer, "X-Request-Id");
    assert_eq!(
        field(&answer, "Location"),
        format!("https://help.example/blocked?id={id}&at=%2Fmoved%2Fa%26b")
    );
    let head = curl(&node, &["-I"], &format!("/moved/{ATTACK}"));
    assert!(head.starts_with("HTTP/1.1 302 Found\n"), "{head}");

    let denied = curl(&node, &["--interface", "127.0.0.66"], "/");
    assert!(denied.starts_with("HTTP/1.1 404 ") && denied.contains("deny_list"), "{denied}");
    let statuses: Vec<u64> =
        node.await_events(4).iter().map(|event| event["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [410, 302, 302, 404]);
}

#[test]
fn pages_that_can_not_be_used_are_errors_of_the_config() {
    let errors = |response: &str, page: &str| {
        let setup = Setup::new(([127, 0, 0, 1], 9).into()).http(&format!("block_response = {response}"));
        setup.write("page", page);
        setup.write_config();
        let output = crate::support::node::weir()
            .args(["check", "--config"])
            .arg(setup.config_path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (response, page, expected) in [
        ("{ html = \"missing\" }", "", "missing: No such file"),
        ("{ html = \"page\" }", "a\n  {{user}}", "page:2:3: found {{user}}, which is no variable"),
        ("{ json = \"page\" }", "{\"id\": {{request_id}}x}", "is no JSON once its variables have values"),
        ("{ json = \"page\" }", "", "is no JSON"),
        ("{ status = 204 }", "", "found 204, allowed is 200 or 400 to 599"),
        ("{ redirect = \"/x\", status = 403 }", "", "allowed is 301, 302, 303, 307 or 308"),
        ("{ redirect = \"//evil.example\" }", "", "allowed is a URL"),
        ("{ redirect = \"/x\", html = \"page\" }", "", "beside redirect"),
        ("{ attack = { page = \"x\" } }", "", "unknown key \"page\""),
    ] {
        let found = errors(response, page);
        assert!(found.contains(expected), "{response}: {found}");
    }
    assert!(errors("{ html = \"page\" }", &"x".repeat((1 << 20) + 1)).contains("larger than 1 MiB"));
}
