//! Fuzz targets of the parsers that read bytes from outside, with a seeded mutator of their own: on stable Rust, and the
//! same in every run.
//!
//! A [`Target`] has seeds, a dictionary and a check that panics when something is wrong. `cargo test -p weir-fuzz` tries
//! some thousands of inputs on each; `WEIR_FUZZ_CASES` says how many times as many, and `make soak` uses that. A failure
//! prints the target, the number of its case and the input, and `WEIR_FUZZ_ONLY=NUMBER` runs exactly that case again.
//!
//! What has been found stays found: an input that failed once is added to the seeds of its target.

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use mutate::Random;
pub use targets::TARGETS;

/// Looks at one input; panics where something is wrong.
pub type Check = Box<dyn FnMut(&[u8], &mut Random)>;

/// One parser under test.
pub struct Target {
    /// Its name, as the test is called.
    pub name: &'static str,
    /// Inputs to start from.
    pub seeds: &'static [&'static [u8]],
    /// Pieces that the parser reacts to.
    pub dictionary: &'static [&'static [u8]],
    /// How many cases a quick run tries: fewer where one takes longer.
    pub quick_cases: u64,
    /// Makes the check, with whatever it needs prepared once.
    pub prepare: fn() -> Check,
}

impl Target {
    /// The input of a case.
    fn input(&self, random: &mut Random, case: u64) -> Vec<u8> {
        // The seeds themselves come first.
        match usize::try_from(case).ok().and_then(|case| self.seeds.get(case)) {
            Some(seed) => seed.to_vec(),
            None => random.mutated(self.seeds, self.dictionary),
        }
    }

    /// Runs these cases.
    ///
    /// # Panics
    /// As the check does for the first input that it doesn't like, after the input was printed.
    pub fn run(&self, cases: std::ops::Range<u64>) {
        let mut check = (self.prepare)();
        for case in cases {
            let mut random = Random::new(case);
            let input = self.input(&mut random, case);
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&input, &mut random)));
            if let Err(panic) = outcome {
                eprintln!("{}: WEIR_FUZZ_ONLY={case}: {}", self.name, input.escape_ascii());
                resume_unwind(panic);
            }
        }
    }
}
