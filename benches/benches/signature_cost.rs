//! What each signature's pattern costs the scan, most expensive first. Ends with 1 when one of them takes more than a
//! tenth of the whole scan, so that a pattern which runs over every byte is noticed before it is merged.
//!
//! A signature's cost is the time that a database of it alone takes for the sample, less that of a database which holds
//! one rare literal. Each time is the least of many, as the machine does other things as well.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use weir_inspect::{Engine, EngineOptions, Inspector, Pack};

/// How many bytes are scanned at once: about what a large document comes to.
const SAMPLE_BYTES: usize = 64 << 10;

/// How often each database scans the sample.
const ROUNDS: usize = 60;

/// The share of the whole scan that one signature may take.
const SHARE_MAX: f64 = 0.1;

/// What values of ordinary requests look like.
const VALUES: &[&str] = &[
    "/catalogue/shoes/summer-collection/42",
    "running shoes",
    "dark blue",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Safari/537.36",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "https://www.shop.example/catalogue/shoes",
    "8f14e45fceea167a5a36dedd4bea2543",
    "In stock, ships soon",
    "customerAddress",
    "2026-03-14T09:26:53.589Z",
    "O'Reilly and Sons, 12 Union Street (2nd floor)",
    "Please select a time from the list, or order by phone; we close at 5.",
    "<p class=\"note\">Prices <b>include</b> tax & delivery.</p>",
    "{\"id\":42,\"tags\":[\"a\",\"b\"],\"url\":\"https://x.example/a?b=c&d=e\"}",
    "Das Paket wird am Dienstag zwischen 9 und 12 Uhr geliefert.",
    "GA1.2.1846372519.1719830412",
];

const RARE: &str = "class = \"scanner\"\n[[signature]]\nid = \"rare\"\ndescription = \"nothing\"\npattern = \"qzxjqvkw\"\n\
                    score = 1\nexamples = { attack = [\"qzxjqvkw\"], clean = [\"a\"] }\n";

fn sample() -> Vec<u8> {
    let mut sample = vec![0];
    for value in VALUES.iter().cycle() {
        if sample.len() + value.len() >= SAMPLE_BYTES {
            return sample;
        }
        sample.extend_from_slice(value.as_bytes());
        sample.push(0);
    }
    sample
}

/// A pack's compiled form and the least time that it took so far.
struct Candidate {
    name: String,
    engine: Engine,
    inspector: Inspector,
    least: Duration,
}

impl Candidate {
    fn new(name: &str, pack: Pack) -> Self {
        let engine =
            Engine::compile(pack, EngineOptions::default()).expect("the embedded signatures compile");
        let inspector = engine.inspector().expect("there is memory for an inspector");
        Self { name: name.to_owned(), engine, inspector, least: Duration::MAX }
    }

    fn measure(&mut self, sample: &[u8]) {
        let start = Instant::now();
        std::hint::black_box(self.inspector.count_matches(&self.engine, std::hint::black_box(sample)));
        self.least = self.least.min(start.elapsed());
    }
}

fn main() -> ExitCode {
    let sample = sample();
    let pack = Pack::embedded();
    let rare = Pack::parse(&[("rare.toml", RARE)]).expect("the rare signature parses");
    let mut candidates =
        vec![Candidate::new("all signatures", pack.clone()), Candidate::new("one rare literal", rare)];
    candidates
        .extend(pack.signature_ids().map(|id| Candidate::new(id, pack.clone().retain(|other| other == id))));
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.measure(&sample);
        }
    }
    let (whole, floor) = (candidates[0].least, candidates[1].least);
    let cost = |candidate: &Candidate| candidate.least.saturating_sub(floor);
    candidates[2..].sort_by_key(|candidate| std::cmp::Reverse(cost(candidate)));
    let kilobyte_nanos = |time: Duration| time.as_nanos() as f64 / (sample.len() as f64 / 1024.0);
    println!("{:32} {:>10} {:>8}", "signature", "ns / KiB", "share");
    println!("{:32} {:>10.1}", candidates[0].name, kilobyte_nanos(whole));
    let mut refused = 0;
    for candidate in &candidates[2..] {
        let share = cost(candidate).as_secs_f64() / whole.as_secs_f64();
        let mark = if share > SHARE_MAX { "  too expensive" } else { "" };
        refused += usize::from(share > SHARE_MAX);
        println!(
            "{:32} {:>10.1} {:>7.1}%{mark}",
            candidate.name,
            kilobyte_nanos(cost(candidate)),
            share * 100.0
        );
    }
    if refused == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "{refused} signatures take more than a tenth of the scan each: give their patterns a longer literal"
    );
    ExitCode::FAILURE
}
