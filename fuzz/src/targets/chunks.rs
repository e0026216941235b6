//! Chunked bodies: the same data however they are split, and never more than came in.

use weir::http::{ChunkLimits, ChunkedDecoder};

use crate::{Random, Target};

pub(super) const CHUNKED: Target = Target {
    name: "chunked_body",
    seeds: &[
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b;c=\"d e\"\r\nhello\r\n1\r\nx\r\n0;last\r\nTrailer: x\r\n\r\nGET / HTTP/1.1",
        b"0000000000000001\r\nx\r\n00\r\n\r\n",
        b"fffffffffffffff\r\n",
    ],
    dictionary: &[
        b"\r\n",
        b"0\r\n\r\n",
        b";",
        b"=\"",
        b"\\\"",
        b"5\r\n",
        b"FFFFFFFFFFFFFFFF",
        b"0x",
        b"X: y\r\n",
        b" ",
        b"\n",
    ],
    quick_cases: 60_000,
    prepare: || Box::new(check),
};

/// Data, bytes used, whether the body ended, and why it failed if it did.
type Decoded = (Vec<u8>, usize, bool, Option<&'static str>);

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let mut data = Vec::new();
    let mut used = 0;
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() && !decoder.is_finished() {
            match decoder.decode(rest) {
                Ok(chunk) => {
                    assert!(chunk.consumed > 0 && chunk.consumed <= rest.len(), "it must go on");
                    data.extend_from_slice(&rest[chunk.data]);
                    used += chunk.consumed;
                    rest = &rest[chunk.consumed..];
                }
                Err(error) => return (data, 0, false, Some(error.code)),
            }
        }
    }
    (data, used, decoder.is_finished(), None)
}

fn check(input: &[u8], random: &mut Random) {
    let whole = decode([input]);
    assert_eq!(decode(random.pieces(input)), whole, "splits change the outcome");
    assert_eq!(decode(input.chunks(1)), whole, "single bytes change the outcome");
    assert!(whole.0.len() <= input.len());
    assert!(whole.3.is_some() || whole.2 || whole.1 == input.len(), "what is neither used nor wrong");
}
