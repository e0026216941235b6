//! The bodies that every backend passes, on calm and rough networks; and what only the simulator does.

use super::*;
use crate::io::ReceiveEnd;
use crate::io::conformance::{self, Driver, pattern};

const SEEDS: std::ops::Range<u64> = 0..20;

fn front() -> SocketAddr {
    "10.0.0.1:80".parse().unwrap()
}

fn back() -> SocketAddr {
    "10.0.0.2:8080".parse().unwrap()
}

fn client_address() -> SocketAddr {
    "192.0.2.7:40000".parse().unwrap()
}

/// Runs a body on a calm network, and on rough ones of many seeds.
fn on_all(options: SimOptions, body: impl Fn(SimIo)) {
    body(SimNetwork::new(options, Faults::default()).io(&[front()]));
    for seed in SEEDS {
        body(SimNetwork::new(SimOptions { seed, ..options }, Faults::rough()).io(&[front()]));
    }
}

#[test]
fn echo_on_many() {
    on_all(SimOptions::default(), |io| conformance::echo_on_many(io, front(), 20));
}

#[test]
fn large_transfer_to_a_pausing_reader() {
    on_all(SimOptions::default(), |io| {
        conformance::large_transfer_to_a_pausing_reader(io, front(), 1 << 20);
    });
}

#[test]
fn pause_holds_bytes_back() {
    on_all(SimOptions::default(), |io| conformance::pause_holds_bytes_back(io, front()));
}

#[test]
fn head_and_body_are_sent_in_order() {
    on_all(SimOptions::default(), |io| conformance::head_and_body_are_sent_in_order(io, front()));
}

#[test]
fn a_finished_sender_still_receives() {
    on_all(SimOptions::default(), |io| conformance::a_finished_sender_still_receives(io, front()));
}

#[test]
fn resets_are_reported() {
    on_all(SimOptions::default(), |io| conformance::resets_are_reported(io, front()));
}

#[test]
fn close_abandons_a_send() {
    on_all(SimOptions::default(), |io| conformance::close_abandons_a_send(io, front()));
}

#[test]
fn stale_ids_reach_nobody() {
    on_all(SimOptions::default(), |io| conformance::stale_ids_reach_nobody(io, front()));
}

#[test]
fn refused_connects_are_reported() {
    on_all(SimOptions::default(), |io| conformance::refused_connects_are_reported(io, back()));
}

#[test]
fn starved_sockets_get_their_turn() {
    // Only on a calm network: the body takes a quiet moment for one in which all buffers are taken.
    let options = SimOptions { buffer_count: 4, buffer_bytes: 4096, ..SimOptions::default() };
    let network = SimNetwork::new(options, Faults::default());
    conformance::starved_sockets_get_their_turn(network.io(&[front()]), front(), 64);
}

#[test]
fn wakes_arrive() {
    on_all(SimOptions::default(), conformance::wakes_arrive);
}

#[test]
fn accepting_stops() {
    on_all(SimOptions::default(), |io| conformance::accepting_stops(io, front()));
}

#[test]
fn relay() {
    for seed in SEEDS {
        let network = SimNetwork::new(SimOptions { seed, ..SimOptions::default() }, Faults::rough());
        conformance::relay(network.io(&[front(), back()]), front(), back(), 5);
    }
}

fn calm() -> SimNetwork {
    SimNetwork::new(SimOptions::default(), Faults::default())
}

/// A connection from a test's client that the backend has accepted and receives from.
fn accepted(network: &SimNetwork, driver: &mut Driver<SimIo>) -> (SimPeer, SocketId) {
    let client = network.connect_client(front(), client_address());
    match driver.next() {
        Event::Accepted { socket, peer, .. } => {
            assert_eq!(peer, client_address());
            driver.io.receive(socket);
            (client, socket)
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// All events of an echo to three clients on a hostile network, as text with their times.
fn history(seed: u64) -> String {
    let network = SimNetwork::new(SimOptions { seed, ..SimOptions::default() }, Faults::hostile());
    let mut io = network.io(&[front()]);
    for _ in 0..3 {
        let client = network.connect_client(front(), client_address());
        network.send(client, &pattern(5000));
        network.finish(client);
    }
    let (mut text, mut events) = (String::new(), Vec::new());
    loop {
        io.wait(None, &mut events).unwrap();
        if events.is_empty() {
            return text;
        }
        for event in events.drain(..) {
            text.push_str(&format!("{} {event:?}\n", io.now().0));
            match event {
                Event::Accepted { socket, .. } => io.receive(socket),
                Event::ReceiveEnded { socket, .. } => io.close(socket, false),
                _ => {}
            }
        }
    }
}

#[test]
fn a_seed_fixes_everything() {
    let histories: Vec<String> = SEEDS.map(history).collect();
    for (seed, text) in SEEDS.zip(&histories) {
        assert!(*text == history(seed), "seed {seed} gave two histories");
    }
    assert!(histories.iter().any(|text| text.contains("Failed")), "no connection was reset");
    assert!(histories.iter().any(|text| text.contains("Finished")), "no connection came through");
    assert!(histories[0] != histories[1], "two seeds gave one history");
}

#[test]
fn bytes_are_cut_as_told() {
    let message = pattern(40);
    let cuttings = (0..=40).map(Cutting::At).chain([Cutting::Whole, Cutting::EveryByte]);
    for cutting in cuttings {
        let network = SimNetwork::new(SimOptions::default(), Faults { cutting, ..Faults::default() });
        let mut driver = Driver::new(network.io(&[front()]));
        let (client, _) = accepted(&network, &mut driver);
        network.send(client, &message);
        network.finish(client);
        let (mut lengths, mut received) = (Vec::new(), Vec::new());
        while let Event::Received { buffer, .. } = driver.next() {
            lengths.push(buffer.bytes().len());
            received.extend_from_slice(buffer.bytes());
        }
        assert_eq!(received, message);
        let expected = match cutting {
            Cutting::EveryByte => vec![1; 40],
            Cutting::At(place) if (1..40).contains(&place) => vec![place as usize, 40 - place as usize],
            _ => vec![40],
        };
        assert_eq!(lengths, expected, "{cutting:?}");
    }
}

#[test]
fn a_peer_that_does_not_read_holds_sends_back() {
    let network = calm();
    let mut driver = Driver::new(network.io(&[front()]));
    let (client, socket) = accepted(&network, &mut driver);
    network.set_reading(client, false);
    let bytes = pattern(1 << 20);
    driver.send(socket, &bytes);
    assert!(driver.during(Duration::from_secs(3600)).is_empty());
    assert!(network.received(client).is_empty());
    network.set_reading(client, true);
    assert!(matches!(driver.next(), Event::Sent { result: Ok(()), .. }));
    driver.during(Duration::from_secs(1));
    assert!(network.received(client) == bytes, "bytes differ");
}

#[test]
fn a_backend_that_does_not_read_holds_a_client_back() {
    let network = calm();
    let mut driver = Driver::new(network.io(&[front()]));
    let (client, socket) = accepted(&network, &mut driver);
    driver.io.pause(socket);
    network.send(client, &pattern(1 << 20));
    assert!(driver.during(Duration::from_secs(3600)).is_empty());
    assert_eq!(network.state(client).unsent_bytes, (1 << 20) - SimOptions::default().window_bytes);
    network.finish(client);
    let (bytes, end) = driver.receive_all(socket);
    assert!(bytes == pattern(1 << 20), "bytes differ");
    assert_eq!(end, ReceiveEnd::Finished);
    assert_eq!(network.state(client).unsent_bytes, 0);
}

#[test]
fn origins_are_played_by_the_test() {
    let network = calm();
    network.listen_origin(back());
    let mut driver = Driver::new(network.io(&[front()]));
    let upstream = driver.io.connect(back()).unwrap();
    assert!(matches!(driver.next(), Event::Connected { result: Ok(()), .. }));
    let origin = network.accept_origin(back()).unwrap();
    assert!(network.accept_origin(back()).is_none());
    driver.send(upstream, b"request");
    assert!(matches!(driver.next(), Event::Sent { result: Ok(()), .. }));
    driver.during(Duration::from_millis(1));
    assert_eq!(network.received(origin), b"request");
    network.send(origin, b"response");
    network.close(origin, false);
    let (bytes, end) = driver.receive_all(upstream);
    assert_eq!((bytes.as_slice(), end), (&b"response"[..], ReceiveEnd::Finished));
    driver.io.close(upstream, false);
    assert_eq!(network.open_sockets(), 0);
    assert_eq!(network.buffers_left(), SimOptions::default().buffer_count);
}

#[test]
fn connects_are_refused_or_never_answered_as_told() {
    let network = calm();
    network.listen_origin(back());
    network.stop_origin(back());
    let mut driver = Driver::new(network.io(&[front()]));
    let refused = driver.io.connect(back()).unwrap();
    match driver.next() {
        Event::Connected { socket, result } => {
            assert_eq!((socket, result), (refused, Err(Errno(libc::ECONNREFUSED))));
        }
        other => panic!("unexpected {other:?}"),
    }
    network.black_hole(back());
    let lost = driver.io.connect(back()).unwrap();
    assert!(driver.during(Duration::from_secs(3600)).is_empty());
    driver.io.close(lost, false);
    driver.io.stop_accepting();
    let client = network.connect_client(front(), client_address());
    assert!(driver.during(Duration::from_secs(1)).is_empty());
    assert!(network.state(client).refused);
}

#[test]
fn a_close_over_unread_bytes_is_a_reset() {
    for unread in [false, true] {
        let network = calm();
        let mut driver = Driver::new(network.io(&[front()]));
        let (client, socket) = accepted(&network, &mut driver);
        driver.io.pause(socket);
        if unread {
            network.send(client, b"never read");
        }
        assert!(driver.during(Duration::from_secs(1)).is_empty());
        driver.io.close(socket, false);
        driver.during(Duration::from_secs(1));
        let expected =
            if unread { ReceiveEnd::Failed(Errno(libc::ECONNRESET)) } else { ReceiveEnd::Finished };
        assert_eq!(network.state(client).end, Some(expected));
    }
}

#[test]
fn sends_to_a_peer_that_is_gone_fail() {
    let network = calm();
    let mut driver = Driver::new(network.io(&[front()]));
    let (client, socket) = accepted(&network, &mut driver);
    network.set_reading(client, false);
    driver.send(socket, &pattern(1 << 20));
    assert!(driver.during(Duration::from_secs(1)).is_empty());
    network.close(client, true);
    let events = driver.during(Duration::from_secs(1));
    let failed = |event: &Event<SimBuffer>| matches!(event, Event::Sent { result: Err(_), .. });
    assert_eq!(events.iter().filter(|event| failed(event)).count(), 1, "{events:?}");
}

#[test]
fn time_jumps_to_the_deadline() {
    let network = calm();
    let mut io = network.io(&[front()]);
    let mut events = Vec::new();
    let deadline = io.now().after(Duration::from_secs(86_400));
    io.wait(Some(deadline), &mut events).unwrap();
    assert_eq!(io.now(), deadline);
    assert_eq!(io.unix_nanos(), UNIX_START_NANOS + deadline.0);
    // Nothing can happen any more: the wait returns instead of hanging the test.
    io.wait(None, &mut events).unwrap();
    assert!(events.is_empty() && network.is_idle());
}

/// On a hostile network what arrives is always a beginning of what was sent, and every end is reported.
#[test]
fn hostile_networks_lose_only_the_end() {
    let (mut whole, mut reset, mut refused) = (0, 0, 0);
    for seed in 0..200 {
        let network = SimNetwork::new(SimOptions { seed, ..SimOptions::default() }, Faults::hostile());
        let mut io = network.io(&[front()]);
        let client = network.connect_client(front(), client_address());
        let sent = pattern(100_000);
        network.send(client, &sent);
        network.finish(client);
        let (mut events, mut received, mut ended) = (Vec::new(), Vec::new(), None);
        loop {
            io.wait(None, &mut events).unwrap();
            if events.is_empty() {
                break;
            }
            for event in events.drain(..) {
                match event {
                    Event::Accepted { socket, .. } => io.receive(socket),
                    Event::Received { buffer, .. } => received.extend_from_slice(buffer.bytes()),
                    Event::ReceiveEnded { end, .. } => ended = Some(end),
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        assert!(sent.starts_with(&received), "bytes differ");
        match ended {
            Some(ReceiveEnd::Finished) => {
                assert_eq!(received.len(), sent.len());
                whole += 1;
            }
            Some(ReceiveEnd::Failed(errno)) => {
                assert_eq!(errno, Errno(libc::ECONNRESET));
                reset += 1;
            }
            None => {
                assert!(network.state(client).refused);
                refused += 1;
            }
        }
    }
    assert!(whole > 0 && reset > 0 && refused > 0, "{whole} whole, {reset} reset, {refused} refused");
}
