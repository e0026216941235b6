//! From source to policy: every check, every error.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::attributes::AttributeLists;
use crate::error::{CompileError, Place, Warning};
use crate::hosts::{self, Hosts};
use crate::list_remarks;
use crate::lists::Lists;
use crate::locations::{Entry, Locations, RegexEntry};
use crate::mode::{Mode, Override};
use crate::path::{Path, PathScratch, encoded, lower_case_encoding, needlessly_encoded};
use crate::policy::{HeaderMap, Location, Policy, SetBy};
use crate::rules::{Rules, is_header_name};
use crate::source::{ContextSource, MatchKind, PolicySource, ServerSource};

/// A policy, and what is odd about its source.
#[derive(Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// Remarks for the operator; they stop nothing.
    pub warnings: Vec<Warning>,
}

/// Errors and warnings as they are found.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    pub(crate) errors: Vec<CompileError>,
    pub(crate) warnings: Vec<Warning>,
}

impl Remarks {
    pub(crate) fn error(
        &mut self,
        place: &Place,
        key: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let (place, key) = (place.clone(), key.into());
        self.errors.push(CompileError { place, key, problem: problem.into(), expected: expected.into() });
    }

    pub(crate) fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.warnings.push(Warning { place: place.clone(), message: message.into() });
    }
}

/// Compiles a policy, which keeps its source.
///
/// # Errors
///
/// All that is wrong with the source, in its order: servers and locations, rules, lists.
pub fn compile(given: PolicySource) -> Result<Compiled, Vec<CompileError>> {
    let source = &given;
    let mut remarks = Remarks::default();
    let hosts = compile_hosts(source, &mut remarks);
    check_map(&source.http, &Place::Http, &mut remarks);
    let mut paths = Locations::default();
    let mut locations = Vec::new();
    let mut server_locations = Vec::new();
    for (server, source_server) in source.servers.iter().enumerate() {
        let first = locations.len() as u32;
        server_locations.push(first);
        compile_server(source, server, &mut locations, &mut remarks);
        if let Err((location, problem)) = add_paths(source_server, first + 1, &mut paths) {
            let place = location.map_or_else(
                || server_place(server, source_server),
                |location| location_place(server, source_server, location),
            );
            remarks.error(&place, "path", problem, "a regex that Hyperscan understands, or smaller ones");
        }
    }
    let rules = Rules::compile(source, &mut remarks);
    check_lists(source, &mut remarks);
    if !remarks.errors.is_empty() {
        return Err(remarks.errors);
    }
    let (spots, mapped_modes) = Policy::spots(&locations, &rules);
    let lists = Lists::new(&source.lists);
    let applications = locations.iter().map(|location| location.application).collect();
    list_remarks::warn(source, &lists, &applications, &mut remarks);
    let paths_have_regexes = paths.databases().next().is_some();
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);
    let policy = Policy {
        number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
        hosts,
        paths,
        locations: locations.into(),
        server_locations: server_locations.into(),
        spots,
        mapped_modes,
        has_regexes: paths_have_regexes || rules.databases().next().is_some(),
        rules,
        lists,
        attribute_lists: AttributeLists::new(&source.attribute_lists),
        acl_access_phase: source.acl_access_phase,
        source: given,
    };
    Ok(Compiled { policy, warnings: remarks.warnings })
}

fn server_place(index: usize, server: &ServerSource) -> Place {
    Place::Server { server: index, name: server.name.clone() }
}

fn location_place(server_index: usize, server: &ServerSource, location: usize) -> Place {
    Place::Location {
        server: server_index,
        server_name: server.name.clone(),
        location,
        path: server.locations[location].path.clone(),
    }
}

/// Names, hosts and the default server.
fn compile_hosts(source: &PolicySource, remarks: &mut Remarks) -> Hosts {
    if source.servers.is_empty() {
        remarks.error(&Place::Policy, "server", "there is no server", "at least one [[server]]");
    }
    let mut names = HashMap::new();
    let mut patterns: HashMap<String, usize> = HashMap::new();
    let mut default = None;
    for (index, server) in source.servers.iter().enumerate() {
        let place = server_place(index, server);
        if server.name.is_empty() {
            remarks.error(&place, "name", "it is empty", "a unique name");
        } else if names.insert(server.name.as_str(), index).is_some() {
            remarks.error(
                &place,
                "name",
                format!("`{}` is taken by another server", server.name),
                "a unique name",
            );
        }
        if server.default
            && let Some(earlier) = default.replace(index)
        {
            let problem = format!("server `{}` is the default already", source.servers[earlier].name);
            remarks.error(&place, "default", problem, "one default server at most");
        }
        for (position, host) in server.hosts.iter().enumerate() {
            let key = format!("hosts[{position}]");
            match hosts::pattern(host) {
                Err(problem) => {
                    let expected = "a host name without port, or `*.` and a suffix";
                    remarks.error(&place, key, format!("`{host}`: {problem}"), expected);
                }
                Ok(pattern) => {
                    if let Some(&taken) = patterns.get(&pattern) {
                        let problem = format!("`{host}` is taken by server `{}`", source.servers[taken].name);
                        remarks.error(&place, key, problem, "a host that no other server names, once");
                    } else {
                        patterns.insert(pattern, index);
                    }
                }
            }
        }
    }
    let default = default.unwrap_or(0);
    for (index, server) in source.servers.iter().enumerate() {
        if server.hosts.is_empty() && index != default {
            let message = "no request reaches it: it has no hosts and isn't the default server";
            remarks.warn(&server_place(index, server), message);
        }
    }
    Hosts::new(patterns.into_iter().map(|(pattern, server)| (pattern, server as u32)), default as u32)
}

/// Puts the locations of a server, of which the first one has the number `first`, where paths are looked up.
///
/// Errs with the index of the location whose regex can't be compiled, if it is one, and the reason.
fn add_paths(
    server: &ServerSource,
    first: u32,
    paths: &mut Locations,
) -> Result<(), (Option<usize>, String)> {
    let (mut entries, mut regexes, mut regex_places) = (Vec::new(), Vec::new(), Vec::new());
    let encoded: Vec<Vec<u8>> = server.locations.iter().map(|location| encoded(&location.path)).collect();
    for (position, (location, number)) in server.locations.iter().zip(first..).enumerate() {
        match location.kind {
            MatchKind::Regex | MatchKind::RegexNocase => {
                regex_places.push(position);
                regexes.push(RegexEntry {
                    regex: &location.path,
                    any_case: location.kind == MatchKind::RegexNocase,
                    location: number,
                });
            }
            kind => entries.push(Entry {
                path: &encoded[position],
                exact: kind == MatchKind::Exact,
                is_final: kind == MatchKind::PrefixFinal,
                location: number,
            }),
        }
    }
    paths
        .add_server(&mut entries, &regexes)
        .map_err(|(regex, problem)| (regex.and_then(|regex| regex_places.get(regex).copied()), problem))
}

/// Appends the server's locations, the one for all other paths first.
fn compile_server(source: &PolicySource, index: usize, locations: &mut Vec<Location>, remarks: &mut Remarks) {
    let server = &source.servers[index];
    let place = server_place(index, server);
    check_map(&server.context, &place, remarks);
    locations.push(location(source, index, None));
    let mut taken = HashMap::new();
    for (position, found) in server.locations.iter().enumerate() {
        let place = location_place(index, server, position);
        check_map(&found.context, &place, remarks);
        if matches!(found.kind, MatchKind::Regex | MatchKind::RegexNocase) {
            check_location_regex(&found.path, &place, remarks);
            if found.kind == MatchKind::Regex
                && !found.path.contains("(?i")
                && let Some(encoding) = lower_case_encoding(&found.path)
            {
                let upper = encoding.to_ascii_uppercase();
                remarks
                    .warn(&place, format!("it never meets `{encoding}`: requests are seen with `{upper}`"));
            }
        } else {
            check_path(&found.path, &place, remarks);
            let exact = found.kind == MatchKind::Exact;
            if taken.insert((encoded(&found.path), exact), position).is_some() {
                let problem = "another location of this server matches the same paths";
                remarks.error(&place, "path", problem, "each path once as exact and once as a prefix");
            }
        }
        locations.push(location(source, index, Some(position)));
    }
}

/// Longer regexes of locations are refused: what they cost to compile isn't bounded by anything else.
const MAX_LOCATION_REGEX: usize = 1_000;

/// What Hyperscan doesn't say itself.
fn check_location_regex(regex: &str, place: &Place, remarks: &mut Remarks) {
    if regex.is_empty() {
        remarks.error(
            place,
            "path",
            "the regex is empty",
            "a regex, or match = \"prefix\" with path = \"/\"",
        );
    } else if regex.len() > MAX_LOCATION_REGEX {
        let problem = format!("the regex is {} bytes long", regex.len());
        remarks.error(place, "path", problem, format!("at most {MAX_LOCATION_REGEX} bytes"));
    }
}

fn check_path(path: &str, place: &Place, remarks: &mut Remarks) {
    if !path.starts_with('/') {
        remarks.error(place, "path", "it doesn't start with `/`", "a path like `/main/login`");
        return;
    }
    if path.contains('?') {
        remarks.error(place, "path", "it holds a `?`, but locations see no query", "a path alone");
        return;
    }
    let mut scratch = PathScratch::default();
    let encoded = encoded(path);
    let normal = Path::normalise(&encoded, &mut scratch).bytes;
    if normal != encoded {
        let normal = String::from_utf8_lossy(normal);
        remarks.warn(place, format!("requests are compared after normalisation: `{normal}` may be meant"));
    } else if let Some(raw) = needlessly_encoded(&encoded) {
        let raw = String::from_utf8_lossy(&raw);
        remarks
            .warn(place, format!("requests for `{raw}` don't meet it: write that, and both are looked at"));
    }
}

fn check_map(context: &ContextSource, place: &Place, remarks: &mut Remarks) {
    let Some(map) = &context.mode_by_header else { return };
    if !is_header_name(&map.header) {
        remarks.error(
            place,
            "mode_by_header.header",
            format!("`{}` is no header name", map.header),
            "a header name",
        );
    }
    if map.contains.is_empty() {
        remarks.error(place, "mode_by_header.contains", "it is empty", "at least one text with a mode");
    }
    if map.contains.contains_key("") {
        let problem = "the empty text occurs in every value";
        remarks.error(place, "mode_by_header.contains", problem, "a text that tells values apart");
    }
}

/// The location with everything that it inherits.
fn location(source: &PolicySource, server: usize, index: Option<usize>) -> Location {
    let own = &source.servers[server];
    let within = index.map(|index| &own.locations[index]);
    let http = if source.http.mode_from_environment && source.http.mode.is_some() {
        (SetBy::Environment, &source.http)
    } else {
        (SetBy::Http, &source.http)
    };
    let contexts: Vec<(SetBy, &ContextSource)> = within
        .map(|location| (SetBy::Location, &location.context))
        .into_iter()
        .chain([(SetBy::Server, &own.context), http])
        .collect();
    let mut maps = Vec::new();
    let mut local_mode = (Mode::Monitoring, SetBy::Default);
    for &(set_by, context) in &contexts {
        if set_by != SetBy::Environment {
            maps.extend(context.mode_by_header.as_ref().map(|map| HeaderMap::new(map, set_by)));
        }
        if let Some(mode) = context.mode {
            local_mode = (mode, set_by);
            break;
        }
    }
    let set_override = |&(set_by, context): &(SetBy, &ContextSource)| {
        // the environment sets the mode alone
        let set_by = if set_by == SetBy::Environment { SetBy::Http } else { set_by };
        Some((context.mode_allow_override?, set_by))
    };
    let application = contexts.iter().find_map(|(_, context)| context.application).unwrap_or(-1);
    Location {
        server: server as u32,
        index: index.map(|index| index as u32),
        application,
        instance: application.to_string().into(),
        disable_acl: contexts.iter().find_map(|(_, context)| context.disable_acl).unwrap_or(false),
        local_mode,
        allow_override: contexts.iter().find_map(set_override).unwrap_or((Override::On, SetBy::Default)),
        maps: maps.into(),
    }
}

/// What counts of an address with bits behind its prefix isn't what is written.
fn check_lists(source: &PolicySource, remarks: &mut Remarks) {
    for (index, entry) in source.lists.iter().enumerate() {
        let network = entry.address.trunc();
        if network != entry.address {
            let problem = format!("`{}` has bits behind its prefix", entry.address);
            let expected =
                format!("`{network}` for the network, or `{}` for the address alone", entry.address.addr());
            remarks.error(&Place::Entry { index }, "address", problem, expected);
        }
    }
}
