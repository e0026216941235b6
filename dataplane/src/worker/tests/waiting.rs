//! What waits, for whom, and whose time runs meanwhile.

use std::sync::LazyLock;
use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::{Body, Request};
use super::setup::{BLOCK, FULL, HASTY, LIMITED, MAIN, MONITORING, NARROW, addresses};
use super::uploads::dribble;
use super::world::{Command, Weather, World, pipelined, sequential};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// As [`MAIN`], with longer bodies for [`LIMITED`] that have to come in faster.
static FAST: LazyLock<String> = LazyLock::new(|| {
    MAIN.replace("request_body_bytes = \"4KiB\"", "request_body_bytes = \"1MiB\"")
        .replace("body_rate_min_bytes = \"1KiB\"", "body_rate_min_bytes = \"64KiB\"")
});

/// As [`MAIN`], with more time for the origin of [`HASTY`] to take a request than to answer it.
static PATIENT: LazyLock<String> =
    LazyLock::new(|| MAIN.replace("idle_timeout = \"500ms\"", "idle_timeout = \"5s\""));

/// As [`MAIN`], with little time between two writes to a client.
static URGENT: LazyLock<String> = LazyLock::new(|| {
    MAIN.replace("parked_bytes = \"64KiB\"", "parked_bytes = \"256KiB\"\nsend_timeout = \"4s\"")
});

/// As [`MAIN`], with a long queue before the origin of [`NARROW`].
static DEEP: LazyLock<String> = LazyLock::new(|| MAIN.replace("queue = 2\n", "queue = 4096\n"));

/// As [`FULL`], with short limits of bodies.
static PACED: LazyLock<String> = LazyLock::new(|| {
    let limits =
        "[http.limits]\nbody_timeout = \"1s\"\nbody_rate_min_bytes = \"1KiB\"\nbody_rate_grace = \"2s\"\n";
    format!("{limits}\n{FULL}")
});

#[test]
fn uploads_that_waited_for_any_connection_stay_within_their_share() {
    explore(Depth::Full, MAIN, |world| {
        let busy = |milliseconds| {
            let delay = milliseconds * MILLISECOND;
            vec![Request::get(NARROW).replied(move |reply| reply.delay = delay)]
        };
        world.client(busy(800), sequential);
        world.client(busy(1000), sequential);
        for _ in 0..2 {
            let slow = vec![Request::post(NARROW, 100)];
            world.client_at("192.0.2.3", 300 * MILLISECOND, slow, |wires| dribble(wires, 20, SECOND));
        }
        world.client_at(
            "192.0.2.4",
            2 * SECOND,
            vec![Request::get(NARROW), Request::get(NARROW)],
            sequential,
        );
        world.run();
        assert!(world.limit_hits("origin_uploads") > 0 || world.breaks());
    });
}

/// Each of them is refused when it gets the connection that the one before has given back.
#[test]
fn a_long_queue_of_uploads_that_were_too_slow_is_worked_off() {
    const WAITING: usize = 3000;
    let mut world = World::new(&Weather { config: &DEEP, ..Weather::calm(1) });
    let fast = vec![Request::post(NARROW, 24_000)];
    world.client(fast, |wires| dribble(wires, 2000, SECOND));
    for _ in 0..WAITING {
        let slow = vec![Request::post(NARROW, 100).fails(&[408])];
        world.client_at("192.0.2.3", SECOND, slow, |wires| dribble(wires, 50, 25 * SECOND));
    }
    world.run();
    assert_eq!(world.limit_hits("body_rate_min_bytes"), WAITING as u64);
}

#[test]
fn bytes_that_nobody_takes_do_not_prolong_a_wait() {
    let mut world = World::new(&Weather { config: &DEEP, ..Weather::calm(1) });
    let fast = vec![Request::post(NARROW, 24_000)];
    world.client(fast, |wires| dribble(wires, 2000, SECOND));
    // More than is parked, and from then on a little at a time. The time to wait is two seconds.
    let waits = vec![Request::post(NARROW, 200_000).fails(&[503])];
    world.client_at("192.0.2.3", SECOND, waits, |wires| {
        let (head, body) = &wires[0];
        let mut steps = vec![Step::Send(0, head.clone()), Step::Send(0, body[..100_000].to_vec())];
        for bytes in body[100_000..120_000].chunks(1000) {
            steps.extend([Step::Sleep(500 * MILLISECOND), Step::Send(0, bytes.to_vec())]);
        }
        steps.push(Step::Await(1));
        steps
    });
    world.run();
    assert_eq!(world.limit_hits("origin_queue_timeout"), 1);
}

#[test]
fn a_body_is_not_late_while_its_request_waits_for_its_turn() {
    let mut world = World::new(&Weather { config: &PACED, ..Weather::calm(1) });
    // One in five seconds: the second waits for that long, with a body that has one.
    for (host, query) in [(BLOCK, "?paced=held"), (MONITORING, "?paced=streamed")] {
        let post = Request::post(host, 300).with(|request| request.query = query);
        world.sequential(vec![post.clone(), post]);
    }
    world.run();
    assert_eq!(world.limit_hits("rate_limit_paced"), 2);
}

#[test]
fn a_body_is_not_slow_while_its_origin_does_not_read() {
    explore(Depth::Long, &FAST, |world| {
        let request = Request::post(LIMITED, 400_000).replied(|reply| reply.deaf = 10 * SECOND);
        world.sequential(vec![request]);
        world.run();
        assert_eq!(world.limit_hits("body_rate_min_bytes"), 0);
    });
}

#[test]
fn an_origin_answers_late_only_once_it_has_the_request() {
    explore(Depth::Long, &PATIENT, |world| {
        // It has half a second to answer, and doesn't read for two.
        let request = Request::post(HASTY, 155_000).replied(|reply| reply.deaf = 2 * SECOND);
        world.sequential(vec![request]);
        world.run();
        assert!(world.asked[0].status == Some(200) || world.breaks());
    });
}

#[test]
fn an_answer_that_leaves_does_not_end_the_wait_of_the_next_request() {
    explore(Depth::Full, MAIN, |world| {
        for _ in 0..2 {
            let silent = Request::get(NARROW).fails(&[504]).replied(|reply| reply.silent = true);
            world.client(vec![silent], sequential);
        }
        let blocked = Request::get(BLOCK).refused(&[403]).with(|request| {
            request.query = "?q=1%27+union+select+password+from+users--";
        });
        let waits = Request::get(NARROW).fails(&[503]);
        world.client_at("192.0.2.3", SECOND, vec![blocked, waits], pipelined);
        world.run();
    });
}

#[test]
fn a_last_answer_may_take_its_time_as_long_as_it_is_read() {
    explore(Depth::Long, &URGENT, |world| {
        let last = Request::get(MONITORING).replied(|reply| reply.length = 400_000).with(|request| {
            request.headers = "Connection: close\r\n";
        });
        world.client(vec![last], |wires| {
            let mut steps = vec![Step::Reading(false)];
            steps.extend(pipelined(wires));
            for _ in 0..6 {
                let pause = Step::Sleep(1500 * MILLISECOND);
                steps.extend([pause, Step::Reading(true), Step::Sleep(MILLISECOND), Step::Reading(false)]);
            }
            steps.push(Step::Reading(true));
            steps
        });
        world.run();
        assert!(world.limit_hits("send_timeout") == 0 || world.breaks());
    });
}

#[test]
fn a_body_that_breaks_off_is_no_malformed_one() {
    let mut world = World::new(&Weather { config: &PACED, ..Weather::calm(1) });
    // What is excepted below `note` holds for a note that is cut, not for one in malformed JSON.
    let cut = Request::post(MONITORING, 0).fails(&[408]).with(|request| {
        request.headers = "Content-Type: application/json\r\n";
        request.body = Body::Raw(
            "Content-Length: 100\r\n\r\n{\"note\": \"1' union select password from users--\", \"re",
        );
    });
    world.sequential(vec![cut]);
    world.run();
    let findings = world.records().into_iter().filter_map(|record| record.attack);
    let classes: Vec<_> = findings.map(|attack| attack.class).collect();
    assert!(classes.is_empty(), "{classes:?}");
}

#[test]
fn addresses_of_another_generation_are_not_taken() {
    explore(Depth::Long, MAIN, |world| {
        world.at(SECOND, Command::Addresses(addresses(FULL)));
        for host in [MONITORING, NARROW, HASTY] {
            world.client_at("192.0.2.1", 2 * SECOND, vec![Request::get(host)], sequential);
        }
        world.run();
    });
}
