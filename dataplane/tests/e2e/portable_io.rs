//! The node where io_uring is refused, as in most containers: it serves by epoll, or says why it does not start.

use std::process::Command;

use crate::support::origin::{Origin, ok};
use crate::support::pki::Pki;
use crate::support::setup::Setup;

/// Forbids the three system calls of io_uring (numbers 425 to 427 on every architecture) by a seccomp filter, and becomes
/// the program that it is given.
const WITHOUT_IO_URING: &str = r#"
import ctypes, os, struct, sys
filter = b"".join(struct.pack("HBBI", *instruction) for instruction in [
    (0x20, 0, 0, 0),           # load the number of the system call
    (0x35, 0, 2, 425),         # below 425: allow
    (0x25, 1, 0, 427),         # above 427: allow
    (0x06, 0, 0, 0x00050001),  # fail with EPERM
    (0x06, 0, 0, 0x7fff0000),  # allow
])
memory = ctypes.create_string_buffer(filter)
program = struct.pack("HxxxxxxP", len(filter) // 8, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [(38, 1, 0, 0, 0), (22, 2, program, 0, 0)]:
    if libc.prctl(*arguments) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_node_without_io_uring_serves_by_epoll_and_says_so() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).mode("block");
    let node = setup.launched_by(&["python3", "-c", WITHOUT_IO_URING]).start();
    let warning = node.await_log("the warning", |line| line["level"] == "WARN" && line["reason"].is_string());
    assert!(warning["reason"].as_str().unwrap().contains("seccomp"), "{warning}");
    let mut client = node.connect();
    assert_eq!(client.get("/plain").text(), "/plain");
    assert_eq!(client.get("/?q=1%27%20OR%20%271%27=%271").status(), 403);
    let status: serde_json::Value = serde_json::from_str(&node.admin_get("/status").text()).unwrap();
    assert_eq!(status["io"], "portable: epoll");
}

#[test]
fn a_node_that_must_have_io_uring_says_what_refuses_it() {
    let setup = Setup::new(Origin::echoing_targets().address).node("io = \"uring\"");
    setup.write_config();
    let outcome = Command::new("python3")
        .args(["-c", WITHOUT_IO_URING, env!("CARGO_BIN_EXE_weir"), "run", "--config"])
        .arg(setup.config_path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&outcome.stderr);
    assert!(!outcome.status.success(), "{error}");
    assert!(error.contains("node.io") && error.contains("seccomp"), "{error}");
}

#[test]
fn mutual_tls_works_by_epoll() {
    let pki = Pki::new();
    let origin = Origin::scripted_tls(pki.demanding_server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = pki.mutual(Setup::new(origin.address)).node("io = \"monoio\"").start();
    assert_eq!(node.get("/page").text(), "/page");
}
