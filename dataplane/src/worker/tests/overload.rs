//! What can't be inspected by Weir's own fault: places that fail open and places that fail closed.

use std::time::Duration;

use super::client::Step;
use super::explore::{Depth, explore};
use super::script::Request;
use super::setup::{BLOCK, CLOSED, FULL, MONITORING};
use super::world::sequential;

const LARGE: usize = 600_000;

/// Sends all but the last byte, waits, and sends that.
fn lingers(wires: &[(Vec<u8>, Vec<u8>)]) -> Vec<Step> {
    let (head, body) = &wires[0];
    let (most, last) = body.split_at(body.len() - 1);
    let first = [head.as_slice(), most].concat();
    vec![Step::Send(0, first), Step::Sleep(Duration::from_secs(5)), Step::Send(0, last.to_vec())]
}

#[test]
fn bodies_that_find_no_room_are_handled_as_their_place_says() {
    explore(Depth::Long, FULL, |world| {
        // The first one takes more than half of the room, whatever happens to it then.
        world.client(vec![Request::post(BLOCK, LARGE)], lingers);
        let second = world.random.pick(&[BLOCK, CLOSED, MONITORING]);
        let request = Request::post(second, LARGE).with(|request| request.held = false);
        let request = match second == CLOSED {
            // Where the first one breaks off, there is room.
            true if world.breaks() => request.or_ours(&[503]).or_cut(),
            true => request.refused(&[503]),
            false => request,
        };
        let small = Request::post(second, 1000).with(|request| request.held = false);
        let small = if second == CLOSED { small.or_ours(&[503]).or_cut() } else { small };
        world.client_at("192.0.2.3", Duration::from_secs(2), vec![request], sequential);
        world.client_at("192.0.2.4", Duration::from_secs(20), vec![small], sequential);
        world.run();
        assert!(world.limit_hits("body_bytes_total") > 0 || world.breaks());
        let records = world.records();
        let classes: Vec<_> = records.iter().filter_map(|record| record.attack.as_ref()).collect();
        assert!(world.breaks() || classes.iter().any(|attack| attack.class == "overlimit_res"));
    });
}

#[test]
fn a_defect_of_the_inspection_ends_no_worker() {
    let silence = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let expected = info.payload_as_str().is_some_and(|text| text.contains("as the test asked"));
        if !expected {
            silence(info);
        }
    }));
    explore(Depth::Full, FULL, |world| {
        let defective = |host| Request::get(host).with(|request| request.query = "?panic");
        world.sequential(vec![
            defective(BLOCK),
            defective(CLOSED).refused(&[503]),
            defective(MONITORING),
            Request::get(CLOSED),
            Request::get(CLOSED)
                .with(|request| request.query = "?id=1'%20UNION%20SELECT%20a%20FROM%20b--")
                .refused(&[403]),
        ]);
        world.run();
        assert!(world.limit_hits("inspection_failure") == 3 || world.breaks());
    });
}
