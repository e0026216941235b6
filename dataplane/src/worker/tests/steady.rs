//! The steady state: what costs no allocation.

use std::sync::LazyLock;
use std::time::Duration;

use super::client::Step;
use super::script::{ReplyFraming, Request};
use super::setup::{BLOCK, MAIN, MONITORING, OFF, SAFE};
use super::world::{Weather, World, sequential};
use crate::io::Monotonic;

/// As [`MAIN`], but no connection ends because of its age between requests.
static AGELESS: LazyLock<String> = LazyLock::new(|| MAIN.replace("connection_age_max = \"1s\"\n", ""));

/// Allocations of the worker for 50 requests, after as many that warmed it up.
fn allocated(request: impl Fn() -> Request) -> usize {
    allocated_from(Monotonic(1_900_000_000), request)
}

fn allocated_from(start: Monotonic, request: impl Fn() -> Request) -> usize {
    let mut weather = Weather { config: &AGELESS, ..Weather::calm(1) };
    // Buffers as large as those that workers have.
    (weather.options.buffer_bytes, weather.options.window_bytes) = (68 * 1024, 256 * 1024);
    let mut world = World::new(&weather);
    world.client((0..100).map(|_| request()).collect(), |wires| {
        let mut steps = sequential(wires);
        steps.insert(100, Step::Sleep(Duration::from_secs(2)));
        steps
    });
    world.counts_from = start;
    world.run();
    assert!(world.asked.iter().all(|asked| asked.status == Some(200) && asked.wholes == 1));
    assert_eq!(world.origin_connections(), 1, "one connection serves them all");
    world.allocated
}

#[test]
fn a_clean_request_allocates_nothing() {
    assert!(allocated_from(Monotonic(0), || Request::get(OFF)) > 0, "warming up is counted");
    for host in [OFF, MONITORING, SAFE, BLOCK] {
        assert_eq!(allocated(|| Request::get(host)), 0, "GET {host}");
        let large = || Request::get(host).replied(|reply| reply.length = 60_000);
        assert_eq!(allocated(large), 0, "GET {host} with a large answer");
    }
    let chunked = || {
        Request::get(MONITORING).replied(|reply| {
            reply.length = 140_000;
            reply.framing = ReplyFraming::Chunked(60_000);
        })
    };
    assert_eq!(allocated(chunked), 0, "a large answer in chunks");
}

#[test]
fn a_request_with_a_body_allocates_nothing_either() {
    for host in [OFF, MONITORING, SAFE, BLOCK] {
        assert_eq!(allocated(|| Request::post(host, 1000)), 0, "POST {host}");
        assert_eq!(allocated(|| Request::post_chunked(host, 1000, 300)), 0, "chunked POST {host}");
    }
}
