//! Answers in all framings, to all kinds of clients.

use std::time::Duration;

use super::explore::{Depth, explore};
use super::script::{After, ReplyFraming, Request};
use super::setup::{BLOCK, MAIN, MONITORING, OFF};

fn framings(host: &'static str) -> Vec<Request> {
    vec![
        Request::get(host),
        Request::get(host).replied(|reply| reply.framing = ReplyFraming::Chunked(70)),
        Request::head(host),
        Request::get(host).replied(|reply| reply.length = 0),
        Request::get(host).replied(|reply| {
            reply.status = 204;
            reply.framing = ReplyFraming::Nothing;
        }),
        Request::get(host).replied(|reply| {
            reply.status = 304;
            reply.framing = ReplyFraming::Nothing;
        }),
        Request::head(host).replied(|reply| reply.framing = ReplyFraming::Chunked(9)),
        Request::get(host).replied(|reply| {
            reply.framing = ReplyFraming::UntilClose;
            reply.after = After::Close(Duration::ZERO);
        }),
        Request::get(host).replied(|reply| reply.interim = vec![103, 100]),
    ]
}

#[test]
fn one_after_the_other() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, BLOCK]);
        world.sequential(framings(host));
        world.run();
    });
}

#[test]
fn all_at_once() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, BLOCK]);
        world.pipelined(framings(host));
        world.run();
    });
}
