//! The check before the timing: a target that answers differently does different work.

use std::fmt;

use super::{CompareError, Contender, Options, report::ParityFound};
use crate::run::asking::{self, Answered};

/// What must be the same about the answers of all targets. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// The status, and whether the connection stays open.
    Status,
    /// The length of the body.
    Length,
    /// Every byte of the body.
    Bytes,
}

impl fmt::Display for Parity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Status => "status",
            Self::Length => "length",
            Self::Bytes => "bytes",
        })
    }
}

/// Asks all targets the same, and compares each answer with what the scenario expects and with the first target's.
pub(super) fn check(options: &Options, contenders: &[Contender]) -> Result<ParityFound, CompareError> {
    let mut first: Option<(&str, Vec<Answered>)> = None;
    for contender in contenders {
        let name = &contender.options.name;
        let answers = asking::ask(&contender.target, options.request.timeout, options.parity_requests)
            .map_err(|why| CompareError::Parity(format!("{name} fails the parity check: {why}")))?;
        for (number, (status, _, _)) in answers.iter().enumerate() {
            if let Some(surprise) = contender.target.surprise(number, *status) {
                let number = number + 1;
                return Err(CompareError::Parity(format!(
                    "{name} fails the parity check: its answer {number} has {surprise}"
                )));
            }
        }
        let Some((first_name, expected)) = &first else {
            first = Some((name, answers));
            continue;
        };
        for (number, (expected, answer)) in (1..).zip(expected.iter().zip(&answers)) {
            if let Some(difference) = difference(options.parity, expected, answer) {
                return Err(CompareError::Parity(format!(
                    "{name} fails the parity check: its answer {number} has {difference}, which is {first_name}'s \
                     (--parity says what must be the same: status, length or bytes)"
                )));
            }
        }
    }
    let answers = first.map(|(_, answers)| answers).unwrap_or_default();
    let mut statuses: Vec<u16> = answers.iter().map(|(status, _, _)| *status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    Ok(ParityFound {
        level: options.parity.to_string(),
        requests: answers.len(),
        statuses,
        body_bytes: answers.iter().map(|(_, body, _)| body.len() as u64).sum(),
        keeps_open: answers.iter().all(|(_, _, keeps_open)| *keeps_open),
    })
}

/// What the second answer has in place of what the first has.
fn difference(parity: Parity, expected: &Answered, answer: &Answered) -> Option<String> {
    let ((status, body, keeps_open), (other_status, other_body, other_keeps_open)) = (expected, answer);
    if status != other_status {
        return Some(format!("status {other_status} in place of {status}"));
    }
    if keeps_open != other_keeps_open {
        let verb = |open: bool| if open { "kept open" } else { "closed" };
        let (found, wanted) = (verb(*other_keeps_open), verb(*keeps_open));
        return Some(format!("its connection {found} behind it, in place of {wanted}"));
    }
    if parity != Parity::Status && body.len() != other_body.len() {
        return Some(format!("a body of {} bytes in place of {}", other_body.len(), body.len()));
    }
    if parity == Parity::Bytes
        && let Some(at) = body.iter().zip(other_body).position(|(one, other)| one != other)
    {
        return Some(format!("another byte at {at} of its body in place"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_sees_its_differences() {
        let answer = |status, body: &str, open| (status, body.as_bytes().to_vec(), open);
        let expected = answer(200, "abc", true);
        let cases = [
            (answer(200, "abc", true), [false, false, false]),
            (answer(200, "abd", true), [false, false, true]),
            (answer(200, "ab", true), [false, true, true]),
            (answer(403, "abc", true), [true, true, true]),
            (answer(200, "abc", false), [true, true, true]),
        ];
        for (other, differs) in cases {
            for (parity, differs) in [Parity::Status, Parity::Length, Parity::Bytes].into_iter().zip(differs)
            {
                assert_eq!(difference(parity, &expected, &other).is_some(), differs, "{parity} {other:?}");
            }
        }
    }
}
