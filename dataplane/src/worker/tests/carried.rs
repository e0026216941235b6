//! An origin that is told whose connections it gets: each carries one client's requests and no other's, whatever happens.
//! The origin itself compares the header with who asked.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{After, Request};
use super::setup::{MAIN, TOLD};
use super::world::sequential;

#[test]
fn connections_carry_one_client_each_and_the_cap_holds() {
    explore(Depth::Full, MAIN, |world| {
        // Twice as many clients as connections, some of one address, in turns and at once.
        for number in 0..6_u64 {
            let ip = ["192.0.2.1", "192.0.2.2", "2001:db8::7"][number as usize % 3];
            let starts = Duration::from_millis(world.random.below(4));
            let pause = Duration::from_micros(world.random.below(2000));
            let closes = world.random.below(4) == 0;
            let requests = (0..4).map(|place| {
                let request = match place {
                    2 => Request::post(TOLD, 300),
                    _ => Request::get(TOLD),
                };
                request.replied(|reply| {
                    reply.delay = pause;
                    if closes {
                        reply.after = After::Close(Duration::from_millis(1));
                    }
                })
            });
            // Where the origin closes while the next request is on its way, that one may be lost.
            let requests = requests.map(|request| if closes { request.or_ours(&[502]) } else { request });
            world.client_at(ip, starts, requests.collect(), sequential);
        }
        world.run();
    });
}

#[test]
fn a_websocket_begins_with_its_clients_header_too() {
    explore(Depth::Full, MAIN, |world| {
        world.client(vec![Request::websocket(TOLD, 100)], |wires| {
            let (head, body) = &wires[0];
            vec![
                Step::Send(0, head.clone()),
                Step::AwaitHead,
                Step::Send(0, body.clone()),
                Step::FinishAndListen,
            ]
        });
        world.client_at("192.0.2.2", Duration::ZERO, vec![Request::get(TOLD)], sequential);
        world.run();
    });
}
