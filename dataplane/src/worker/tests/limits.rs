//! Limits: slow clients, caps and queues, requests per connection, drain and reload.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, ReplyFraming, Request};
use super::setup::{
    BLOCK, CAPPED, DENIED, HASTY, LIMITED, MAIN, MONITORING, NARROW, PAIR, RELOADED, snapshot,
};
use super::world::{Command, Weather, World, pipelined, sequential};
use crate::worker::Notice;

/// Doesn't read until `pause` has passed.
fn late_reader(wires: &[(Vec<u8>, Vec<u8>)], pause: Duration) -> Vec<Step> {
    let mut steps = vec![Step::Reading(false)];
    steps.extend(pipelined(wires));
    steps.extend([Step::Sleep(pause), Step::Reading(true)]);
    steps
}

#[test]
fn a_slow_reader_of_a_large_answer() {
    explore(Depth::Long, MAIN, |world| {
        let framing = world.random.pick(&[
            ReplyFraming::Length,
            ReplyFraming::Chunked(30_000),
            ReplyFraming::UntilClose,
        ]);
        let large = Request::get(MONITORING).replied(|reply| {
            reply.length = 400_000;
            reply.framing = framing;
            if framing == ReplyFraming::UntilClose {
                reply.after = After::Close(Duration::ZERO);
            }
        });
        world.client(vec![large, Request::get(MONITORING)], |wires| {
            late_reader(wires, Duration::from_secs(5))
        });
        world.run();
    });
}

#[test]
fn a_slow_reader_is_no_slow_origin() {
    explore(Depth::Long, MAIN, |world| {
        // The origin may pause for half a second; the client does so for five.
        let large = Request::get(HASTY).replied(|reply| reply.length = 400_000);
        world.client(vec![large], |wires| late_reader(wires, Duration::from_secs(5)));
        world.run();
    });
}

#[test]
fn a_reader_that_never_reads_is_cut_off() {
    explore(Depth::Long, MAIN, |world| {
        let large = Request::get(LIMITED).or_cut().replied(|reply| reply.length = 400_000);
        let more = world.random.below(2) == 0;
        world.client(vec![large, Request::get(LIMITED).or_cut()], |wires| {
            let mut steps = vec![Step::Reading(false), Step::Send(0, wires[0].0.clone())];
            if more {
                // A byte of the next request is no sign that the client takes its answer.
                steps.extend([Step::Sleep(Duration::from_secs(1)), Step::Send(1, wires[1].0[..1].to_vec())]);
            }
            steps.push(Step::Hang);
            steps
        });
        world.run();
    });
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    explore(Depth::Long, MAIN, |world| {
        let large = || Request::get(MONITORING).replied(|reply| reply.length = 20_000);
        world.client((0..40).map(|_| large()).collect(), |wires| late_reader(wires, Duration::from_secs(5)));
        world.run();
    });
    // Our own answers are small; it takes more of them.
    let mut world = World::new(&Weather::calm(1));
    let denied = (0..950).map(|_| Request::get(BLOCK).refused(&[403])).collect();
    world.client_at(DENIED, Duration::ZERO, denied, |wires| late_reader(wires, Duration::from_secs(5)));
    world.run();
}

#[test]
fn a_slow_reader_is_not_taken_for_an_idle_client() {
    explore(Depth::Long, CAPPED, |world| {
        // The answer is complete on our side long before the client has it; keep_alive_timeout is a second.
        let large = Request::get(MONITORING).replied(|reply| reply.length = 120_000);
        world.client(vec![large], |wires| late_reader(wires, Duration::from_secs(5)));
        world.run();
    });
}

#[test]
fn requests_wait_for_a_connection_and_get_it_in_time() {
    explore(Depth::Full, MAIN, |world| {
        let slow =
            |millis| Request::get(NARROW).replied(move |reply| reply.delay = Duration::from_millis(millis));
        for _ in 0..4 {
            world.client(vec![slow(200), slow(100)], sequential);
        }
        world.run();
    });
}

#[test]
fn slow_readers_keep_nobody_else_waiting() {
    explore(Depth::Long, MAIN, |world| {
        // There are two connections, and these readers pause for longer than queue_timeout.
        for number in 0..3 {
            let large = Request::get(NARROW).replied(|reply| reply.length = 200_000);
            let start = Duration::from_millis(500 * number);
            world.client_at("192.0.2.1", start, vec![large], |wires| {
                late_reader(wires, Duration::from_secs(9))
            });
        }
        for number in 0..3 {
            let start = Duration::from_millis(3000 + 500 * number);
            world.client_at("192.0.2.4", start, vec![Request::get(NARROW), Request::get(NARROW)], sequential);
        }
        world.run();
        assert_eq!(world.limit_hits("origin_stalled"), 0);
    });
}

#[test]
fn the_slowest_of_too_many_slow_readers_is_cut_off() {
    explore(Depth::Long, MAIN, |world| {
        for number in 0..4 {
            let large = Request::get(NARROW).or_cut().replied(|reply| reply.length = 200_000);
            world.client_at("192.0.2.1", Duration::from_millis(500 * number), vec![large], |wires| {
                late_reader(wires, Duration::from_secs(9))
            });
        }
        world.client_at("192.0.2.4", Duration::from_secs(5), vec![Request::get(NARROW)], sequential);
        world.run();
        // There may be three.
        assert!(world.limit_hits("origin_stalled") == 1 || world.breaks());
    });
}

#[test]
fn a_full_queue_refuses_and_a_long_wait_ends() {
    explore(Depth::Full, MAIN, |world| {
        let silent = || Request::get(NARROW).fails(&[503, 504]).replied(|reply| reply.silent = true);
        for _ in 0..6 {
            world.client(vec![silent(), silent()], sequential);
        }
        // Bodies that come in while their requests wait.
        let post = Request::post(NARROW, 400).fails(&[503, 504]).replied(|reply| reply.silent = true);
        world.client(vec![post], |wires| super::uploads::dribble(wires, 100, Duration::from_millis(300)));
        world.run();
    });
}

#[test]
fn a_waiting_request_is_not_forgotten_when_more_comes_in() {
    explore(Depth::Full, MAIN, |world| {
        for _ in 0..2 {
            let silent = Request::get(NARROW).fails(&[504]).replied(|reply| reply.silent = true);
            world.client(vec![silent], sequential);
        }
        let start = Duration::from_millis(200);
        let waiting = vec![Request::get(NARROW).fails(&[503]), Request::get(NARROW).or_ours(&[503])];
        world.client_at("192.0.2.3", start, waiting, pipelined);
        world.client_at("192.0.2.4", start, vec![Request::post(NARROW, 80).fails(&[503])], sequential);
        world.run();
    });
}

#[test]
fn slow_uploads_keep_nobody_else_waiting() {
    explore(Depth::Long, MAIN, |world| {
        // One of the two connections is for uploads; these take longer than queue_timeout.
        let slow = |wires: &[_]| super::uploads::dribble(wires, 20, Duration::from_millis(700));
        world.client(vec![Request::post(NARROW, 200)], slow);
        world.client(vec![Request::post_chunked(NARROW, 100, 30)], slow);
        let start = Duration::from_millis(1500);
        world.client_at("192.0.2.3", start, vec![Request::get(NARROW), Request::get(NARROW)], sequential);
        // Whole when it comes in, it needs none of the connections for uploads.
        world.client_at("192.0.2.4", start, vec![Request::post(NARROW, 50)], sequential);
        world.run();
    });
}

#[test]
fn those_who_left_the_queue_hold_no_place_in_it() {
    explore(Depth::Full, MAIN, |world| {
        for _ in 0..2 {
            let silent = Request::get(NARROW).fails(&[504]).replied(|reply| reply.silent = true);
            world.client(vec![silent], sequential);
        }
        for number in 0..3 {
            let start = Duration::from_secs(1 + 5 * number);
            for _ in 0..2 {
                let gone = Request::get(NARROW).fails(&[503]);
                world.client_at("192.0.2.3", start, vec![gone], |wires| {
                    let mut steps = pipelined(wires);
                    if number == 0 {
                        steps.extend([Step::Sleep(Duration::from_millis(500)), Step::Close { reset: true }]);
                    }
                    steps
                });
            }
        }
        world.run();
        let full = world.limit_hits("origin_queue");
        assert!(full == 0 || world.breaks(), "{full} requests found the queue full");
    });
}

#[test]
fn the_cap_over_all_origins_holds_and_nobody_starves() {
    explore(Depth::Full, CAPPED, |world| {
        let slow = |host| Request::get(host).replied(|reply| reply.delay = Duration::from_millis(300));
        world.client(vec![slow(MONITORING), slow(PAIR)], sequential);
        world.client(vec![slow(MONITORING), slow(PAIR)], sequential);
        world.client(vec![slow(PAIR), slow(MONITORING)], sequential);
        world.run();
    });
}

#[test]
fn connections_beyond_the_cap_are_closed() {
    explore(Depth::Long, CAPPED, |world| {
        for number in 0..5 {
            let slow = Request::get(MONITORING).replied(|reply| reply.delay = Duration::from_millis(300));
            let slow = if number < 3 { slow } else { slow.or_cut() };
            let start = Duration::from_millis(if number < 3 { 0 } else { 100 });
            world.client_at("192.0.2.1", start, vec![slow], sequential);
        }
        world.run();
    });
}

#[test]
fn the_last_request_of_a_connection_is_answered_in_whole() {
    explore(Depth::Full, CAPPED, |world| {
        // Three requests a connection, and the client has sent more of them already.
        let mut requests: Vec<Request> = (0..3).map(|_| Request::get(MONITORING)).collect();
        requests.extend((0..9).map(|_| Request::get(MONITORING).or_cut().refused(&[]).or_cut()));
        world.client(requests, |wires| late_reader(wires, Duration::from_millis(20)));
        world.run();
    });
}

#[test]
fn idle_and_half_sent_connections_are_closed_in_time() {
    explore(Depth::Full, MAIN, |world| {
        world.client(vec![], |_| vec![Step::Hang]);
        let kept = 1 + world.random.below(50) as usize;
        for way in [Step::Hang, Step::Finish] {
            let half = Request::get(MONITORING).refused(&[408]).or_cut();
            world.client(vec![Request::get(MONITORING), half], |wires| {
                let part = wires[1].0[..kept].to_vec();
                vec![Step::Send(0, wires[0].0.clone()), Step::Await(1), Step::Send(1, part), way]
            });
        }
        world.run();
    });
}

#[test]
fn a_drain_finishes_what_runs_and_ends() {
    explore(Depth::Full, MAIN, |world| {
        let slow = |request: Request| {
            request.replied(|reply| {
                reply.delay = Duration::from_millis(50);
                reply.piece = 100;
                reply.pace = Duration::from_millis(20);
            })
        };
        let when = Duration::from_micros(100 + world.random.below(150_000));
        world.at(when, Command::Drain);
        // A request that is there before the drain, and one that may come too late.
        for host in [MONITORING, BLOCK] {
            world.client(
                vec![slow(Request::get(host)).or_cut(), slow(Request::get(host)).or_cut()],
                sequential,
            );
            world.client(vec![slow(Request::post(host, 200)).or_cut()], |wires| {
                super::uploads::dribble(wires, 50, Duration::from_millis(10))
            });
        }
        world.client(vec![], |_| vec![Step::Hang]);
        world.run();
        assert!(world.notices().is_empty());
        assert!(world.has_stopped(), "a drain ends");
    });
}

#[test]
fn a_drain_waits_for_answers_that_are_under_way() {
    explore(Depth::Long, MAIN, |world| {
        world.at(Duration::from_secs(2), Command::Drain);
        let large = |length| Request::get(MONITORING).replied(move |reply| reply.length = length);
        for length in [70_000, 120_000, 400_000] {
            world.client(vec![large(length)], |wires| late_reader(wires, Duration::from_secs(5)));
        }
        world.run();
        assert!(world.has_stopped(), "a drain ends");
        // Nobody has to wait for a time-out once the answers are read.
        assert!(world.network.now().0 < 8_000_000_000, "a drain ends with its last answer");
    });
}

#[test]
fn a_stop_ends_at_once() {
    explore(Depth::Long, MAIN, |world| {
        world.at(Duration::from_millis(20), Command::Stop);
        let silent = Request::get(MONITORING).or_cut().replied(|reply| reply.silent = true);
        world.client(vec![silent], sequential);
        world.run();
        assert!(world.has_stopped());
    });
}

#[test]
fn a_reload_between_head_and_body() {
    explore(Depth::Full, MAIN, |world| {
        let when = Duration::from_micros(world.random.below(30_000));
        world.at(when, Command::Adopt(RELOADED));
        for host in [PAIR, NARROW, BLOCK] {
            // A request is served by the generation that it began with; later ones are judged by the new.
            let post = || Request::post(host, 200).with(|request| request.held = false);
            world.client(vec![post(), post(), post()], |wires| {
                super::uploads::dribble(wires, 70, Duration::from_millis(3))
            });
        }
        world.run();
        assert_eq!(world.notices().last(), Some(&Notice::Serving(snapshot(RELOADED).generation)));
    });
}
