//! Every good and bad party, as nginx and as openssl, under TLS 1.2 and 1.3: whatever is wrong has a name of its own in the
//! answer, the event, the log and the metrics, and none of the others'.

use std::fmt::Write as _;

use weir::tls::forge::{DemoAuthority, LeafRequest, PemPair, Usage};

use super::certificates::{pin, serial};
use crate::support::nginx::{Nginx, OpensslServer};
use crate::support::node::Node;
use crate::support::pki::{ORIGIN_NAME, Pki};
use crate::support::setup::{Setup, somewhere};

/// A party: what certificate it shows, whom it lets in, and what is to come of it.
struct Case {
    name: &'static str,
    pair: PemPair,
    /// Further keys of `[origin.tls]`.
    keys: String,
    clients: Clients,
    /// The label of the handshake; none if all is well.
    fails: Option<&'static str>,
}

/// Which client certificates an origin wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    Ours,
    Others,
    /// Ours, but the one that we have is revoked.
    OursUnlessRevoked,
    /// It asks for none.
    NotAsked,
}

struct Parties {
    pki: Pki,
    others: DemoAuthority,
    client: PemPair,
}

impl Parties {
    fn cases(&self) -> Vec<Case> {
        let origins = &self.pki.origins;
        let good = self.pki.origin_pair();
        let revoked = self.pki.origin_pair();
        let named = || {
            let mut request = LeafRequest::new(ORIGIN_NAME, Usage::Server);
            request.dns_names = vec![ORIGIN_NAME.to_owned()];
            request
        };
        let other_name = origins.server(&["other.internal"], &[]).unwrap();
        let stranger = self.others.server(&[ORIGIN_NAME], &[]).unwrap();
        let expired = origins.issue(&named().expired()).unwrap();
        let future = origins.issue(&named().not_yet_valid()).unwrap();
        let pinned = format!("pinned_keys = [\"{}\"]", pin(&good));
        let lists = "crl = \"lists.pem\"".to_owned();
        let bad = |name, pair: &PemPair, keys: &str, fails| Case {
            name,
            pair: pair.clone(),
            keys: keys.to_owned(),
            clients: Clients::Ours,
            fails,
        };
        let towards = |name, clients, fails| Case { clients, ..bad(name, &good, "", fails) };
        vec![
            bad("sound", &good, &format!("{lists}\n{pinned}"), None),
            bad("name", &other_name, "", Some("wrong_name")),
            bad("authority", &stranger, "", Some("untrusted_certificate")),
            bad("expired", &expired, "", Some("expired_certificate")),
            bad("future", &future, "", Some("not_yet_valid_certificate")),
            bad("revoked", &revoked, &lists, Some("revoked")),
            bad("pin", &revoked, &pinned, Some("wrong_key")),
            towards("refused", Clients::Others, Some("certificate_refused")),
            towards("client-revoked", Clients::OursUnlessRevoked, Some("certificate_refused")),
            towards("not-asked", Clients::NotAsked, Some("certificate_not_requested")),
        ]
    }

    /// Files that the parties' directives and options name.
    fn files(&self, clients: Clients) -> Vec<(&'static str, String)> {
        let ours = self.pki.clients.certificate_pem();
        let trusted = if clients == Clients::Others { self.others.certificate_pem() } else { ours };
        let list = self.pki.clients.revocation_list(&[serial(&self.client)], false).unwrap();
        vec![("clients.pem", trusted), ("clients.crl", list)]
    }

    fn nginx(&self, case: &Case, version: &str) -> Nginx {
        // Without the last line nginx answers 400 over a sound handshake: a test of its own looks at that.
        let asks = "ssl_client_certificate clients.pem; ssl_verify_client on; error_page 495 496 = @refuse; \
                    location @refuse { return 444; }";
        let wants = match case.clients {
            Clients::NotAsked => String::new(),
            Clients::OursUnlessRevoked => format!("{asks} ssl_crl clients.crl;"),
            Clients::Ours | Clients::Others => asks.to_owned(),
        };
        let directives = format!("ssl_protocols TLSv{version}; {wants}");
        Nginx::secure(&case.pair, &directives, &self.files(case.clients))
    }

    fn openssl(&self, case: &Case, version: &str) -> OpensslServer {
        let mut options = vec!["-CAfile", "clients.pem"];
        if case.clients != Clients::NotAsked {
            options.extend(["-Verify", "1", "-verify_return_error"]);
        }
        if case.clients == Clients::OursUnlessRevoked {
            options.extend(["-crl_check", "-CRL", "clients.crl"]);
        }
        let version = format!("-tls{}", version.replace('.', "_"));
        OpensslServer::start(&case.pair, &version, &options, &self.files(case.clients))
    }
}

fn handshakes(node: &Node, origin: &str, result: &str) -> u64 {
    node.metric("weir_upstream_handshakes_total", &[("origin", origin), ("result", result)])
}

/// All results of handshakes with an origin that are failures, by name.
fn failures(node: &Node, origin: &str) -> Vec<String> {
    let mark = format!("weir_upstream_handshakes_total{{origin=\"{origin}\",result=\"");
    let text = node.admin_get("/metrics").text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(&mark));
    let counted = lines.filter_map(|line| line.split_once("\"} ")).filter(|(_, count)| *count != "0");
    let failed = counted.filter(|(result, _)| !["full", "resumed"].contains(result));
    failed.map(|(result, _)| result.to_owned()).collect()
}

#[track_caller]
fn expect(node: &Node, origin: &str, party: &str, version: &str, fails: Option<&str>) {
    let place = format!("{origin} under TLS {version}");
    let answer = node
        .connect()
        .ask(format!("GET /{origin}/ HTTP/1.1\r\nHost: site.example\r\nAccept: application/json\r\n\r\n"));
    let Some(code) = fails else {
        // nginx has no such file, openssl has a page about the connection: either way it let us in.
        let status = if party == "nginx" { 404 } else { 200 };
        assert_eq!(answer.status(), status, "{place}: {}", answer.text());
        assert_eq!(failures(node, origin), [""; 0], "{place}");
        return;
    };
    assert_eq!(answer.status(), 502, "{place}: {}", answer.text());
    let event = node.await_event_of(&answer);
    assert_eq!((&event["origin"], &event["status"]), (&origin.into(), &502.into()), "{event}");
    // It hangs up behind the handshake without a word of TLS.
    let hangs_up = party == "nginx" && code == "certificate_refused";
    let code = if hangs_up { "closed_after_certificate" } else { code };
    let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(page["reason"], code, "{place}: {page}");
    assert_eq!(event["origin_error"], code, "{place}: {event}");
    assert!(event["origin_error_detail"].as_str().is_some_and(|detail| detail.len() > 20), "{event}");
    let line = node.await_log(code, |line| line["origin"] == origin && line["reason"] == code);
    assert!(!hangs_up || line["detail"].as_str().unwrap().contains("was shown `edge`"), "{line}");
    assert_eq!(failures(node, origin), [code], "{place}");
}

#[test]
fn every_party_has_a_result_of_its_own() {
    let pki = Pki::new();
    let client = pki.clients.client("edge").unwrap();
    let parties = Parties { pki, others: DemoAuthority::new("Strangers' root").unwrap(), client };
    for version in ["1.2", "1.3"] {
        let cases = parties.cases();
        let revoked = cases.iter().find(|case| case.name == "revoked").unwrap();
        let list = parties.pki.origins.revocation_list(&[serial(&revoked.pair)], false).unwrap();
        let running: Vec<_> =
            cases.iter().map(|case| (parties.nginx(case, version), parties.openssl(case, version))).collect();
        let mut setup = parties.pki.mutual(Setup::new(somewhere()));
        Pki::write_pair(setup.folder.path(), "edge", &parties.client);
        setup.write("lists.pem", list);
        let (mut locations, mut origins) = (String::new(), String::new());
        for (case, (nginx, openssl)) in cases.iter().zip(&running) {
            for (party, address) in [("nginx", nginx.address), ("openssl", openssl.address)] {
                let name = format!("{party}-{}", case.name);
                writeln!(locations, "[[server.location]]\npath = \"/{name}/\"\norigin = \"{name}\"").unwrap();
                writeln!(
                    origins,
                    "[[origin]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n[origin.tls]\n\
                     server_name = \"{ORIGIN_NAME}\"\nca = \"origin-ca.pem\"\nrequire_mtls = true\n\
                     client_certificate = \"edge\"\n{}",
                    case.keys
                )
                .unwrap();
            }
        }
        setup = setup.server(&locations).more(&origins);
        let node = setup.start();
        for case in &cases {
            for party in ["nginx", "openssl"] {
                expect(&node, &format!("{party}-{}", case.name), party, version, case.fails);
            }
        }
        // What is not asked for fails each time: it isn't a resumed session that lets it pass.
        for _ in 0..3 {
            assert_eq!(node.get("/openssl-not-asked/").status(), 502);
        }
        assert_eq!(handshakes(&node, "openssl-not-asked", "certificate_not_requested"), 4);
    }
}

#[test]
fn an_nginx_that_answers_400_for_want_of_a_certificate_is_told_apart() {
    let pki = Pki::new();
    let others = DemoAuthority::new("Strangers' root").unwrap();
    for version in ["1.2", "1.3"] {
        for ours in [false, true] {
            let directives = format!(
                "ssl_protocols TLSv{version}; ssl_verify_client on; ssl_client_certificate clients.pem;"
            );
            let trusted = [("clients.pem", others.certificate_pem())];
            let nginx = Nginx::secure(&pki.origin_pair(), &directives, &trusted);
            let setup = Setup::new(nginx.address);
            let node = if ours { pki.mutual(setup) } else { pki.verified(setup) }.start();
            let answer = node.get("/");
            assert_eq!(answer.status(), 400, "the client gets it as it is");
            let event = node.await_event_of(&answer);
            let detail = event["origin_error_detail"].as_str().unwrap_or_default();
            assert_eq!(
                (&event["origin_error"], &event["status"]),
                (&"certificate_refused".into(), &400.into())
            );
            let advice = if ours { "was shown `edge`" } else { "set client_certificate" };
            assert!(detail.contains("asked for a client certificate") && detail.contains(advice), "{detail}");
            node.await_log("the warning", |line| line["reason"] == "certificate_refused");
            assert_eq!(handshakes(&node, "app", "certificate_refused"), 1);
        }
    }
    // A 400 of the application is no such thing.
    let asks = "ssl_verify_client on; ssl_client_certificate clients.pem;";
    let trusted = [("clients.pem", pki.clients.certificate_pem())];
    let nginx = Nginx::secure(&pki.origin_pair(), &format!("{asks} location / {{ return 400; }}"), &trusted);
    let node = pki.mutual(Setup::new(nginx.address)).start();
    assert_eq!(node.get("/").status(), 400);
    assert_eq!(handshakes(&node, "app", "certificate_refused"), 0);
}

#[test]
fn a_refused_certificate_has_the_same_reason_each_time() {
    let pki = Pki::new();
    let others = DemoAuthority::new("Strangers' root").unwrap();
    let hangs_up = "error_page 495 496 = @refuse; location @refuse { return 444; }";
    for (version, ours) in [("1.2", false), ("1.2", true), ("1.3", false), ("1.3", true)] {
        for (more, status, reason) in
            [("", 400, "certificate_refused"), (hangs_up, 502, "closed_after_certificate")]
        {
            let place = format!("TLS {version}, ours: {ours}, {reason}");
            let directives = format!(
                "ssl_protocols TLSv{version}; ssl_verify_client on; ssl_client_certificate clients.pem; {more}"
            );
            let trusted = [("clients.pem", others.certificate_pem())];
            let nginx = Nginx::secure(&pki.origin_pair(), &directives, &trusted);
            let setup = Setup::new(nginx.address);
            let node = if ours { pki.mutual(setup) } else { pki.verified(setup) }.start();
            for _ in 0..3 {
                let answer = node.get("/");
                assert_eq!(answer.status(), status, "{place}");
                let event = node.await_event_of(&answer);
                assert_eq!(event["origin_error"], reason, "{place}: {event}");
                let detail = event["origin_error_detail"].as_str().unwrap();
                assert!(
                    detail.contains(if ours { "was shown `edge`" } else { "got none" }),
                    "{place}: {detail}"
                );
            }
            assert_eq!(handshakes(&node, "app", reason), 3, "{place}");
        }
    }
}

#[test]
fn without_require_mtls_an_origin_need_not_ask() {
    let pki = Pki::new();
    let nginx = Nginx::secure(&pki.origin_pair(), "", &[]);
    let setup = pki.mutual(Setup::new(nginx.address));
    let text = setup.text().replace("require_mtls = true\n", "");
    setup.write("weir.toml", text);
    let node = Node::start(setup);
    assert_eq!(node.get("/").text(), "the page\n");
    node.await_log("a warning", |line| {
        line["level"] == "WARN"
            && line["client_certificate"] == "edge"
            && line["message"]
                .as_str()
                .is_some_and(|message| message.contains("asks for no client certificate"))
    });
    // A reload that demands it doesn't go on with the connection that was made without.
    node.setup.write("weir.toml", node.setup.text());
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(node.get("/").status(), 502);
    assert_eq!(handshakes(&node, "app", "certificate_not_requested"), 1);
}
