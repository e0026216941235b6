//! The URI constructor: one string for the host, path and query of a rule (spec S3.2).

use super::check::{Check, Kind, PointKey};
use crate::path::{self, MAX_SEGMENT};

/// What is wrong with a constructor, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) problem: String,
    pub(crate) expected: &'static str,
}

fn refuse<T>(problem: impl Into<String>, expected: &'static str) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), expected })
}

/// The conditions that a constructor stands for.
///
/// Without a path (`host` or `host?q=1`) the path isn't constrained. The scheme isn't looked at.
pub(crate) fn parse(uri: &str) -> Result<Vec<Check>, Refusal> {
    let (uri, regexes) = take_out_regexes(uri)?;
    let uri = uri.as_str();
    if uri.bytes().any(|byte| (byte <= b' ' && byte != REGEX as u8) || byte == 0x7f) {
        return refuse("it holds a space or a control character", "percent-encoding, as in requests");
    }
    if !uri.is_ascii() {
        // Requests with such bytes are refused, so this would never match.
        return refuse(
            "it holds a character outside ASCII",
            "percent-encoding, as in requests: `%C3%A9` for `é`",
        );
    }
    if uri.contains('#') {
        return refuse("it holds a `#`, but requests carry no fragment", "a URI without fragment");
    }
    let rest = uri.split_once("://").map_or(uri, |(scheme, rest)| {
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_scheme { rest } else { uri }
    });
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (host, path) =
        rest.find('/').map_or((rest, None), |slash| (&rest[..slash], Some(&rest[slash + 1..])));
    let mut checks = Vec::new();
    parse_host(host, &mut checks)?;
    if let Some(path) = path {
        parse_path(path, &mut checks)?;
    }
    for parameter in query.into_iter().flat_map(|query| query.split('&')).filter(|text| !text.is_empty()) {
        parse_parameter(parameter, &mut checks);
    }
    put_back_regexes(checks, regexes)
}

/// Stands for a `{{regex}}` that was taken out.
const REGEX: char = '\u{1}';

/// The URI with each `{{regex}}` taken out, since a regex may hold whatever else means something here.
fn take_out_regexes(uri: &str) -> Result<(String, Vec<&str>), Refusal> {
    let (mut rest, mut without, mut regexes) = (uri, String::new(), Vec::new());
    while let Some((before, from)) = rest.split_once("{{") {
        let unclosed =
            || Refusal { problem: "there is a `{{` without its `}}`".into(), expected: "`{{regex}}`" };
        let mut end = from.find("}}").ok_or_else(unclosed)?;
        // a regex may end in a brace of its own
        while from[end + 2..].starts_with('}') {
            end += 1;
        }
        without.push_str(before);
        without.push(REGEX);
        regexes.push(&from[..end]);
        rest = &from[end + 2..];
    }
    if uri.contains(REGEX) {
        return refuse("it holds a control character", "percent-encoding, as in requests");
    }
    without.push_str(rest);
    Ok((without, regexes))
}

/// Makes the checks of what was taken out checks by regex. They stand in the order in which they were found.
fn put_back_regexes(checks: Vec<Check>, regexes: Vec<&str>) -> Result<Vec<Check>, Refusal> {
    const EXPECTED: &str =
        "a regex for the whole component, as in `/a/{{^x[0-9]$}}`, or a condition under `when`";
    let mut regexes = regexes.into_iter();
    let whole = REGEX.to_string();
    let mut put = Vec::with_capacity(checks.len());
    for mut check in checks {
        if *check.value == *whole.as_bytes() {
            let Some(regex) = regexes.next() else { break };
            check = Check::new(check.point, Kind::Regex, regex.as_bytes());
        } else if check.value.contains(&(REGEX as u8)) {
            return refuse("a `{{regex}}` is a part of a component", EXPECTED);
        }
        put.push(check);
    }
    if regexes.next().is_some() {
        return refuse("a `{{regex}}` stands where no component is", EXPECTED);
    }
    Ok(put)
}

fn parse_host(host: &str, checks: &mut Vec<Check>) -> Result<(), Refusal> {
    if host == "*" {
        checks.push(Check::new(PointKey::Host, Kind::Present, b""));
    } else if host.contains('*') {
        return refuse(
            format!("`{host}` has a `*` inside a host name"),
            "a whole host name, or a path from `/` on",
        );
    } else if !host.is_empty() {
        checks.push(Check::host(host.as_bytes()));
    }
    Ok(())
}

/// The path behind its first slash.
fn parse_path(path: &str, checks: &mut Vec<Check>) -> Result<(), Refusal> {
    let (directories, action) =
        path.rsplit_once('/').map_or((None, path), |(before, last)| (Some(before), last));
    let mut any_depth = false;
    let mut index = 0;
    for component in directories.into_iter().flat_map(|directories| directories.split('/')) {
        if any_depth {
            return refuse(
                "`**` is followed by more than the last component",
                "`**` as the last directory only",
            );
        }
        if component == "**" {
            any_depth = true;
            continue;
        }
        checks.push(component_check(PointKey::Path(index), component)?);
        index += 1;
    }
    if index > MAX_SEGMENT {
        return refuse(format!("it has {index} directories"), "a path of at most 255 directories");
    }
    if action == "**" {
        return if any_depth { refuse("it has more than one `**`", "one `**`") } else { Ok(()) };
    }
    if !any_depth {
        checks.push(Check::new(PointKey::Path(index), Kind::Absent, b""));
    }
    parse_action(action, checks)
}

/// The last component: name and extension.
fn parse_action(action: &str, checks: &mut Vec<Check>) -> Result<(), Refusal> {
    if action == "." || action == ".." {
        return refuse("it ends in a dot segment, which requests are seen without", "the path without it");
    }
    let (name, extension) = match (action.find('.'), action.rfind('.')) {
        (Some(first), Some(last)) => (&action[..first], Some(&action[last + 1..])),
        _ => (action, None),
    };
    checks.push(value_check(PointKey::ActionName, name)?);
    checks.push(match extension {
        Some(extension) => value_check(PointKey::ActionExt, extension)?,
        None => Check::new(PointKey::ActionExt, Kind::Absent, b""),
    });
    Ok(())
}

fn component_check(point: PointKey, component: &str) -> Result<Check, Refusal> {
    match component {
        "" => {
            refuse("it holds `//`, but requests are seen with one slash", "a path without empty components")
        }
        "." | ".." => {
            refuse("it holds a dot segment, which requests are seen without", "the path without it")
        }
        _ => value_check(point, component),
    }
}

/// A literal or `*`.
fn value_check(point: PointKey, text: &str) -> Result<Check, Refusal> {
    if text == "*" {
        return Ok(Check::new(point, Kind::Present, b""));
    }
    if text.contains('*') {
        return refuse(format!("`{text}` has a `*` inside a component"), "`*` as a whole component");
    }
    let mut value = Vec::with_capacity(text.len());
    path::normalise_encodings(text.as_bytes(), &mut value);
    Ok(Check::new(point, Kind::Equal, &value))
}

fn parse_parameter(parameter: &str, checks: &mut Vec<Check>) {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let decode = |text: &str| {
        let mut decoded = Vec::new();
        super::facts::decode_form(text.as_bytes(), &mut decoded);
        decoded
    };
    let point = PointKey::Query(decode(name).into());
    checks.push(match value {
        "*" => Check::new(point, Kind::Present, b""),
        value => Check::new(point, Kind::Equal, &decode(value)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks of a constructor in a form that reads like spec S3.2's table.
    fn checks(uri: &str) -> String {
        let show = |check: Check| {
            let value = String::from_utf8(check.value.into()).unwrap();
            let point = check.point;
            match check.kind {
                Kind::Equal => format!("{point}={value}"),
                Kind::Iequal | Kind::HostWithPort => format!("{point}~{value}"),
                Kind::Absent => format!("!{point}"),
                Kind::Present => format!("{point}*"),
                Kind::Regex => format!("{point}/{value}/"),
            }
        };
        parse(uri).unwrap().into_iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn forms_of_s3_2() {
        let table = [
            ("", ""),
            ("/", "!path 0; action_name=; !action_ext"),
            (
                "https://Host:8080/a/u.php?q=1",
                "header HOST~host:8080; path 0=a; !path 1; action_name=u; action_ext=php; query q=1",
            ),
            ("host/a/u", "header HOST~host; path 0=a; !path 1; action_name=u; !action_ext"),
            ("/a/u", "path 0=a; !path 1; action_name=u; !action_ext"),
            ("/a/u/", "path 0=a; path 1=u; !path 2; action_name=; !action_ext"),
            ("/a/*", "path 0=a; !path 1; action_name*; !action_ext"),
            ("/*/b", "path 0*; !path 1; action_name=b; !action_ext"),
            ("/*.*", "!path 0; action_name*; action_ext*"),
            ("/u.*", "!path 0; action_name=u; action_ext*"),
            ("/**", ""),
            ("/main/**", "path 0=main"),
            ("host/**", "header HOST~host"),
            ("/**/user", "action_name=user; !action_ext"),
            ("/api/**/*.*", "path 0=api; action_name*; action_ext*"),
            ("host", "header HOST~host"),
            ("host?x", "header HOST~host; query x="),
            ("/?a=1&b=*&c=%41+b", "!path 0; action_name=; !action_ext; query a=1; query b*; query c=A b"),
            (
                "host/user/{{[0-9]}}",
                "header HOST~host; path 0=user; !path 1; action_name/[0-9]/; !action_ext",
            ),
            (
                "/{{^[a-z]{2}$}}/{{a|b}}.{{x?}}",
                "path 0/^[a-z]{2}$/; !path 1; action_name/a|b/; action_ext/x?/",
            ),
            ("/{{a{2}}}/**?q={{[&=]}}", "path 0/a{2}/; query q/[&=]/"),
            ("{{[.]example[.]com$}}/**", "header HOST/[.]example[.]com$/"),
            ("/%61%2Fb/c.tar.gz", "path 0=a%2Fb; !path 1; action_name=c; action_ext=gz"),
        ];
        for (uri, expected) in table {
            assert_eq!(checks(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let refused = [
            "*.example.com/a",
            "/a*/b",
            "/a/b*",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/**/a/b",
            "/**/**",
            "/a b",
            "/a#b",
            "/a{{[0-9]}}",
            "/{{[0-9]",
            "/{{a}}{{b}}",
            "/a?{{a}}=b",
        ];
        for uri in refused {
            assert!(parse(uri).is_err(), "{uri}");
        }
    }
}
