//! Figures that are drawn anew for each answer: sizes, delays, statuses and faults.

use crate::scenario::template::Random;

/// The most parts of a mix.
const MOST_PARTS: usize = 64;
/// An exponential draw ends at this many times its mean; one in ten thousand would be longer.
const EXPONENTIAL_LIMIT: f64 = 9.21;

/// A whole number, or how to draw one.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// At least one.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// The share of draws that this part or one before it makes, from 0 to 1; the last part's is 1.
    up_to: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed(u64),
    /// Evenly from the first to the second, both included.
    Between(u64, u64),
    /// With this mean; what many independent causes of waiting look like.
    Exponential(u64),
}

impl Draw {
    /// Always the same.
    #[must_use]
    pub fn fixed(value: u64) -> Self {
        Self { parts: vec![Part { up_to: 1.0, kind: Kind::Fixed(value) }] }
    }

    /// Reads `10`, `5-20` (evenly), `exp:10` (exponential with this mean), or a mix of these with weights, as in
    /// `1=95,exp:50=4,500-900=1`; `value` reads each number with its unit.
    ///
    /// # Errors
    ///
    /// A sentence that says what was found and what is allowed.
    pub fn parse(text: &str, value: impl Fn(&str) -> Result<u64, String>) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self { parts: vec![Part { up_to: 1.0, kind: Kind::parse(text, &value)? }] });
        }
        let weighted = parse_shares(text)?;
        let sum: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        if sum <= 0.0 {
            return Err(format!("`{text}`: some weight must be over 0"));
        }
        let mut before = 0.0;
        let mut parts = Vec::new();
        for (part, weight) in weighted {
            before += weight;
            parts.push(Part { up_to: before / sum, kind: Kind::parse(part, &value)? });
        }
        Ok(Self { parts })
    }

    /// The value, if it is always the same.
    pub(super) fn always(&self) -> Option<u64> {
        match self.parts.as_slice() {
            [Part { kind: Kind::Fixed(value), .. }] => Some(*value),
            _ => None,
        }
    }

    /// Whether all values that can be drawn satisfy `check`, which holds for all numbers between two for which it
    /// holds.
    pub(super) fn all(&self, check: impl Fn(u64) -> bool) -> bool {
        self.parts.iter().all(|part| match part.kind {
            Kind::Fixed(value) => check(value),
            Kind::Between(low, high) => check(low) && check(high),
            Kind::Exponential(mean) => check(0) && check((mean as f64 * EXPONENTIAL_LIMIT) as u64),
        })
    }

    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        if let Some(value) = self.always() {
            return value;
        }
        let at = share(random);
        let part = self.parts.iter().find(|part| at < part.up_to).or(self.parts.last());
        match part.map_or(Kind::Fixed(0), |part| part.kind) {
            Kind::Fixed(value) => value,
            Kind::Between(low, high) => low + random.below((high - low).saturating_add(1)),
            Kind::Exponential(mean) => {
                let times = -(1.0 - share(random)).ln();
                (mean as f64 * times.min(EXPONENTIAL_LIMIT)) as u64
            }
        }
    }
}

impl Kind {
    fn parse(text: &str, value: &impl Fn(&str) -> Result<u64, String>) -> Result<Self, String> {
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Self::Exponential(value(mean)?));
        }
        let Some((low, high)) = text.split_once('-') else { return Ok(Self::Fixed(value(text)?)) };
        let (low, high) = (value(low)?, value(high)?);
        if low > high {
            return Err(format!("`{text}`: the first number must not be over the second"));
        }
        Ok(Self::Between(low, high))
    }
}

/// A number from 0 to just below 1.
pub(super) fn share(random: &mut Random) -> f64 {
    (random.next() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Reads `NAME=NUMBER,NAME=NUMBER`, the numbers being 0 or more.
pub(super) fn parse_shares(text: &str) -> Result<Vec<(&str, f64)>, String> {
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > MOST_PARTS {
        return Err(format!("`{text}` has {} parts; {MOST_PARTS} are allowed", parts.len()));
    }
    parts
        .into_iter()
        .map(|part| {
            let wrong = || format!("`{part}`: expected VALUE=NUMBER, as in `1ms=95,exp:50ms=5`");
            let (name, number) = part.rsplit_once('=').ok_or_else(wrong)?;
            let number: f64 = number.parse().map_err(|_| wrong())?;
            if number.is_finite() && number >= 0.0 { Ok((name, number)) } else { Err(wrong()) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<u64, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }

    fn draws(text: &str) -> Vec<u64> {
        let draw = Draw::parse(text, whole).unwrap();
        let mut random = Random::new(7, 0);
        (0..10_000).map(|_| draw.draw(&mut random)).collect()
    }

    #[test]
    fn draws_stay_in_range_and_near_their_mean() {
        let mean = |values: &[u64]| values.iter().sum::<u64>() as f64 / values.len() as f64;
        assert_eq!(draws("5"), vec![5; 10_000]);
        let even = draws("10-20");
        assert!(
            even.contains(&10) && even.contains(&20) && even.iter().all(|value| (10..=20).contains(value))
        );
        assert!((mean(&even) - 15.0).abs() < 0.2);
        let exponential = draws("exp:1000");
        assert!((mean(&exponential) - 1000.0).abs() < 40.0, "{}", mean(&exponential));
        assert!(exponential.iter().all(|value| *value <= 9210));
        let mix = draws("1=95,1000-2000=5");
        let rare = mix.iter().filter(|value| **value != 1).count();
        assert!((400..600).contains(&rare), "{rare}");
        assert!(mix.iter().all(|value| *value == 1 || (1000..=2000).contains(value)));
    }

    #[test]
    fn the_ends_of_a_range_are_all_that_is_checked() {
        let draw = Draw::parse("200=99,500-503=1", whole).unwrap();
        assert!(draw.all(|status| (200..600).contains(&status)));
        assert!(!draw.all(|status| status < 503));
        assert!(!Draw::parse("exp:100", whole).unwrap().all(|value| value < 900));
        assert_eq!((draw.always(), Draw::fixed(3).always()), (None, Some(3)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["", "x", "5-", "20-10", "exp:", "1=", "1=x", "1=-1", "1=0", "1=NaN", "1=95,2", "1=1,x=1"]
        {
            assert!(Draw::parse(bad, whole).is_err(), "{bad}");
        }
        assert!(Draw::parse(&vec!["1=1"; 65].join(","), whole).unwrap_err().contains("64 are allowed"));
    }
}
