//! Requests with bodies: held and streamed, whole and broken, early answers, slow origins.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, Body, ReplyFraming, Request};
use super::setup::{BLOCK, BODY_LIMIT, HASTY, LIMITED, MAIN, MONITORING, OFF, SAFE};
use super::world::{World, pipelined};

/// Sends the request's bytes in pieces, with pauses.
pub(super) fn dribble(wires: &[(Vec<u8>, Vec<u8>)], piece: usize, pause: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, (head, body)) in wires.iter().enumerate() {
        steps.push(Step::Send(number, head.clone()));
        for bytes in body.chunks(piece) {
            steps.push(Step::Sleep(pause));
            steps.push(Step::Send(number, bytes.to_vec()));
        }
        steps.push(Step::Await(number + 1));
    }
    steps
}

fn any_mode(world: &mut World) -> &'static str {
    world.random.pick(&[OFF, MONITORING, SAFE, BLOCK])
}

#[test]
fn bodies_in_all_framings() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        let chunk = 1 + world.random.below(200) as usize;
        let requests = vec![
            Request::post(host, 300),
            Request::post_chunked(host, 300, chunk),
            Request::post(host, 0),
            Request::post_chunked(host, 0, 1),
            Request::post(host, 1).with(|request| request.method = "PUT"),
            Request::get(host),
        ];
        match world.random.below(3) {
            0 => world.sequential(requests),
            1 => world.pipelined(requests),
            _ => world.client(requests, |wires| dribble(wires, 60, Duration::from_millis(3))),
        }
        world.run();
    });
}

#[test]
fn bodies_longer_than_what_is_inspected() {
    explore(Depth::Long, MAIN, |world| {
        let host = any_mode(world);
        let requests = vec![
            Request::post(host, BODY_LIMIT + 1),
            Request::post_chunked(host, BODY_LIMIT + 20_000, 7000),
            Request::post(host, BODY_LIMIT),
            Request::post_chunked(host, BODY_LIMIT, 4096),
            Request::get(host),
        ];
        match world.random.below(2) {
            0 => world.sequential(requests),
            _ => world.pipelined(requests),
        }
        world.run();
    });
}

#[test]
fn clients_that_wait_for_continue() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        let posts = [Request::post(host, 300), Request::post_chunked(host, 300, 90)];
        for request in posts {
            let request = request.with(|request| request.expects_continue = true);
            world.client(vec![request, Request::get(host)], |wires| {
                vec![
                    Step::Send(0, wires[0].0.clone()),
                    Step::AwaitContinue,
                    Step::Send(0, wires[0].1.clone()),
                    Step::Await(1),
                    Step::Send(1, wires[1].0.clone()),
                ]
            });
        }
        world.run();
    });
}

#[test]
fn bodies_that_break_off() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        for (number, request) in
            [Request::post(host, 400), Request::post_chunked(host, 400, 50)].into_iter().enumerate()
        {
            let (kept, way) = (world.random.below(380) as usize, world.random.below(3));
            let request = request.or_cut().or_ours(&[408]).with(|request| request.reply.early = number == 0);
            world.client(vec![Request::get(host), request], |wires| {
                let part = wires[1].1[..kept].to_vec();
                let mut steps = pipelined(&wires[..1]);
                steps.extend([Step::Send(1, wires[1].0.clone()), Step::Send(1, part), Step::Await(1)]);
                steps.push(match way {
                    0 => Step::Finish,
                    1 => Step::Close { reset: true },
                    _ => Step::Hang,
                });
                steps
            });
        }
        world.run();
    });
}

#[test]
fn bodies_with_broken_chunks() {
    const BROKEN: [&str; 6] = [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nhello",
    ];
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        let body = world.random.pick(&BROKEN);
        let broken = Request::post(host, 0).refused(&[400]).with(|request| {
            request.body = Body::Raw(body);
            // Where it streams, the origin sees its beginning.
            request.outcome.reaches = host != BLOCK;
        });
        world.sequential(vec![Request::get(host), broken]);
        world.run();
    });
}

#[test]
fn answers_before_the_end_of_the_body() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, SAFE]);
        let framing = world.random.pick(&[ReplyFraming::Length, ReplyFraming::Chunked(40)]);
        let after = world.random.pick(&[After::Keep, After::Close(Duration::ZERO)]);
        let request = Request::post(host, 600).replied(|reply| {
            reply.early = true;
            reply.framing = framing;
            reply.after = after;
            reply.status = 401;
        });
        // A close over unread bytes is a reset, which may overtake the answer.
        let request = if after == After::Keep { request } else { request.or_ours(&[502]).or_cut() };
        world.client(vec![request], |wires| dribble(wires, 100, Duration::from_millis(2)));
        // The whole body was on its way already: the connection may serve the next request.
        let early = Request::post(host, 50).replied(|reply| reply.early = true);
        world.client(vec![early, Request::get(host).or_cut()], pipelined);
        world.run();
    });
}

#[test]
fn an_origin_that_reads_slowly() {
    explore(Depth::Long, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING]);
        let request = Request::post(host, 300_000).replied(|reply| reply.deaf = Duration::from_secs(2));
        let chunked = Request::post_chunked(host, 200_000, 30_000);
        world.sequential(vec![request, chunked, Request::get(host)]);
        world.run();
    });
}

#[test]
fn a_client_is_not_blamed_for_an_origin_that_does_not_read() {
    explore(Depth::Long, MAIN, |world| {
        // Longer than the body's time-out, shorter than that of the origin's first byte.
        let request = Request::post(MONITORING, 350_000).replied(|reply| {
            reply.deaf = Duration::from_secs(20);
        });
        world.sequential(vec![request]);
        let limited = Request::post(LIMITED, 4000).replied(|reply| reply.delay = Duration::from_secs(5));
        world.sequential(vec![limited]);
        world.run();
    });
}

#[test]
fn a_slow_upload_is_no_late_answer() {
    explore(Depth::Long, MAIN, |world| {
        // The origin has half a second for its first byte, counted from the end of the request.
        let requests = vec![Request::post(HASTY, 300), Request::post_chunked(HASTY, 300, 50)];
        world.client(requests, |wires| dribble(wires, 150, Duration::from_secs(2)));
        world.run();
    });
}

#[test]
fn bodies_that_are_too_long_or_too_slow() {
    explore(Depth::Full, MAIN, |world| {
        world.sequential(vec![Request::post(LIMITED, 5000).refused(&[413])]);
        let chunked = Request::post_chunked(LIMITED, 5000, 1000).fails(&[413]).or_cut();
        world.sequential(vec![chunked]);
        let slow = Request::post(LIMITED, 2000).fails(&[408]);
        world.client(vec![slow], |wires| dribble(wires, 100, Duration::from_millis(900)));
        let pausing = Request::post(LIMITED, 2000).fails(&[408]);
        world.client(vec![pausing], |wires| dribble(wires, 1500, Duration::from_secs(5)));
        world.run();
    });
}
