//! Origins and clients that fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, ReplyFraming, Request};
use super::setup::{BLOCK, HASTY, MAIN, MONITORING, OFF, PAIR, backs};
use super::world::{Command, World, pipelined, sequential};
use crate::origins::AddressTable;

#[test]
fn origins_that_break_off_their_answer() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, BLOCK]);
        for framing in [ReplyFraming::Length, ReplyFraming::Chunked(50), ReplyFraming::UntilClose] {
            for version in ["1.1", "1.0"] {
                let cut = world.random.below(500) as usize;
                let reset = framing == ReplyFraming::UntilClose || world.random.below(2) == 0;
                let request = Request::get(host).fails(&[502]).or_cut().with(|request| {
                    // Where it breaks off behind its end, it is whole.
                    request.outcome.origin = true;
                    request.version = version;
                    request.reply.framing = framing;
                    request.reply.cut_at = Some(cut);
                    request.reply.after = match reset {
                        true => After::Reset(Duration::ZERO),
                        false => After::Close(Duration::ZERO),
                    };
                });
                world.client(vec![request, Request::get(host).or_cut()], sequential);
            }
        }
        world.run();
    });
}

#[test]
fn pooled_connections_that_have_gone_stale() {
    explore(Depth::Full, MAIN, |world| {
        let after = Duration::from_micros(world.random.below(3000));
        let requests = (0..6).map(|_| {
            Request::get(MONITORING).replied(|reply| reply.after = After::Close(after)).or_ours(&[502])
        });
        world.client(requests.collect(), |wires| {
            let mut steps = Vec::new();
            for step in sequential(wires) {
                steps.extend([step, Step::Sleep(Duration::from_micros(500))]);
            }
            steps
        });
        world.run();
    });
}

#[test]
fn a_stale_connection_costs_an_idempotent_request_nothing() {
    explore(Depth::Long, MAIN, |world| {
        // The origin closes as the next request is on its way, once: the retry is on a fresh connection.
        let stale =
            Request::get(MONITORING).replied(|reply| reply.after = After::Close(Duration::from_millis(1)));
        let next = world.random.pick(&["GET", "HEAD", "PUT", "DELETE"]);
        let next = Request::get(MONITORING).with(|request| request.method = next);
        let wait = Duration::from_micros(900 + world.random.below(200));
        world.client(vec![stale, next], |wires| {
            let mut steps = sequential(wires);
            steps.insert(2, Step::Sleep(wait));
            steps
        });
        world.run();
    });
}

#[test]
fn origins_that_say_too_much() {
    explore(Depth::Full, MAIN, |world| {
        let excess = world.random.pick(&[&b"x"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
        let requests = vec![
            Request::get(MONITORING).replied(|reply| reply.excess = excess),
            Request::head(MONITORING).replied(|reply| reply.excess = b"body that must not be"),
            Request::get(MONITORING).replied(|reply| {
                reply.excess = excess;
                reply.framing = ReplyFraming::Chunked(100);
            }),
        ];
        // Bytes that come late meet a pooled connection. They may spoil at most the request that runs on it then.
        for request in requests {
            let start = Duration::from_millis(world.random.below(9) * 100);
            world.client_at("192.0.2.1", start, vec![request], sequential);
        }
        world.run();
    });
}

#[test]
fn bad_answers_are_bad_gateways() {
    const BAD: [&str; 5] = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Bad Name: x\r\n",
        "X: y\r\n folded\r\n",
    ];
    explore(Depth::Full, MAIN, |world| {
        let headers = world.random.pick(&BAD);
        let bad = Request::get(MONITORING).fails(&[502]).replied(|reply| {
            reply.headers = headers;
            reply.framing = ReplyFraming::Nothing;
        });
        let upgrade = Request::get(MONITORING).fails(&[502]).replied(|reply| {
            reply.status = 101;
            reply.framing = ReplyFraming::Nothing;
        });
        let chatty = Request::get(MONITORING).fails(&[502]).replied(|reply| reply.interim = vec![103; 9]);
        world.sequential(vec![bad, Request::get(MONITORING), upgrade, chatty, Request::get(MONITORING)]);
        world.run();
    });
}

#[test]
fn origins_that_are_not_there() {
    explore(Depth::Full, MAIN, |world| {
        // The second address serves alone at first, and comes to serve nobody.
        world.network.stop_origin(backs()[1]);
        world.at(Duration::from_secs(1), Command::StopOrigin(backs()[2]));
        world.at(Duration::from_secs(3), Command::ListenOrigin(backs()[1]));
        for _ in 0..2 {
            world.client(vec![Request::get(PAIR), Request::post(PAIR, 100)], sequential);
        }
        let closing = |request: Request| request.replied(|reply| reply.after = After::Close(Duration::ZERO));
        world.client_at(
            "192.0.2.2",
            Duration::from_millis(900),
            vec![closing(Request::get(PAIR)).or_ours(&[502])],
            sequential,
        );
        world.client_at(
            "192.0.2.2",
            Duration::from_secs(5),
            vec![Request::get(PAIR).or_ours(&[502])],
            sequential,
        );
        world.run();
    });
}

#[test]
fn addresses_that_come_and_go() {
    explore(Depth::Full, MAIN, |world| {
        // The pair is one, another one, and two again, while requests are under way; none of them fails for it.
        for (last, pair) in [&[3][..], &[4], &[4, 3], &[3], &[3, 4]].into_iter().enumerate() {
            let when =
                Duration::from_millis(10 * last as u64) + Duration::from_micros(world.random.below(9_000));
            world.at(when, Command::Addresses(addresses_of_pair(pair)));
        }
        for number in 0..4 {
            let start = Duration::from_millis(number * world.random.below(15));
            let requests = vec![Request::get(PAIR), Request::post(PAIR, 3000), Request::get(PAIR)];
            world.client_at("192.0.2.1", start, requests, sequential);
        }
        world.run();
    });
}

#[test]
fn addresses_that_are_gone_leave_no_pools() {
    explore(Depth::Long, MAIN, |world| {
        for last in 10..90 {
            let when = Duration::from_millis(u64::from(last) + world.random.below(5));
            world.at(when, Command::Addresses(addresses_of_pair(&[last, last + 100])));
        }
        world.at(Duration::from_millis(200), Command::Addresses(addresses_of_pair(&[3, 4])));
        world.client_at("192.0.2.1", Duration::from_millis(250), vec![Request::get(PAIR)], sequential);
        world.run();
        // Those of the other origins, and of the pair those in force and those just before.
        let pools = world.worker.pools.iter().count();
        assert!(pools <= 4 + 2 * 2, "{pools} pools");
    });
}

/// The addresses of the main config, with others for the pair.
fn addresses_of_pair(lasts: &[u8]) -> Arc<AddressTable> {
    let pair: Vec<SocketAddr> = lasts.iter().map(|last| ([10, 0, 0, *last], 9000).into()).collect();
    let [app, _, _, narrow, hasty, told] = backs();
    let table = AddressTable::of_literals(&[
        ("app", &[app]),
        ("pair", &pair),
        ("narrow", &[narrow]),
        ("hasty", &[hasty]),
        ("told", &[told]),
    ]);
    Arc::new(table)
}

#[test]
fn origins_that_do_not_answer() {
    explore(Depth::Full, MAIN, |world| {
        world.network.black_hole(backs()[1]);
        world.network.black_hole(backs()[2]);
        world.client(vec![Request::get(PAIR).fails(&[504]), Request::get(MONITORING)], sequential);
        world.client(vec![Request::post(PAIR, 100).fails(&[504])], sequential);
        let silent = Request::get(HASTY).fails(&[504]).replied(|reply| reply.silent = true);
        let late =
            Request::get(HASTY).fails(&[504]).replied(|reply| reply.delay = Duration::from_millis(1500));
        world.client(vec![silent, late, Request::get(HASTY)], sequential);
        let paused = Request::get(HASTY).or_cut().replied(|reply| {
            reply.piece = 250;
            reply.pace = Duration::from_secs(2);
        });
        world.client(vec![paused], sequential);
        world.run();
    });
}

/// Clients that leave, or fall silent, after `kept` bytes and `wait`.
fn leaving(world: &mut World, requests: Vec<Request>) {
    let total: usize =
        requests.iter().map(|request| request.wire()).map(|wire| wire.0.len() + wire.1.len()).sum();
    let mut kept = world.random.below(total as u64 + 10) as usize;
    let wait = Duration::from_micros(world.random.below(20_000));
    let way = world.random.below(4);
    let requests = requests.into_iter().map(Request::or_cut).map(|request| request.or_ours(&[408])).collect();
    world.client(requests, |wires| {
        let mut steps = Vec::new();
        for (number, (head, body)) in wires.iter().enumerate() {
            let mut bytes = [head.as_slice(), body].concat();
            bytes.truncate(kept);
            kept -= bytes.len();
            steps.push(Step::Send(number, bytes));
        }
        steps.push(Step::Sleep(wait));
        steps.push(match way {
            0 => Step::Finish,
            1 => Step::Close { reset: false },
            2 => Step::Close { reset: true },
            _ => Step::Hang,
        });
        steps
    });
}

#[test]
fn clients_that_leave_at_any_moment() {
    explore(Depth::Full, MAIN, |world| {
        for host in [MONITORING, BLOCK] {
            leaving(world, vec![Request::get(host), Request::post(host, 200), Request::get(host)]);
            leaving(world, vec![Request::post_chunked(host, 100, 30)]);
            let slow = Request::get(host).replied(|reply| {
                reply.delay = Duration::from_millis(5);
                reply.piece = 60;
                reply.pace = Duration::from_millis(2);
            });
            leaving(world, vec![slow.clone(), slow]);
        }
        world.run();
    });
}

#[test]
fn a_client_that_finished_still_gets_its_answers() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, BLOCK]);
        let slow = Request::get(host).replied(|reply| reply.delay = Duration::from_millis(20));
        world.finishing(vec![Request::post(host, 100), slow, Request::get(host)]);
        world.run();
    });
}

#[test]
fn old_clients() {
    explore(Depth::Full, MAIN, |world| {
        let old = |request: Request| request.with(|request| request.version = "1.0");
        let framing =
            world.random.pick(&[ReplyFraming::Length, ReplyFraming::Chunked(33), ReplyFraming::UntilClose]);
        let request = old(Request::get(MONITORING)).replied(|reply| {
            reply.framing = framing;
            reply.interim = vec![103];
            if framing == ReplyFraming::UntilClose {
                reply.after = After::Close(Duration::ZERO);
            }
        });
        world.client(vec![request, old(Request::get(MONITORING)).or_cut()], sequential);
        let kept = old(Request::get(BLOCK)).with(|request| request.headers = "Connection: keep-alive\r\n");
        world.client(vec![kept, Request::get(BLOCK).or_cut()], pipelined);
        world.client(vec![old(Request::post(MONITORING, 99))], sequential);
        world.client(vec![old(Request::head(OFF))], sequential);
        world.run();
    });
}
