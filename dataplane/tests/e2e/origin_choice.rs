//! Which address of an origin a request goes to, and what the failure of one costs.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::client::{Client, get, post};
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, Unserved, ok};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, eventually};

/// A node before all of these.
fn before(origins: &[&Origin], settings: &str) -> Setup {
    let setup = Setup::new(origins[0].address).origin(settings);
    origins[1..].iter().fold(setup, |setup, origin| setup.address(origin.address))
}

fn metric(node: &Node, name: &str, label: (&str, &str)) -> u64 {
    node.metric(name, &[("origin", "app"), label])
}

#[test]
fn round_robin_gives_each_address_its_turn() {
    let origins = [(); 3].map(|()| Origin::echoing_targets());
    let node = before(&origins.each_ref(), "balance = \"round_robin\"").start();
    let mut client = node.connect();
    for _ in 0..30 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(origins.each_ref().map(|origin| origin.targets().len()), [10, 10, 10]);
}

#[test]
fn the_address_with_the_fewest_requests_gets_the_next() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let slow = Origin::answering(move |request| {
        waits.pass();
        ok(request.target().as_bytes())
    });
    let quick = Origin::echoing_targets();
    let node = before(&[&slow, &quick], "balance = \"least_requests\"").start();
    // One request is held there; from then on the other address has fewer whenever a request comes.
    let mut held = eventually("a request at the slow address", || {
        let answered = quick.targets().len();
        let mut client = node.connect();
        client.send(get("/held"));
        eventually("the request at either address", || {
            (slow.targets().len() == 1 || quick.targets().len() > answered).then_some(())
        });
        (slow.targets().len() == 1).then_some(client)
    });
    let mut client = node.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(slow.targets(), ["/held"]);
    gate.open();
    assert_eq!(held.answer().status(), 200);
}

#[test]
fn a_client_stays_with_its_address() {
    let origins = Origin::on_one_port(4);
    let node = before(&origins.iter().collect::<Vec<_>>(), "balance = \"client_ip\"").workers(2).start();
    let mut addresses = HashSet::new();
    for last in 10..40 {
        // Each connection may come to another worker.
        let answers: HashSet<String> = (0..4).map(|_| node.connect_from(last).get("/").text()).collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
        addresses.extend(answers);
    }
    assert!(addresses.len() > 1, "clients are spread");
}

#[test]
fn a_client_of_an_address_that_dies_is_served_by_the_next() {
    // It answers on its first connection, and from then on takes requests and closes: so does one that is about to go.
    let dying = Origin::scripted(|peer| {
        if let Some(request) = peer.request()
            && peer.number == 0
        {
            peer.send(ok(request.target().as_bytes()));
            drop(peer.request());
        }
    });
    let next = Origin::echoing_targets();
    let node = before(&[&dying, &next], "balance = \"client_ip\"").start();
    let mut client = (20..250)
        .find_map(|last| {
            let mut client = node.connect_from(last);
            client.get("/first");
            (dying.targets().len() == 1).then_some(client)
        })
        .expect("a client that belongs to the address");
    let others = next.targets().len();
    // Once more there, as the connection may have been stale, and then elsewhere.
    assert_eq!(client.get("/second").text(), "/second");
    assert_eq!(dying.targets(), ["/first", "/second", "/second"]);
    assert_eq!(next.targets()[others..], ["/second"]);
    // A connection that was never idle isn't stale.
    assert_eq!(client.get("/third").text(), "/third");
    assert_eq!(dying.targets()[3..], ["/third"]);
    assert_eq!(client.ask(post("/pay", b"a=b")).status(), 502);
    assert_eq!(dying.targets()[4..], ["/pay"]);
    assert_eq!(next.targets()[others..], ["/second", "/third"]);
}

#[test]
fn a_connection_that_breaks_at_its_first_request_sends_the_request_elsewhere_where_that_is_safe() {
    expect_repeated_elsewhere(b"");
}

#[test]
fn a_connection_that_breaks_within_the_head_of_an_answer_sends_the_request_elsewhere_where_that_is_safe() {
    expect_repeated_elsewhere(b"HTTP/1.1 200 O");
    expect_repeated_elsewhere(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Longer-Than-The-Sound-One: yes\r\nY",
    );
}

/// Of two addresses one takes requests, sends `start` and closes, every time.
#[track_caller]
fn expect_repeated_elsewhere(start: &'static [u8]) {
    let broken = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send(start);
        }
    });
    let sound = Origin::echoing_targets();
    let settings = "[origin.outlier_detection]\nrequest_failures = 0";
    let node = before(&[&broken, &sound], settings).start();
    let mut client = node.connect();
    for number in 0..10 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).text(), target);
    }
    assert!(!broken.targets().is_empty());
    let mut statuses = BTreeMap::new();
    let before = broken.targets().len();
    for _ in 0..10 {
        *statuses.entry(node.connect().ask(post("/pay", b"a=b")).status()).or_insert(0) += 1;
    }
    let lost = broken.targets().len() - before;
    assert_eq!(statuses.get(&502).copied(), Some(lost), "a POST is not sent twice: {statuses:?}");
    assert_eq!(statuses.get(&200).copied(), Some(10 - lost));
}

#[test]
fn an_address_whose_requests_fail_is_left_out_and_comes_back() {
    let works = Gate::closed();
    let now_works = works.clone();
    let ill = Origin::answering(move |_| match now_works.is_open() {
        true => ok(b"ill"),
        false => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let sound = Origin::answering(|_| ok(b"sound"));
    let settings = |time: &str| {
        format!(
            "[origin.outlier_detection]\nrequest_failures = 2\nstatuses = [503]\nbase_ejection_time = \"{time}\"\n\
             max_ejection_time = \"1h\""
        )
    };
    let node = before(&[&ill, &sound], &settings("1h")).start();
    let mut client = node.connect();
    let bad = (0..20).filter(|_| client.get("/").status() == 503).count();
    assert_eq!(bad, 2);
    assert_eq!(metric(&node, "weir_origin_ejections_total", ("reason", "status")), 1);
    node.await_log("that it is left out", |entry| {
        entry["origin"] == "app" && entry["address"] == ill.address.to_string() && entry["detail"] == "503"
    });
    // A reload doesn't bring it back.
    works.open();
    let text = node.setup.text();
    node.setup.write("weir.toml", text + "\n[ip_lists]\n");
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "sound");
        assert_eq!(node.get("/").text(), "sound");
    }
    works.close();

    let node = before(&[&ill, &sound], &settings("100ms")).start();
    let mut client = node.connect();
    eventually("it to be left out", || {
        client.get("/");
        (metric(&node, "weir_origin_ejections_total", ("reason", "status")) > 0).then_some(())
    });
    works.open();
    eventually("it to serve again", || (client.get("/").text() == "ill").then_some(()));
    node.await_log("that it works again", |entry| {
        entry["origin"] == "app"
            && entry["address"] == ill.address.to_string()
            && entry["message"] == "an address of an origin works again"
    });
}

/// Of two addresses one answers with `answer` and closes. Gives the node, after requests that can't be repeated, and how many
/// of them that one got.
fn node_beside_one_that_answers(answer: &'static [u8]) -> (Node, usize) {
    let ill = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send(answer);
        }
    });
    let sound = Origin::answering(|_| ok(b"sound"));
    let settings = "[origin.outlier_detection]\nrequest_failures = 2\nbase_ejection_time = \"1h\"\nmax_ejection_time = \"1h\"";
    let node = before(&[&ill, &sound], settings).start();
    for _ in 0..10 {
        // Cut or not, it is over before the next one.
        let mut client = node.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
        client.rest();
    }
    (node, ill.targets().len())
}

#[test]
fn an_address_whose_answers_break_off_is_left_out() {
    let cases: [(&[u8], &str); 6] = [
        (b"HTTP/1.1 200 O", "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "truncated"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "bad_response"),
        (b"hello world", "bad_response"),
        (b"HTTP/2.0 200 OK\r\n", "bad_response"),
    ];
    for (answer, reason) in cases {
        let shown = answer.escape_ascii();
        let (node, requests) = node_beside_one_that_answers(answer);
        assert_eq!(metric(&node, "weir_upstream_errors_total", ("reason", reason)), 2, "{shown}");
        assert_eq!(metric(&node, "weir_origin_ejections_total", ("reason", reason)), 1, "{shown}");
        assert_eq!(requests, 2, "{shown}");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_no_failure() {
    let (node, requests) = node_beside_one_that_answers(b"HTTP/1.1 200 OK\r\n\r\nall of it");
    assert_eq!(requests, 5);
    assert_eq!(node.metric("weir_origin_ejections_total", &[("origin", "app")]), 0);
}

#[test]
fn clients_that_leave_are_no_failures_of_an_address() {
    let slow = || {
        Origin::scripted(|peer| {
            while peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
                peer.read_to_end();
            }
        })
    };
    let origins = [slow(), slow()];
    let settings = "[origin.outlier_detection]\nrequest_failures = 1";
    let node = before(&origins.each_ref(), settings).start();
    for _ in 0..6 {
        let mut client = node.connect();
        client.send(get("/"));
        assert_eq!(client.head().status(), 200);
        client.reset();
    }
    node.await_metric("weir_upstream_connections", &[], 0);
    assert_eq!(node.metric("weir_origin_ejections_total", &[("origin", "app")]), 0);
    assert_eq!(origins.each_ref().map(|origin| origin.targets().len()), [3, 3]);
}

#[test]
fn when_too_few_addresses_are_usable_all_are_used() {
    let failing = || Origin::answering(|_| b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
    let origins = [failing(), failing(), failing(), failing()];
    let settings = "panic_threshold_percent = 60\n[origin.outlier_detection]\nrequest_failures = 1\nstatuses = [500]\n\
                    base_ejection_time = \"1h\"\nmax_ejection_time = \"1h\"";
    let node = before(&origins.each_ref(), settings).start();
    let mut client = node.connect();
    for _ in 0..40 {
        assert_eq!(client.get("/").status(), 500);
    }
    // Half of them is the most, whatever all of them do.
    assert_eq!(metric(&node, "weir_origin_ejections_total", ("reason", "status")), 2);
    assert!(node.metric("weir_origin_panics_total", &[("origin", "app")]) > 0);
    assert!(origins.iter().all(|origin| origin.targets().len() > 5), "all are used");
    node.await_log("that all are used", |entry| {
        entry["origin"] == "app"
            && entry["message"] == "too few addresses of an origin are usable: all of them get requests"
    });
}

#[test]
fn an_origin_without_any_working_address_is_tried_all_the_same() {
    let unserved = [Unserved::reserve(), Unserved::reserve()];
    let node = Setup::new(unserved[0].address).address(unserved[1].address).start();
    for _ in 0..5 {
        assert_eq!(node.get("/").status(), 502);
    }
    let refused = metric(&node, "weir_upstream_errors_total", ("reason", "connect_refused"));
    assert_eq!(refused, 10, "each request tries both");
}

#[test]
fn origins_with_a_common_address_keep_their_own_settings_and_counts() {
    let gates = [Gate::closed(), Gate::closed()];
    let waits = gates.clone();
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/narrow/held/1" => waits[0].pass(),
                "/narrow/held/2" => waits[1].pass(),
                _ => {}
            }
            if request.target().ends_with("/slow") {
                // Until the node gives up.
                peer.request();
                return;
            }
            peer.send(ok(b"page"));
        }
    });
    let entry = |name: &str, settings: &str| {
        format!("[[origin]]\nname = \"{name}\"\naddresses = [\"{}\"]\n{settings}\n", origin.address)
    };
    let hasty = entry("hasty", "first_byte_timeout = \"50ms\"");
    let narrow = entry("narrow", "connections = 1\nqueue = 0");
    let config = |first: &str, second: &str| {
        Setup::new(origin.address)
            .server("[[server.location]]\npath = \"/hasty\"\norigin = \"hasty\"\n[[server.location]]\npath = \"/narrow\"\norigin = \"narrow\"")
            .more(&format!("{first}{second}"))
    };
    let node = config(&hasty, &narrow).start();
    let count = |name: &str, origin: &str| node.metric(name, &[("origin", origin)]);
    let opened = |origin| count("weir_upstream_connections_opened_total", origin);
    for round in 1..=2 {
        assert_eq!(node.get("/hasty/slow").status(), 504);
        let seen = origin.targets().len();
        let mut held = node.connect();
        held.send(get(&format!("/narrow/held/{round}")));
        eventually("the request at the origin", || (origin.targets().len() > seen).then_some(()));
        assert_eq!(node.get("/narrow/").status(), 503, "its only connection is taken");
        // The origin is a thread of the tests, which may be later than it may be.
        eventually("another origin's answer", || (node.get("/hasty/").status() == 200).then_some(()));
        assert_eq!(node.get("/").status(), 200);
        gates[round - 1].open();
        assert_eq!(held.answer().status(), 200);
        let timeouts = [("origin", "hasty"), ("reason", "first_byte_timeout")];
        assert!(node.metric("weir_upstream_errors_total", &timeouts) >= round as u64);
        assert!(opened("hasty") > 0 && opened("narrow") > 0 && opened("app") > 0);
        if round == 1 {
            std::fs::write(node.setup.config_path(), config(&narrow, &hasty).text()).unwrap();
            assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
        }
    }
}

/// Clients that ask without a pause, until each has had so many answers after the kill.
const CLIENTS: usize = 64;
const REQUESTS: usize = 20;

/// Kills one of two nginx while many clients are at it, each from an address of its own. Gives the statuses of all answers.
fn kill_one_of_two(node: &Node, victim: &Nginx, request: &[u8]) -> Vec<u16> {
    let served = AtomicUsize::new(0);
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (served, killed) = (&served, &killed);
        let clients: Vec<_> = (0..CLIENTS as u8)
            .map(|number| {
                scope.spawn(move || {
                    let from = Ipv4Addr::new(127, 0, 0, 20 + number);
                    let mut client = Client::connect(node.address, from);
                    let mut statuses = Vec::new();
                    let mut left = REQUESTS;
                    while left > 0 {
                        left -= usize::from(killed.load(Ordering::Relaxed));
                        let answer = client.ask(request);
                        statuses.push(answer.status());
                        served.fetch_add(1, Ordering::Relaxed);
                        if answer.field("connection") == Some("close") {
                            client = Client::connect(node.address, from);
                        }
                    }
                    statuses
                })
            })
            .collect();
        eventually("load", || (served.load(Ordering::Relaxed) > CLIENTS * 5).then_some(()));
        victim.kill();
        killed.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn a_killed_origin_costs_no_request_that_can_be_repeated() {
    assert!(PATIENCE.as_secs() > 3, "no time-out of the node is in the way");
    let pages = || Nginx::plain("keepalive_requests 100000; location / { return 200 \"page\"; }");
    let get = || (get("/").into_bytes(), true);
    let cases = [
        ("round_robin", get()),
        ("least_requests", get()),
        ("client_ip", get()),
        ("round_robin", (post("/", b"amount=1"), false)),
    ];
    for (balance, (request, repeatable)) in cases {
        let nginx = [pages(), pages()];
        let setup = Setup::new(nginx[0].address).address(nginx[1].address);
        let node = setup.origin(&format!("balance = \"{balance}\"")).workers(2).start();
        let statuses = kill_one_of_two(&node, &nginx[1], &request);
        assert!(statuses.len() > CLIENTS * REQUESTS);
        let failed = statuses.iter().filter(|status| **status != 200).count();
        if repeatable {
            assert_eq!(failed, 0, "{balance}");
        } else {
            // Only what was sent to it and not answered yet: each such connection broke.
            let broken = metric(&node, "weir_upstream_errors_total", ("reason", "reset"));
            assert_eq!(failed as u64, broken);
            assert!(failed <= CLIENTS);
        }
        // By refused connections, or by those that it took while it went.
        assert!(node.metric("weir_origin_ejections_total", &[("origin", "app")]) > 0);
    }
}

#[test]
fn steady_load_opens_no_connection() {
    const MANY: usize = 16;
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |_| {
        waits.pass();
        ok(b"page")
    });
    let node = Setup::new(origin.address).start();
    let mut clients: Vec<Client> = (0..MANY).map(|_| node.connect()).collect();
    // So many connections as there are clients.
    clients.iter_mut().for_each(|client| client.send(get("/")));
    eventually("all of them at the origin", || (origin.targets().len() == MANY).then_some(()));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
    let count = |name| node.metric(name, &[("origin", "app")]);
    let (opened, reused) =
        (count("weir_upstream_connections_opened_total"), count("weir_upstream_connections_reused_total"));
    assert_eq!(opened, MANY as u64);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || (0..70).for_each(|_| assert_eq!(client.get("/").status(), 200)));
        }
    });
    let requests = 70 * MANY as u64;
    assert_eq!(count("weir_upstream_connections_reused_total") - reused, requests, "every one of {requests}");
    assert_eq!(count("weir_upstream_connections_opened_total"), opened);
}
