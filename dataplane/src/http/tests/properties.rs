//! Properties over mutated input: nothing panics, nothing depends on how bytes are split, and what is written reads
//! back as the request that was parsed.

use super::*;

/// A small generator, so that a seed replays exactly (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }
}

const LINES: &[&[u8]] = &[
    b"Host: a.example",
    b"Host: [::1]:8080",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Connection: keep-alive",
    b"Connection: close, X-A",
    b"Connection: X-A,X-Forwarded-For",
    b"X-A: 1",
    b"Keep-Alive: timeout=5",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
    b"X-Forwarded-Host: evil",
    b"X_Real_IP: 10.0.0.9",
    b"Forwarded: for=10.0.0.1",
    b"Cookie: a=b; c=d",
    b"Accept: */*",
    b"Empty:",
    b"User-Agent: \t Mozilla/5.0 (X11; Linux) \xe9 \t",
    b"TE: trailers",
    b"X-Request-Id: theirs",
];
const STARTS: &[&[u8]] = &[
    b"GET / HTTP/1.1",
    b"POST /a/b?c=d&e=%20f HTTP/1.1",
    b"HEAD http://a.example/x?y HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"OPTIONS http://a.example HTTP/1.1",
    b"GET /x HTTP/1.0",
    b"PROPFIND /{}|\\^` HTTP/1.1",
];
const RESPONSE_STARTS: &[&[u8]] =
    &[b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 304", b"HTTP/1.1 103 Early Hints"];
const FRAGMENTS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\r\n\r\n",
    b"chunked",
    b"\xff",
    b"#",
    b"?",
    b"HTTP/1.1",
    b"Host: b\r\n",
    b"0",
    b"Content-Length: 6\r\n",
    b"\r\n ",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"@",
    b"//",
];

/// A message of random lines, then broken in up to three places.
fn message(random: &mut Random, starts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.pick(starts).to_vec();
    bytes.extend_from_slice(b"\r\nHost: a.example\r\n");
    for _ in 0..random.below(8) {
        bytes.extend_from_slice(random.pick(LINES));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    for _ in 0..random.below(4) {
        let position = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[position] = random.next() as u8,
            1 => drop(bytes.remove(position)),
            2 => drop(bytes.splice(position..position, random.pick(FRAGMENTS).iter().copied())),
            _ => {
                let end = bytes.len().min(position + random.below(20));
                let copy = bytes[position..end].to_vec();
                drop(bytes.splice(position..position, copy));
            }
        }
    }
    bytes
}

/// Feeds a head in random pieces to a head that has been used before.
fn parse_in_pieces(random: &mut Random, head: &mut RequestHead, bytes: &[u8]) -> Result<Progress, HeadError> {
    let mut length = 0;
    loop {
        length = bytes.len().min(length + random.below(30));
        let outcome = head.parse(&bytes[..length], &HeadLimits::default());
        if outcome != Ok(Progress::Incomplete) || length == bytes.len() {
            return outcome;
        }
    }
}

/// The fields that must reach the origin unchanged, by the contract and not by the code under test.
fn end_to_end(head: &RequestHead, bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let named: Vec<Vec<u8>> = head
        .headers(bytes)
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|byte| *byte == b',').map(|option| lower(option.trim_ascii())))
        .collect();
    head.headers(bytes)
        .map(|(name, value)| (lower(name), value.to_vec()))
        .filter(|(name, _)| {
            let fold = |byte: &u8| if byte.is_ascii_alphanumeric() { *byte } else { b'-' };
            let folded: Vec<u8> = name.iter().map(fold).collect();
            let ours: [&[u8]; 15] = [
                b"host",
                b"connection",
                b"keep-alive",
                b"te",
                b"trailer",
                b"transfer-encoding",
                b"upgrade",
                b"content-length",
                b"expect",
                b"http2-settings",
                b"x-request-id",
                b"forwarded",
                b"x-real-ip",
                b"proxy",
                b"proxy-connection",
            ];
            let in_any_spelling: [&[u8]; 4] =
                [b"x-real-ip", b"x-request-id", b"content-length", b"transfer-encoding"];
            let in_any_spelling =
                folded.starts_with(b"x-forwarded-") || in_any_spelling.contains(&folded.as_slice());
            !named.contains(name) && !ours.contains(&name.as_slice()) && !in_any_spelling
        })
        .collect()
}

#[test]
fn requests_survive_mutation_and_read_back() {
    let mut random = Random(0x5eed_0001);
    let mut reused = RequestHead::default();
    let (mut accepted_count, mut refused_count) = (0, 0);
    for round in 0..20_000 {
        let bytes = message(&mut random, STARTS);
        let mut head = RequestHead::default();
        let whole = head.parse(&bytes, &HeadLimits::default());
        let pieces = parse_in_pieces(&mut random, &mut reused, &bytes);
        assert_eq!(pieces, whole, "round {round}: {}", bytes.escape_ascii());
        match whole {
            Err(error) => {
                assert!(matches!(error.status, 400 | 405 | 414 | 417 | 431 | 501 | 505));
                refused_count += 1;
            }
            Ok(Progress::Incomplete) => {}
            Ok(Progress::Complete { consumed }) => {
                accepted_count += 1;
                check_forwarding(&head, &bytes[..consumed]);
            }
        }
    }
    assert!(
        accepted_count > 4000 && refused_count > 4000,
        "{accepted_count} accepted, {refused_count} refused"
    );
}

/// What is forwarded is one message for us and for the bare tokenizer, and the same request.
fn check_forwarding(head: &RequestHead, bytes: &[u8]) {
    let facts = ForwardFacts {
        websocket: false,
        fallback_host: b"app.internal",
        client_ip: b"192.0.2.1",
        peer_is_trusted: false,
        scheme: b"http",
        request_id: b"0123456789abcdef0123456789abcdef",
        body: head.framing(),
        client_certificate: None,
    };
    let mut out = Vec::new();
    write_request_head(head, bytes, &facts, &mut out);
    let context = || format!("{} became {}", bytes.escape_ascii(), out.escape_ascii());

    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut plain = httparse::Request::new(&mut headers);
    assert_eq!(plain.parse(&out), Ok(httparse::Status::Complete(out.len())), "{}", context());
    assert_eq!(plain.method.unwrap().as_bytes(), head.method(bytes));
    assert_eq!(plain.path.unwrap().as_bytes(), head.target(bytes));
    let ours: [&[u8]; 7] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-request-id",
    ];
    let expected = end_to_end(head, bytes);
    let seen: Vec<(Vec<u8>, Vec<u8>)> = plain
        .headers
        .iter()
        .map(|header| (header.name.as_bytes().to_ascii_lowercase(), header.value.to_vec()))
        .filter(|(name, _)| !ours.contains(&name.as_slice()))
        .collect();
    assert_eq!(seen, expected, "{}", context());
    let host: Vec<&[u8]> =
        plain.headers.iter().filter(|header| header.name == "Host").map(|header| header.value).collect();
    // A 1.0 client may leave us without one; the origin gets one all the same.
    let expected_host = if head.host(bytes).is_empty() { facts.fallback_host } else { head.host(bytes) };
    assert_eq!(host, [expected_host], "{}", context());

    let mut again = RequestHead::default();
    let progress = again.parse(&out, &HeadLimits::default());
    assert_eq!(progress, Ok(Progress::Complete { consumed: out.len() }), "{}", context());
    assert_eq!(again.method(&out), head.method(bytes));
    assert_eq!(again.target(&out), head.target(bytes));
    assert_eq!(again.host(&out), expected_host);
    assert_eq!(again.framing(), head.framing(), "{}", context());
    assert_eq!(end_to_end(&again, &out), expected, "{}", context());
    assert!(again.keep_alive() && !again.upgrade() && !again.expects_continue());
}

#[test]
fn responses_survive_mutation_and_read_back() {
    let mut random = Random(0x5eed_0002);
    let mut accepted_count = 0;
    for round in 0..10_000 {
        let bytes = message(&mut random, RESPONSE_STARTS);
        let was_head = random.below(4) == 0;
        let mut head = ResponseHead::default();
        let whole = head.parse(&bytes, was_head, &HeadLimits::default());
        let mut split = ResponseHead::default();
        let cut = random.below(bytes.len());
        let first = split.parse(&bytes[..cut], was_head, &HeadLimits::default());
        let pieces = match first {
            Ok(Progress::Incomplete) => split.parse(&bytes, was_head, &HeadLimits::default()),
            outcome => outcome,
        };
        assert_eq!(pieces, whole, "round {round}: {}", bytes.escape_ascii());
        let Ok(Progress::Complete { .. }) = whole else { continue };
        accepted_count += 1;
        let facts = ResponseFacts {
            client_version: Version::Http11,
            keep_alive: true,
            framing: head.framing_for(Version::Http11),
            request_id: b"77",
            edits: HeaderEdits::NONE,
        };
        let mut out = Vec::new();
        write_response_head(&head, &bytes, &facts, &mut out);
        let mut again = ResponseHead::default();
        let progress = again.parse(&out, was_head, &HeadLimits::default());
        assert_eq!(progress, Ok(Progress::Complete { consumed: out.len() }), "{}", out.escape_ascii());
        assert_eq!(
            (again.status(), again.framing()),
            (head.status(), facts.framing),
            "{}",
            out.escape_ascii()
        );
        assert!(again.keep_alive());
    }
    assert!(accepted_count > 2000, "{accepted_count} accepted");
}

#[test]
fn chunked_bodies_survive_mutation() {
    let mut random = Random(0x5eed_0003);
    let sound = b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\nnext";
    let mut finished_count = 0;
    for round in 0..10_000 {
        let mut bytes = sound.to_vec();
        for _ in 0..random.below(3) {
            let position = random.below(bytes.len());
            if random.below(2) == 0 {
                bytes[position] = random.next() as u8;
            } else {
                drop(bytes.splice(position..position, random.pick(FRAGMENTS).iter().copied()));
            }
        }
        let mut run = |pieces: bool| {
            let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
            let (mut data, mut position) = (Vec::new(), 0);
            while position < bytes.len() && !decoder.is_finished() {
                let end = if pieces { bytes.len().min(position + 1 + random.below(9)) } else { bytes.len() };
                let input = &bytes[position..end];
                match decoder.decode(input) {
                    Ok(step) => {
                        assert!(step.consumed > 0 && step.consumed <= input.len());
                        data.extend_from_slice(&input[step.data]);
                        position += step.consumed;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok((data, position, decoder.is_finished()))
        };
        let whole = run(false);
        assert_eq!(run(true), whole, "round {round}");
        finished_count += usize::from(whole.is_ok_and(|(_, _, finished)| finished));
    }
    assert!(finished_count > 2000, "{finished_count} finished");
}
