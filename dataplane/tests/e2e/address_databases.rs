//! List entries by country, data centre and kind of proxy.

use serde_json::json;

use crate::support::client::Client;
use crate::support::command::run;
use crate::support::mmdb::{Value, database};
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

/// 127.0.0.2 is in the Netherlands, .3 in a data centre, .4 a way out of Tor, .5 a data centre in Germany.
fn databases() -> [(&'static str, Vec<u8>); 3] {
    let country = |code| Value::Map(vec![("country", Value::Map(vec![("iso_code", Value::Text(code))]))]);
    let datacenter = |name| Value::Map(vec![("datacenter", Value::Text(name))]);
    let proxy =
        Value::Map(vec![("is_tor_exit_node", Value::Flag(true)), ("is_anonymous", Value::Flag(true))]);
    [
        (
            "country.mmdb",
            database(&[
                ("127.0.0.2/32", country("NL")),
                ("127.0.0.5/32", country("DE")),
                ("2001:db8::/32", country("DE")),
            ]),
        ),
        (
            "datacenter.mmdb",
            database(&[("127.0.0.3/32", datacenter("AWS")), ("127.0.0.5/32", datacenter("gce"))]),
        ),
        ("proxy.mmdb", database(&[("127.0.0.4/32", proxy)])),
    ]
}

const LISTS: &str = r#"
[[entry]]
list = "deny"
country = "nl"
reason = "not served there"
[[entry]]
list = "deny"
datacenter = "aws"
[[entry]]
list = "deny"
proxy = "tor"
expires = 2099-01-01T00:00:00Z
[[entry]]
list = "allow"
country = "DE"
[[entry]]
list = "deny"
datacenter = "gce"
[[entry]]
list = "deny"
address = "127.0.0.6"
"#;

fn setup(origin: &Origin) -> Setup {
    let setup = Setup::new(origin.address);
    setup.write("ip-lists.toml", LISTS);
    for (name, bytes) in databases() {
        setup.write(name, bytes);
    }
    setup.mode("block").more(
        "[ip_lists]\nfile = \"ip-lists.toml\"\ncountry_database = \"country.mmdb\"\n\
         datacenter_database = \"datacenter.mmdb\"\nproxy_database = \"proxy.mmdb\"",
    )
}

#[track_caller]
fn status_from(node: &Node, last: u8) -> u16 {
    node.connect_from(last).get("/").status()
}

#[test]
fn who_is_denied_by_address_and_who_by_where_they_are_get_pages_of_their_own() {
    let origin = Origin::echoing_targets();
    let node = setup(&origin).server(
        "block_response = { acl_ip = { status = 404 }, acl_source = { status = 451, json = \"page.json\" } }",
    );
    node.write("page.json", r#"{"id": "{{request_id}}", "reason": "{{reason}}"}"#);
    let node = node.start();
    assert_eq!(status_from(&node, 6), 404, "by address");
    for last in [2, 3, 4] {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";
        let answer = node.connect_from(last).ask(request);
        assert_eq!(answer.status(), 451, "by country, data centre, kind of proxy: {last}");
        let page: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let id = answer.field("x-request-id").unwrap();
        assert_eq!((&page["id"], &page["reason"]), (&id.into(), &"deny_list".into()));
    }
    assert_eq!(
        node.connect_from(2).ask("GET /?id=1'%20UNION%20SELECT%20a HTTP/1.1\r\nHost: a\r\n\r\n").status(),
        451
    );
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn clients_are_judged_by_where_they_are() {
    let origin = Origin::echoing_targets();
    let node = setup(&origin).start();
    let statuses: Vec<u16> = (1..=6).map(|last| status_from(&node, last)).collect();
    assert_eq!(
        statuses,
        [200, 403, 403, 403, 200, 403],
        "allow goes before deny, whatever the kind of entry"
    );
    let mut client: Client = node.connect_from(2);
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 403, "again on the same connection");
    }
    let events = node.await_events(7);
    let sources: Vec<_> = events.iter().map(|event| event["list_source"].as_str().unwrap()).collect();
    assert_eq!(sources[..4], ["country", "datacenter", "proxy", "address"], "{events:#?}");

    let explained =
        |client: &str| run("explain", &node.setup.config_path(), &["--json", "--client", client, "/"]);
    let entry = explained("127.0.0.4").json_lines()[0]["list_entry"].clone();
    assert_eq!(
        entry,
        json!({"source": "proxy", "proxy": "tor", "expires": "2099-01-01T00:00:00Z", "reason": null})
    );
    let entry = explained("127.0.0.2").json_lines()[0]["list_entry"].clone();
    assert_eq!((&entry["country"], &entry["reason"]), (&json!("NL"), &json!("not served there")));
    assert_eq!(explained("2001:db8::1").json_lines()[0]["list"], "allow");
    let told = run("explain", &node.setup.config_path(), &["--client", "127.0.0.4", "/"]).stdout;
    assert!(told.contains("entry      deny proxy tor, until 2099-01-01T00:00:00Z: wins, "), "{told}");
}

#[test]
fn entries_by_country_come_over_the_api_too() {
    let origin = Origin::echoing_targets();
    let mut node = setup(&origin).start();
    let mut open = node.connect_from(2);
    assert_eq!(open.get("/").status(), 403);
    let entry = json!({ "list": "allow", "country": "NL", "ttl": "1h" }).to_string();
    assert_eq!(node.api("POST", "/v1/ip-lists", &entry).0, 201);
    assert_eq!(open.get("/").status(), 200, "what a connection knows of its client follows");
    assert_eq!(node.api("GET", "/v1/ip-lists?source=api", "").1["entries"][0]["country"], "NL");
    node.kill_and_restart();
    assert_eq!(status_from(&node, 2), 200);
    assert_eq!(node.api("DELETE", "/v1/ip-lists?list=allow&country=nl", "").0, 200);
    assert_eq!(status_from(&node, 2), 403);
    let both = json!({ "list": "allow", "country": "NL", "address": "127.0.0.2" }).to_string();
    let (status, answer) = node.api("POST", "/v1/ip-lists", &both);
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("country")), "{answer}");
}

#[test]
fn a_reload_reads_databases_again_and_refuses_broken_ones() {
    let origin = Origin::echoing_targets();
    let node = setup(&origin).start();
    assert_eq!((status_from(&node, 2), status_from(&node, 7)), (403, 200));
    let whole = databases()[0].1.clone();
    let mut wrong_pointer = whole.clone();
    wrong_pointer[..3].copy_from_slice(&[0x00, 0xff, 0xff]);
    for broken in [&whole[..whole.len() / 2], b"", b"no database", &wrong_pointer] {
        node.setup.write("country.mmdb", broken);
        let (status, answer) = node.api("POST", "/v1/reload", "");
        assert_eq!(status, 422, "{answer}");
        assert!(answer.to_string().contains("ip_lists.country_database"), "{answer}");
        assert_eq!(status_from(&node, 2), 403, "the old one stays");
    }
    let nl = Value::Map(vec![("country_code", Value::Text("NL"))]);
    node.setup.write("country.mmdb", database(&[("127.0.0.7/32", nl)]));
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
    assert_eq!((status_from(&node, 2), status_from(&node, 7)), (200, 403));
}

#[test]
fn an_entry_without_its_database_is_refused() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let (status, answer) = node.api("POST", "/v1/ip-lists", r#"{"list": "deny", "country": "NL"}"#);
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("country_database"), "{answer}");
    let setup = Setup::new(origin.address).lists("[[entry]]\nlist = \"deny\"\nproxy = \"tor\"\n");
    let done = run("check", &setup.write_config(), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.errors()[0].contains("ip-lists.toml:3:9: proxy: found \"tor\""), "{done:?}");
}
