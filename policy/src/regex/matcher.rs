//! Many regexes, one scan: the values of one kind of point in a buffer, each in a frame.

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

impl MatcherBuilder {
    /// Adds a regex for one of the points of the kind, counted from 0.
    pub(crate) fn add(&mut self, point: u32, regex: Regex, number: u32) {
        self.regexes.push((point, regex, number));
    }

    /// Compiles. `tagged`: there may be values of more than one point in a buffer.
    pub(crate) fn build(self, tagged: bool) -> Result<Matcher, Failure> {
        self.check_size()?;
        let frame = self.frame()?;
        let mut numbers = Vec::new();
        let mut patterns = Vec::new();
        for (point, regex, number) in &self.regexes {
            let mut beginning = String::new();
            write_byte(frame.beginning, &mut beginning);
            if tagged {
                tag(*point, frame).for_each(|byte| write_byte(byte, &mut beginning));
            }
            let mut add = |before: &str, tree: &Tree| {
                let mut pattern = before.to_owned();
                pattern.push_str("(?:");
                write_tree(tree, Some(frame), &mut pattern);
                pattern.push(')');
                patterns.push(pattern);
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
        let database = if patterns.is_empty() { None } else { Some(compile(&patterns, &numbers)?) };
        let complements = self.regexes.iter().filter(|(_, regex, _)| regex.is_complement);
        let mut complements: Vec<(u32, u32)> =
            complements.map(|(point, _, number)| (*number, *point)).collect();
        complements.sort_unstable();
        Ok(Matcher { database, numbers: numbers.into(), complements: complements.into(), frame, tagged })
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

fn compile(patterns: &[String], numbers: &[u32]) -> Result<Arc<Database>, Failure> {
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    Database::compile_for_one_report(&patterns, &[]).map_err(|error| {
        let expected = "a smaller or simpler regex".to_owned();
        let problem = format!("Hyperscan can't compile it: {error}");
        let number = match &error {
            HyperscanError::Compile { index: Some(index), .. } => numbers.get(*index).copied(),
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
    /// Numbers, in order, of regexes that match where their patterns don't; and their points.
    complements: Box<[(u32, u32)]>,
    frame: Frame,
    tagged: bool,
}

/// Values of one kind of point, put together for one scan.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// The point of each value, and where it is with its frame.
    values: Vec<(u32, u32, u32)>,
    /// What is found in one of several values of a point.
    found: Vec<u32>,
}

impl Buffer {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
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
        let Buffer { bytes, values, .. } = buffer;
        let frame_start = bytes.len() as u32;
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
        values.push((point, frame_start, bytes.len() as u32));
    }

    /// Appends the numbers of the regexes that match one of the buffer's values, in order and each once.
    pub(crate) fn matches(&self, scanner: &mut Scanner, buffer: &mut Buffer, numbers: &mut Vec<u32>) {
        let start = numbers.len();
        self.scan(scanner, &buffer.bytes, numbers);
        if !self.complements.is_empty() {
            self.turn_complements(scanner, buffer, numbers, start);
        }
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
    /// Appends the numbers of all patterns that match.
    fn scan(&self, scanner: &mut Scanner, bytes: &[u8], numbers: &mut Vec<u32>) {
        scanner.scan(self.database.as_deref(), bytes, |pattern| {
            numbers.extend(self.numbers.get(pattern as usize));
        });
    }

    /// Takes the numbers of complements from where their patterns match to where they don't.
    fn turn_complements(
        &self,
        scanner: &mut Scanner,
        buffer: &mut Buffer,
        numbers: &mut Vec<u32>,
        start: usize,
    ) {
        let Buffer { bytes, values, found } = buffer;
        for &(number, point) in &self.complements {
            let mut of_point = values.iter().filter(|(of, ..)| *of == point);
            let matches_somewhere = numbers[start..].contains(&number);
            let (first, second) = (of_point.next(), of_point.next());
            let holds = match (first, second) {
                (None, _) => false,
                _ if !matches_somewhere => true,
                (Some(_), None) => false,
                // a point that is there more than once: one of its values is enough
                _ => values.iter().filter(|(of, ..)| *of == point).any(|&(_, from, to)| {
                    found.clear();
                    self.scan(scanner, &bytes[from as usize..to as usize], found);
                    !found.contains(&number)
                }),
            };
            // numbers that are there twice are made one later on
            if holds {
                numbers.push(number);
            } else if matches_somewhere {
                let mut at = start;
                while at < numbers.len() {
                    if numbers[at] == number {
                        numbers.swap_remove(at);
                    } else {
                        at += 1;
                    }
                }
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
