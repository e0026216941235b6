//! The interpreter: reads the source anew for each request and does what spec S1 to S3 say, word by word.

use super::*;

pub(super) struct Answer<'a> {
    pub(super) server: usize,
    pub(super) location: Option<usize>,
    pub(super) application: i64,
    pub(super) mode: Mode,
    pub(super) source: ModeSource,
    pub(super) list: Option<List>,
    /// Every mode rule that matches, the winner first.
    pub(super) rules: Vec<u64>,
    /// The rules of other types that hold, by type.
    pub(super) effects: Vec<(RuleType, Vec<u64>)>,
    /// Rules run.
    runs: bool,
    /// Every rule of another type that matches.
    matching: Vec<Other<'a>>,
    /// Those that hold.
    holding: Vec<Other<'a>>,
}

/// The regex that `#2` stands for.
fn regex_of<'a>(regexes: &'a [Naive], text: &str) -> &'a Naive {
    &regexes[text.strip_prefix('#').unwrap().parse::<usize>().unwrap()]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Name and port of a Host value or of what one is compared with.
fn name_and_port(host: &str) -> (String, Option<String>) {
    let (name, port) =
        host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port.to_owned())));
    (name.trim_end_matches('.').to_lowercase(), port)
}

fn server(source: &PolicySource, host: &str) -> usize {
    let (host, _) = name_and_port(host);
    let mut best: Option<(usize, usize)> = None;
    for (index, server) in source.servers.iter().enumerate() {
        for pattern in &server.hosts {
            let length = match pattern.strip_prefix('*') {
                Some(suffix) if host.ends_with(suffix) && host.len() >= suffix.len() => suffix.len(),
                None if *pattern == host => usize::MAX,
                _ => continue,
            };
            if best.is_none_or(|(longest, _)| length > longest) {
                best = Some((length, index));
            }
        }
    }
    let default = source.servers.iter().position(|server| server.default).unwrap_or(0);
    best.map_or(default, |(_, index)| index)
}

/// Percent-encoded unreserved characters decoded, the digits of other encodings in upper case.
fn encodings(text: &str) -> String {
    let mut decoded = text.to_owned();
    for character in ('0'..='9').chain('A'..='Z').chain('a'..='z').chain("-._~".chars()) {
        let code = character as u32;
        decoded = decoded.replace(&format!("%{code:02x}"), &format!("\0{character}"));
        decoded = decoded.replace(&format!("%{code:02X}"), &format!("\0{character}"));
    }
    // What the requests of the model hold beside unreserved characters.
    for (code, upper) in [("%2f", "%2F"), ("%3a", "%3A")] {
        decoded = decoded.replace(code, upper);
    }
    decoded.replace('\0', "")
}

/// Encodings first, then slashes, then dot segments.
pub(super) fn normalise(path: &str) -> String {
    let decoded = encodings(path);
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = decoded.split('/').skip(1).collect();
    for segment in &segments {
        match *segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let directory = matches!(segments.last(), None | Some(&("" | "." | "..")));
    let joined = format!("/{}", kept.join("/"));
    if directory && joined != "/" { joined + "/" } else { joined }
}

fn location(server: &ServerSource, path: &str, regexes: &[Naive]) -> Option<usize> {
    let all = || server.locations.iter().enumerate();
    if let Some((index, _)) = all().find(|(_, at)| at.kind == MatchKind::Exact && encodings(&at.path) == path)
    {
        return Some(index);
    }
    let prefixes = all().filter(|(_, at)| {
        matches!(at.kind, MatchKind::Prefix | MatchKind::PrefixFinal)
            && path.starts_with(&encodings(&at.path))
    });
    let longest = prefixes.max_by_key(|(_, at)| encodings(&at.path).len());
    if let Some((index, at)) = longest
        && at.kind == MatchKind::PrefixFinal
    {
        return Some(index);
    }
    let first = all().find(|(_, at)| match at.kind {
        MatchKind::Regex => regex_of(regexes, &at.path).occurs_in(path.as_bytes()),
        MatchKind::RegexNocase => regex_of(regexes, &at.path).in_any_case().occurs_in(path.as_bytes()),
        _ => false,
    });
    first.or(longest).map(|(index, _)| index)
}

/// A condition with the constructor's `*` among the tests.
#[derive(Debug, Clone, PartialEq)]
enum Is {
    Equal(String),
    Iequal(String),
    /// Name, and a port if only that one is meant.
    Host(String, Option<String>),
    Absent,
    Regex(String),
    Wildcard,
}

type Conditions = Vec<(Point, Is)>;

fn constructor(uri: &str) -> Conditions {
    let mut conditions = Vec::new();
    let (rest, query) = uri.split_once('?').map_or((uri, ""), |(rest, query)| (rest, query));
    let rest = rest.strip_prefix("https://").or(rest.strip_prefix("http://")).unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is = |text: &str| match text.strip_prefix("{{") {
        Some(regex) => Is::Regex(regex.trim_end_matches('}').to_owned()),
        None if text == "*" => Is::Wildcard,
        None => Is::Equal(encodings(text)),
    };
    if !host.is_empty() {
        let (name, port) = name_and_port(host);
        conditions.push((Point::Header("HOST".into()), Is::Host(name, port)));
    }
    if !path.is_empty() {
        let mut components: Vec<&str> = path[1..].split('/').collect();
        let last = components.pop().unwrap();
        let stars = components.iter().position(|component| *component == "**");
        for (index, component) in components.iter().take(stars.unwrap_or(usize::MAX)).enumerate() {
            conditions.push((Point::Path(index as u32), is(component)));
        }
        if last != "**" {
            if stars.is_none() {
                conditions.push((Point::Path(components.len() as u32), Is::Absent));
            }
            let (name, extension) = action(last);
            conditions.push((Point::ActionName, is(&name)));
            conditions.push((Point::ActionExt, extension.map_or(Is::Absent, |extension| is(&extension))));
        }
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        conditions.push((Point::Query(name.replace("%61", "a")), is(value)));
    }
    conditions
}

fn action(last: &str) -> (String, Option<String>) {
    let parts: Vec<&str> = last.split('.').collect();
    let extension = (parts.len() > 1).then(|| parts[parts.len() - 1].to_owned());
    (parts[0].to_owned(), extension)
}

fn conditions(rule: &RuleSource) -> Conditions {
    let mut conditions = constructor(rule.uri.as_deref().unwrap_or(""));
    for Condition { point, is, value } in &rule.when {
        let is_host = matches!(point, Point::Header(name) if name.eq_ignore_ascii_case("host"));
        let is = match is {
            Test::Equal | Test::Iequal if is_host => {
                let (name, port) = name_and_port(value);
                Is::Host(name, port)
            }
            Test::Equal => Is::Equal(value.clone()),
            Test::Iequal => Is::Iequal(value.clone()),
            Test::Absent => Is::Absent,
            Test::Regex => Is::Regex(value.clone()),
        };
        conditions.push((point.clone(), is));
    }
    conditions
}

fn values(point: &Point, facts: &RequestFacts<'_>, path: &str, application: i64) -> Vec<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (last, directories) = segments.split_last().unwrap();
    let query = facts.query.map(text);
    let one = |value: String| vec![value];
    match point {
        Point::Instance => one(application.to_string()),
        Point::Header(name) if name.eq_ignore_ascii_case("host") => {
            Some(text(facts.host)).filter(|host| !host.is_empty()).into_iter().collect()
        }
        Point::Header(name) => facts
            .headers
            .iter()
            .filter(|(key, _)| text(key).to_lowercase() == name.to_lowercase())
            .map(|(_, value)| text(value))
            .collect(),
        Point::Path(index) => directories.get(*index as usize).map(ToString::to_string).into_iter().collect(),
        Point::ActionName => one(action(last).0),
        Point::ActionExt => action(last).1.into_iter().collect(),
        Point::Method => one(text(facts.method)),
        Point::Scheme => one(text(facts.scheme)),
        Point::Proto => one(text(facts.proto).replace("HTTP/", "")),
        Point::Query(name) => query
            .unwrap_or_default()
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .filter(|(key, _)| key.replace("%61", "a") == *name)
            .map(|(_, value)| value.replace("%61", "a").replace('+', " "))
            .collect(),
        Point::Uri => one(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))),
    }
}

fn holds(point: &Point, is: &Is, values: &[String], regexes: &[Naive]) -> bool {
    match is {
        Is::Regex(text) => {
            let regex = regex_of(regexes, text);
            let is_host = matches!(point, Point::Header(name) if name.eq_ignore_ascii_case("host"));
            values.iter().any(|value| {
                if !is_host {
                    return regex.occurs_in(value.as_bytes());
                }
                let (name, port) = name_and_port(value);
                let with_port = port.map(|port| format!("{name}:{port}")).unwrap_or_default();
                let regex = regex.in_any_case();
                regex.occurs_in(name.as_bytes()) || regex.occurs_in(with_port.as_bytes())
            })
        }
        Is::Absent => values.is_empty(),
        Is::Equal(wanted) => values.contains(wanted),
        Is::Iequal(wanted) => values.iter().any(|value| value.to_lowercase() == wanted.to_lowercase()),
        Is::Host(name, port) => values.iter().any(|value| {
            let (found, found_port) = name_and_port(value);
            found == *name && (port.is_none() || found_port == *port)
        }),
        Is::Wildcard => values.iter().any(|value| !value.is_empty()),
    }
}

/// The point's place in the order of comparison.
fn place(point: &Point) -> (u32, u32, String) {
    let plain = |place| (place, 0, String::new());
    match point {
        Point::Instance => plain(0),
        Point::Header(name) if name.eq_ignore_ascii_case("host") => plain(1),
        Point::Path(index) => (2, *index, String::new()),
        Point::ActionName => plain(3),
        Point::ActionExt => plain(4),
        Point::Method => plain(5),
        Point::Scheme => plain(6),
        Point::Proto => plain(7),
        Point::Query(name) => (8, 0, name.clone()),
        Point::Header(name) => (9, 0, name.to_lowercase()),
        Point::Uri => plain(10),
    }
}

/// How the conditions constrain a place: the ranks of its different conditions, best first.
fn ranks(conditions: &Conditions, at: &(u32, u32, String)) -> Vec<u32> {
    let mut different: Vec<Is> = Vec::new();
    for (point, is) in conditions {
        let is = if let Is::Iequal(value) = is { Is::Iequal(value.to_lowercase()) } else { is.clone() };
        if place(point) == *at && !different.contains(&is) {
            different.push(is);
        }
    }
    let mut ranks: Vec<u32> = different
        .iter()
        .map(|is| match is {
            Is::Equal(_) | Is::Absent => 0,
            Is::Iequal(_) | Is::Host(..) => 1,
            Is::Regex(_) => 2,
            Is::Wildcard => 3,
        })
        .collect();
    ranks.sort_unstable();
    ranks
}

/// `Less` is the more specific one.
fn compare(a: &Conditions, b: &Conditions) -> Ordering {
    let mut places: Vec<_> = a.iter().chain(b).map(|(point, _)| place(point)).collect();
    places.sort();
    for at in places {
        // an end of the ranks is an unconstrained point: worse than any rank
        let with_end = |conditions| ranks(conditions, &at).into_iter().chain([9]);
        let order = with_end(a).cmp(with_end(b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn strictness(mode: RuleMode) -> i32 {
    match mode {
        RuleMode::Default => -1,
        RuleMode::Set(mode) => mode as i32,
    }
}

fn local_mode(contexts: &[&ContextSource], headers: &[(&[u8], &[u8])]) -> Mode {
    for context in contexts {
        if let Some(map) = &context.mode_by_header {
            let mut modes = Vec::new();
            for (name, value) in headers {
                for (needle, mode) in &map.contains {
                    if text(name).to_lowercase() == map.header.to_lowercase() && text(value).contains(needle)
                    {
                        modes.push(*mode);
                    }
                }
            }
            if let Some(strictest) = modes.into_iter().max() {
                return strictest;
            }
        }
        if let Some(mode) = context.mode {
            return mode;
        }
    }
    Mode::Monitoring
}

fn list(
    source: &PolicySource,
    (client, is): (IpAddr, &[(Attribute, &str)]),
    application: i64,
    mode: Mode,
    now: u64,
) -> Option<List> {
    let read: &[List] = match mode {
        Mode::Off => &[],
        Mode::SafeBlocking => &[List::Allow, List::Deny, List::Gray],
        Mode::Monitoring | Mode::Block => &[List::Allow, List::Deny],
    };
    let holds = |entry: &ListEntry| {
        entry.address.contains(&client)
            && entry.expires.is_none_or(|expires| expires > now)
            && (entry.applications.is_empty() || entry.applications.contains(&application))
    };
    let is_so = |entry: &AttributeEntry| {
        is.contains(&(entry.attribute, &entry.name))
            && entry.expires.is_none_or(|expires| expires > now)
            && (entry.applications.is_empty() || entry.applications.contains(&application))
    };
    let on = |list: &&List| {
        source.lists.iter().any(|entry| entry.list == **list && holds(entry))
            || source.attribute_lists.iter().any(|entry| entry.list == **list && is_so(entry))
    };
    read.iter().find(on).copied()
}

/// All entries about a client, whether they count or not, in the order of their texts.
pub(super) fn entries_about(source: &PolicySource, client: IpAddr, is: &[(Attribute, &str)]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for entry in source.lists.iter().filter(|entry| entry.address.contains(&client)) {
        found.push(format!("{} {}", entry.list.as_str(), entry.address));
    }
    for entry in &source.attribute_lists {
        if is.contains(&(entry.attribute, &*entry.name)) {
            found.push(format!("{} {} {}", entry.list.as_str(), entry.attribute.as_str(), entry.name));
        }
    }
    found.sort_unstable();
    found
}

/// How two rules of one type are ordered beside their conditions.
fn order_of_kinds(a: &RuleKind, b: &RuleKind) -> Ordering {
    match (a, b) {
        (
            RuleKind::RateLimit { rate: rate_a, per: per_a, .. },
            RuleKind::RateLimit { rate: rate_b, per: per_b, .. },
        ) => {
            (f64::from(*rate_a) / per_a.as_secs_f64()).total_cmp(&(f64::from(*rate_b) / per_b.as_secs_f64()))
        }
        _ => Ordering::Equal,
    }
}

/// A rule that isn't about the mode, with its conditions.
type Other<'a> = (Conditions, &'a RuleSource);

/// What of several rules only one counts of, if so (spec S3.4 point 8).
fn contest(kind: &RuleKind) -> Option<String> {
    match kind {
        RuleKind::OverTimeLimit { .. } => Some(String::new()),
        RuleKind::UploadSize { point, .. } => Some(format!("{point:?}")),
        RuleKind::ParserState { parser, point, .. } => Some(format!("{parser} {point:?}")),
        _ => None,
    }
}

/// By type, and in each the most specific first; rate limits by their rates before that. (Types are compared first, since
/// only rates come before conditions: among several types that would be no order.)
fn sort(rules: &mut [Other<'_>]) {
    rules.sort_by(|(a, rule_a), (b, rule_b)| {
        let types = rule_a.kind.rule_type().cmp(&rule_b.kind.rule_type());
        let kinds = types.then_with(|| order_of_kinds(&rule_a.kind, &rule_b.kind));
        kinds.then_with(|| compare(a, b)).then_with(|| rule_a.id.cmp(&rule_b.id))
    });
}

/// Those that count of the rules that match.
fn counting(mut matching: Vec<Other<'_>>) -> Vec<Other<'_>> {
    sort(&mut matching);
    let mut taken = Vec::new();
    matching.retain(|(_, rule)| {
        let Some(contest) = contest(&rule.kind) else { return true };
        let key = (rule.kind.rule_type(), contest);
        let is_first = !taken.contains(&key);
        taken.push(key);
        is_first
    });
    matching
}

/// Their ids by type, in order.
fn by_type(mut rules: Vec<Other<'_>>) -> Vec<(RuleType, Vec<u64>)> {
    sort(&mut rules);
    let types = RuleType::NAMES.iter().filter(|(_, rule_type)| *rule_type != RuleType::Mode);
    let ids = types.map(|(_, rule_type)| {
        let of_type = rules.iter().filter(|(_, rule)| rule.kind.rule_type() == *rule_type);
        let mut ids: Vec<u64> = of_type.map(|(_, rule)| rule.id).collect();
        match rule_type {
            RuleType::ResponseHeader => ids.reverse(),
            // no order between points
            RuleType::UploadSize | RuleType::ParserState => ids.sort_unstable(),
            _ => {}
        }
        (*rule_type, ids)
    });
    ids.collect()
}

/// What all readings of a path come to.
pub(super) struct Merged {
    /// The strictest one.
    pub(super) mode: Mode,
    pub(super) list: Option<List>,
    pub(super) locations: Vec<(usize, Option<usize>)>,
    pub(super) effects: Vec<(RuleType, Vec<u64>)>,
    pub(super) every_rate_counts: bool,
    pub(super) general_time_limit_counts: bool,
}

/// What takes something away from what is looked at or done.
fn loosens(kind: &RuleKind) -> bool {
    match kind {
        RuleKind::ParserState { enabled, .. } => !enabled,
        RuleKind::UploadSize { action, .. } => *action == UploadAction::Off,
        kind => matches!(
            kind.type_name(),
            "ignore_regex" | "disable_attack_type" | "disable_signature" | "binary_data"
        ),
    }
}

/// How strict a reading is: blocked whatever is found; blocked now; held; inspected; its mode.
fn strictness_of(source: &PolicySource, answer: &Answer<'_>) -> (bool, bool, bool, bool, Mode) {
    let phase = source.acl_access_phase;
    let denied = answer.list == Some(List::Deny) && phase && answer.mode != Mode::Off;
    (
        blocks(answer.mode, answer.list, phase, false),
        denied,
        blocks(answer.mode, answer.list, phase, true),
        answer.runs,
        answer.mode,
    )
}

pub(super) fn merge(source: &PolicySource, readings: &[Answer<'_>]) -> Merged {
    let mut strictest = &readings[0];
    for reading in readings {
        if strictness_of(source, reading) > strictness_of(source, strictest) {
            strictest = reading;
        }
    }
    let denied = strictest.list == Some(List::Deny) && source.acl_access_phase;
    let inspected: Vec<&Answer<'_>> = readings
        .iter()
        .filter(|reading| reading.runs && !(reading.list == Some(List::Deny) && source.acl_access_phase))
        .collect();
    let is_in = |reading: &Answer<'_>, id: u64| reading.holding.iter().any(|(_, rule)| rule.id == id);
    let in_all = |id| inspected.iter().all(|reading| is_in(reading, id));
    let mut holding: Vec<Other<'_>> = Vec::new();
    for reading in readings {
        let is_mask = |rule: &RuleSource| rule.kind.rule_type() == RuleType::Mask;
        let masks = reading.matching.iter().filter(|(_, rule)| is_mask(rule));
        let others = reading.holding.iter().filter(|(_, rule)| !denied && !is_mask(rule));
        for (conditions, rule) in masks.chain(others) {
            let is_known = holding.iter().any(|(_, known)| known.id == rule.id);
            if strictest.runs && !is_known && (!loosens(&rule.kind) || in_all(rule.id)) {
                holding.push((conditions.clone(), rule));
            }
        }
    }
    let of_type = |rule_type| holding.iter().filter(move |(_, rule)| rule.kind.rule_type() == rule_type);
    let has_time_limit = |reading: &&Answer<'_>| {
        reading.holding.iter().any(|(_, rule)| rule.kind.rule_type() == RuleType::OverTimeLimit)
    };
    let with_time_limit = inspected.iter().copied().filter(has_time_limit).count();
    let mut locations: Vec<(usize, Option<usize>)> = Vec::new();
    for reading in readings {
        if !locations.contains(&(reading.server, reading.location)) {
            locations.push((reading.server, reading.location));
        }
    }
    Merged {
        mode: strictest.mode,
        list: strictest.list,
        locations,
        every_rate_counts: !denied && of_type(RuleType::RateLimit).any(|(_, rule)| !in_all(rule.id)),
        general_time_limit_counts: !denied
            && strictest.runs
            && with_time_limit > 0
            && with_time_limit < inspected.len(),
        effects: by_type(holding.clone()),
    }
}

pub(super) fn resolve<'a>(
    source: &'a PolicySource,
    regexes: &[Naive],
    facts: &RequestFacts<'_>,
    client: (IpAddr, &[(Attribute, &str)]),
    now: u64,
) -> Answer<'a> {
    let server_index = server(source, &text(facts.host));
    let server = &source.servers[server_index];
    let path = normalise(&text(facts.path));
    let location = location(server, &path, regexes);
    let mut contexts = vec![&server.context, &source.http];
    if let Some(index) = location {
        contexts.insert(0, &server.locations[index].context);
    }
    let application = contexts.iter().find_map(|context| context.application).unwrap_or(-1);
    let local = local_mode(&contexts, facts.headers);
    let allow = contexts.iter().find_map(|context| context.mode_allow_override).unwrap_or(Override::On);
    let mut matching: Vec<(Conditions, RuleMode, Option<u64>)> = vec![(vec![], source.general_mode, None)];
    let mut others = Vec::new();
    for rule in &source.rules {
        let conditions = conditions(rule);
        let all_hold = conditions
            .iter()
            .all(|(point, is)| holds(point, is, &values(point, facts, &path, application), regexes));
        match rule.kind {
            _ if !all_hold => {}
            RuleKind::Mode(mode) => matching.push((conditions, mode, Some(rule.id))),
            _ => others.push((conditions, rule)),
        }
    }
    matching
        .sort_by(|a, b| compare(&a.0, &b.0).then(strictness(b.1).cmp(&strictness(a.1))).then(a.2.cmp(&b.2)));
    let (_, cloud, id) = &matching[0];
    let from_rule = id.map_or(ModeSource::General, ModeSource::Rule);
    let (mode, source_of_mode) = match (allow, cloud) {
        (Override::On, RuleMode::Set(mode)) => (*mode, from_rule),
        (Override::Strict, RuleMode::Set(mode)) if *mode > local => (*mode, from_rule),
        _ => (local, ModeSource::Local),
    };
    let disable_acl = contexts.iter().find_map(|context| context.disable_acl).unwrap_or(false);
    let list = if disable_acl { None } else { list(source, client, application, mode, now) };
    let runs = mode != Mode::Off && list != Some(List::Allow);
    let mut holding = if runs { counting(others.clone()) } else { Vec::new() };
    // what is blocked without a look at it may still be written down
    if list == Some(List::Deny) && source.acl_access_phase {
        holding.retain(|(_, rule)| rule.kind.rule_type() == RuleType::Mask);
    }
    Answer {
        effects: by_type(holding.clone()),
        runs,
        matching: others,
        holding,
        server: server_index,
        location,
        application,
        mode,
        source: source_of_mode,
        list,
        rules: matching.iter().filter_map(|(_, _, id)| *id).collect(),
    }
}

/// Spec S1.8, line by line, for the findings of built-in detectors.
pub(super) fn blocks(mode: Mode, list: Option<List>, access_phase: bool, attack: bool) -> bool {
    if mode == Mode::Off {
        return false;
    }
    let mut deny_pending = false;
    match list {
        Some(List::Allow) => return false,
        Some(List::Deny) if access_phase => return true,
        Some(List::Deny) if mode >= Mode::SafeBlocking => deny_pending = true,
        _ => {}
    }
    let gray = list == Some(List::Gray);
    deny_pending || (attack && (mode == Mode::Block || (mode == Mode::SafeBlocking && gray)))
}
