//! What a web application firewall made of a request, told from its answer.

use serde::{Deserialize, Serialize};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Verdict {
    /// It reached the application: 2xx, 3xx, 404 or 405.
    Passed,
    /// It was taken for an attack: one of the statuses that mean that.
    Blocked,
    /// It was refused, but not as an attack: any other 4xx or 5xx, such as 400 for a malformed request.
    Unresolved,
    /// The connection was closed or reset in place of an answer.
    Closed,
    /// There was no answer for another reason: a timeout, say, or an answer that makes no sense.
    Error,
}

impl Verdict {
    /// The verdict of an answer.
    #[must_use]
    pub fn of_status(status: u16, block_statuses: &[u16]) -> Self {
        match status {
            _ if block_statuses.contains(&status) => Self::Blocked,
            ..400 | 404 | 405 => Self::Passed,
            _ => Self::Unresolved,
        }
    }

    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Blocked => "blocked",
            Self::Unresolved => "unresolved",
            Self::Closed => "closed",
            Self::Error => "error",
        }
    }

    /// The verdict of a request without an answer, by the kind of its error.
    pub(crate) fn of_error(kind: &str) -> Self {
        if matches!(kind, "closed" | "reset") { Self::Closed } else { Self::Error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_errors_have_verdicts() {
        let verdicts =
            [200, 302, 404, 400, 403, 406, 502].map(|status| Verdict::of_status(status, &[403, 406]));
        use Verdict::{Blocked, Closed, Error, Passed, Unresolved};
        assert_eq!(verdicts, [Passed, Passed, Passed, Unresolved, Blocked, Blocked, Unresolved]);
        assert_eq!(["closed", "reset", "timeout"].map(Verdict::of_error), [Closed, Closed, Error]);
    }
}
