//! Rules back in the words of rule files, for whoever shows or stores them.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::kinds::{AttackType, HeaderAction, OverTimeAction, Parser, RuleKind, UploadAction};
use crate::selector::{PointSelector, Step};
use crate::source::RuleSource;

impl Serialize for RuleSource {
    /// As in rule files: `id`, `type`, the keys of the type, and `uri` and `when` if there are any.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("type", self.kind.type_name())?;
        serialize_kind(&self.kind, &mut map)?;
        if let Some(uri) = &self.uri {
            map.serialize_entry("uri", uri)?;
        }
        if !self.when.is_empty() {
            map.serialize_entry("when", &self.when)?;
        }
        map.end()
    }
}

fn serialize_kind<M: SerializeMap>(kind: &RuleKind, map: &mut M) -> Result<(), M::Error> {
    match kind {
        RuleKind::Mode(mode) => map.serialize_entry("mode", mode)?,
        RuleKind::VirtualPatch { attack_type, .. } | RuleKind::DisableAttackType { attack_type, .. } => {
            map.serialize_entry("attack_type", attack_type)?;
        }
        RuleKind::Regex { regex, attack_type, experimental, .. } => {
            map.serialize_entry("regex", regex)?;
            map.serialize_entry("attack_type", attack_type)?;
            map.serialize_entry("experimental", experimental)?;
        }
        RuleKind::IgnoreRegex { rule, .. } => map.serialize_entry("rule", rule)?,
        RuleKind::DisableSignature { signature, .. } => map.serialize_entry("signature", signature)?,
        RuleKind::BinaryData { .. } | RuleKind::Mask { .. } => {}
        RuleKind::ParserState { parser, enabled, .. } => {
            map.serialize_entry("parser", parser)?;
            map.serialize_entry("enabled", enabled)?;
        }
        RuleKind::ResponseHeader { action, name, values } => {
            map.serialize_entry("action", action)?;
            map.serialize_entry("name", name)?;
            if !values.is_empty() {
                map.serialize_entry("values", values)?;
            }
        }
        RuleKind::OverTimeLimit { time_limit, action } => {
            map.serialize_entry("time_limit", &time_as_written(*time_limit))?;
            map.serialize_entry("action", action)?;
        }
        RuleKind::RateLimit { rate, per, burst, delay, status, .. } => {
            map.serialize_entry("rate", rate)?;
            map.serialize_entry("per", &time_as_written(*per))?;
            map.serialize_entry("burst", burst)?;
            map.serialize_entry("delay", delay)?;
            map.serialize_entry("status", status)?;
        }
        RuleKind::UploadSize { limit, action, .. } => {
            map.serialize_entry("limit", &size_as_written(*limit))?;
            map.serialize_entry("action", action)?;
        }
    }
    kind.point().map_or(Ok(()), |point| map.serialize_entry("point", point))
}

impl Serialize for PointSelector {
    /// As an array, so that names may hold dots: `["body", "json", "user"]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(Some(self.steps.len() + 1))?;
        items.serialize_element(self.part.as_str())?;
        for step in &self.steps {
            items.serialize_element(match step {
                Step::Name(name) => name.as_str(),
                Step::Any => "*",
            })?;
        }
        items.end()
    }
}

macro_rules! serialize_as_word {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )+};
}

serialize_as_word!(AttackType, Parser, HeaderAction, OverTimeAction, UploadAction);

/// `"1500ms"`: a whole number in the largest unit that is exact; nothing is finer than a microsecond.
fn time_as_written(time: Duration) -> String {
    const UNITS: [(&str, u128); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    in_largest_unit(time.as_micros(), &UNITS)
}

/// `"64KiB"`.
fn size_as_written(bytes: u64) -> String {
    const UNITS: [(&str, u128); 5] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    in_largest_unit(bytes.into(), &UNITS)
}

fn in_largest_unit(number: u128, units: &[(&str, u128)]) -> String {
    let unit = units.iter().find(|(_, size)| number != 0 && number.is_multiple_of(*size));
    unit.map_or_else(|| number.to_string(), |(name, size)| format!("{}{name}", number / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        let time = |micros| time_as_written(Duration::from_micros(micros));
        assert_eq!(
            [0, 1, 1_500, 1_000_000, 90_000_000, 60_000_000].map(time),
            ["0", "1us", "1500us", "1s", "90s", "1m"]
        );
        assert_eq!([0, 1, 1023, 1024, 3 << 20].map(size_as_written), ["0", "1B", "1023B", "1KiB", "3MiB"]);
    }
}
