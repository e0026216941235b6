//! Runs a scenario under every kind of cutting and fault, for many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::world::{Weather, World};
use crate::io::sim::{Cutting, Faults};

/// Seeds of the quick run; `WEIR_SIM_SEEDS` says another number.
const SEEDS: u64 = 50;
/// Places in a stream that are cut in turn; longer streams are cut at this many places spread over them.
const PLACES: u64 = 400;

/// How hard a scenario is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every cutting and every fault.
    Full,
    /// For long streams and long scripts: no byte-by-byte cuttings, and fewer seeds.
    Long,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Runs `scenario` under all weathers. It builds its clients, calls [`World::run`], and may look at what came of it.
///
/// A failure names its seed and weather; `WEIR_SIM_ONLY=NUMBER` runs the weather of that number alone.
pub(super) fn explore(depth: Depth, config: &'static str, scenario: impl Fn(&mut World)) {
    let calm = run(&Weather { config, ..Weather::calm(0) }, &scenario, "calm, whole");
    let again = run(&Weather { config, ..Weather::calm(0) }, &scenario, "calm, whole, again");
    assert_eq!(calm.0, again.0, "the same seed, another run");
    let longest = calm.1;
    let only = number("WEIR_SIM_ONLY");
    for (place, (weather, name)) in (0..).zip(weathers(depth, config, longest)) {
        if only.is_none_or(|only| only == place) {
            let first = run(&weather, &scenario, &format!("number {place}: {name}"));
            if weather.seed == 1 {
                let again = run(&weather, &scenario, &format!("number {place}: {name}, again"));
                assert_eq!(first.0, again.0, "the same seed, another run: {name}");
            }
        }
    }
}

fn weathers(depth: Depth, config: &'static str, longest: u64) -> Vec<(Weather, String)> {
    let seeds = number("WEIR_SIM_SEEDS").unwrap_or(if depth == Depth::Full { SEEDS } else { SEEDS / 2 });
    let mut all = Vec::new();
    let mut add = |seed: u64, faults: Faults, name: &str| {
        let weather = Weather { config, faults, ..Weather::calm(seed) };
        all.push((weather, format!("{name}, seed {seed}")));
    };
    if depth == Depth::Full {
        add(1, Faults { cutting: Cutting::EveryByte, ..Faults::default() }, "calm, every byte");
        let step = longest.div_ceil(PLACES.max(8 * seeds)).max(1);
        for place in (1..longest).step_by(usize::try_from(step).unwrap()) {
            let faults = Faults { cutting: Cutting::At(place), ..Faults::default() };
            add(place, faults, &format!("calm, cut at {place}"));
        }
    }
    for seed in 1..=seeds {
        add(seed, Faults { cutting: Cutting::Random, ..Faults::default() }, "calm, cut at random");
        add(seed, Faults::rough(), "rough");
        add(seed, Faults::hostile(), "hostile");
        add(seed, Faults { cutting: Cutting::Whole, ..Faults::hostile() }, "hostile, whole");
        if depth == Depth::Full && seed % 10 == 0 {
            add(seed, Faults { cutting: Cutting::EveryByte, ..Faults::rough() }, "rough, every byte");
        }
    }
    all
}

/// One run: its trace, and the length of its longest stream.
fn run(weather: &Weather, scenario: &impl Fn(&mut World), name: &str) -> (u64, u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(weather);
        scenario(&mut world);
        (world.trace(), world.longest_stream())
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("failed in weather {name}");
        resume_unwind(panic)
    })
}
