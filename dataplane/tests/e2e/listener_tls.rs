//! TLS towards clients: curl and openssl come in, the right certificate is chosen, sessions resume on every worker,
//! clients' certificates are judged, and what is wrong has a name.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use weir::tls::forge::{DemoAuthority, LeafRequest, Usage};

use crate::support::client::Client;
use crate::support::command::run;
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::pattern;
use crate::support::pki::Pki;
use crate::support::setup::Setup;

const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

/// A node whose listener has certificates for `site.example`, `*.wild.example` and `other.example`.
fn secure(setup: Setup, authority: &DemoAuthority, more: &str) -> Setup {
    let folder = setup.folder.path().to_owned();
    std::fs::write(folder.join("site-ca.pem"), authority.certificate_pem()).unwrap();
    let mut list = Vec::new();
    for (file, names) in
        [("site", &["site.example"][..]), ("wild", &["*.wild.example"]), ("other", &["other.example"])]
    {
        Pki::write_pair(&folder, file, &authority.server(names, &[]).unwrap());
        list.push(format!("{{ certificate = \"{file}.pem\", private_key = \"{file}.key\" }}"));
    }
    setup.listener(&format!("[listener.tls]\ncertificates = [{}]\n{more}", list.join(", ")))
}

/// curl over TLS to `name`, which resolves to the node.
fn curl(node: &Node, name: &str, arguments: &[&str], target: &str) -> Output {
    let port = node.address.port();
    Command::new("curl")
        .args(["-sS", "--max-time", "120", "--noproxy", "*", "--resolve"])
        .arg(format!("{name}:{port}:127.0.0.1"))
        .arg("--cacert")
        .arg(node.setup.folder.path().join("site-ca.pem"))
        .args(arguments)
        .arg(format!("https://{name}:{port}{target}"))
        .output()
        .expect("these tests need curl: apt-get install curl")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn handshakes(node: &Node, result: &str) -> u64 {
    node.metric("weir_client_handshakes_total", &[("result", result)])
}

#[test]
fn curl_comes_in_by_tls_1_2_and_1_3_and_is_judged_like_anyone() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let node = secure(Setup::new(origin.address).mode("block"), &authority, "").start();
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let arguments: Vec<&str> = version.split(' ').collect();
        let output = curl(&node, "site.example", &[&arguments[..], &["-w", " %{http_code}"]].concat(), "/");
        assert!(output.status.success(), "{version}: {output:?}");
        assert!(text(&output).ends_with(" 200"), "{version}: {output:?}");
        let output = curl(&node, "site.example", &["-o", "/dev/null", "-w", "%{http_code}"], ATTACK);
        assert_eq!(text(&output), "403", "{version}");
    }
    assert_eq!(handshakes(&node, "full"), 4);
    let seen = origin.requests();
    assert_eq!(seen[0].field("x-forwarded-proto"), Some("https"));
    assert_eq!(node.await_events(2)[0]["attack_class"], "sqli");
}

#[test]
fn the_name_asked_for_chooses_the_certificate_and_the_first_one_answers_the_rest() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let node = secure(Setup::new(origin.address), &authority, "").start();
    for name in ["site.example", "a.wild.example", "OTHER.example"] {
        let output = curl(&node, name, &[], "/");
        assert!(output.status.success(), "{name}: {output:?}");
    }
    // One label alone stands for the star.
    for name in ["a.b.wild.example", "wild.example", "unknown.example"] {
        let output = curl(&node, name, &[], "/");
        assert_eq!(output.status.code(), Some(60), "{name}: {output:?}");
        let output = curl(&node, name, &["-k", "-w", "%{certs}"], "/");
        assert!(text(&output).contains("DNS:site.example"), "{name}: {output:?}");
    }
}

#[test]
fn bodies_of_both_directions_go_through_whole() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::answering(|request| ok(&request.body));
    let node = secure(Setup::new(origin.address), &authority, "").start();
    for length in [1, 16_383, 16_384, 16_385, 700_000] {
        let body = pattern(length);
        let file = node.setup.write("body", &body);
        let data = format!("@{}", file.display());
        let output = curl(&node, "site.example", &["--data-binary", &data, "-H", "Expect:"], "/echo");
        assert!(output.status.success(), "{length}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == body, "{length}: {} bytes came back", output.stdout.len());
    }
}

/// What `openssl s_client` shows of one request to a listener.
fn s_client(address: SocketAddr, version: &str, extra: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", "site.example", version])
        .args(extra)
        .arg("-ign_eof")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need openssl: apt-get install openssl");
    let request = b"GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n";
    // One that was refused may be gone already.
    let _ = client.stdin.as_mut().unwrap().write_all(request);
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn http_1_1_is_agreed_on_and_clients_that_speak_only_others_get_no_connection() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let node = secure(Setup::new(origin.address), &authority, "").start();
    for version in ["-tls1_2", "-tls1_3"] {
        for offer in ["http/1.1", "h2,http/1.1"] {
            let shown = s_client(node.address, version, &["-alpn", offer]);
            assert!(shown.contains("ALPN protocol: http/1.1"), "{version}, {offer}: {shown}");
            assert!(shown.contains("HTTP/1.1 200"), "{version}, {offer}: {shown}");
        }
        // RFC 7301 section 3.2: no_application_protocol.
        let shown = s_client(node.address, version, &["-alpn", "h2"]);
        assert!(shown.contains("No ALPN negotiated") && !shown.contains("HTTP/1.1"), "{version}: {shown}");
    }
}

#[test]
fn sessions_resume_whichever_worker_takes_them() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let node = secure(Setup::new(origin.address).workers(2), &authority, "").start();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = node.setup.folder.path().join(format!("session{version}"));
        let path = session.display().to_string();
        let shown = s_client(node.address, version, &["-sess_out", &path]);
        assert!(shown.contains("New, TLSv1."), "{version}");
        for _ in 0..6 {
            let shown = s_client(node.address, version, &["-sess_in", &path]);
            assert!(shown.contains("Reused, TLSv1."), "{version}: {shown}");
            assert!(shown.contains("HTTP/1.1 200"), "{version}: {shown}");
        }
    }
    assert_eq!((handshakes(&node, "full"), handshakes(&node, "resumed")), (2, 12));
    // A reload keeps the keys.
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    for version in ["-tls1_2", "-tls1_3"] {
        let path = node.setup.folder.path().join(format!("session{version}")).display().to_string();
        for _ in 0..4 {
            let shown = s_client(node.address, version, &["-sess_in", &path]);
            assert!(shown.contains("Reused, TLSv1."), "{version}: {shown}");
        }
    }
    assert_eq!((handshakes(&node, "full"), handshakes(&node, "resumed")), (2, 20));
}

#[test]
fn sessions_end_with_the_key_after_next_and_resume_nowhere_without_tickets() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let never = Setup::SECURE_LISTENER.replace("secure", "never") + "\nticket_rotation = \"0\"";
    let node = secure(Setup::new(origin.address).workers(2), &authority, "ticket_rotation = \"3s\"")
        .more(&never)
        .start();
    // In TLS 1.3 the client wouldn't offer a ticket that is older than it was told that it lasts.
    let version = "-tls1_2";
    let path = node.setup.folder.path().join("short").display().to_string();
    eventually("a session that is resumed before its key is gone", || {
        s_client(node.address, version, &["-sess_out", &path]);
        s_client(node.address, version, &["-sess_in", &path]).contains("Reused, TLSv1.").then_some(())
    });
    eventually("the end of the session", || {
        let shown = s_client(node.address, version, &["-sess_in", &path]);
        assert!(shown.contains("HTTP/1.1 200"), "{shown}");
        shown.contains("New, TLSv1.").then_some(())
    });
    for _ in 0..4 {
        let shown = s_client(node.address, version, &["-sess_in", &path]);
        assert!(shown.contains("New, TLSv1."), "it came back: {shown}");
    }
    let never = node.address_of("never");
    for version in ["-tls1_2", "-tls1_3"] {
        let shown = s_client(never, version, &[]);
        assert!(shown.contains("HTTP/1.1 200"), "{version}: {shown}");
        let has_ticket =
            shown.contains("TLS session ticket:") || shown.contains("New Session Ticket arrived");
        assert!(!has_ticket, "{version}: {shown}");
        let shown = s_client(node.address, version, &[]);
        let has_ticket =
            shown.contains("TLS session ticket:") || shown.contains("New Session Ticket arrived");
        assert!(has_ticket, "{version}: {shown}");
    }
}

#[test]
fn no_session_gets_around_the_demand_for_a_certificate() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let devices = DemoAuthority::new("Devices").unwrap();
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write("devices-ca.pem", devices.certificate_pem());
    setup.write("devices.crl", devices.revocation_list(&[], false).unwrap());
    let folder = setup.folder.path().to_owned();
    let device = devices.client("device").unwrap();
    Pki::write_pair(&folder, "device", &device);
    let open = Setup::SECURE_LISTENER.replace("secure", "open");
    let asking = Setup::SECURE_LISTENER.replace("secure", "asking")
        + "\nclient_auth = \"request\"\nclient_ca = \"devices-ca.pem\"";
    let demands = "client_auth = \"require\"\nclient_ca = \"devices-ca.pem\"\nclient_crl = \"devices.crl\"";
    let node = secure(setup, &authority, demands).more(&open).more(&asking).start();
    let at = |name: &str| -> SocketAddr {
        let line =
            node.await_log("a listener", |line| line["message"] == "accepting" && line["listener"] == name);
        line["address"].as_str().unwrap().parse().unwrap()
    };
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file("device.pem"), file("device.key"));
    let shows = ["-cert", certificate.as_str(), "-key", key.as_str()];
    for version in ["-tls1_2", "-tls1_3"] {
        // From where nobody is asked, and from where one may have none.
        for name in ["open", "asking"] {
            let session = file(&format!("{name}{version}"));
            let shown = s_client(at(name), version, &["-sess_out", &session]);
            assert!(shown.contains("HTTP/1.1 200"), "{version}, {name}: {shown}");
            let shown = s_client(node.address, version, &["-sess_in", &session]);
            assert!(!shown.contains("HTTP/1.1 200"), "{version}, {name}: {shown}");
        }
        // One that was earned by a certificate is resumed, even without showing it again.
        let session = file(&format!("earned{version}"));
        let shown = s_client(node.address, version, &[&["-sess_out", &session], &shows[..]].concat());
        assert!(shown.contains("HTTP/1.1 200"), "{version}: {shown}");
        let shown = s_client(node.address, version, &["-sess_in", &session]);
        assert!(shown.contains("Reused") && shown.contains("HTTP/1.1 200"), "{version}: {shown}");
    }
    let seen = origin.requests();
    let last = seen.last().unwrap();
    assert_eq!(last.field("x-client-certificate-verify"), Some("SUCCESS"));
    assert_eq!(last.field("x-client-certificate-subject"), Some("CN=device"));
    // Until the certificate is revoked.
    let list = devices.revocation_list(&[super::certificates::serial(&device)], false).unwrap();
    node.setup.write("devices.crl", list);
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = file(&format!("earned{version}"));
        for extra in [&[][..], &shows[..]] {
            let shown = s_client(node.address, version, &[&["-sess_in", session.as_str()], extra].concat());
            assert!(!shown.contains("HTTP/1.1 200"), "{version}: {shown}");
        }
    }
    assert_eq!(handshakes(&node, "revoked"), 2);
}

#[test]
fn a_required_certificate_is_verified_and_told_to_origin_and_rules() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let clients = DemoAuthority::new("Clients' root").unwrap();
    let strangers = DemoAuthority::new("Strangers' root").unwrap();
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).rules(
        "[[rule]]\nid = 7\ntype = \"mode\"\nmode = \"block\"\n[[rule.when]]\n\
         point = [\"header\", \"X-Client-Certificate-Subject\"]\nis = \"equal\"\nvalue = \"CN=device-7\"\n",
    );
    setup.write("clients-ca.pem", clients.certificate_pem());
    let folder = setup.folder.path().to_owned();
    Pki::write_pair(&folder, "device-7", &clients.client("device-7").unwrap());
    Pki::write_pair(&folder, "device-8", &clients.client("device-8").unwrap());
    Pki::write_pair(&folder, "stranger", &strangers.client("device-7").unwrap());
    let expired = clients.issue(&LeafRequest::new("device-9", Usage::Client).expired()).unwrap();
    Pki::write_pair(&folder, "expired", &expired);
    let node = secure(setup, &authority, "client_auth = \"require\"\nclient_ca = \"clients-ca.pem\"").start();
    let with = |name: &str, target: &str, more: &[&str]| {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let arguments =
            [&["--cert", &certificate, "--key", &key, "-o", "/dev/null", "-w", "%{http_code}"], more];
        curl(&node, "site.example", &arguments.concat(), target)
    };
    let claim =
        ["-H", "X-Client-Certificate-Subject: CN=admin", "-H", "x_client_certificate_verify: SUCCESS"];
    assert_eq!(text(&with("device-7", "/", &claim)), "200");
    let seen = origin.requests();
    assert_eq!(seen[0].field("x-client-certificate-subject"), Some("CN=device-7"));
    assert_eq!(seen[0].field("x-client-certificate-verify"), Some("SUCCESS"));
    assert_eq!(seen[0].field("x-client-certificate-fingerprint").map(str::len), Some(64));
    assert_eq!(seen[0].field("x_client_certificate_verify"), None, "a claim isn't passed on");
    // The rule is about one device alone, and nobody else can claim to be it.
    assert_eq!(text(&with("device-7", ATTACK, &[])), "403");
    let claim = ["-H", "X-Client-Certificate-Subject: CN=device-7"];
    assert_eq!(text(&with("device-8", ATTACK, &claim)), "200");
    for (name, result) in [("stranger", "untrusted_certificate"), ("expired", "expired_certificate")] {
        assert!(!with(name, "/", &[]).status.success(), "{name}");
        assert_eq!(handshakes(&node, result), 1, "{name}");
    }
    assert!(!curl(&node, "site.example", &[], "/").status.success());
    assert_eq!(handshakes(&node, "certificate_missing"), 1);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_requested_certificate_may_be_missing_or_wrong_and_is_told() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let clients = DemoAuthority::new("Clients' root").unwrap();
    let strangers = DemoAuthority::new("Strangers' root").unwrap();
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write("clients-ca.pem", clients.certificate_pem());
    let folder = setup.folder.path().to_owned();
    Pki::write_pair(&folder, "known", &clients.client("known").unwrap());
    Pki::write_pair(&folder, "stranger", &strangers.client("stranger").unwrap());
    let node = secure(setup, &authority, "client_auth = \"request\"\nclient_ca = \"clients-ca.pem\"").start();
    let expected = [
        (Some("known"), "SUCCESS", Some("CN=known")),
        (Some("stranger"), "FAILED:untrusted_certificate", Some("CN=stranger")),
        (None, "NONE", None),
    ];
    for (number, (name, verification, subject)) in expected.into_iter().enumerate() {
        let files = name.map(|name| {
            [format!("{name}.pem"), format!("{name}.key")].map(|file| folder.join(file).display().to_string())
        });
        let arguments = match &files {
            Some([certificate, key]) => vec!["--cert", certificate.as_str(), "--key", key.as_str()],
            None => Vec::new(),
        };
        let output = curl(&node, "site.example", &arguments, "/");
        assert!(output.status.success(), "{name:?}: {output:?}");
        let seen = &origin.requests()[number];
        assert_eq!(seen.field("x-client-certificate-verify"), Some(verification), "{name:?}");
        assert_eq!(seen.field("x-client-certificate-subject"), subject, "{name:?}");
    }
}

#[test]
fn plain_http_to_a_tls_port_is_told_so() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let node = secure(Setup::new(origin.address), &authority, "minimum_version = \"1.3\"").start();
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("plain_http_to_tls"), "{answer}");
    assert_eq!(handshakes(&node, "protocol"), 1);
    // And a client that speaks no TLS 1.3 is refused by version.
    assert!(!curl(&node, "site.example", &["--tls-max", "1.2"], "/").status.success());
    assert_eq!(handshakes(&node, "incompatible"), 1);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn explain_asks_the_listener_that_the_request_would_come_in_by() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let rules = "[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"block\"\n\
                 when = [{ point = [\"scheme\"], is = \"equal\", value = \"https\" }]\n";
    let setup = Setup::new(origin.address).rules(rules).more(
        "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\nlimits = { request_body_bytes = \"4B\" }",
    );
    let node = secure(setup, &authority, "").start();
    let status = curl(&node, "site.example", &["-o", "/dev/null", "-w", "%{http_code}"], ATTACK);
    assert_eq!(text(&status), "403");
    let attack = format!("GET {ATTACK} HTTP/1.1\r\nHost: site.example\r\n\r\n");
    let plain =
        |request: &str| Client::connect(node.address_of("plain"), Ipv4Addr::LOCALHOST).ask(request).status();
    assert_eq!(plain(&attack), 200);
    assert_eq!(plain("POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 5\r\n\r\na=bcd"), 413);

    let config = node.setup.config_path();
    let explained = |arguments: &[&str]| {
        let done = run("explain", &config, &[&["--json"], arguments].concat());
        done.json_lines()[0].clone()
    };
    let told = |answer: &serde_json::Value| {
        let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (field("listener"), field("scheme"), field("verdict"))
    };
    let of = |listener: &str, scheme: &str, verdict: &str| {
        (listener.to_owned(), scheme.to_owned(), verdict.to_owned())
    };
    let (secure, plain) = (of("public", "https", "block"), of("plain", "http", "pass"));
    assert_eq!(told(&explained(&[&format!("https://site.example{ATTACK}")])), secure);
    assert_eq!(told(&explained(&[&format!("http://site.example{ATTACK}")])), plain);
    assert_eq!(told(&explained(&[ATTACK])), secure, "the first");
    assert_eq!(told(&explained(&["--listener", "plain", ATTACK])), plain);
    assert_eq!(explained(&["--listener", "plain", "-d", "a=bcd", "/"])["status"], 413, "its limits hold");
    assert_eq!(explained(&["--listener", "public", "-d", "a=bcd", "/"])["verdict"], "pass");
    let (_, answer) =
        node.api("POST", "/v1/explain", &json!({ "url": ATTACK, "listener": "plain" }).to_string());
    assert_eq!(told(&answer), plain);

    let told = run("explain", &config, &["--listener", "plain", "/"]).stdout;
    assert!(told.starts_with("listener   plain, http\n"), "{told}");
    let (status, answer) = node.api("POST", "/v1/explain", r#"{"url": "/", "listener": "x"}"#);
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("listener")), "{answer}");
    let unknown = run("explain", &config, &["--listener", "x", "/"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("\"public\", \"plain\""), "{unknown:?}");
}
