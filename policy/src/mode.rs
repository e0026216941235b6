//! Filtering modes, what a rule may say about them, and how the two combine (spec S1.1, S2.1, S2.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A filtering mode, from mild to strict; the order of the variants is the order of strictness (spec S1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Mode {
    /// Nothing is inspected, recorded or blocked; address lists aren't read.
    Off = 0,
    /// Attacks are recorded, not blocked.
    Monitoring = 1,
    /// Attacks are recorded; those of graylisted sources are blocked.
    SafeBlocking = 2,
    /// Attacks are blocked.
    Block = 3,
}

impl Mode {
    /// All modes, from mild to strict.
    pub const ALL: [Self; 4] = [Self::Off, Self::Monitoring, Self::SafeBlocking, Self::Block];

    /// The name in config files, rules, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitoring => "monitoring",
            Self::SafeBlocking => "safe_blocking",
            Self::Block => "block",
        }
    }

    /// The mode in the two low bits of a table's byte.
    pub(crate) const fn from_low_bits(byte: u8) -> Self {
        match byte & 3 {
            0 => Self::Off,
            1 => Self::Monitoring,
            2 => Self::SafeBlocking,
            _ => Self::Block,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMode {
    /// What was found.
    pub found: String,
    /// The words that are allowed there.
    pub expected: &'static str,
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no mode, expected one of {}", self.found, self.expected)
    }
}

impl std::error::Error for UnknownMode {}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| UnknownMode {
            found: text.to_owned(),
            expected: "off, monitoring, safe_blocking, block",
        })
    }
}

/// What a mode rule or the general mode says (spec S1.1, S2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RuleMode {
    /// No opinion: the local mode counts, and milder or broader rules are shadowed all the same.
    #[default]
    Default,
    /// This mode, as far as the local override policy lets it through.
    Set(Mode),
}

impl RuleMode {
    /// The name in rules: that of the mode, or `default`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Set(mode) => mode.as_str(),
        }
    }

    /// The column in the table of effective modes.
    pub(crate) const fn column(self) -> u8 {
        match self {
            Self::Set(mode) => mode as u8,
            Self::Default => 4,
        }
    }
}

impl fmt::Display for RuleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RuleMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        if text == "default" {
            return Ok(Self::Default);
        }
        text.parse().map(Self::Set).map_err(|error: UnknownMode| UnknownMode {
            expected: "off, monitoring, safe_blocking, block, default",
            ..error
        })
    }
}

impl TryFrom<String> for RuleMode {
    type Error = UnknownMode;

    fn try_from(text: String) -> Result<Self, UnknownMode> {
        text.parse()
    }
}

impl From<RuleMode> for String {
    fn from(mode: RuleMode) -> Self {
        mode.as_str().to_owned()
    }
}

/// How far rules may change the local mode: `mode_allow_override` (spec S2.1, S2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Rules are ignored.
    Off,
    /// Rules count where they are stricter than the local mode.
    Strict,
    /// Rules count.
    #[default]
    On,
}

impl Override {
    /// The name in config files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::On => "on",
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The effective mode, and whether it came from the rules (`true`) or is the local one (`false`); spec S2.3.
pub(crate) const fn effective(local: Mode, policy: Override, rule: RuleMode) -> (Mode, bool) {
    match (policy, rule) {
        (Override::Off, _) | (_, RuleMode::Default) => (local, false),
        (Override::On, RuleMode::Set(mode)) => (mode, true),
        (Override::Strict, RuleMode::Set(mode)) => {
            if mode as u8 > local as u8 {
                (mode, true)
            } else {
                (local, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Block, Monitoring, Off, SafeBlocking};

    #[test]
    fn strict_is_the_table_of_s2_3_cell_by_cell() {
        let columns = [
            RuleMode::Default,
            RuleMode::Set(Off),
            RuleMode::Set(Monitoring),
            RuleMode::Set(SafeBlocking),
            RuleMode::Set(Block),
        ];
        let rows = [
            (Off, [Off, Off, Monitoring, SafeBlocking, Block]),
            (Monitoring, [Monitoring, Monitoring, Monitoring, SafeBlocking, Block]),
            (SafeBlocking, [SafeBlocking, SafeBlocking, SafeBlocking, SafeBlocking, Block]),
            (Block, [Block; 5]),
        ];
        for (local, expected) in rows {
            for (column, expected) in columns.into_iter().zip(expected) {
                assert_eq!(effective(local, Override::Strict, column).0, expected, "{local} {column}");
            }
        }
    }

    #[test]
    fn on_takes_the_rule_and_off_the_local_mode() {
        for local in Mode::ALL {
            assert_eq!(effective(local, Override::On, RuleMode::Default), (local, false));
            for cloud in Mode::ALL {
                assert_eq!(effective(local, Override::On, RuleMode::Set(cloud)), (cloud, true));
                assert_eq!(effective(local, Override::Off, RuleMode::Set(cloud)), (local, false));
            }
        }
    }

    #[test]
    fn names_go_both_ways_and_unknown_ones_are_refused() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse::<Mode>(), Ok(mode));
            assert_eq!(mode.as_str().parse::<RuleMode>(), Ok(RuleMode::Set(mode)));
            assert_eq!(Mode::from_low_bits(mode as u8 | 4), mode);
        }
        assert_eq!("default".parse::<RuleMode>(), Ok(RuleMode::Default));
        assert!("default".parse::<Mode>().is_err());
        let error = "Block".parse::<RuleMode>().unwrap_err();
        assert!(error.to_string().contains("default"), "{error}");
    }

    #[test]
    fn modes_are_ordered_by_strictness_and_default_is_the_mildest() {
        assert!(Off < Monitoring && Monitoring < SafeBlocking && SafeBlocking < Block);
        assert!(RuleMode::Default < RuleMode::Set(Off));
    }
}
