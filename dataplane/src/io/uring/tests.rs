//! Real loopback sockets driven through the ring.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::io::conformance::{self, Driver, listener, listening, pattern};
use crate::io::{ReceiveBuffer, ReceiveEnd};

fn ring_with(options: UringOptions) -> (UringIo, SocketAddr) {
    let (listener, address) = listener();
    (UringIo::new(options, vec![listening(0, listener)]).unwrap(), address)
}

fn ring() -> (UringIo, SocketAddr) {
    ring_with(UringOptions::default())
}

fn backend(sizes: conformance::Sizes, listeners: Vec<ListeningSocket>) -> UringIo {
    let conformance::Sizes { buffer_count, buffer_bytes, socket_limit } = sizes;
    let options = UringOptions { buffer_count, buffer_bytes, socket_limit, ..UringOptions::default() };
    UringIo::new(options, listeners).unwrap()
}

conformance::kernel_backend_conforms!(backend);

const NO_FEATURES: SetupMask = SetupMask {
    no_sqarray: true,
    defer_taskrun: true,
    coop_taskrun: true,
    registered_ring: true,
    limited_receives: true,
};

#[test]
fn every_rung_serves() {
    for (mask, rung) in [
        (SetupMask::default(), Rung::DeferredDirect),
        (SetupMask { no_sqarray: true, ..SetupMask::default() }, Rung::Deferred),
        (SetupMask { defer_taskrun: true, ..SetupMask::default() }, Rung::Cooperative),
        (SetupMask { registered_ring: true, ..SetupMask::default() }, Rung::DeferredDirect),
        (NO_FEATURES, Rung::Plain),
    ] {
        let (io, address) = ring_with(UringOptions { mask, ..UringOptions::default() });
        assert_eq!(io.setup().rung, rung);
        assert_eq!(io.setup().registered_ring, !mask.registered_ring);
        assert!(!(mask.limited_receives && io.setup().limited_receives));
        conformance::echo_on_many(io, address, 20);
    }
}

#[test]
fn queues_that_are_far_too_short_lose_nothing() {
    let options = UringOptions { submission_entries: 2, completion_entries: 4, ..UringOptions::default() };
    let (io, address) = ring_with(options);
    conformance::echo_on_many(io, address, 100);
}

#[test]
fn a_full_submission_queue_is_submitted_early() {
    let (mut io, address) = ring_with(UringOptions { submission_entries: 8, ..UringOptions::default() });
    for _ in 0..20 {
        io.connect(address).unwrap();
    }
    assert!(io.ring_counters().early_submits > 0);
    assert!(io.ring_counters().enters > 0);
}

#[test]
fn sends_are_abandoned_without_newer_features() {
    let (io, address) = ring_with(UringOptions { mask: NO_FEATURES, ..UringOptions::default() });
    conformance::close_abandons_a_send(io, address);
}

#[test]
fn a_peer_can_be_held_up_without_newer_features() {
    let limited = SetupMask { limited_receives: true, ..SetupMask::default() };
    for mask in [limited, SetupMask { defer_taskrun: true, ..SetupMask::default() }, NO_FEATURES] {
        let options = UringOptions { mask, ..UringOptions::default() };
        let (io, address) = ring_with(options);
        let bytes = options.buffer_bytes as usize;
        conformance::one_wait_hands_over_little_of_a_socket(io, address, bytes);
    }
}

#[test]
fn a_wake_ends_a_wait_without_deadline() {
    let (mut io, _) = ring();
    let waker = io.waker();
    let waking = std::thread::spawn(move || waker.wake());
    let mut events = Vec::new();
    while events.is_empty() {
        io.wait(None, &mut events).unwrap();
    }
    waking.join().unwrap();
    assert!(matches!(events[..], [Event::Woken]));
}

/// The close travels with the next submit; the peer sees it although the worker sleeps on.
#[test]
fn a_foreign_peer_sees_the_close_while_the_worker_sleeps() {
    for reset in [false, true] {
        let (io, address) = ring();
        let waker = io.waker();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"x").unwrap();
            let outcome = stream.read(&mut [0; 8]).map_err(|error| error.raw_os_error());
            waker.wake();
            outcome
        });
        let mut driver = Driver::new(io);
        loop {
            match driver.next() {
                Event::Accepted { socket, .. } => driver.io.receive(socket),
                Event::Received { socket, .. } => driver.io.close(socket, reset),
                Event::Woken => break,
                other => panic!("unexpected {other:?}"),
            }
        }
        let expected = if reset { Err(Some(libc::ECONNRESET)) } else { Ok(0) };
        assert_eq!(client.join().unwrap(), expected);
    }
}

/// Bytes that came in before the end are all delivered, many small ones included.
#[test]
fn many_small_writes_of_a_foreign_peer_arrive() {
    let (io, address) = ring_with(UringOptions { buffer_count: 2, ..UringOptions::default() });
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        for part in pattern(20_000).chunks(7) {
            stream.write_all(part).unwrap();
        }
    });
    let mut driver = Driver::new(io);
    let Event::Accepted { socket, peer, .. } = driver.next() else { panic!("expected a connection") };
    assert!(peer.ip().is_loopback());
    let (bytes, end) = driver.receive_all(socket);
    assert!(bytes == pattern(20_000), "bytes differ");
    assert_eq!(end, ReceiveEnd::Finished);
    client.join().unwrap();
}

#[test]
fn accepted_and_connected_sockets_have_their_options() {
    let (io, address) = ring();
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    for socket in [client, server] {
        let descriptor = driver.io.sockets.open(socket).unwrap().descriptor.as_ref().unwrap();
        assert!(SockRef::from(descriptor).tcp_nodelay().unwrap());
        assert!(is_close_on_exec(descriptor.as_raw_fd()));
    }
}

#[expect(unsafe_code, reason = "fcntl(2) has no safe form in the standard library")]
fn is_close_on_exec(descriptor: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

/// All of it is in flight when the backend goes: receives, starved ones, sends, a connect, the accept.
#[test]
fn dropping_the_backend_ends_what_is_in_flight() {
    let (io, address) = ring_with(UringOptions { buffer_count: 1, ..UringOptions::default() });
    let mut driver = Driver::new(io);
    let pairs: Vec<_> = (0..4).map(|_| driver.pair(address)).collect();
    for &(client, server) in &pairs {
        driver.send(client, &vec![1; 16 << 20]);
        driver.io.receive(server);
        driver.io.receive(client);
    }
    let Event::Received { buffer, .. } = driver.next() else { panic!("expected bytes") };
    driver.io.connect(address).unwrap();
    drop(driver);
    // The memory outlives the backend as long as somebody holds a part of it.
    assert!(buffer.bytes().iter().all(|&byte| byte == 1));
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn rings_come_and_go_on_one_thread() {
    // More than a thread may have ring descriptors registered at a time (16).
    for _ in 0..40 {
        let (io, address) = ring();
        assert!(io.setup().registered_ring);
        conformance::pause_holds_bytes_back(io, address);
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let good = UringOptions::default();
    for (wrong, word) in [
        (UringOptions { buffer_count: 3, ..good }, "power of two"),
        (UringOptions { buffer_count: 0, ..good }, "power of two"),
        (UringOptions { buffer_bytes: 100, ..good }, "512"),
        (UringOptions { completion_entries: 1, ..good }, "completion"),
        (UringOptions { submission_entries: 0, ..good }, "submission"),
    ] {
        let error = UringIo::new(wrong, Vec::new()).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// In a process of its own, because the limit of descriptors is one of the whole process.
#[test]
fn accepting_resumes_after_descriptors_ran_out() {
    const MARK: &str = "WEIR_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(MARK).is_some() {
        return run_out_of_descriptors();
    }
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "io::uring::tests::accepting_resumes_after_descriptors_ran_out"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success() && text.contains("1 passed"), "{text}");
}

#[expect(unsafe_code, reason = "setrlimit(2) has no safe form in the standard library")]
fn run_out_of_descriptors() {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: the pointer is to a valid struct that lives until the call returns.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let (io, address) = ring();
    let mut driver = Driver::new(io);
    let mut hogs = Vec::new();
    while let Ok(hog) = std::fs::File::open("/dev/null") {
        hogs.push(hog);
    }
    // One descriptor for the client's end, none for the accepted one.
    hogs.pop();
    let client = TcpStream::connect(address).unwrap();
    assert!(driver.during(Duration::from_millis(200)).is_empty());
    let failures = driver.io.counters().accept_failures;
    assert!((1..100).contains(&failures), "{failures} failures: accepting should have paused");
    hogs.clear();
    assert!(matches!(driver.next(), Event::Accepted { peer, .. } if peer == client.local_addr().unwrap()));
}
