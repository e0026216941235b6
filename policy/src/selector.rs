//! Points that rules are about: which values of a request a virtual patch, a mask or a detector looks at (spec S3.6, S4.2).
//!
//! A selector covers the point that it names, and all that is parsed or decoded out of it.

use std::fmt;

/// A part of the request, and the way down to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointSelector {
    /// The part.
    pub part: Part,
    /// From the part to the value: names, or any name. Empty: the whole part.
    pub steps: Vec<Step>,
}

/// One step down to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A parameter, a field, a key, an element; an index as a decimal number; `json` and `xml` where a value is read as
    /// that. Header names are in lower case.
    Name(String),
    /// Whatever is there.
    Any,
}

/// Where in a request a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The path; a step is the number of a segment.
    Path,
    /// The query; a step is a parameter.
    Query,
    /// The headers; the first step is a name.
    Header,
    /// The cookies; a step is a name.
    Cookie,
    /// The body; the first step is a field, or `json` or `xml`.
    Body,
    /// The target: path and query. Has no steps.
    Uri,
    /// The last path segment up to its first dot. Has no steps.
    ActionName,
    /// The last path segment from its last dot on. Has no steps.
    ActionExt,
    /// The method. Has no steps.
    Method,
    /// The scheme. Has no steps.
    Scheme,
    /// The protocol version. Has no steps.
    Proto,
    /// The application. Has no steps.
    Instance,
    /// The client's address; what rate limits count by. Has no steps.
    RemoteAddr,
}

impl Part {
    const NAMES: [(&'static str, Self); 13] = [
        ("path", Self::Path),
        ("query", Self::Query),
        ("header", Self::Header),
        ("cookie", Self::Cookie),
        ("body", Self::Body),
        ("uri", Self::Uri),
        ("action_name", Self::ActionName),
        ("action_ext", Self::ActionExt),
        ("method", Self::Method),
        ("scheme", Self::Scheme),
        ("proto", Self::Proto),
        ("instance", Self::Instance),
        ("remote_addr", Self::RemoteAddr),
    ];

    /// The name in rule files and events.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        let name = match name {
            "get" => "query",
            "post" => "body",
            name => name,
        };
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    }

    /// Whether there is anything below the part that a step could name.
    const fn has_steps(self) -> bool {
        matches!(self, Self::Path | Self::Query | Self::Header | Self::Cookie | Self::Body)
    }
}

/// A point as it is written: text, or an array of texts, numbers and arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenPoint {
    /// Text.
    Text(String),
    /// A number that isn't negative.
    Number(u64),
    /// An array.
    Array(Vec<Self>),
}

/// What [`PointSelector`] is read from, in words.
pub const POINT_SELECTOR_FORMS: &str = "a point as in events (\"query.id\", \"body.json.user.name\", \
    \"header.user-agent\", with `*` for any name), an array ([\"query\", \"id\"]) or a chain ([[\"post\"], [\"json_doc\"], \
    [\"hash\", \"user\"]])";

/// Decoders that events name behind a bar. A selector covers a point in every decoding, so they are left out.
const DECODERS: [&str; 20] = [
    "percent",
    "html",
    "htmljs",
    "escapes",
    "base64",
    "gzip",
    "zlib",
    "deflate",
    "utf-16",
    "utf-32",
    "quoted-printable",
    "hex",
    "unicode",
    "jwt",
    "php",
    "graphql",
    "br",
    "nul",
    "padding",
    "utf-7",
];

/// The most steps below a part.
const MAX_STEPS: usize = 32;

impl PointSelector {
    /// Reads any of the forms.
    ///
    /// # Errors
    ///
    /// What is wrong, to follow the point in a message.
    pub fn parse(written: &WrittenPoint) -> Result<Self, String> {
        match written {
            WrittenPoint::Text(text) => Self::parse_text(text),
            WrittenPoint::Number(_) => Err("a number alone is no point".to_owned()),
            WrittenPoint::Array(items) if items.iter().any(|item| matches!(item, WrittenPoint::Array(_))) => {
                parse_chain(items)
            }
            WrittenPoint::Array(items) => parse_array(items),
        }
    }

    /// Reads the form that events carry: `query.id`, `body.json.user.name`, `query.q|base64`; `*` is any name.
    ///
    /// # Errors
    ///
    /// What is wrong, to follow the point in a message.
    pub fn parse_text(text: &str) -> Result<Self, String> {
        let mut components = text.split('.').map(without_decoders);
        let part = part_named(components.next().unwrap_or_default())?;
        Self { part, steps: components.map(step).collect() }.checked()
    }

    fn checked(mut self) -> Result<Self, String> {
        let part = self.part.as_str();
        if !self.steps.is_empty() && !self.part.has_steps() {
            return Err(format!("there is nothing below `{part}`"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(format!("it is {} steps deep; {MAX_STEPS} are the most", self.steps.len()));
        }
        for (index, step) in self.steps.iter_mut().enumerate() {
            let Step::Name(name) = step else { continue };
            match (self.part, index) {
                (Part::Path, 0) if name.parse::<u32>().is_err() => {
                    return Err(format!("`{name}` is no number of a path segment"));
                }
                (Part::Path, 1..) => return Err("there is nothing below a path segment".to_owned()),
                (Part::Header, 0) => name.make_ascii_lowercase(),
                _ => {}
            }
        }
        // the Cookie header's values are points of their own
        if self.part == Part::Header && self.steps.first() == Some(&Step::Name("cookie".to_owned())) {
            self = Self { part: Part::Cookie, steps: self.steps.split_off(1) };
        }
        Ok(self)
    }
}

impl fmt::Display for PointSelector {
    /// As events carry it; `*` is any name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.as_str())?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Name(name) => write!(f, ".{name}"),
            Step::Any => f.write_str(".*"),
        })
    }
}

fn part_named(name: &str) -> Result<Part, String> {
    Part::named(name).ok_or_else(|| {
        let names: Vec<&str> = Part::NAMES.iter().map(|(name, _)| *name).collect();
        format!("`{name}` is no part of a request; parts are {}", names.join(", "))
    })
}

fn step(name: &str) -> Step {
    if name == "*" { Step::Any } else { Step::Name(name.to_owned()) }
}

/// The component up to where decoders start.
fn without_decoders(component: &str) -> &str {
    let mut rest = component;
    while let Some((before, decoder)) = rest.rsplit_once('|')
        && DECODERS.contains(&decoder)
    {
        rest = before;
    }
    rest
}

/// `["body", "json", "user", 0]`: a part and steps.
fn parse_array(items: &[WrittenPoint]) -> Result<PointSelector, String> {
    let Some((WrittenPoint::Text(first), steps)) = items.split_first() else {
        return Err("an array starts with the name of a part".to_owned());
    };
    if let Some(selector) = all_of(first) {
        return if steps.is_empty() { Ok(selector) } else { Err(format!("`{first}` takes no argument")) };
    }
    let part = part_named(first)?;
    let steps = steps.iter().map(|item| match item {
        WrittenPoint::Text(name) => step(name),
        WrittenPoint::Number(number) => Step::Name(number.to_string()),
        WrittenPoint::Array(_) => Step::Any, // not called with arrays inside
    });
    PointSelector { part, steps: steps.collect() }.checked()
}

/// `query_all` and its kin: every value of a part.
fn all_of(word: &str) -> Option<PointSelector> {
    let part = word.strip_suffix("_all").and_then(Part::named).filter(|part| part.has_steps())?;
    Some(PointSelector { part, steps: vec![Step::Any] })
}

/// `[["post"], ["json_doc"], ["hash", "user"]]`: one parser after another.
fn parse_chain(links: &[WrittenPoint]) -> Result<PointSelector, String> {
    let mut links = links.iter();
    let Some(WrittenPoint::Array(first)) = links.next() else {
        return Err("a chain is an array of arrays".to_owned());
    };
    let mut selector = parse_array(first)?;
    for link in links {
        let WrittenPoint::Array(link) = link else {
            return Err("a chain is an array of arrays".to_owned());
        };
        let (name, argument) = match link.as_slice() {
            [WrittenPoint::Text(name)] => (name.as_str(), None),
            [WrittenPoint::Text(name), WrittenPoint::Text(argument)] => {
                (name.as_str(), Some(argument.clone()))
            }
            [WrittenPoint::Text(name), WrittenPoint::Number(argument)] => {
                (name.as_str(), Some(argument.to_string()))
            }
            _ => return Err("a link of a chain is a name, and what it needs".to_owned()),
        };
        if let Some(step) = chain_step(name, argument)? {
            selector.steps.push(step);
        }
    }
    selector.checked()
}

/// What a link of a chain stands for; nothing where it only says how a value is decoded.
fn chain_step(name: &str, argument: Option<String>) -> Result<Option<Step>, String> {
    const WITH_NAME: [&str; 11] = [
        "form_urlencoded",
        "multipart",
        "hash",
        "json_obj",
        "array",
        "json_array",
        "xml_tag",
        "xml_attr",
        "cookie",
        "query",
        "get",
    ];
    if let Some(argument) = argument {
        return if WITH_NAME.contains(&name) {
            Ok(Some(step(&argument)))
        } else {
            Err(format!("`{name}` takes no argument, or isn't known"))
        };
    }
    match name {
        "json_doc" | "json" => Ok(Some(Step::Name("json".to_owned()))),
        "xml" => Ok(Some(Step::Name("xml".to_owned()))),
        // a whole form is the body
        "form_urlencoded" | "multipart" => Ok(None),
        name if DECODERS.contains(&name) => Ok(None),
        name if name.strip_suffix("_all").is_some_and(|name| WITH_NAME.contains(&name)) => {
            Ok(Some(Step::Any))
        }
        name if name.ends_with("_name") => Err(format!(
            "`{name}`: names have no points of their own here; a parameter's name belongs to the parameter's point"
        )),
        name => Err(format!("`{name}` isn't known in a chain, or needs a name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &serde_json::Value) -> WrittenPoint {
        match json {
            serde_json::Value::String(text) => WrittenPoint::Text(text.clone()),
            serde_json::Value::Number(number) => WrittenPoint::Number(number.as_u64().unwrap()),
            serde_json::Value::Array(items) => WrittenPoint::Array(items.iter().map(written).collect()),
            other => panic!("{other}"),
        }
    }

    fn parse(text: &str) -> Result<String, String> {
        PointSelector::parse(&written(&serde_json::from_str(text).unwrap())).map(|point| point.to_string())
    }

    #[test]
    fn all_spellings_of_a_point_are_one() {
        let table = [
            ("query.id", r#"["query","id"]"#, r#"[["get","id"]]"#),
            ("query.*", r#"["query","*"]"#, r#"[["get_all"]]"#),
            ("header.x-id", r#"["header","X-Id"]"#, r#"[["header","X-ID"]]"#),
            ("cookie.sid", r#"["cookie","sid"]"#, r#"[["header","COOKIE"],["cookie","sid"]]"#),
            ("body", r#"["body"]"#, r#"[["post"]]"#),
            ("body.a", r#"["post","a"]"#, r#"[["post"],["form_urlencoded","a"]]"#),
            (
                "body.json.user.name",
                r#"["body","json","user","name"]"#,
                r#"[["post"],["json_doc"],["hash","user"],["hash","name"]]"#,
            ),
            (
                "body.json.items.0.*",
                r#"["body","json","items",0,"*"]"#,
                r#"[["post"],["json_doc"],["hash","items"],["array",0],["hash_all"]]"#,
            ),
            (
                "body.xml.a.b",
                r#"["body","xml","a","b"]"#,
                r#"[["post"],["xml"],["xml_tag","a"],["xml_attr","b"]]"#,
            ),
            ("query.q", r#"["query","q"]"#, r#"[["get","q"],["base64"],["percent"]]"#),
            ("path.0", r#"["path",0]"#, r#"[["path",0]]"#),
            ("path.*", r#"["path","*"]"#, r#"[["path_all"]]"#),
            ("uri", r#"["uri"]"#, r#"[["uri"]]"#),
            ("action_ext", r#"["action_ext"]"#, r#"[["action_ext"]]"#),
            ("remote_addr", r#"["remote_addr"]"#, r#"[["remote_addr"]]"#),
        ];
        for (text, array, chain) in table {
            assert_eq!(parse(&format!("{text:?}")).as_deref(), Ok(text));
            assert_eq!(parse(array).as_deref(), Ok(text), "{array}");
            assert_eq!(parse(chain).as_deref(), Ok(text), "{chain}");
        }
    }

    #[test]
    fn decoders_of_events_are_left_out_and_other_bars_are_names() {
        assert_eq!(parse(r#""query.q|base64|percent""#).as_deref(), Ok("query.q"));
        assert_eq!(parse(r#""query.q|base64.json.name""#).as_deref(), Ok("query.q.json.name"));
        assert_eq!(parse(r#""query.a|b""#).as_deref(), Ok("query.a|b"));
        assert_eq!(parse(r#"["query","a.b"]"#).as_deref(), Ok("query.a.b"));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        let refused = [
            "5",
            r#""""#,
            r#""querry.id""#,
            r#""path.x""#,
            r#""path.0.x""#,
            r#""method.x""#,
            "[]",
            "[0]",
            r#"["query_all","x"]"#,
            r#"["uri_all"]"#,
            r#"[["post"],"json_doc"]"#,
            r#"["post",["json_doc"]]"#,
            r#"[["post"],["nonsense","x"]]"#,
            r#"[["post"],["hash"]]"#,
            r#"[["post"],["hash","a","b"]]"#,
            r#"[["get_name"]]"#,
            r#"[["get","a"],["hash_name"]]"#,
        ];
        for point in refused {
            assert!(parse(point).is_err(), "{point}: {:?}", parse(point));
        }
        assert!(PointSelector::parse_text(&format!("body{}", ".a".repeat(33))).is_err());
    }
}
