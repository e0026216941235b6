//! Chunked bodies: what is taken, what is refused, and that pieces don't matter.

use super::*;

/// Decodes a body given in pieces of at most `piece` bytes: the data, and the bytes that were consumed.
fn decode(body: &[u8], piece: usize, limits: ChunkLimits) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let mut decoder = ChunkedDecoder::new(limits);
    let mut data = Vec::new();
    let mut position = 0;
    let mut available = 0;
    while position < body.len() && !decoder.is_finished() {
        available = body.len().min((position + 1).max(available + piece));
        while position < available && !decoder.is_finished() {
            let step = decoder.decode(&body[position..available])?;
            assert!(step.consumed > 0, "a step without progress");
            assert!(step.data.end <= step.consumed && step.data.start <= step.data.end);
            data.extend_from_slice(&body[position..available][step.data]);
            position += step.consumed;
            assert_eq!(step.finished, decoder.is_finished());
        }
    }
    Ok((data, position, decoder.is_finished()))
}

/// The same outcome whatever the pieces.
fn decode_all_ways(body: &[u8]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let whole = decode(body, body.len().max(1), ChunkLimits::default());
    for piece in 1..body.len().min(40) {
        assert_eq!(decode(body, piece, ChunkLimits::default()), whole, "pieces of {piece}");
    }
    whole
}

#[test]
fn bodies_that_pass() {
    // Body, data, bytes left over.
    let table: [(&[u8], &[u8], usize); 10] = [
        (b"0\r\n\r\n", b"", 0),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", 0),
        (b"A\r\n0123456789\r\n00\r\n\r\nGET /", b"0123456789", 5),
        (b"a\r\n0123456789\r\n0000000000000000\r\n\r\n", b"0123456789", 0),
        (b"0000000000000002\r\nab\r\n0\r\n\r\n", b"ab", 0),
        (b"2;name=value;q=\"x y\"\r\nab\r\n0;last\r\n\r\n", b"ab", 0),
        (b"2; a = b ;\tc;d=\"\\\"\t;\xff\"\r\nab\r\n0\r\n\r\n", b"ab", 0),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
        (b"1\r\nx\r\n0\r\nDigest: a=b\r\nEmpty:\r\nHost: evil\r\n\r\nX", b"x", 1),
    ];
    for (body, data, left) in table {
        let (decoded, consumed, finished) = decode_all_ways(body).unwrap();
        assert_eq!(decoded, data, "{}", body.escape_ascii());
        assert_eq!(body.len() - consumed, left);
        assert!(finished);
    }
}

#[test]
fn bodies_that_fail() {
    let table: [(&str, &[u8], &str); 42] = [
        ("18 empty size", b"\r\nhello\r\n0\r\n\r\n", "bad_chunk_size"),
        ("18 extension without a size", b";ext\r\n\r\n", "bad_chunk_size"),
        ("18 space alone", b" \r\n\r\n", "bad_chunk_size"),
        ("18 space in front", b" 5\r\nhello\r\n", "bad_chunk_size"),
        ("18 space behind", b"5 \r\nhello\r\n", "bad_chunk_size"),
        ("18 tab behind", b"5\t\r\nhello\r\n", "bad_chunk_size"),
        ("18 0x", b"0x5\r\nhello\r\n", "bad_chunk_size"),
        ("18 plus", b"+5\r\nhello\r\n", "bad_chunk_size"),
        ("18 minus", b"-5\r\nhello\r\n", "bad_chunk_size"),
        ("18 underscore", b"5_0\r\nhello\r\n", "bad_chunk_size"),
        ("18 comma", b"5,5\r\nhello\r\n", "bad_chunk_size"),
        ("18 letter", b"G\r\nhello\r\n", "bad_chunk_size"),
        ("18 17 digits", b"00000000000000005\r\nhello\r\n", "bad_chunk_size"),
        ("18 overflow", b"FFFFFFFFFFFFFFFF\r\n", "chunk_too_large"),
        ("18 just too large", b"1000000000000001\r\n", "chunk_too_large"),
        ("18 LF alone", b"5\nhello\r\n0\r\n\r\n", "bad_chunk_size"),
        ("18 CR alone", b"5\rhello\r\n", "bad_chunk_size"),
        ("18 two CR", b"5\r\r\nhello\r\n", "bad_chunk_size"),
        ("18 LF in an extension", b"5;a\nb\r\nhello\r\n", "bad_chunk_extension"),
        ("18 NUL in an extension", b"5;a\0\r\nhello\r\n", "bad_chunk_extension"),
        ("18 DEL in an extension", b"5;a=\"\x7f\"\r\nhello\r\n", "bad_chunk_extension"),
        ("18 nothing behind the semicolon", b"5;\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a blank behind the semicolon", b"5; \r\nhello\r\n", "bad_chunk_extension"),
        ("18 a name that is no token", b"5;a[\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a name in two words", b"5;a b\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a blank behind the name", b"5;a \r\nhello\r\n", "bad_chunk_extension"),
        ("18 no name", b"5;=b\r\nhello\r\n", "bad_chunk_extension"),
        ("18 no value", b"5;a=\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a value that is no token", b"5;a=b=c\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a quote that never closes", b"5;a=\"b\r\nhello\r\n", "bad_chunk_extension"),
        ("18 a line end behind a backslash", b"5;a=\"\\\r\n\"\r\nhello\r\n", "bad_chunk_extension"),
        ("18 bytes above 127 outside quotes", b"5;\xff\r\nhello\r\n", "bad_chunk_extension"),
        ("18 CR in an extension", b"5;a\rb\r\nhello\r\n", "bad_chunk_size"),
        ("18 data too long", b"5\r\nhelloX\r\n0\r\n\r\n", "bad_chunk_end"),
        ("18 data ends with LF", b"5\r\nhello\n0\r\n\r\n", "bad_chunk_end"),
        ("18 data ends with CR", b"5\r\nhello\rX", "bad_chunk_end"),
        ("18 no end of the data", b"5\r\nhello0\r\n\r\n", "bad_chunk_end"),
        ("19 LF as the last line", b"0\r\n\n", "bad_trailer"),
        ("19 CR as the last line", b"0\r\n\rX", "bad_trailer"),
        ("19 folded trailer", b"0\r\n A: b\r\n\r\n", "bad_trailer"),
        ("19 trailer without a colon", b"0\r\nA\r\n\r\n", "bad_trailer"),
        ("19 LF in a trailer", b"0\r\nA: b\n\r\n", "bad_trailer"),
    ];
    for (name, body, code) in table {
        assert_eq!(decode_all_ways(body).map_err(|error| error.code), Err(code), "{name}");
    }
}

#[test]
fn a_broken_body_stays_broken() {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let error = decoder.decode(b"x").unwrap_err();
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error));
    assert!(error.to_string().contains("bad_chunk_size"));
}

#[test]
fn an_unfinished_body_is_not_finished() {
    for body in [&b""[..], b"5", b"5\r\nhel", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n", b"0\r\n\r"] {
        let (_, consumed, finished) = decode_all_ways(body).unwrap();
        assert_eq!(consumed, body.len());
        assert!(!finished, "{}", body.escape_ascii());
    }
}

#[test]
fn limits_of_extensions_and_trailers() {
    let limits = ChunkLimits { size_line_bytes: 10, extension_bytes: 20, trailer_bytes: 12 };
    let code = |body: &[u8]| {
        let whole = decode(body, body.len(), limits).map(|_| ()).map_err(|error| error.code);
        assert_eq!(decode(body, 1, limits).map(|_| ()).map_err(|error| error.code), whole);
        whole
    };
    assert_eq!(code(b"1;a3456789\r\na\r\n0\r\n\r\n"), Ok(()));
    assert_eq!(code(b"1;a34567890"), Err("chunk_line_too_large"));
    let nine_each = b"1;a3456789\r\na\r\n".repeat(3);
    assert_eq!(code(&nine_each[..30]), Ok(()));
    assert_eq!(code(&nine_each), Err("chunk_extensions_too_large"));
    assert_eq!(code(b"0\r\nA: 4567890\r\n\r\n"), Ok(()));
    assert_eq!(code(b"0\r\nA: 45678901\r\n\r\n"), Err("trailers_too_large"));
    assert_eq!(code(b"0\r\nA: bbbbbbbbbbbbbbbbbbb"), Err("trailers_too_large"));
}

#[test]
fn what_we_write_decodes_to_the_data() {
    let mut body = Vec::new();
    let mut data = Vec::new();
    for length in [0, 1, 9, 10, 15, 16, 255, 256, 4096, 65537] {
        let piece = vec![b'a' + (length % 26) as u8; length];
        write_chunk(&piece, &mut body);
        data.extend_from_slice(&piece);
    }
    write_chunk_header(3, &mut body);
    body.extend_from_slice(b"end\r\n");
    data.extend_from_slice(b"end");
    body.extend_from_slice(LAST_CHUNK);
    for piece in [1, 7, 4096, body.len()] {
        assert_eq!(decode(&body, piece, ChunkLimits::default()), Ok((data.clone(), body.len(), true)));
    }
}
