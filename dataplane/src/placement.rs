//! Where a request belongs, whichever way its path is read.
//!
//! A path that servers may read differently is resolved by each of its readings. The request goes where the literal path
//! says, because something has to; but it is looked at as strictly as any of the places asks that its origin may take it to.
//! Otherwise `/off/..%2fshop` would reach the shop uninspected behind an origin that decodes slashes.

use weir_policy::{Client, Policy, RequestFacts, Resolution, Scratch};

use crate::config::{AmbiguousPath, OverLimit, RequestLimits};
use crate::http::PathReadings;
use crate::io::ListenerId;
use crate::snapshot::{LocationSettings, Snapshot};

/// What policy says about a request.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Server, location and application of the literal path; mode, list and stage of the strictest reading.
    pub resolution: Resolution,
    /// Which of the path's readings decided, where it is not the literal path.
    pub read_as: Option<usize>,
    /// The readings lead to different places, and the config says to refuse that.
    pub refused: bool,
    /// Servers may divide the path into segments in different ways; where readings aren't compared, its normalised form
    /// does.
    pub divides_differently: bool,
    /// The readings lead to different locations: these, and what the strictest reading alone comes to.
    several: Option<Box<weir_policy::Placed>>,
}

impl Placement {
    /// The settings of the place, where several locations have a part in them.
    pub fn shared_place(&self, snapshot: &Snapshot, listener: ListenerId) -> Option<Box<SharedPlace>> {
        let placed = self.several.as_ref()?;
        let mut locations = placed.locations.iter();
        let literal = *locations.next()?;
        let mut settings = snapshot.locations.get(literal.0 as usize)?.clone();
        let mut limits = snapshot.request_limits(listener, literal)?.clone();
        for location in locations {
            settings = stricter(settings, snapshot.locations.get(location.0 as usize)?);
            limits = tighter(&limits, snapshot.request_limits(listener, *location)?);
        }
        let decided = snapshot.locations.get(placed.strictest.location.0 as usize)?;
        settings.block_responses = decided.block_responses.clone();
        Some(Box::new(SharedPlace { settings, limits, strictest: placed.strictest }))
    }
}

/// Settings that come of several locations.
#[derive(Clone, Debug)]
pub struct SharedPlace {
    /// The origin of the literal path, the answers of the strictest reading, and else what is strictest of each.
    pub settings: LocationSettings,
    /// The tightest of each.
    pub limits: RequestLimits,
    /// What the strictest reading alone comes to.
    pub strictest: Resolution,
}

fn stricter(settings: LocationSettings, other: &LocationSettings) -> LocationSettings {
    let block = |one, other| if other == OverLimit::Block { other } else { one };
    LocationSettings {
        websocket: settings.websocket && other.websocket,
        inspection_failure: block(settings.inspection_failure, other.inspection_failure),
        overload: block(settings.overload, other.overload),
        ..settings
    }
}

fn tighter(one: &RequestLimits, other: &RequestLimits) -> RequestLimits {
    let smaller = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    RequestLimits {
        request_body_bytes: smaller(one.request_body_bytes, other.request_body_bytes),
        body_timeout: one.body_timeout.min(other.body_timeout),
        body_rate_min_bytes: one.body_rate_min_bytes.max(other.body_rate_min_bytes),
        body_rate_grace: one.body_rate_grace.min(other.body_rate_grace),
        send_timeout: one.send_timeout.min(other.send_timeout),
        tunnel_timeout: one.tunnel_timeout.min(other.tunnel_timeout),
    }
}

/// Resolves a request. Afterwards `scratch` holds the policy's rules that hold for it.
pub fn place(
    policy: &Policy,
    ambiguous_path: AmbiguousPath,
    scratch: &mut Scratch,
    readings: &mut PathReadings,
    facts: &RequestFacts<'_>,
    client: &Client,
    now_unix_seconds: u64,
) -> Placement {
    let others = if ambiguous_path.compares_readings() { readings.of(facts.path) } else { &[] };
    if others.is_empty() {
        let resolution = policy.resolve_client(scratch, facts, client, now_unix_seconds);
        // what rules look for is in the path as received
        let divides_differently =
            !ambiguous_path.compares_readings() && readings.normalising_divides(facts.path);
        return Placement { resolution, read_as: None, refused: false, divides_differently, several: None };
    }
    let placed = policy.resolve_readings(scratch, facts, others, client, now_unix_seconds);
    Placement {
        resolution: placed.resolution,
        read_as: placed.read_as,
        refused: ambiguous_path == AmbiguousPath::Reject && placed.differ,
        divides_differently: readings.divides_differently(),
        several: (placed.locations.len() > 1).then(|| Box::new(placed)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use weir_policy::{ContextSource, LocationSource, MatchKind, Mode, PolicySource, ServerSource};

    use super::*;
    /// A site with a place that isn't looked at and one that is blocked.
    fn policy() -> Policy {
        let context = |mode| ContextSource { mode: Some(mode), ..ContextSource::default() };
        let location = |path: &str, mode| LocationSource {
            path: path.to_owned(),
            kind: MatchKind::Prefix,
            context: context(mode),
        };
        let server = ServerSource {
            name: "s".to_owned(),
            locations: [("/off", Mode::Off)]
                .into_iter()
                .chain(["/php", "/$meta", "/café", "/a b"].map(|path| (path, Mode::Block)))
                .map(|(path, mode)| location(path, mode))
                .collect(),
            ..ServerSource::default()
        };
        let source = PolicySource {
            http: context(Mode::Monitoring),
            servers: vec![server],
            ..PolicySource::default()
        };
        weir_policy::compile(source).unwrap().policy
    }

    fn placed(path: &str, setting: AmbiguousPath) -> Placement {
        let facts = RequestFacts {
            method: b"GET",
            scheme: b"http",
            proto: b"HTTP/1.1",
            host: b"s",
            path: path.as_bytes(),
            query: None,
            headers: &[],
        };
        let (mut scratch, mut readings) = (Scratch::default(), PathReadings::default());
        let client = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST).into();
        place(&policy(), setting, &mut scratch, &mut readings, &facts, &client, 0)
    }

    #[test]
    fn the_strictest_reading_decides_and_the_literal_one_routes() {
        let literal = placed("/off/x", AmbiguousPath::Strictest);
        for path in [
            "/off/..%2fphp/x",
            "/off/..%2Fphp/x",
            "/off/..%5cphp",
            "/off/..\\php",
            "/off/..;/php",
            "/off/..;a=b/php/x",
            "/off/%2e%2e%2fphp",
            "/off/..%252fphp",
            "/off/..%3b/php",
            "/off/x%2f..%2f..%2fphp",
        ] {
            let placement = placed(path, AmbiguousPath::Strictest);
            assert_eq!(placement.resolution.mode, Mode::Block, "{path}");
            assert_eq!(placement.resolution.location, literal.resolution.location, "{path}");
            assert!(placement.read_as.is_some() && !placement.refused, "{path}");
            assert!(placed(path, AmbiguousPath::Reject).refused, "{path}");
            let literally = placed(path, AmbiguousPath::Literal);
            assert_eq!((literally.resolution.mode, literally.refused), (Mode::Off, false), "{path}");
        }
    }

    /// What rules look for at a segment is looked for in the path as received, which may be divided otherwise.
    #[test]
    fn segments_are_unsure_where_the_normalised_path_has_others() {
        for (path, divides) in [
            ("/a/b", false),
            ("/%61/b%2fc;d", false),
            ("/a//b", true),
            ("/./a", true),
            ("/a/%2e%2e/b", true),
            ("*", false),
        ] {
            assert_eq!(placed(path, AmbiguousPath::Literal).divides_differently, divides, "{path}");
        }
        assert!(placed("/a/b%2fc", AmbiguousPath::Strictest).divides_differently);
    }

    #[test]
    fn encoded_reserved_characters_lead_where_they_do_decoded() {
        let (strictest, reject) = (AmbiguousPath::Strictest, AmbiguousPath::Reject);
        for (path, mode, refused) in [
            ("/$meta", Mode::Block, false),
            ("/%24meta/x", Mode::Block, true),
            ("/caf%c3%a9", Mode::Block, false),
            ("/caf%C3%A9/x", Mode::Block, false),
            ("/caf%C3%A9%3Ax", Mode::Block, false),
            ("/a%20b", Mode::Block, false),
            ("/x%3Ay", Mode::Monitoring, false),
            ("/x%20y%25", Mode::Monitoring, false),
        ] {
            let placement = placed(path, strictest);
            assert_eq!((placement.resolution.mode, placement.refused), (mode, false), "{path}");
            assert_eq!(placed(path, reject).refused, refused, "{path}");
        }
        assert_eq!(placed("/%24meta", AmbiguousPath::Literal).resolution.mode, Mode::Monitoring);
    }

    #[test]
    fn what_an_origin_may_leave_as_it_is_counts_too() {
        // An origin that doesn't resolve the dots runs what `/php` holds, although `/off` is the normalised place.
        for path in ["/php/../off/x", "/php/%2e%2e/off", "/php//../off", "/php/..//off"] {
            assert_eq!(placed(path, AmbiguousPath::Strictest).resolution.mode, Mode::Block, "{path}");
        }
        // One that doesn't merge slashes takes this to the place for all other paths.
        assert_eq!(placed("//off/x", AmbiguousPath::Strictest).resolution.mode, Mode::Monitoring);
    }

    #[test]
    fn readings_that_lead_to_one_place_change_nothing() {
        for (path, mode) in [
            ("/off/a%2fb", Mode::Off),
            ("/off/a;v=1/b", Mode::Off),
            ("/php/./x", Mode::Block),
            ("/a%2Fb//c;d", Mode::Monitoring),
            ("/.well-known/x%20y", Mode::Monitoring),
        ] {
            for setting in [AmbiguousPath::Strictest, AmbiguousPath::Reject] {
                let placement = placed(path, setting);
                assert_eq!((placement.resolution.mode, placement.refused), (mode, false), "{path}");
                assert_eq!(placement.read_as, None, "{path}");
            }
        }
    }
}
