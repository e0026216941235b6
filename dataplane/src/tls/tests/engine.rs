//! The engine on connections that work: every version, every way to cut the stream, resumption, allocations.

use std::sync::Arc;

use rustls::ClientConfig;

use super::counting::allocations;
use super::link::{Link, ORIGIN, TLS12, TLS13, World, certificates, server};
use crate::tls::forge::{DemoAuthority, KeyKind, LeafRequest, Usage};
use crate::tls::{OriginTls, Trust};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn shows_the_identity_and_carries_data_in_both_versions() {
    let world = World::new();
    let pair = world.authority.client("edge").unwrap();
    let identity = world.load("edge", &pair);
    for versions in [TLS12, TLS13] {
        let mut link = Link::new(&world.client(Some(&identity)).for_worker(), &world.server(versions));
        assert!(link.engine.is_handshaking());
        link.run().unwrap();
        assert!(!link.engine.is_handshaking());
        assert_eq!(link.finished_count, 1);
        assert!(!link.resumed);
        assert_eq!(link.server.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(link.server.server_name(), Some(ORIGIN));
        assert_eq!(link.server.peer_certificates().unwrap(), certificates(&pair.certificate_pem));

        link.engine_sends(&[b"GET / HTTP/1.1\r\n", b"", b"Host: a\r\n\r\n"]);
        link.server_sends(b"HTTP/1.1 204 No Content\r\n\r\n");
        link.run().unwrap();
        assert_eq!(link.at_server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(link.at_client, b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}

#[test]
fn shows_identities_of_every_supported_kind_of_key() {
    let world = World::new();
    for key in
        [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Ed25519, KeyKind::Rsa2048]
    {
        let request = LeafRequest { key, ..LeafRequest::new("edge", Usage::Client) };
        let identity = world.load("edge", &world.authority.issue(&request).unwrap());
        let mut link = Link::new(&world.client(Some(&identity)).for_worker(), &world.server(TLS13));
        link.run().unwrap();
        assert_eq!((link.finished_count, link.server_error), (1, None), "{key:?}");
    }
}

#[test]
fn an_origin_that_asks_for_no_certificate_still_connects() {
    let world = World::new();
    let origin = server(&world.authority.server(&[ORIGIN], &[]).unwrap(), None, TLS13);
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &origin);
    link.run().unwrap();
    assert_eq!(link.finished_count, 1);
}

#[test]
fn an_address_is_verified_and_not_sent_as_a_name() {
    let world = World::new();
    let pair = world.authority.server(&[], &["127.0.0.1".parse().unwrap()]).unwrap();
    let config = OriginTls::build("127.0.0.1", &world.trust(), None).unwrap();
    let mut link = Link::named(&config.for_worker(), "127.0.0.1", &server(&pair, None, TLS13), usize::MAX);
    link.run().unwrap();
    assert_eq!((link.finished_count, link.server.server_name()), (1, None));
}

#[test]
fn insecure_trust_accepts_a_stranger_under_any_name() {
    let world = World::new();
    let stranger = DemoAuthority::new("Stranger").unwrap();
    let pair = stranger.issue(&LeafRequest::new("other.internal", Usage::Server).expired()).unwrap();
    for versions in [TLS12, TLS13] {
        let config = OriginTls::build(ORIGIN, &Trust::Insecure, None).unwrap();
        assert!(!config.verifies_origin);
        let mut link = Link::new(&config.for_worker(), &server(&pair, None, versions));
        link.run().unwrap();
        assert_eq!(link.finished_count, 1);
    }
    assert!(world.client(None).verifies_origin);
}

#[test]
fn every_way_to_cut_the_stream_gives_the_same() {
    let world = World::new();
    let config = world.client(Some(&world.identity("edge")));
    let body = pattern(40_000);
    for versions in [TLS12, TLS13] {
        let origin = world.server(versions);
        for piece_bytes in (1..=24).chain([100, 1_000, 4_096, 16_406, 20_000]) {
            let mut link = Link::named(&config.for_worker(), ORIGIN, &origin, piece_bytes);
            link.run().unwrap();
            link.server_sends(&body);
            link.server_sends(b"end");
            link.run().unwrap();
            assert_eq!(link.finished_count, 1);
            assert!(link.at_client == [&body[..], b"end"].concat(), "pieces of {piece_bytes}");
            assert_eq!(link.engine.partial_capacity(), 0, "pieces of {piece_bytes}");
        }
    }
}

#[test]
fn a_handshake_message_over_several_records_is_joined() {
    let world = World::new();
    let mut request = LeafRequest::new(ORIGIN, Usage::Server);
    request.dns_names = (0..1_500).map(|index| format!("name-{index}.example.internal")).collect();
    request.dns_names.push(ORIGIN.to_owned());
    let pair = world.authority.issue(&request).unwrap();
    for versions in [TLS12, TLS13] {
        let origin = server(&pair, None, versions);
        for piece_bytes in [7, 1_000, 4_096, 17_000, usize::MAX] {
            let mut link = Link::named(&world.client(None).for_worker(), ORIGIN, &origin, piece_bytes);
            link.run().unwrap();
            link.server_sends(b"hello");
            link.run().unwrap();
            assert_eq!(link.at_client, b"hello");
            assert_eq!(link.engine.partial_capacity(), 0);
        }
    }
}

#[test]
fn parts_of_any_size_arrive_as_one_stream() {
    let world = World::new();
    let config = world.client(Some(&world.identity("edge"))).for_worker();
    let body = pattern(100_000);
    for versions in [TLS12, TLS13] {
        let mut link = Link::new(&config, &world.server(versions));
        link.run().unwrap();
        for cuts in [
            &[0, 100_000][..],
            &[0, 1, 100_000],
            &[0, 16_384, 32_768, 32_769, 99_999, 100_000],
            &[0, 0, 10, 10, 5_000, 20_000, 20_000, 100_000, 100_000],
            &[0, 16_383, 16_385, 100_000],
        ] {
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
            link.engine_sends(&parts);
            link.run().unwrap();
            assert!(link.at_server == body, "cuts {cuts:?}, {} bytes arrived", link.at_server.len());
            link.at_server.clear();
        }
    }
}

#[test]
fn a_short_head_and_body_make_one_record() {
    let world = World::new();
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(TLS13));
    link.run().unwrap();
    let mut out = b"before".to_vec();
    link.engine.seal(&[b"head", b"body"], &mut out).unwrap();
    assert_eq!(&out[..6], b"before");
    let length = usize::from(u16::from_be_bytes([out[9], out[10]]));
    assert_eq!((out[6], out.len()), (23, 6 + 5 + length), "one application data record");
    link.to_server.extend_from_slice(&out[6..]);
    link.run().unwrap();
    assert_eq!(link.at_server, b"headbody");
    link.engine_sends(&[]);
    link.engine_sends(&[b"", b""]);
    assert!(link.to_server.is_empty(), "nothing is sealed as nothing");
}

#[test]
fn sessions_resume_within_a_worker_and_an_identity_only() {
    let world = World::new();
    let edge = world.client(Some(&world.identity("edge")));
    let other = world.client(Some(&world.identity("other")));
    for versions in [TLS12, TLS13] {
        let origin = world.server(versions);
        let worker = edge.for_worker();
        let resumes = |config: &Arc<ClientConfig>| {
            let mut link = Link::new(config, &origin);
            link.run().unwrap();
            link.resumed
        };
        assert!(!resumes(&worker));
        assert!(resumes(&worker));
        assert!(resumes(&worker));
        assert!(!resumes(&edge.for_worker()), "another worker has its own sessions");
        assert!(!resumes(&other.for_worker()), "another identity has its own sessions");
    }
}

#[test]
fn a_key_update_of_the_origin_is_answered() {
    let world = World::new();
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(TLS13));
    link.run().unwrap();
    for parts in [&[&b"answer"[..]][..], &[b"answer", b" and more"]] {
        link.server.refresh_traffic_keys().unwrap();
        link.server_sends(b"after");
        link.run().unwrap();
        link.engine_sends(parts);
        link.run().unwrap();
        assert_eq!((&link.at_client[..], &link.at_server), (&b"after"[..], &parts.concat()));
        assert_eq!(link.server_error, None);
        link.at_client.clear();
        link.at_server.clear();
    }
    link.server.refresh_traffic_keys().unwrap();
    link.run().unwrap();
    link.engine.close_notify(&mut link.to_server);
    link.run().unwrap();
    assert_eq!(link.server_error, None);
}

#[test]
fn close_notify_works_both_ways() {
    let world = World::new();
    for versions in [TLS12, TLS13] {
        let mut link =
            Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(versions));
        link.run().unwrap();
        link.server_sends(b"last words");
        link.server.send_close_notify();
        link.run().unwrap();
        assert!(link.peer_closed);
        assert_eq!(link.at_client, b"last words");

        let mut stray = [0x16, 3, 3, 0, 1, 0];
        link.feed_engine(&mut stray).unwrap();
        assert_eq!((&link.at_client[..], link.engine.partial_capacity()), (&b"last words"[..], 0));

        link.engine_sends(&[b"still here"]);
        link.engine.close_notify(&mut link.to_server);
        let length = link.to_server.len();
        link.engine.close_notify(&mut link.to_server);
        assert_eq!(link.to_server.len(), length, "said once");
        assert!(link.engine.seal(&[b"late"], &mut link.to_server).is_err());
        link.run().unwrap();
        assert_eq!((&link.at_server[..], link.server_error), (&b"still here"[..], None));
    }
}

#[test]
fn what_comes_after_our_close_notify_is_still_read() {
    let world = World::new();
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(TLS13));
    link.run().unwrap();
    link.engine.close_notify(&mut link.to_server);
    assert_eq!(link.engine.seal(&[b"late"], &mut link.to_server).unwrap_err().code, "internal");
    link.server_sends(b"answer");
    link.run().unwrap();
    assert_eq!((&link.at_client[..], link.at_server.len()), (&b"answer"[..], 0));
}

#[test]
fn small_records_cost_only_what_rustls_allocates() {
    let world = World::new();
    let config = world.client(Some(&world.identity("edge"))).for_worker();
    for versions in [TLS12, TLS13] {
        let mut link = Link::new(&config, &world.server(versions));
        link.run().unwrap();
        let (mut sealed, mut plain) = (Vec::with_capacity(4_096), Vec::with_capacity(4_096));
        let mut cost = (0, 0);
        for round in 0..4 {
            sealed.clear();
            plain.clear();
            let (seal_count, seal_bytes, ()) =
                allocations(|| link.engine.seal(&[b"head of a request", b"body"], &mut sealed).unwrap());
            link.to_server.extend_from_slice(&sealed);
            link.server_sends(&pattern(1_000));
            let mut received = Vec::new();
            link.server.write_tls(&mut received).unwrap();
            sealed.clear();
            let (ingest_count, ingest_bytes, ingested) =
                allocations(|| link.engine.ingest(&mut received, &mut plain, &mut sealed));
            ingested.unwrap();
            assert_eq!(plain, pattern(1_000));
            if round > 0 {
                cost = (seal_count, ingest_count);
                assert_eq!((seal_bytes, ingest_bytes), (0, 0), "nothing stays allocated");
            }
        }
        // Per record: rustls builds the sealed record in a buffer of its own, and keeps received plaintext in one.
        assert_eq!(cost, (1, 1), "{versions:?}");
    }
}

#[test]
fn a_record_in_pieces_costs_one_buffer_that_is_given_back() {
    let world = World::new();
    let mut link = Link::new(&world.client(Some(&world.identity("edge"))).for_worker(), &world.server(TLS13));
    link.run().unwrap();
    link.server_sends(&pattern(16_384));
    let mut received = link.answer_of_server();
    let (mut plain, mut out) = (Vec::with_capacity(16_384), Vec::new());
    let mut pieces = received.chunks_mut(4_096);
    let (count, _, ()) = allocations(|| {
        for piece in pieces.by_ref().take(4) {
            link.engine.ingest(piece, &mut plain, &mut out).unwrap();
        }
    });
    assert_eq!((count, plain.len()), (1, 0));
    assert!((16_384..17_408).contains(&link.engine.partial_capacity()));
    link.engine.ingest(pieces.next().unwrap(), &mut plain, &mut out).unwrap();
    assert!(plain == pattern(16_384));
    assert_eq!(link.engine.partial_capacity(), 0);
}

#[test]
fn an_idle_connection_holds_little() {
    let world = World::new();
    let config = world.client(Some(&world.identity("edge"))).for_worker();
    let mut link = Link::new(&config, &world.server(TLS13));
    link.run().unwrap();
    link.server_sends(&pattern(50_000));
    link.run().unwrap();
    let in_place = size_of_val(&link.engine);
    let (_, dropped, _) = allocations(|| drop(link.engine));
    let held = in_place + dropped.unsigned_abs();
    assert!(held < 6 * 1024, "{held} bytes, {in_place} of them in place");
}
