//! WebSockets: opened, refused, slow, silent, ended from either side, broken off, drained.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, Request};
use super::setup::{BLOCK, BRIEF, CAPPED, LIMITED, MAIN, MONITORING, NARROW, OFF, SAFE};
use super::world::{Command, World, sequential};

/// Opens it, says everything in pieces, and then does `last`.
fn talks(wires: &[(Vec<u8>, Vec<u8>)], piece: usize, pause: Duration, last: Step) -> Vec<Step> {
    let (head, body) = &wires[0];
    let mut steps = vec![Step::Send(0, head.clone()), Step::AwaitHead];
    for bytes in body.chunks(piece) {
        steps.extend([Step::Send(0, bytes.to_vec()), Step::Sleep(pause)]);
    }
    steps.push(last);
    steps
}

fn any_mode(world: &mut World) -> &'static str {
    world.random.pick(&[OFF, MONITORING, SAFE, BLOCK])
}

#[test]
fn bytes_pass_both_ways_until_both_have_finished() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        // The client or the origin is the first to finish.
        for (after, last) in
            [(After::Keep, Step::FinishAndListen), (After::Close(Duration::from_secs(5)), Step::AwaitHead)]
        {
            let piece = 40 + world.random.below(600) as usize;
            let request = Request::websocket(host, 600).replied(|reply| {
                reply.piece = 60;
                reply.pace = Duration::from_millis(5);
                reply.after = after;
            });
            world.client(vec![request], |wires| talks(wires, piece, Duration::from_millis(2), last));
        }
        world.run();
    });
}

#[test]
fn what_the_client_says_at_once_waits_for_the_switch() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        let request = Request::websocket(host, 300).replied(|reply| {
            reply.delay = Duration::from_millis(100);
            reply.after = After::Close(Duration::from_millis(300));
        });
        world.client(vec![request], |wires| {
            let mut steps = vec![Step::Send(0, [wires[0].0.clone(), wires[0].1.clone()].concat())];
            steps.extend([Step::AwaitHead, Step::Sleep(Duration::from_millis(200)), Step::FinishAndListen]);
            steps
        });
        world.run();
    });
}

#[test]
fn a_large_talk_with_slow_ears() {
    explore(Depth::Long, MAIN, |world| {
        let request = Request::websocket(MONITORING, 400_000).replied(|reply| {
            reply.deaf = Duration::from_secs(3);
            reply.after = After::Close(Duration::from_secs(6));
        });
        world.client(vec![request], |wires| {
            let mut steps = talks(wires, 50_000, Duration::from_millis(10), Step::Reading(false));
            steps.extend([Step::Sleep(Duration::from_secs(2)), Step::Reading(true), Step::FinishAndListen]);
            steps
        });
        world.run();
        assert!(world.limit_hits("tunnel_timeout") == 0 || world.breaks());
    });
}

#[test]
fn a_tunnel_with_slow_ears_holds_no_place_either() {
    explore(Depth::Long, MAIN, |world| {
        let talk = Request::websocket(NARROW, 40).replied(|reply| {
            (reply.length, reply.piece, reply.pace) = (900_000, 300_000, Duration::from_secs(2));
            reply.after = After::Close(Duration::from_secs(9));
        });
        world.client(vec![talk], |wires| {
            let mut steps = talks(wires, 40, Duration::ZERO, Step::Reading(false));
            for reads in [true, false, true] {
                steps.extend([Step::Sleep(Duration::from_millis(1900)), Step::Reading(reads)]);
            }
            steps.push(Step::FinishAndListen);
            steps
        });
        for seconds in [1, 5, 20] {
            let requests = vec![Request::get(NARROW), Request::get(NARROW)];
            for _ in 0..2 {
                world.client_at("192.0.2.4", Duration::from_secs(seconds), requests.clone(), sequential);
            }
        }
        world.run();
        assert!(world.limit_hits("parked_bytes") > 1 || world.breaks(), "it stalls more than once");
    });
}

#[test]
fn silence_ends_it_and_so_does_a_client_that_takes_nothing() {
    explore(Depth::Long, MAIN, |world| {
        let silent = Request::websocket(BRIEF, 40);
        world.client(vec![silent], |wires| talks(wires, 40, Duration::ZERO, Step::AwaitHead));
        let deaf = Request::websocket(BRIEF, 400_000).or_cut().replied(|reply| reply.piece = 100_000);
        world.client(vec![deaf], |wires| {
            let mut steps = talks(wires, 1000, Duration::from_millis(100), Step::Hang);
            steps.insert(2, Step::Reading(false));
            steps
        });
        world.run();
        assert!(world.limit_hits("tunnel_timeout") == 1 || world.breaks());
        assert!(world.limit_hits("send_timeout") == 1 || world.breaks());
    });
}

#[test]
fn either_side_may_break_off() {
    explore(Depth::Full, MAIN, |world| {
        let host = any_mode(world);
        let after = world.random.pick(&[
            After::Keep,
            After::Close(Duration::from_millis(10)),
            After::Reset(Duration::from_millis(10)),
        ]);
        let request = Request::websocket(host, 500).or_cut().replied(|reply| reply.after = after);
        let way = Step::Close { reset: world.random.pick(&[true, false]) };
        world.client(vec![request], |wires| talks(wires, 100, Duration::from_millis(4), way));
        world.run();
    });
}

#[test]
fn a_tunnel_holds_no_place_of_its_origin() {
    explore(Depth::Full, MAIN, |world| {
        // Two connections and a queue of two: four long talks and a request at once would not fit.
        for number in 0..4 {
            let talk = Request::websocket(NARROW, 50).replied(|reply| {
                reply.after = After::Close(Duration::from_secs(20));
            });
            world.client_at("192.0.2.3", Duration::from_millis(300 * number), vec![talk], |wires| {
                talks(wires, 50, Duration::from_secs(20), Step::FinishAndListen)
            });
        }
        world.client_at("192.0.2.4", Duration::from_secs(5), vec![Request::get(NARROW)], sequential);
        world.run();
    });
}

#[test]
fn more_than_the_cap_are_refused() {
    explore(Depth::Full, CAPPED, |world| {
        let talk =
            |request: Request| request.replied(|reply| reply.after = After::Close(Duration::from_secs(2)));
        world.client(vec![talk(Request::websocket(MONITORING, 50))], |wires| {
            talks(wires, 50, Duration::from_secs(2), Step::FinishAndListen)
        });
        let refused = talk(Request::websocket(MONITORING, 0)).with(|request| {
            request.outcome.origin = false;
            request.outcome.ours = vec![503];
        });
        let later = vec![refused, Request::get(MONITORING)];
        world.client_at("192.0.2.5", Duration::from_secs(1), later, sequential);
        world.run();
        assert!(world.limit_hits("max_tunnels") == 1 || world.breaks());
    });
}

#[test]
fn where_there_are_none_it_is_an_ordinary_request() {
    explore(Depth::Full, MAIN, |world| {
        let plain = |host: &'static str| {
            Request::get(host).with(|request| {
                request.headers = "Upgrade: h2c\r\nConnection: Upgrade\r\n";
            })
        };
        let off = Request::get(LIMITED).with(|request| {
            request.headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        });
        world.sequential(vec![plain(MONITORING), off, plain(BLOCK)]);
        world.run();
    });
}

#[test]
fn a_switch_that_does_not_accept_is_a_bad_answer() {
    explore(Depth::Full, MAIN, |world| {
        let wrong = Request::websocket(MONITORING, 0).fails(&[502]).replied(|reply| {
            reply.headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n";
            reply.after = After::Close(Duration::from_secs(1));
        });
        let unasked = Request::get(MONITORING).fails(&[502]).replied(|reply| {
            reply.status = 101;
            reply.headers = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
            reply.framing = super::script::ReplyFraming::Nothing;
        });
        let refused = Request::websocket(MONITORING, 0).replied(|reply| {
            reply.status = 426;
            reply.headers = "";
            reply.framing = super::script::ReplyFraming::Length;
            reply.length = 20;
        });
        world.sequential(vec![Request::get(MONITORING), wrong, unasked, refused, Request::get(MONITORING)]);
        world.run();
    });
}

#[test]
fn a_drain_waits_for_talks_and_a_stop_ends_them() {
    explore(Depth::Long, MAIN, |world| {
        world.at(Duration::from_secs(1), Command::Drain);
        let lasting = world.random.below(2) == 0;
        let talk = Request::websocket(MONITORING, 50).replied(|reply| {
            reply.after = After::Close(Duration::from_secs(3));
        });
        if lasting {
            world.at(Duration::from_secs(2), Command::Stop);
        }
        let talk = if lasting { talk.or_cut() } else { talk };
        world.client(vec![talk], |wires| talks(wires, 50, Duration::from_secs(3), Step::FinishAndListen));
        world.run();
        assert!(world.has_stopped());
        assert!(!lasting || world.limit_hits("drain_timeout") == 1 || world.breaks());
    });
}
