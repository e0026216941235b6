//! What idle connections cost: bytes, which no busy machine changes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use weir::tls::forge::DemoAuthority;

use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::pki::Pki;
use crate::support::setup::Setup;

/// Connections that are measured. Few enough for any limit of descriptors, and enough for the rest to be noise.
const CONNECTIONS: u64 = 600;
/// The bar: user-space memory of an idle connection under TLS.
const BYTES_MAX: u64 = 12 * 1024;

/// Opens connections with a client certificate, asks once on each, says so, and keeps them until its input ends.
const CLIENTS: &str = "import socket, ssl, sys\n\
    port, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]\n\
    context = ssl.create_default_context(cafile=folder + '/site-ca.pem')\n\
    context.load_cert_chain(folder + '/device.pem', folder + '/device.key')\n\
    kept = []\n\
    for _ in range(count):\n\
    \x20   s = context.wrap_socket(socket.create_connection(('127.0.0.1', port)), server_hostname='site.example')\n\
    \x20   s.sendall(b'GET / HTTP/1.1\\r\\nHost: site.example\\r\\n\\r\\n')\n\
    \x20   answer = b''\n\
    \x20   while not answer.endswith(b'\\r\\n\\r\\n/'):\n\
    \x20       answer += s.recv(4096)\n\
    \x20   kept.append(s)\n\
    print('open', flush=True)\n\
    sys.stdin.read()\n";

/// Opens `count` connections, and says how many bytes the node has written to and has for itself while they idle. Pages of the
/// binary don't count: the kernel takes them back whenever it needs room.
fn private_bytes_with(node: &Node, count: u64) -> u64 {
    let mut clients = Command::new("python3")
        .args(["-c", CLIENTS, &node.address.port().to_string(), &count.to_string()])
        .arg(node.setup.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need python3: apt-get install python3");
    let mut line = String::new();
    BufReader::new(clients.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    node.await_metric("weir_connections", &[], count);
    let pages = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", node.id())).unwrap();
    let private = pages.lines().filter(|line| line.starts_with("Private_Dirty:"));
    let kibibytes: u64 =
        private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum();
    drop(clients.stdin.take());
    assert!(clients.wait().unwrap().success());
    node.await_metric("weir_connections", &[], 0);
    kibibytes * 1024
}

#[test]
fn an_idle_connection_under_tls_takes_little_memory() {
    let (sites, devices) =
        (DemoAuthority::new("Sites' root").unwrap(), DemoAuthority::new("Devices").unwrap());
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write("site-ca.pem", sites.certificate_pem());
    setup.write("devices-ca.pem", devices.certificate_pem());
    Pki::write_pair(setup.folder.path(), "site", &sites.server(&["site.example"], &[]).unwrap());
    Pki::write_pair(setup.folder.path(), "device", &devices.client("device").unwrap());
    let node = setup
        .listener(
            "[listener.tls]\ncertificates = [{ certificate = \"site.pem\", private_key = \"site.key\" }]\n\
             client_auth = \"require\"\nclient_ca = \"devices-ca.pem\"",
        )
        .start();
    // The first ones pay for what is there once, such as code and receive buffers that were never used before.
    let before = private_bytes_with(&node, 40);
    let with = private_bytes_with(&node, 40 + CONNECTIONS);
    let each = with.saturating_sub(before) / CONNECTIONS;
    assert!(each <= BYTES_MAX, "{each} bytes for each idle connection");
    assert!(each > 0, "nothing was measured");
}
