//! mTLS to origins: nginx and openssl let the node in by its certificate, sessions are resumed, and whatever is wrong
//! with either certificate has a name of its own in the answer, the log, the event and the metrics.

use weir::tls::forge::{DemoAuthority, LeafRequest, Usage};

use crate::support::client::{get, post};
use crate::support::nginx::{Nginx, OpensslServer};
use crate::support::node::Node;
use crate::support::origin::{Origin, Peer, ok};
use crate::support::pattern;
use crate::support::pki::{ORIGIN_NAME, Pki};
use crate::support::setup::Setup;

const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

fn handshakes(node: &Node, result: &str) -> u64 {
    node.metric("weir_upstream_handshakes_total", &[("origin", "app"), ("result", result)])
}

#[test]
fn curl_gets_the_page_of_an_nginx_that_requires_certificates() {
    let pki = Pki::new();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let nginx = Nginx::mutual(&pki, &format!("ssl_protocols {version};"));
        let node = pki.mutual(Setup::new(nginx.address)).start();
        let output = node.curl(&[], "/index.html");
        assert!(output.status.success(), "{version}: {output:?}");
        assert_eq!(output.stdout, b"the page\n", "{version}");
        assert_eq!(nginx.await_access_log(1), ["200 GET /index.html HTTP/1.1|CN=edge|."], "{version}");
        assert_eq!((handshakes(&node, "full"), handshakes(&node, "resumed")), (1, 0), "{version}");
        assert!(
            node.metric("weir_client_certificate_not_after_seconds", &[("name", "edge")]) > 1_700_000_000
        );
    }
}

#[test]
fn an_attack_is_blocked_in_block_and_recorded_in_monitoring() {
    let pki = Pki::new();
    let nginx = Nginx::mutual(&pki, "");
    let node = pki.mutual(Setup::new(nginx.address)).mode("block").start();
    let output = node.curl(&["-o", "/dev/null", "-w", "%{http_code}"], ATTACK);
    assert_eq!(output.stdout, b"403");
    let events = node.await_events(1);
    assert_eq!((&events[0]["attack_class"], &events[0]["action"]), (&"sqli".into(), &"blocked".into()));
    assert_eq!(nginx.access_log().len(), 0, "a blocked request doesn't reach the origin");

    let node = pki.mutual(Setup::new(nginx.address)).mode("monitoring").start();
    let output = node.curl(&["-w", "%{http_code}"], ATTACK);
    assert_eq!(output.stdout, b"the page\n200");
    let events = node.await_events(1);
    assert_eq!((&events[0]["attack_class"], &events[0]["action"]), (&"sqli".into(), &"monitored".into()));
    assert_eq!(events[0]["status"], 200);
    nginx.await_access_log(1);
}

#[test]
fn sessions_are_resumed_once_the_origin_has_closed_its_connection() {
    let pki = Pki::new();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let nginx = Nginx::mutual(&pki, &format!("ssl_protocols {version}; keepalive_requests 1;"));
        let node = pki.mutual(Setup::new(nginx.address)).start();
        let mut client = node.connect();
        for _ in 0..4 {
            assert_eq!(client.get("/").text(), "the page\n", "{version}");
        }
        assert_eq!((handshakes(&node, "full"), handshakes(&node, "resumed")), (1, 3), "{version}");
        let log = nginx.await_access_log(4);
        let resumed = log.iter().filter(|line| line.ends_with("|CN=edge|r")).count();
        assert_eq!(resumed, 3, "{version}: nginx sees them as resumed too: {log:?}");
    }
}

#[test]
fn sessions_of_one_identity_are_never_resumed_by_another() {
    let pki = Pki::new();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let nginx = Nginx::mutual(&pki, &format!("ssl_protocols {version}; keepalive_requests 1;"));
        let setup = pki
            .mutual(Setup::new(nginx.address))
            .server("[[server.location]]\npath = \"/second\"\norigin = \"second\"");
        nginx.serve_file("second", b"the page\n");
        Pki::write_pair(setup.folder.path(), "other", &pki.clients.client("other").unwrap());
        // The same address and the same name: nothing but the identity differs.
        let origin = format!(
            "[[origin]]\nname = \"second\"\naddresses = [\"{}\"]\n[origin.tls]\nserver_name = \"{ORIGIN_NAME}\"\n\
             ca = \"origin-ca.pem\"\nrequire_mtls = true\nclient_certificate = \"other\"\n\
             [[client_certificate]]\nname = \"other\"\ncertificate = \"other.pem\"\nprivate_key = \"other.key\"\n\
             ca_bundle = \"edge-ca.pem\"",
            nginx.address
        );
        let node = setup.more(&origin).start();
        for _ in 0..3 {
            assert_eq!(node.get("/").text(), "the page\n", "{version}");
            assert_eq!(node.get("/second").text(), "the page\n", "{version}");
        }
        let count = |origin: &str, result: &str| {
            node.metric("weir_upstream_handshakes_total", &[("origin", origin), ("result", result)])
        };
        for origin in ["app", "second"] {
            assert_eq!((count(origin, "full"), count(origin, "resumed")), (1, 2), "{version}, {origin}");
        }
        let log = nginx.await_access_log(6);
        let seen: Vec<&str> = log.iter().filter_map(|line| line.split_once('|')).map(|(_, of)| of).collect();
        let expected = ["CN=edge|.", "CN=other|.", "CN=edge|r", "CN=other|r", "CN=edge|r", "CN=other|r"];
        assert_eq!(seen, expected, "{version}");
    }
}

#[test]
fn connections_under_tls_are_kept_and_shared() {
    let pki = Pki::new();
    let nginx = Nginx::mutual(&pki, "");
    let node = pki.mutual(Setup::new(nginx.address)).start();
    for _ in 0..10 {
        assert_eq!(node.get("/").status(), 200);
    }
    assert_eq!(handshakes(&node, "full") + handshakes(&node, "resumed"), 1);
    assert_eq!(node.metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")]), 1);
}

#[test]
fn large_bodies_pass_tls_unchanged_both_ways() {
    let pki = Pki::new();
    let origin = Origin::scripted_tls(pki.demanding_server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(&request.body));
        }
    });
    for mode in ["off", "block"] {
        let node =
            pki.mutual(Setup::new(origin.address)).mode(mode).detection("body_limit = \"64KiB\"").start();
        let body = pattern(8 * 1024 * 1024);
        let request = post("/", &body);
        let mut client = node.connect();
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &request));
        let answer = client.answer();
        sending.join().unwrap().unwrap();
        assert!(answer.status() == 200 && answer.body == body, "{mode}: {} bytes", answer.body.len());
    }
}

#[test]
fn each_origin_is_shown_the_identity_that_it_picks() {
    let (pki, other) = (Pki::new(), Pki::new());
    // Two origins that trust different authorities: each lets its own identity in and no other.
    let first = OpensslServer::demanding(&pki, "-tls1_3", &pki.clients.certificate_pem());
    let second = OpensslServer::demanding(&pki, "-tls1_3", &other.clients.certificate_pem());
    let setup = pki.mutual(Setup::new(first.address)).server(
        "[[server.location]]\npath = \"/second\"\norigin = \"second\"\n\
         [[server.location]]\npath = \"/mixed-up\"\norigin = \"mixed-up\"",
    );
    Pki::write_pair(setup.folder.path(), "other", &other.clients.client("other").unwrap());
    setup.write("other-ca.pem", other.clients.certificate_pem());
    let origin = |name: &str, identity: &str| {
        format!(
            "[[origin]]\nname = \"{name}\"\naddresses = [\"{}\"]\n[origin.tls]\nserver_name = \"{ORIGIN_NAME}\"\n\
             ca = \"origin-ca.pem\"\nclient_certificate = \"{identity}\"",
            second.address
        )
    };
    let node = setup
        .more(&origin("second", "other"))
        .more(&origin("mixed-up", "edge"))
        .more(
            "[[client_certificate]]\nname = \"other\"\ncertificate = \"other.pem\"\nprivate_key = \"other.key\"\n\
             ca_bundle = \"other-ca.pem\"",
        )
        .start();
    // Again and again, in turn: a connection or a session of one identity must never serve the other.
    for _ in 0..3 {
        assert_eq!(node.get("/").status(), 200);
        assert_eq!(node.get("/second").status(), 200);
        assert_eq!(node.get("/mixed-up").status(), 502);
    }
}

/// Asks once and expects this failure of the handshake everywhere.
#[track_caller]
fn expect_tls_failure(node: &Node, code: &str) {
    let answer =
        node.connect().ask("GET /x HTTP/1.1\r\nHost: site.example\r\nAccept: application/json\r\n\r\n");
    let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &page["reason"]), (502, &code.into()), "{page}");
    let event = node.await_event_of(&answer);
    assert_eq!((&event["origin"], &event["origin_error"]), (&"app".into(), &code.into()), "{event}");
    assert_eq!(event["status"], 502);
    node.await_log(code, |entry| entry["origin"] == "app" && entry["reason"] == code);
    assert!(handshakes(node, code) >= 1, "weir_upstream_handshakes_total{{result={code}}}");
    assert!(node.metric("weir_upstream_errors_total", &[("origin", "app"), ("reason", "tls")]) >= 1);
}

/// An origin of ours under TLS with this certificate.
fn origin_with(pair: &weir::tls::forge::PemPair) -> Origin {
    Origin::scripted_tls(Pki::server_config(pair), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    })
}

#[test]
fn an_origin_of_another_name_is_not_talked_to() {
    let pki = Pki::new();
    let origin = origin_with(&pki.origins.server(&["other.internal"], &[]).unwrap());
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "wrong_name");
    assert_eq!(origin.raw(), b"", "not a byte of the request went there");
}

#[test]
fn an_origin_of_an_untrusted_authority_is_not_talked_to() {
    let pki = Pki::new();
    let stranger = DemoAuthority::new("Stranger").unwrap();
    let origin = origin_with(&stranger.server(&[ORIGIN_NAME], &[]).unwrap());
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "untrusted_certificate");
    assert_eq!(origin.raw(), b"");
    // The system's roots don't know it either.
    let node = Setup::new(origin.address).tls(&format!("server_name = \"{ORIGIN_NAME}\"")).start();
    expect_tls_failure(&node, "untrusted_certificate");
}

fn origin_request() -> LeafRequest {
    let mut request = LeafRequest::new(ORIGIN_NAME, Usage::Server);
    request.dns_names = vec![ORIGIN_NAME.to_owned()];
    request
}

#[test]
fn an_origin_with_an_expired_certificate_is_not_talked_to() {
    let pki = Pki::new();
    let origin = origin_with(&pki.origins.issue(&origin_request().expired()).unwrap());
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "expired_certificate");
    assert_eq!(origin.raw(), b"");
}

#[test]
fn an_origin_with_a_certificate_of_the_future_is_not_talked_to() {
    let pki = Pki::new();
    let origin = origin_with(&pki.origins.issue(&origin_request().not_yet_valid()).unwrap());
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "not_yet_valid_certificate");
}

#[test]
fn an_origin_with_a_clients_certificate_is_not_talked_to() {
    let pki = Pki::new();
    let mut request = origin_request();
    request.usage = Usage::Client;
    let origin = origin_with(&pki.origins.issue(&request).unwrap());
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "bad_certificate");
}

#[test]
fn without_verification_any_certificate_will_do_and_check_warns() {
    let pki = Pki::new();
    let origin = origin_with(&pki.origins.issue(&origin_request().expired()).unwrap());
    let node = Setup::new(origin.address).tls("server_name = \"whatever.internal\"\nverify = false").start();
    assert_eq!(node.get("/x").text(), "/x");
    node.await_log("a warning", |entry| entry["level"] == "WARN" && entry.to_string().contains("verif"));
}

#[test]
fn an_origin_that_does_not_speak_tls_is_a_failure_of_the_protocol() {
    let origin = Origin::scripted(|peer| peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let pki = Pki::new();
    let node = pki.verified(Setup::new(origin.address)).start();
    expect_tls_failure(&node, "protocol");
}

#[test]
fn an_origin_that_closes_during_the_handshake_is_counted_as_such() {
    let origin = Origin::scripted(|_| ());
    let pki = Pki::new();
    let node = pki.verified(Setup::new(origin.address)).start();
    assert_eq!(node.get("/").status(), 502);
    assert_eq!(handshakes(&node, "closed"), 1);
}

#[test]
fn a_handshake_that_never_ends_is_cut_off_by_connect_timeout() {
    let origin = Origin::scripted(Peer::read_to_end);
    let pki = Pki::new();
    let node = pki.verified(Setup::new(origin.address)).origin("connect_timeout = \"300ms\"").start();
    let answer = node.get("/");
    assert_eq!(answer.status(), 504);
    assert_eq!(node.await_event_of(&answer)["origin_error"], "connect_timeout");
    assert_eq!(handshakes(&node, "timed_out"), 1);
}

#[test]
fn an_origin_that_refuses_our_certificate_is_reported_as_such() {
    let pki = Pki::new();
    let others = DemoAuthority::new("Other clients' root").unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let origin = OpensslServer::demanding(&pki, version, &others.certificate_pem());
        let node = pki.mutual(Setup::new(origin.address)).start();
        expect_tls_failure(&node, "certificate_refused");
        // In TLS 1.3 the refusal comes after the handshake and races with the request: it must win every time.
        for round in 0..20 {
            let answer = if round % 2 == 0 { node.get("/") } else { node.connect().ask(post("/", b"a=b")) };
            assert_eq!(answer.status(), 502, "{version}");
            assert!(answer.text().contains("certificate_refused"), "{version}, {round}: {}", answer.text());
        }
        assert_eq!(handshakes(&node, "certificate_refused"), 21, "{version}");
    }
}

#[test]
fn an_origin_that_misses_our_certificate_says_so() {
    let pki = Pki::new();
    for (version, code) in [("-tls1_2", "handshake_refused"), ("-tls1_3", "certificate_refused")] {
        let origin = OpensslServer::demanding(&pki, version, &pki.clients.certificate_pem());
        let node = pki.verified(Setup::new(origin.address)).start();
        expect_tls_failure(&node, code);
    }
}

#[test]
fn openssl_lets_our_certificate_in() {
    let pki = Pki::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let origin = OpensslServer::demanding(&pki, version, &pki.clients.certificate_pem());
        let node = pki.mutual(Setup::new(origin.address)).start();
        for _ in 0..3 {
            let answer = node.get("/");
            assert_eq!(answer.status(), 200, "{version}: {}", answer.text());
            assert!(answer.text().contains("CN = edge") || answer.text().contains("CN=edge"), "{version}");
        }
    }
}

#[test]
fn under_tls_an_answer_without_a_length_is_whole_only_with_a_closing_alert() {
    let pki = Pki::new();
    for whole in [true, false] {
        let origin = Origin::scripted_tls(Pki::server_config(&pki.origin_pair()), move |peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\n\r\nbody");
                if !whole {
                    peer.break_off();
                }
            }
        });
        let node = pki.verified(Setup::new(origin.address)).start();
        let mut client = node.connect();
        client.send(get("/"));
        let head = client.head();
        let body = client.body(head);
        if whole {
            assert_eq!(body.unwrap().text(), "body");
        } else {
            assert_eq!(body.unwrap_err().bytes, b"body");
        }
    }
}
