//! The engine on connections that fail: each cause has its code, and the peer is told.

use proptest::prelude::*;
use rustls::{AlertDescription, ClientConnection, SupportedProtocolVersion};

use super::link::{Link, ORIGIN, TLS12, TLS13, World, server};
use crate::tls::forge::{DemoAuthority, LeafRequest, Usage};
use crate::tls::{ClientEngine, Identity, OriginTls, ServerEngine, Trust};

/// Connects to a server with the certificate of `request` and returns the code of the failure.
fn refused_code(world: &World, request: &LeafRequest) -> &'static str {
    let pair = world.authority.issue(request).unwrap();
    let mut link = Link::new(&world.client(None).for_worker(), &server(&pair, None, TLS13));
    let failure = link.run().unwrap_err();
    assert!(!link.to_server.is_empty(), "the origin is told by an alert");
    let again = link.engine.ingest(&mut [], &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert_eq!(failure, again, "a failed connection stays failed");
    failure.code
}

fn server_request(name: &str) -> LeafRequest {
    LeafRequest { dns_names: vec![name.to_owned()], ..LeafRequest::new(name, Usage::Server) }
}

#[test]
fn an_unfit_certificate_of_the_origin_has_its_code() {
    let world = World::new();
    assert_eq!(refused_code(&world, &server_request("other.internal")), "wrong_name");
    assert_eq!(refused_code(&world, &server_request(ORIGIN).expired()), "expired_certificate");
    assert_eq!(refused_code(&world, &server_request(ORIGIN).not_yet_valid()), "not_yet_valid_certificate");
    let client_only = LeafRequest { usage: Usage::Client, ..server_request(ORIGIN) };
    assert_eq!(refused_code(&world, &client_only), "bad_certificate");
}

#[test]
fn an_unknown_authority_is_not_trusted_even_under_the_same_name() {
    let world = World::new();
    for name in ["Stranger", "Test CA"] {
        let stranger = DemoAuthority::new(name).unwrap();
        let pair = stranger.server(&[ORIGIN], &[]).unwrap();
        let mut link = Link::new(&world.client(None).for_worker(), &server(&pair, None, TLS13));
        assert_eq!(link.run().unwrap_err().code, "untrusted_certificate", "{name}");
    }
}

#[test]
fn without_a_certificate_that_is_demanded_the_origin_refuses() {
    let world = World::new();
    let mut link = Link::new(&world.client(None).for_worker(), &world.server(TLS13));
    let failure = link.run().unwrap_err();
    assert_eq!(failure.code, "certificate_refused");
    assert_eq!(link.finished_count, 1, "in TLS 1.3 the refusal comes after our side has finished");

    let mut link = Link::new(&world.client(None).for_worker(), &world.server(TLS12));
    assert_eq!(link.run().unwrap_err().code, "certificate_refused");
    assert_eq!(link.finished_count, 0);
}

#[test]
fn a_certificate_of_another_authority_is_refused_by_the_origin() {
    let world = World::new();
    let stranger = DemoAuthority::new("Stranger").unwrap();
    let files = world.files.identity_files(
        "stranger",
        &stranger.client("edge").unwrap(),
        &stranger.certificate_pem(),
    );
    let identity = Identity::load(&files, super::link::now_unix()).unwrap();
    for versions in [TLS12, TLS13] {
        let mut link = Link::new(&world.client(Some(&identity)).for_worker(), &world.server(versions));
        let failure = link.run().unwrap_err();
        assert_eq!(failure.code, "certificate_refused", "{failure}");
    }
}

/// What a client without a certificate, which a listener demands, is told.
fn refusal_of_a_client_without_certificate(
    versions: &[&'static SupportedProtocolVersion],
) -> AlertDescription {
    let world = World::new();
    let name = ORIGIN.try_into().unwrap();
    let mut client = ClientConnection::new(world.client(None).for_worker(), name).unwrap();
    let mut engine = ServerEngine::accept(&world.server(versions)).unwrap();
    loop {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        let mut answer = Vec::new();
        let result = engine.ingest(&mut sent, &mut Vec::new(), &mut answer);
        client.read_tls(&mut answer.as_slice()).unwrap();
        let told = client.process_new_packets();
        let Err(failure) = result else {
            told.unwrap();
            continue;
        };
        assert_eq!(failure.code, "certificate_missing");
        let Err(rustls::Error::AlertReceived(alert)) = told else { panic!("{told:?}") };
        return alert;
    }
}

#[test]
fn a_client_without_a_certificate_that_is_demanded_is_told_by_the_alert_of_its_version() {
    assert_eq!(refusal_of_a_client_without_certificate(TLS12), AlertDescription::HandshakeFailure);
    assert_eq!(refusal_of_a_client_without_certificate(TLS13), AlertDescription::CertificateRequired);
}

/// An engine that has sent its first flight.
fn started() -> ClientEngine {
    let config = OriginTls::build(ORIGIN, &Trust::Insecure, None).unwrap();
    let mut engine = ClientEngine::new(&config.for_worker(), config.server_name.clone()).unwrap();
    let mut hello = Vec::new();
    engine.start(&mut hello).unwrap();
    assert_eq!(hello[0], 22, "a handshake record");
    engine
}

#[test]
fn bytes_that_are_not_tls_are_a_protocol_failure() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x16\x03\x03\xff\xff",
        b"\x17\x03\x03\x00\x01x",
        b"\x16\x03\x03\x00\x00",
        b"\x16\x03\x03\x00\x04\x02\xff\xff\xff",
    ] {
        for piece_bytes in [1, usize::MAX] {
            let (mut engine, mut plain, mut out) = (started(), Vec::new(), Vec::new());
            let mut bytes = bytes.to_vec();
            let failure = bytes
                .chunks_mut(piece_bytes.min(1 << 20))
                .find_map(|piece| engine.ingest(piece, &mut plain, &mut out).err())
                .unwrap_or_else(|| panic!("{bytes:?} is taken for TLS"));
            assert_eq!(failure.code, "protocol", "{failure}");
            assert!(plain.is_empty());
            assert_eq!(engine.partial_capacity(), 0);
        }
    }
}

#[test]
fn tampering_with_a_record_is_a_protocol_failure() {
    let world = World::new();
    for versions in [TLS12, TLS13] {
        let mut link =
            Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(versions));
        link.run().unwrap();
        link.server_sends(b"genuine");
        let mut sent = Vec::new();
        link.server.write_tls(&mut sent).unwrap();
        *sent.last_mut().unwrap() ^= 1;
        assert_eq!(link.feed_engine(&mut sent).unwrap_err().code, "protocol");
        assert!(link.at_client.is_empty());
        assert!(link.engine.seal(&[b"more"], &mut Vec::new()).is_err());
    }
}

#[test]
fn a_message_in_endless_pieces_is_bounded() {
    let mut engine = started();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    // A ServerHello that claims 65,000 bytes, in records of one byte each.
    let message = [&[2, 0, 0xfd, 0xe8][..], &[0; 60_000]].concat();
    let failure = message.iter().find_map(|byte| {
        let mut record = [22, 3, 3, 0, 1, *byte];
        engine.ingest(&mut record, &mut plain, &mut out).err()
    });
    assert_eq!(failure.expect("it must end somewhere").code, "protocol");
}

#[test]
fn alerts_of_the_origin_have_their_codes() {
    for (alert, code) in [
        (116, "certificate_refused"),
        (48, "certificate_refused"),
        (42, "certificate_refused"),
        (44, "certificate_refused"),
        (45, "certificate_refused"),
        (49, "certificate_refused"),
        (112, "name_refused"),
        (70, "incompatible"),
        (120, "incompatible"),
        (40, "handshake_refused"),
        (80, "peer_alert"),
    ] {
        let mut record = [21, 3, 3, 0, 2, 2, alert];
        let failure = started().ingest(&mut record, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.code, code, "alert {alert}");
    }
}

#[test]
fn warnings_during_the_handshake_are_tolerated_but_not_for_ever() {
    let mut engine = started();
    let mut warn = || engine.ingest(&mut [21, 3, 3, 0, 2, 1, 0], &mut Vec::new(), &mut Vec::new());
    assert!(!warn().unwrap().peer_closed, "before the end of the handshake anyone could have said that");
    let failure = (0..100).find_map(|_| warn().err()).expect("it must end somewhere");
    assert_eq!(failure.code, "protocol", "{failure}");
}

#[test]
fn sealing_before_the_handshake_is_an_error_that_harms_nothing() {
    let world = World::new();
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(TLS13));
    let mut out = Vec::new();
    assert_eq!(link.engine.seal(&[b"early"], &mut out).unwrap_err().code, "internal");
    link.engine.close_notify(&mut out);
    assert!(out.is_empty());
    link.run().unwrap();
    link.engine_sends(&[b"in time"]);
    link.run().unwrap();
    assert_eq!(link.at_server, b"in time");
}

/// Feeds `bytes` in pieces until the engine has enough of them.
fn feed_in_pieces(engine: &mut ClientEngine, mut bytes: Vec<u8>, piece_bytes: usize) {
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let failed =
        bytes.chunks_mut(piece_bytes).any(|piece| engine.ingest(piece, &mut plain, &mut out).is_err());
    assert!(plain.is_empty(), "nothing unauthenticated becomes plaintext");
    if failed {
        assert!(engine.ingest(&mut [22, 3, 3], &mut plain, &mut out).is_err());
        assert!(engine.seal(&[b"data"], &mut out).is_err());
        engine.close_notify(&mut out);
    }
    assert!(engine.partial_capacity() < 256 * 1024);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn records_of_any_content_are_survived(
        records in prop::collection::vec((20_u8..25, prop::collection::vec(any::<u8>(), 0..300)), 1..8),
        piece_bytes in 1_usize..700,
        handshake_finished: bool,
    ) {
        let world = World::new();
        let config = world.client(Some(&world.identity("edge"))).for_worker();
        let mut link = Link::new(&config, &world.server(TLS12));
        if handshake_finished {
            link.run().unwrap();
        }
        let mut bytes = Vec::new();
        for (kind, content) in records {
            bytes.extend_from_slice(&[kind, 3, 3]);
            bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&content);
        }
        feed_in_pieces(&mut link.engine, bytes, piece_bytes);
    }

    #[test]
    fn a_damaged_handshake_is_survived(
        position in any::<prop::sample::Index>(),
        change in 1_u8..,
        piece_bytes in 1_usize..2_000,
        tls12: bool,
    ) {
        let world = World::new();
        let config = world.client(Some(&world.identity("edge"))).for_worker();
        let mut link = Link::new(&config, &world.server(if tls12 { TLS12 } else { TLS13 }));
        let mut answer = link.answer_of_server();
        let position = position.index(answer.len());
        answer[position] ^= change;
        feed_in_pieces(&mut link.engine, answer, piece_bytes);
    }
}
