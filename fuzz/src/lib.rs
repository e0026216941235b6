//! Fuzz targets of the parsers that read bytes from outside, with a seeded mutator of their own: on stable Rust, and the
//! same in every run.
//!
//! A [`Target`] has seeds, a dictionary and a check that panics when something is wrong. `cargo test -p weir-fuzz` tries
//! some thousands of inputs on each; `WEIR_FUZZ_CASES` says how many times as many, and `make soak` uses that. A failure
//! prints the target, the input, and what runs it again: `WEIR_FUZZ_ONLY=NUMBER` where the case fails by itself, and
//! `WEIR_FUZZ_ONLY=FIRST-LAST` where it only fails behind the cases before it, because the check keeps something.
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
        for case in cases.clone() {
            if let Err(panic) = self.try_case(&mut check, case) {
                let input = self.input(&mut Random::new(case), case);
                let again = self.cases_to_run_again(cases.start, case);
                eprintln!("{}: WEIR_FUZZ_ONLY={again}: {}", self.name, input.escape_ascii());
                resume_unwind(panic);
            }
        }
    }

    fn try_case(&self, check: &mut Check, case: u64) -> std::thread::Result<()> {
        let mut random = Random::new(case);
        let input = self.input(&mut random, case);
        catch_unwind(AssertUnwindSafe(|| check(&input, &mut random)))
    }

    /// The failed case alone if it fails by itself, too; else with all that came before it.
    fn cases_to_run_again(&self, first: u64, failed: u64) -> String {
        let by_itself = self.try_case(&mut (self.prepare)(), failed).is_err();
        if by_itself { failed.to_string() } else { format!("{first}-{failed}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_runs_it_again() {
        let target = |prepare: fn() -> Check| Target {
            name: "test",
            seeds: &[b"a", b"b", b"c", b"d"],
            dictionary: &[],
            quick_cases: 4,
            prepare,
        };
        let by_itself = target(|| Box::new(|input, _| assert_ne!(input, b"c")));
        assert_eq!(by_itself.cases_to_run_again(0, 2), "2");
        let behind_others = target(|| {
            let mut seen = 0;
            Box::new(move |_, _| {
                seen += 1;
                assert!(seen < 3);
            })
        });
        assert_eq!(behind_others.cases_to_run_again(0, 2), "0-2");
    }
}
