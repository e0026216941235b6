//! Modes, lists and attacks: what is blocked never reaches an origin, and nothing else is blocked.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{Body, Request};
use super::setup::{ALLOWED, BLOCK, DENIED, GRAY, MAIN, MONITORING, OFF, SAFE};
use super::uploads::dribble;
use super::world::{Weather, World, pipelined, sequential};
use crate::telemetry::AttackAction;

const INJECTION: &str = "?q=1%27+union+select+password+from+users--";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const BODY: &[u8] = b"name=alice&q=1'+union+select+password+from+users--&rest=nothing";

fn attack(host: &'static str) -> Request {
    Request::get(host).with(|request| request.query = INJECTION)
}

fn attack_body(host: &'static str, chunk: Option<usize>) -> Request {
    Request::post(host, 0).with(|request| {
        request.headers = FORM;
        request.body = match chunk {
            Some(size) => Body::Chunked(BODY.to_vec(), size),
            None => Body::Length(BODY.to_vec()),
        };
    })
}

#[test]
fn blocked_requests_between_clean_ones() {
    explore(Depth::Full, MAIN, |world| {
        let chunk = 1 + world.random.below(BODY.len() as u64) as usize;
        let requests = vec![
            Request::get(BLOCK),
            attack(BLOCK).refused(&[403]),
            attack_body(BLOCK, None).refused(&[403]),
            Request::post(BLOCK, 100),
            attack_body(BLOCK, Some(chunk)).refused(&[403]),
            attack(BLOCK).with(|request| request.method = "HEAD").refused(&[403]),
            Request::get(BLOCK),
        ];
        match world.random.below(3) {
            0 => world.sequential(requests),
            1 => world.pipelined(requests),
            _ => world.client(requests, |wires| dribble(wires, 20, Duration::from_millis(1))),
        }
        world.run();
    });
}

#[test]
fn attacks_pass_where_they_are_only_watched() {
    explore(Depth::Full, MAIN, |world| {
        let host = world.random.pick(&[OFF, MONITORING, SAFE]);
        world.pipelined(vec![
            attack(host),
            attack_body(host, None),
            attack_body(host, Some(7)),
            Request::get(host),
        ]);
        world.run();
    });
}

#[test]
fn lists_decide_by_source() {
    explore(Depth::Full, MAIN, |world| {
        let start = Duration::ZERO;
        for host in [MONITORING, SAFE, BLOCK] {
            let denied = vec![
                Request::get(host).refused(&[403]),
                Request::post(host, 200).refused(&[403]),
                Request::get(host).refused(&[403]),
            ];
            world.client_at(DENIED, start, denied, pipelined);
            let free = |request: Request| request.with(|request| request.held = false);
            let allowed =
                vec![free(attack(host)), free(attack_body(host, None)), free(Request::post(host, 90))];
            world.client_at(ALLOWED, start, allowed, sequential);
        }
        world.client_at(DENIED, start, vec![attack(OFF)], sequential);
        let gray = vec![
            attack(SAFE).refused(&[403]),
            attack_body(SAFE, Some(11)).refused(&[403]),
            Request::post(SAFE, 200).with(|request| request.held = true),
            attack(MONITORING),
        ];
        world.client_at(GRAY, start, gray, pipelined);
        world.run();
    });
}

#[test]
fn a_denied_client_that_never_sends_its_body() {
    explore(Depth::Full, MAIN, |world| {
        let sent = world.random.below(200) as usize;
        let denied = Request::post(MONITORING, 200).refused(&[403]);
        world.client_at(DENIED, Duration::ZERO, vec![denied], |wires| {
            vec![Step::Send(0, wires[0].0.clone()), Step::Send(0, wires[0].1[..sent].to_vec()), Step::Hang]
        });
        world.run();
    });
}

#[test]
fn what_is_watched_is_recorded_once() {
    let mut world = World::new(&Weather::calm(1));
    world.sequential(vec![
        attack(MONITORING),
        Request::get(MONITORING),
        attack(BLOCK).refused(&[403]),
        attack_body(MONITORING, Some(5)),
        attack(OFF),
    ]);
    world.client_at(DENIED, Duration::ZERO, vec![Request::get(BLOCK).refused(&[403])], sequential);
    world.run();
    let mut records: Vec<_> = world
        .records()
        .iter()
        .map(|record| (record.attack.as_ref().map(|attack| attack.class), record.action, record.status))
        .collect();
    records.sort_by_key(|record| format!("{record:?}"));
    assert_eq!(
        records,
        [
            (Some("blocked_source"), Some(AttackAction::Blocked), Some(403)),
            (Some("sqli"), Some(AttackAction::Blocked), Some(403)),
            (Some("sqli"), Some(AttackAction::Monitored), Some(200)),
            (Some("sqli"), Some(AttackAction::Monitored), Some(200)),
        ]
    );
}
