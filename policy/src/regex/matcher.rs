//! Many regexes, one scan: the values of one kind of point in a buffer, each in a frame.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_hyperscan::{Database, HyperscanError, Scratch};

use super::print::{Frame, write_byte, write_tree};
use super::set::{ByteSet, partition};
use super::tree::Tree;
use super::{Refusal, Regex, Scope, Size};

/// Regexes that are to be matched together.
#[derive(Debug, Default)]
pub(crate) struct MatcherBuilder {
    /// Which of several points of the kind, the regex, and the number to report.
    regexes: Vec<(u32, Regex, u32)>,
}

/// Why regexes can't be matched together.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The number of the one to blame, if it is one.
    pub(crate) number: Option<u32>,
    pub(crate) refusal: Refusal,
}

/// Bytes of a point's number in a buffer.
const TAG_BYTES: u32 = 3;

/// Regexes of one point that are asked by what they leave out. Each is reported for each value that it doesn't match, and a
/// request may repeat a point thousands of times: 50 ns each, 6 ms for all of them and the 6,144 values of a query of 24 KiB.
const MAX_COMPLEMENTS: usize = 20;

impl MatcherBuilder {
    /// Adds a regex for one of the points of the kind, counted from 0.
    pub(crate) fn add(&mut self, point: u32, regex: Regex, number: u32) {
        self.regexes.push((point, regex, number));
    }

    /// Compiles. `tagged`: there may be values of more than one point in a buffer.
    pub(crate) fn build(self, tagged: bool) -> Result<Matcher, Failure> {
        self.check_size()?;
        self.check_complements()?;
        let frame = self.frame()?;
        let mut numbers = Vec::new();
        let mut patterns = Vec::new();
        for (point, regex, number) in self.regexes.iter().filter(|(_, regex, _)| !regex.is_complement) {
            let mut beginning = beginning(tagged.then_some(*point), frame);
            let mut add = |before: &str, tree: &Tree| {
                patterns.push(pattern(before, tree, frame));
                numbers.push(*number);
            };
            match regex.scope() {
                Scope::Nothing => continue,
                Scope::Everything => {
                    patterns.push(beginning);
                    numbers.push(*number);
                    continue;
                }
                Scope::Some => {}
            }
            if regex.at_start != Tree::Nothing {
                add(&beginning, &regex.at_start);
            }
            if regex.anywhere != Tree::Nothing {
                if tagged {
                    // within the same value
                    let any = Tree::repeat(Tree::Byte(frame.any_byte()), 0, None);
                    write_tree(&any, Some(frame), &mut beginning);
                } else {
                    beginning.clear();
                }
                add(&beginning, &regex.anywhere);
            }
        }
        let mut complements = self.complements(tagged, frame);
        patterns.extend(complements.iter_mut().filter_map(|(_, pattern)| pattern.take()));
        let complements: Box<[Complement]> =
            complements.into_iter().map(|(complement, _)| complement).collect();
        let database =
            if patterns.is_empty() { None } else { Some(compile(&patterns, &numbers, &complements)?) };
        Ok(Matcher { database, numbers: numbers.into(), complements, frame, tagged })
    }

    /// The complements, and for each the pattern of what it leaves out, which takes whole values; those come last that
    /// leave nothing out.
    fn complements(&self, tagged: bool, frame: Frame) -> Vec<(Complement, Option<String>)> {
        let complements = self.regexes.iter().filter(|(_, regex, _)| regex.is_complement);
        let mut complements: Vec<(Complement, Option<String>)> = complements
            .map(|&(point, ref regex, number)| {
                let before = beginning(tagged.then_some(point), frame);
                let left_out = &regex.at_start;
                let pattern = (*left_out != Tree::Nothing).then(|| pattern(&before, left_out, frame));
                (Complement { point, number }, pattern)
            })
            .collect();
        complements.sort_by_key(|(_, pattern)| pattern.is_none());
        complements
    }

    fn check_complements(&self) -> Result<(), Failure> {
        let complements = self.regexes.iter().filter(|(_, regex, _)| regex.is_complement);
        let mut of_points: HashMap<u32, usize> = HashMap::new();
        for (point, _, number) in complements {
            let count = of_points.entry(*point).or_default();
            *count += 1;
            if *count > MAX_COMPLEMENTS {
                let problem = format!(
                    "it is one of more than {MAX_COMPLEMENTS} regexes of one point that are asked by what they leave out"
                );
                let expected = "a regex under its `~` that is short enough to be worked out, or one of what may stand there";
                return Err(Failure { number: Some(*number), refusal: Refusal::new(problem, expected) });
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), Failure> {
        let mut size = Size::default();
        for (_, regex, number) in &self.regexes {
            size.add(regex);
            if size.is_too_large() {
                let refusal = Size::refusal("the regexes for this kind of point are too large together");
                return Err(Failure { number: Some(*number), refusal });
            }
        }
        Ok(())
    }

    /// Three bytes that no regex tells apart.
    fn frame(&self) -> Result<Frame, Failure> {
        let mut sets = Vec::new();
        for (_, regex, _) in &self.regexes {
            regex.at_start.sets(&mut sets);
            regex.anywhere.sets(&mut sets);
        }
        sets.sort_unstable();
        sets.dedup();
        let parts = partition(sets.into_iter());
        let frame = parts.iter().filter(|part| part.len() >= 3).find_map(|part: &ByteSet| {
            let mut bytes = part.bytes();
            Some(Frame { beginning: bytes.next()?, end: bytes.next()?, instead: bytes.next()? })
        });
        frame.ok_or_else(|| Failure {
            number: None,
            refusal: Refusal::new(
                "the regexes for this kind of point tell all 256 bytes apart",
                "regexes that leave three bytes alike, for example by wider classes",
            ),
        })
    }
}

/// What a value begins with in a buffer, as a pattern.
fn beginning(point: Option<u32>, frame: Frame) -> String {
    let mut beginning = String::new();
    write_byte(frame.beginning, &mut beginning);
    if let Some(point) = point {
        tag(point, frame).for_each(|byte| write_byte(byte, &mut beginning));
    }
    beginning
}

fn pattern(before: &str, tree: &Tree, frame: Frame) -> String {
    let mut pattern = before.to_owned();
    pattern.push_str("(?:");
    write_tree(tree, Some(frame), &mut pattern);
    pattern.push(')');
    pattern
}

/// Compiles the patterns with these numbers, and behind them those of complements.
fn compile(
    patterns: &[String],
    numbers: &[u32],
    complements: &[Complement],
) -> Result<Arc<Database>, Failure> {
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    Database::compile_for_counts(&patterns, numbers.len()).map_err(|error| {
        let expected = "a smaller or simpler regex".to_owned();
        let problem = format!("Hyperscan can't compile it: {error}");
        let number = match &error {
            HyperscanError::Compile { index: Some(index), .. } => {
                let numbers = numbers.iter().copied();
                numbers.chain(complements.iter().map(|complement| complement.number)).nth(*index)
            }
            _ => None,
        };
        Failure { number, refusal: Refusal { problem, expected } }
    })
}

/// The bytes that stand for a point's number.
fn tag(point: u32, frame: Frame) -> impl Iterator<Item = u8> {
    let digits = (0..=u8::MAX).filter(move |byte| ![frame.beginning, frame.end].contains(byte));
    let digits: [u8; 254] = {
        let mut all = [0; 254];
        all.iter_mut().zip(digits).for_each(|(place, digit)| *place = digit);
        all
    };
    (0..TAG_BYTES).map(move |place| digits[(point / 254_u32.pow(place) % 254) as usize])
}

/// Compiled regexes of one kind of point.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// None if no regex can match anything.
    database: Option<Arc<Database>>,
    /// By pattern.
    numbers: Box<[u32]>,
    /// Their patterns come behind those with numbers.
    complements: Box<[Complement]>,
    frame: Frame,
    tagged: bool,
}

/// A regex that matches the values that its pattern doesn't. The pattern takes the end of a value's frame, so that a scan
/// reports it once for each value that it matches.
#[derive(Debug)]
struct Complement {
    point: u32,
    number: u32,
}

/// Values of one kind of point, put together for one scan.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// The point of each value, where complements are asked.
    points: Vec<u32>,
    /// How many values the pattern of each complement matches.
    matched: Vec<u32>,
}

impl Buffer {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.points.clear();
    }
}

impl Matcher {
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_deref()
    }

    /// Adds a value of one of the points to a buffer. An empty value meets no regex.
    pub(crate) fn add_value(&self, point: u32, value: &[u8], buffer: &mut Buffer) {
        if value.is_empty() {
            return;
        }
        let Frame { beginning, end, instead } = self.frame;
        let Buffer { bytes, points, .. } = buffer;
        bytes.push(beginning);
        if self.tagged {
            bytes.extend(tag(point, self.frame));
        }
        let start = bytes.len();
        bytes.extend_from_slice(value);
        if memchr::memchr2(beginning, end, value).is_some() {
            for byte in &mut bytes[start..] {
                if *byte == beginning || *byte == end {
                    *byte = instead;
                }
            }
        }
        bytes.push(end);
        if !self.complements.is_empty() {
            points.push(point);
        }
    }

    /// Appends the numbers of the regexes that match one of the buffer's values, in order and each once.
    pub(crate) fn matches(&self, scanner: &mut Scanner, buffer: &mut Buffer, numbers: &mut Vec<u32>) {
        let start = numbers.len();
        let Buffer { bytes, points, matched } = buffer;
        matched.clear();
        matched.resize(self.complements.len(), 0);
        scanner.scan(self.database.as_deref(), bytes, |pattern| {
            let pattern = pattern as usize;
            if let Some(number) = self.numbers.get(pattern) {
                numbers.push(*number);
            } else if let Some(matched) = matched.get_mut(pattern - self.numbers.len()) {
                *matched += 1;
            }
        });
        self.add_complements(points, matched, numbers);
        numbers[start..].sort_unstable();
        let mut kept = start;
        for at in start..numbers.len() {
            if at == start || numbers[at] != numbers[kept - 1] {
                numbers[kept] = numbers[at];
                kept += 1;
            }
        }
        numbers.truncate(kept);
    }
}

impl Matcher {
    /// Appends the numbers of the complements that one value at least of their point meets: one that their pattern, which
    /// `matched` so many of them, didn't match.
    fn add_complements(&self, points: &mut [u32], matched: &[u32], numbers: &mut Vec<u32>) {
        points.sort_unstable();
        for (Complement { point, number }, matched) in self.complements.iter().zip(matched) {
            let start = points.partition_point(|other| other < point);
            let values = points[start..].partition_point(|other| other == point);
            if values > *matched as usize {
                numbers.push(*number);
            }
        }
    }
}

/// What scans with the databases of one policy at a time.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    scratch: Option<Scratch>,
    /// Of the policy that it was fitted to.
    policy: u64,
    /// Scans so far.
    #[cfg(test)]
    pub(crate) scans: u32,
}

impl Scanner {
    /// Fits it to the databases of a policy, which has a number of its own; nothing is done where it is fitted to them.
    #[inline]
    pub(crate) fn fit<'a>(&mut self, policy: u64, databases: impl Iterator<Item = &'a Database>) {
        if self.policy != policy {
            self.fit_anew(policy, databases);
        }
    }

    #[cold]
    fn fit_anew<'a>(&mut self, policy: u64, databases: impl Iterator<Item = &'a Database>) {
        self.scratch = Scratch::for_all(databases).unwrap_or_else(|_| out_of_memory());
        self.policy = policy;
    }

    /// Calls `found` with the index of each pattern that matches.
    #[inline]
    pub(crate) fn scan(&mut self, database: Option<&Database>, text: &[u8], mut found: impl FnMut(u32)) {
        let (Some(database), Some(scratch), false) = (database, &mut self.scratch, text.is_empty()) else {
            return;
        };
        #[cfg(test)]
        {
            self.scans += 1;
        }
        let scanned = scratch.scan(database, text, &mut |pattern, _| {
            found(pattern);
            ControlFlow::Continue(())
        });
        if scanned.is_err() {
            out_of_memory();
        }
    }
}

/// All that can fail while requests are matched is an allocation: buffers are far below 4 GiB, and a scratch is no other
/// thread's. It ends the process as any failed allocation does, since going on would mean to skip rules.
fn out_of_memory() -> ! {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<Scratch>())
}
