//! The PROXY protocol at a listener: curl and HAProxy send it, trusted proxies alone may, and the client that it names is
//! the one that lists and origins see.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use socket2::{Domain, Socket, Type};
use weir::proxy_protocol::{Endpoints, write_v1, write_v2};
use weir::tls::forge::DemoAuthority;

use crate::support::client::{Client, ORDINARY};
use crate::support::haproxy::Haproxy;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::pki::Pki;
use crate::support::setup::Setup;

fn node(origin: &Origin) -> Node {
    let lists = "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.66\"\n";
    // The test's own look at whether the node is ready goes through the admin endpoint, which has no such header.
    Setup::new(origin.address)
        .http(&format!("trusted_proxies = [\"{ORDINARY}\"]"))
        .listener("proxy_protocol = true")
        .lists(lists)
        .start()
}

fn header(source: &str, binary: bool) -> Vec<u8> {
    let endpoints =
        Endpoints { source: source.parse().unwrap(), destination: "198.51.100.1:80".parse().unwrap() };
    let mut header = Vec::new();
    if binary {
        write_v2(&endpoints, &mut header)
    } else {
        write_v1(&endpoints, &mut header)
    }
    header
}

#[test]
fn both_versions_name_the_client_for_all_requests_of_the_connection() {
    let origin = Origin::echoing_targets();
    let node = node(&origin);
    for binary in [false, true] {
        let mut client = Client::connect(node.address, ORDINARY);
        client.send(header("192.0.2.7:1234", binary));
        assert_eq!(client.get("/a").status(), 200);
        assert_eq!(client.get("/b").status(), 200);
    }
    for request in origin.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.7"));
    }
}

#[test]
fn a_header_that_comes_byte_by_byte_is_read_and_lists_apply_to_its_client() {
    let origin = Origin::echoing_targets();
    let node = node(&origin);
    let mut client = Client::connect(node.address, ORDINARY);
    for byte in header("192.0.2.66:1234", true) {
        client.send([byte]);
    }
    assert_eq!(client.get("/").status(), 403);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn connections_without_a_header_and_those_of_strangers_are_closed() {
    let origin = Origin::echoing_targets();
    let node = node(&origin);
    let gets_nothing = |source: Ipv4Addr, bytes: &[u8]| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&node.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        // It may be closed already.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.is_empty()
    };
    assert!(gets_nothing(ORDINARY, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(gets_nothing(Ipv4Addr::new(127, 0, 0, 99), &header("192.0.2.7:1234", false)));
    let errors = |code: &str| node.metric("weir_protocol_errors_total", &[("status", "0"), ("code", code)]);
    assert_eq!((errors("bad_proxy_header"), errors("untrusted_proxy")), (1, 1));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn curl_sends_a_header_and_tls_follows_it() {
    let authority = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).http("trusted_proxies = [\"127.0.0.1\"]");
    Pki::write_pair(setup.folder.path(), "site", &authority.server(&["site.example"], &[]).unwrap());
    let node = setup
        .listener(
            "proxy_protocol = true\n[listener.tls]\n\
             certificates = [{ certificate = \"site.pem\", private_key = \"site.key\" }]",
        )
        .start();
    let port = node.address.port();
    let output = Command::new("curl")
        .args(["-sSk", "--max-time", "120", "--noproxy", "*", "--haproxy-protocol", "--resolve"])
        .args([format!("site.example:{port}:127.0.0.1"), format!("https://site.example:{port}/page")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/page", "{output:?}");
    assert_eq!(origin.requests()[0].field("x-forwarded-proto"), Some("https"));
}

#[test]
fn haproxy_in_front_passes_its_clients_on() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .http("trusted_proxies = [\"127.0.0.1\"]")
        .listener("proxy_protocol = true")
        .start();
    for option in ["send-proxy", "send-proxy-v2"] {
        let proxy = Haproxy::before(node.address, option);
        let from = Ipv4Addr::new(127, 0, 0, 41);
        assert_eq!(Client::connect(proxy.address, from).get("/").status(), 200, "{option}");
        let seen = origin.requests();
        assert_eq!(seen.last().unwrap().field("x-forwarded-for"), Some("127.0.0.41"), "{option}");
    }
}
