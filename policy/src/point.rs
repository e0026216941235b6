//! Points of a request that a rule's conditions look at, and the conditions (spec S3.1, S3.3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A part of the request. In files it is an array: `["method"]`, `["path", 0]`, `["header", "HOST"]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Point {
    /// The application's number as a decimal string.
    Instance,
    /// A header by name in any case; a repeated header meets a condition if one of its values does. `HOST` is the Host
    /// value without regard to case and to a dot at the end of the name; an empty one is absent. A value without a port
    /// stands for any port, so that no client steps out of a rule by adding one; a value with a port for that port alone.
    Header(String),
    /// A path segment, counted from 0; the last one isn't among them (it is `ActionName` and `ActionExt`).
    Path(u32),
    /// The last path segment up to its first dot; always there, maybe empty.
    ActionName,
    /// The last path segment from its last dot on, without the dot; absent if it has none.
    ActionExt,
    /// The method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The protocol version: `1.1`; written `HTTP/1.1` it means the same.
    Proto,
    /// A query parameter by name, after percent-decoding of name and value and with `+` as space; a repeated one meets
    /// a condition if one of its values does.
    Query(String),
    /// The normalised path, and the query as received behind a `?`.
    Uri,
}

impl Point {
    fn word(&self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Header(_) => "header",
            Self::Path(_) => "path",
            Self::ActionName => "action_name",
            Self::ActionExt => "action_ext",
            Self::Method => "method",
            Self::Scheme => "scheme",
            Self::Proto => "proto",
            Self::Query(_) => "query",
            Self::Uri => "uri",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) | Self::Query(name) => write!(f, "[\"{}\", {name:?}]", self.word()),
            Self::Path(index) => write!(f, "[\"path\", {index}]"),
            _ => write!(f, "[\"{}\"]", self.word()),
        }
    }
}

/// One element of the array that a point is in files.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Number(u32),
    Text(String),
}

const POINTS: &str = "[\"method\"], [\"instance\"], [\"scheme\"], [\"proto\"], [\"uri\"], [\"path\", n], \
    [\"action_name\"], [\"action_ext\"], [\"query\", \"key\"], [\"header\", \"NAME\"]";

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut parts = Vec::<Part>::deserialize(deserializer)?.into_iter();
        let point = match (parts.next(), parts.next(), parts.next()) {
            (Some(Part::Text(word)), None, None) => match word.as_str() {
                "instance" => Some(Self::Instance),
                "action_name" => Some(Self::ActionName),
                "action_ext" => Some(Self::ActionExt),
                "method" => Some(Self::Method),
                "scheme" => Some(Self::Scheme),
                "proto" => Some(Self::Proto),
                "uri" => Some(Self::Uri),
                _ => None,
            },
            (Some(Part::Text(word)), Some(Part::Text(name)), None) => match word.as_str() {
                "header" => Some(Self::Header(name)),
                "query" => Some(Self::Query(name)),
                _ => None,
            },
            (Some(Part::Text(word)), Some(Part::Number(index)), None) if word == "path" => {
                Some(Self::Path(index))
            }
            _ => None,
        };
        point.ok_or_else(|| D::Error::custom(format_args!("no such point, expected one of {POINTS}")))
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = vec![Part::Text(self.word().to_owned())];
        match self {
            Self::Header(name) | Self::Query(name) => parts.push(Part::Text(name.clone())),
            Self::Path(index) => parts.push(Part::Number(*index)),
            _ => {}
        }
        parts.serialize(serializer)
    }
}

/// How a condition compares (spec S3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Byte-exact; for the Host header the same as `Iequal` (see [`Point::Header`]).
    Equal,
    /// Without regard to the case of ASCII letters.
    Iequal,
    /// The regex occurs in the value.
    Regex,
    /// There is no such part.
    Absent,
}

impl Test {
    /// The name in rule files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Iequal => "iequal",
            Self::Regex => "regex",
            Self::Absent => "absent",
        }
    }
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The part of the request.
    pub point: Point,
    /// How it is compared.
    pub is: Test,
    /// What it is compared with; unused by `absent`.
    #[serde(default)]
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_both_ways_through_their_arrays() {
        let points = [
            (Point::Instance, r#"["instance"]"#),
            (Point::Header("X-A".into()), r#"["header","X-A"]"#),
            (Point::Path(3), r#"["path",3]"#),
            (Point::ActionName, r#"["action_name"]"#),
            (Point::ActionExt, r#"["action_ext"]"#),
            (Point::Method, r#"["method"]"#),
            (Point::Scheme, r#"["scheme"]"#),
            (Point::Proto, r#"["proto"]"#),
            (Point::Query("k".into()), r#"["query","k"]"#),
            (Point::Uri, r#"["uri"]"#),
        ];
        for (point, text) in points {
            assert_eq!(serde_json::to_string(&point).unwrap(), text);
            assert_eq!(serde_json::from_str::<Point>(text).unwrap(), point);
        }
    }

    #[test]
    fn other_arrays_are_refused() {
        for text in
            [r#"["path"]"#, r#"["path","x"]"#, r#"["path",-1]"#, r#"["body"]"#, "[]", r#"["method",1]"#]
        {
            assert!(serde_json::from_str::<Point>(text).is_err(), "{text}");
        }
    }
}
