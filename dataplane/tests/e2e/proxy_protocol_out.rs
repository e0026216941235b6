//! The PROXY protocol towards origins: nginx and HAProxy see the real client, and a connection serves one client only.

use std::net::{Ipv4Addr, SocketAddr};

use weir::proxy_protocol::{Endpoints, write_v2};

use crate::support::client::{Client, ORDINARY};
use crate::support::haproxy::Haproxy;
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::pki::Pki;
use crate::support::setup::Setup;

/// What nginx says of a connection: client, destination, number of the connection, requests on it.
const WHOSE: &str = "location / { default_type text/plain; return 200 \"$proxy_protocol_addr:$proxy_protocol_port \
                     $proxy_protocol_server_addr:$proxy_protocol_server_port $connection $connection_requests\"; }";

/// An answer of [`WHOSE`]: source, destination, connection, requests.
fn ask(client: &mut Client, fields: &str) -> (String, String, String, String) {
    let request = format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n");
    let answer = client.ask(request);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let text = answer.text();
    let words: Vec<&str> = text.split(' ').collect();
    let [source, destination, connection, requests] = words[..] else { panic!("{text:?}") };
    (source.to_owned(), destination.to_owned(), connection.to_owned(), requests.to_owned())
}

fn idle(node: &Node) -> u64 {
    node.metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")])
}

#[test]
fn nginx_sees_each_client_on_connections_of_its_own() {
    let nginx = Nginx::told(WHOSE);
    for version in ["v1", "v2"] {
        let node = Setup::new(nginx.address).origin(&format!("proxy_protocol = \"{version}\"")).start();
        let mut clients = [41, 42, 41].map(|last| node.connect_from(last));
        let mut connections = Vec::new();
        for requests in 1..=3 {
            for (number, client) in clients.iter_mut().enumerate() {
                let seen = ask(client, "");
                assert_eq!(seen.0, client.stream.local_addr().unwrap().to_string(), "{version}");
                assert_eq!(seen.1, node.address.to_string(), "{version}");
                assert_eq!(seen.3, requests.to_string(), "{version}: it is kept for the next request");
                if requests == 1 {
                    assert!(!connections.contains(&seen.2), "{version}: of another client: {seen:?}");
                    connections.push(seen.2.clone());
                }
                assert_eq!(seen.2, connections[number], "{version}");
            }
        }
        assert_eq!(idle(&node), 3, "{version}");
        // With a client's connection those that carried it go.
        drop(clients);
        node.await_metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")], 0);
    }
}

#[test]
fn haproxy_takes_the_header_before_tls() {
    let pki = Pki::new();
    let haproxy = Haproxy::told_under_tls(&pki);
    for version in ["v1", "v2"] {
        let setup = pki.verified(Setup::new(haproxy.address));
        let node = setup.origin(&format!("proxy_protocol = \"{version}\"")).start();
        let mut client = node.connect_from(43);
        let from = client.stream.local_addr().unwrap();
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), format!("{from} {}", node.address), "{version}");
        }
        // Sessions are resumed all the same: they belong to the pool, not to a client.
        let mut other = node.connect_from(44);
        assert!(other.get("/").text().starts_with("127.0.0.44:"), "{version}");
        let handshakes = |result: &str| {
            node.metric("weir_upstream_handshakes_total", &[("origin", "app"), ("result", result)])
        };
        assert_eq!((handshakes("full"), handshakes("resumed")), (1, 1), "{version}");
    }
}

#[test]
fn behind_trusted_proxies_the_client_that_they_name_is_passed_on() {
    let nginx = Nginx::told(WHOSE);
    let node = Setup::new(nginx.address)
        .http(&format!("trusted_proxies = [\"{ORDINARY}\"]"))
        .origin("proxy_protocol = \"v2\"")
        .start();
    let mut first = node.connect();
    let seen = ask(&mut first, "X-Forwarded-For: 192.0.2.9\r\n");
    assert_eq!(seen.0, "192.0.2.9:", "nothing is known of its port");
    // The same client on another connection of the proxy, and another client on the same one.
    let same = ask(&mut node.connect(), "X-Forwarded-For: 192.0.2.9\r\n");
    assert_eq!((&same.0, &same.2, same.3.as_str()), (&seen.0, &seen.2, "2"));
    let other = ask(&mut first, "X-Forwarded-For: 2001:db8::9\r\n");
    assert!(other.0.starts_with("2001:db8::9:") && other.2 != seen.2, "{other:?}");
}

#[test]
fn a_header_that_came_in_goes_out() {
    let nginx = Nginx::told(WHOSE);
    let node = Setup::new(nginx.address)
        .http(&format!("trusted_proxies = [\"{ORDINARY}\"]"))
        .listener("proxy_protocol = true")
        .origin("proxy_protocol = \"v1\"")
        .start();
    let endpoints = |source: &str| Endpoints {
        source: source.parse::<SocketAddr>().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    };
    for source in ["192.0.2.7:1234", "192.0.2.8:1234"] {
        let mut client = Client::connect(node.address, Ipv4Addr::LOCALHOST);
        let mut header = Vec::new();
        write_v2(&endpoints(source), &mut header);
        client.send(header);
        let seen = ask(&mut client, "");
        assert_eq!((seen.0.as_str(), seen.1.as_str(), seen.3.as_str()), (source, "198.51.100.1:443", "1"));
    }
}

#[test]
fn the_cap_holds_over_all_clients_and_the_longest_idle_makes_room() {
    let nginx = Nginx::told(WHOSE);
    let node = Setup::new(nginx.address)
        .origin("proxy_protocol = \"v2\"\nconnections = 2\nidle_connections = 2")
        .start();
    let mut clients = [51, 52, 53].map(|last| node.connect_from(last));
    for client in &mut clients {
        ask(client, "");
        assert!(idle(&node) <= 2);
    }
    // The first one's was closed for the third's; the others are still there.
    assert_eq!(ask(&mut clients[2], "").3, "2");
    assert_eq!(ask(&mut clients[1], "").3, "2");
    assert_eq!(ask(&mut clients[0], "").3, "1");
    assert_eq!(idle(&node), 2);
}
