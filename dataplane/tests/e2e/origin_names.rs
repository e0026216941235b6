//! Names among the addresses of an origin: resolved when their records end, and kept when that fails.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::client::get;
use crate::support::command::run;
use crate::support::dns::{Dns, Reply};
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const NAME: &str = "app.test";

/// A node before a name, whose records count for a second. The server is a thread of the tests: it may be late.
fn before(dns: &Dns, port: u16) -> Setup {
    let resolver = format!(
        "[node.resolver]\naddresses = [\"{}\"]\nttl_min = \"1s\"\nttl_max = \"1s\"\ntimeout = \"4s\"",
        dns.address
    );
    Setup::named(&format!("{NAME}:{port}")).node(&resolver)
}

fn lookups(node: &Node, result: &str) -> u64 {
    node.metric("weir_dns_lookups_total", &[("name", NAME), ("result", result)])
}

/// Waits for so many more lookups with this result.
#[track_caller]
fn await_lookups(node: &Node, result: &str) {
    let before = lookups(node, result);
    eventually("another lookup", || (lookups(node, result) > before).then_some(()));
}

/// Waits until only these addresses answer, which need not be known to the node at once.
#[track_caller]
fn await_answers_of(node: &Node, addresses: &[&str]) {
    eventually("the addresses to be used", || {
        let mut answers: Vec<String> = (0..8).map(|_| node.get("/").text()).collect();
        answers.sort();
        answers.dedup();
        (answers == addresses).then_some(())
    });
}

#[test]
fn requests_follow_the_records_of_a_name_and_none_fails() {
    let origins = Origin::on_one_port(3);
    let dns = Dns::start();
    dns.point(NAME, &["127.0.0.1"]);
    let node = before(&dns, origins[0].address.port()).workers(2).start();
    assert_eq!(node.metric("weir_origin_addresses", &[("origin", "app")]), 1);
    assert!(node.metric("weir_dns_answer_age_seconds", &[("name", NAME)]) < 60);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.connect();
                    let mut count = 0;
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/").status(), 200);
                        count += 1;
                        if count % 900 == 0 {
                            client = node.connect();
                        }
                    }
                })
            })
            .collect();
        await_answers_of(&node, &["127.0.0.1"]);
        dns.point(NAME, &["127.0.0.2", "127.0.0.3"]);
        await_answers_of(&node, &["127.0.0.2", "127.0.0.3"]);
        assert_eq!(node.metric("weir_origin_addresses", &[("origin", "app")]), 2);
        // The connections to the address that is gone are closed once they are idle.
        eventually("the old connections to be closed", || origins[0].all_have_ended().then_some(()));
        // Whatever fails, the last good answer counts.
        for failure in [Reply::Error(2), Reply::Error(3), Reply::Addresses(Vec::new(), 1), Reply::Silence] {
            dns.set(NAME, failure);
            await_lookups(&node, "failed");
            await_answers_of(&node, &["127.0.0.2", "127.0.0.3"]);
        }
        node.await_log("that the lookup failed", |entry| entry["name"] == NAME && entry["level"] == "WARN");
        dns.point(NAME, &["127.0.0.1"]);
        await_answers_of(&node, &["127.0.0.1"]);
        over.store(true, Ordering::Relaxed);
        load.into_iter().for_each(|client| client.join().unwrap());
    });
    assert!(dns.asked() > 4);
}

#[test]
fn a_reload_without_dns_keeps_what_is_known() {
    let origins = Origin::on_one_port(1);
    let dns = Dns::start();
    dns.point(NAME, &["127.0.0.1", "::1"]);
    let node = before(&dns, origins[0].address.port()).start();
    assert_eq!(node.metric("weir_origin_addresses", &[("origin", "app")]), 2, "A and AAAA");
    dns.set(NAME, Reply::Error(2));
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    node.await_log("a warning", |entry| entry["message"] == "config" && entry.to_string().contains(NAME));
    assert_eq!(node.metric("weir_origin_addresses", &[("origin", "app")]), 2);
    // Nobody listens at ::1; the other address takes it over.
    for _ in 0..6 {
        assert_eq!(node.get("/").text(), "127.0.0.1");
    }
    let status: serde_json::Value = serde_json::from_str(&node.admin_get("/status").text()).unwrap();
    assert_eq!(status["names"][0]["addresses"], serde_json::json!(["127.0.0.1", "::1"]), "{status}");
}

#[test]
fn a_name_of_the_hosts_file_needs_no_dns() {
    let origin = Origin::echoing_targets();
    let dns = Dns::start();
    let resolver = format!("[node.resolver]\naddresses = [\"{}\"]", dns.address);
    let setup = Setup::named(&format!("localhost:{}", origin.address.port())).node(&resolver);
    let node = setup.start();
    assert_eq!(node.connect().ask(get("/page")).text(), "/page");
}

#[test]
fn a_name_that_nobody_knows_is_an_error_at_its_place() {
    let dns = Dns::start();
    let setup = before(&dns, 80);
    let path = setup.write_config();
    for (command, code) in [("check", 1), ("run", 2)] {
        let done = run(command, &path, &[]);
        assert_eq!(done.code, code, "{command}: {done:?}");
        let found = done.errors().iter().any(|error| {
            error.contains("origin[0].addresses[0]") && error.contains(r#"can't resolve "app.test""#)
        });
        assert!(found, "{command}: {}", done.stderr);
    }
}
