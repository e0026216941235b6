//! Connections that are kept ready before anyone asks.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, Request};
use super::setup::{MONITORING, WARM, backs};
use super::world::{Command, sequential};
use crate::telemetry::Family;

/// What `min_idle_connections` is under [`WARM`].
const READY: u64 = 3;

#[test]
fn they_are_ready_before_the_first_request_and_stay_so() {
    explore(Depth::Long, WARM, |world| {
        let requests = (0..5).map(|number| {
            Request::get(MONITORING).replied(|reply| {
                if number % 2 == 1 {
                    reply.after = After::Close(Duration::ZERO);
                }
            })
        });
        world.client_at("192.0.2.1", Duration::from_secs(2), requests.collect(), |wires| {
            let mut steps = Vec::new();
            for step in sequential(wires) {
                steps.extend([step, Step::Sleep(Duration::from_secs(1))]);
            }
            steps
        });
        // Long enough for all of them to be made anew, as they idle for too long.
        world.at(Duration::from_secs(25), Command::Drain);
        world.run();
        if !world.breaks() {
            assert_eq!(
                world.total(Family::UpstreamConnectionsReused),
                5,
                "no request waits for a connection"
            );
            let opened = world.total(Family::UpstreamConnectionsOpened);
            assert_eq!(opened, world.total(Family::UpstreamConnectionsWarmed));
            assert!((2 * READY..8 * READY).contains(&opened), "{opened}");
        }
    });
}

#[test]
fn an_origin_that_is_gone_is_not_hammered_and_found_again() {
    explore(Depth::Long, WARM, |world| {
        world.at(Duration::ZERO, Command::StopOrigin(backs()[0]));
        world.at(Duration::from_secs(200), Command::ListenOrigin(backs()[0]));
        world.at(Duration::from_secs(300), Command::Drain);
        world.run();
        if !world.breaks() {
            // After 1, 2, 4, ... 60 s: eight attempts until then, some of several connections at once.
            let failures = world.total(Family::UpstreamErrors);
            assert!((READY..=10 * READY).contains(&failures), "{failures}");
            assert!(world.total(Family::UpstreamConnectionsWarmed) >= READY);
        }
    });
}

#[test]
fn more_than_the_caps_allow_are_not_opened() {
    explore(Depth::Full, WARM, |world| {
        // Four connections in all: requests go first, and what is ready makes room.
        for number in 0..6 {
            let request = Request::get(MONITORING).replied(|reply| reply.delay = Duration::from_millis(3));
            let starts = Duration::from_millis(number);
            world.client_at("192.0.2.1", starts, vec![request.clone(), request], sequential);
        }
        world.at(Duration::from_secs(5), Command::Drain);
        world.run();
    });
}
