//! Configs that are in order, and what they mean.

use std::path::Path;
use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_minimal_config_has_the_defaults() {
    let folder = Folder::new(MINIMAL);
    let Loaded { config, warnings, digest } = folder.load().unwrap();
    assert_eq!(warnings, []);
    assert_eq!(digest.len(), 64);
    assert_eq!(
        config.node,
        NodeConfig {
            workers: None,
            max_connections: 100_000,
            max_tunnels: 10_000,
            body_bytes_total: 256 << 20,
            origin_connections_total: 4096,
            rate_limit_memory_bytes: 64 << 20,
            drain_timeout: 30 * SECOND,
            certificate_check_interval: 10 * SECOND,
            state_dir: folder.path("state"),
            io: IoBackend::Auto,
            resolver: ResolverConfig {
                addresses: Vec::new(),
                ttl_min: 5 * SECOND,
                ttl_max: 300 * SECOND,
                timeout: 5 * SECOND,
                ipv6: true,
            },
        }
    );
    assert_eq!(config.http.context, ContextConfig::default());
    assert!(config.http.acl_access_phase);
    assert_eq!(config.http.real_ip_header, "X-Forwarded-For");
    assert_eq!(
        config.http.connection_limits,
        ConnectionLimits {
            connections_per_address: None,
            head_bytes: 32 << 10,
            target_bytes: 24 << 10,
            header_count: 100,
            header_bytes: 8 << 10,
            head_timeout: 10 * SECOND,
            keep_alive_timeout: 60 * SECOND,
            keep_alive_requests: Some(1000),
            connection_age_max: Some(3600 * SECOND),
            parked_bytes: 256 << 10,
            lingering_bytes: 1 << 20,
            lingering_timeout: SECOND,
        }
    );
    let limits = RequestLimits {
        request_body_bytes: None,
        body_timeout: 30 * SECOND,
        body_rate_min_bytes: Some(1024),
        body_rate_grace: 10 * SECOND,
        send_timeout: 60 * SECOND,
        tunnel_timeout: 600 * SECOND,
    };
    assert_eq!(config.http.limits, limits);
    let handling = HandlingConfig {
        websocket: true,
        inspection_failure: OverLimit::Pass,
        overload: OverLimit::Pass,
        block_responses: BlockResponses::default(),
    };
    assert_eq!((&config.http.handling, &config.servers[0].handling), (&handling, &handling));
    let server = &config.servers[0];
    assert_eq!((server.name.as_str(), server.origin, server.default), ("a", 0, false));
    assert_eq!((&server.limits, &server.context), (&OwnRequestLimits::default(), &ContextConfig::default()));
    let listener = &config.listeners[0].limits;
    assert_eq!((listener.max_connections, &listener.request), (None, &OwnRequestLimits::default()));
    assert_eq!(listener.connection, config.http.connection_limits);
    let origin = &config.origins[0];
    let addresses: Vec<String> = origin.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:9000"]);
    assert_eq!((origin.balance, &origin.tls), (Balance::RoundRobin, &None));
    assert_eq!(
        origin.limits,
        OriginLimits {
            connect_timeout: 3 * SECOND,
            first_byte_timeout: 30 * SECOND,
            idle_timeout: 60 * SECOND,
            keep_alive_timeout: 60 * SECOND,
            connections: 256,
            upload_connections: None,
            stalled_connections: None,
            idle_connections: 256,
            min_idle_connections: 0,
            requests_per_connection: None,
            connection_age_max: Some(3600 * SECOND),
            queue: 1024,
            queue_timeout: 3 * SECOND,
        }
    );
    assert_eq!(
        config.detection,
        DetectionConfig {
            cache_dir: None,
            body_limit_bytes: 1 << 20,
            over_body_limit: OverLimit::Pass,
            time_limit: SECOND,
            over_time_limit: OverLimit::Pass,
            min_score: 5,
            signatures: Vec::new(),
            graphql: None,
        }
    );
    assert_eq!(
        config.rules,
        RulesConfig {
            file: None,
            digest: String::new(),
            general_mode: RuleMode::Default,
            general_mode_place: None,
            rules: Vec::new(),
            unread_ids: Vec::new(),
            api_file: None,
        }
    );
    assert_eq!(
        config.ip_lists,
        IpListsConfig {
            file: None,
            databases: AddressDatabasesConfig::default(),
            digest: String::new(),
            entries: ListEntries::default(),
        }
    );
    assert_eq!(
        config.events,
        EventsConfig { file: None, queue_length: 8192, queue_bytes: 64 << 20, refusals_per_second: 5 }
    );
    assert_eq!(config.admin, None);
}

#[test]
fn limits_and_origins_are_inherited_key_by_key() {
    let folder = Folder::new(
        r#"
http.limits = { body_timeout = "7s", request_body_bytes = "1MiB" }
listener = [{ name = "public", address = "[::1]:0" }]
[[server]]
name = "a"
origin = "two"
limits = { body_timeout = "8s", body_rate_min_bytes = 0 }
[[server.location]]
path = "/x"
limits.send_timeout = "9s"
[[server.location]]
path = "/y"
match = "exact"
origin = "one"
limits.request_body_bytes = 0
[[origin]]
name = "one"
addresses = ["127.0.0.1:1"]
[[origin]]
name = "two"
addresses = ["127.0.0.1:2"]
"#,
    );
    let config = folder.load().unwrap().config;
    let server = &config.servers[0];
    assert_eq!((server.origin, server.locations[0].origin, server.locations[1].origin), (1, 1, 0));
    let limits = |limits: &RequestLimits| {
        (limits.request_body_bytes, limits.body_timeout, limits.body_rate_min_bytes, limits.send_timeout)
    };
    let http = &config.http.limits;
    assert_eq!(limits(http), (Some(1 << 20), 7 * SECOND, Some(1024), 60 * SECOND));
    assert_eq!(limits(&server.limits.over(http)), (Some(1 << 20), 8 * SECOND, None, 60 * SECOND));
    let [x, y] = [0, 1].map(|number| limits(&server.locations[number].limits.over(http)));
    assert_eq!(x, (Some(1 << 20), 8 * SECOND, None, 9 * SECOND));
    assert_eq!(y, (None, 8 * SECOND, None, 60 * SECOND));
}

#[test]
fn a_listener_inherits_the_limits_of_http_key_by_key() {
    let folder = Folder::new(
        r#"
[http.limits]
head_timeout = "7s"
keep_alive_requests = 5
connections_per_address = 20
send_timeout = "40s"
[[listener]]
name = "one"
address = "[::1]:0"
[listener.limits]
max_connections = 10
head_timeout = "2s"
keep_alive_requests = 0
connection_age_max = 0
body_timeout = "3s"
request_body_bytes = 0
[[listener]]
name = "two"
address = "[::1]:0"
limits.connections_per_address = 0
[[server]]
name = "a"
origin = "one"
[[origin]]
name = "one"
addresses = ["127.0.0.1:1"]
"#,
    );
    let config = folder.load().unwrap().config;
    let [one, two] = [0, 1].map(|number| &config.listeners[number].limits);
    let kept = |limits: &ListenerLimits| {
        let ListenerLimits { max_connections, connection, .. } = limits;
        (
            *max_connections,
            connection.head_timeout,
            connection.keep_alive_requests,
            connection.connection_age_max,
            connection.connections_per_address,
        )
    };
    assert_eq!(kept(one), (Some(10), 2 * SECOND, None, None, Some(20)));
    assert_eq!(kept(two), (None, 7 * SECOND, Some(5), Some(3600 * SECOND), None));
    let request = one.request.over(&config.http.limits);
    assert_eq!((request.body_timeout, request.request_body_bytes), (3 * SECOND, None));
    assert_eq!(request.send_timeout, 40 * SECOND);
    assert_eq!(two.request, OwnRequestLimits::default());
}

#[test]
fn the_environment_sets_the_mode_of_http_and_wins() {
    let text = format!(
        "[http]\nmode = \"off\"\nmode_by_header = {{ header = \"X\", contains = {{ a = \"block\" }} }}\n{MINIMAL}"
    );
    let folder = Folder::new(&text);
    let from_file = folder.load_with(&environment("")).unwrap();
    assert_eq!(from_file.config.http.context.mode, Some(Mode::Off));
    assert!(!from_file.config.http.context.mode_from_environment);
    assert_eq!(
        from_file.config.http.context.mode_by_header.as_ref().unwrap().contains,
        [("a".into(), Mode::Block)]
    );

    let from_environment = folder.load_with(&environment("safe_blocking")).unwrap();
    let context = &from_environment.config.http.context;
    assert_eq!((context.mode, context.mode_from_environment), (Some(Mode::SafeBlocking), true));
    assert_eq!(context.mode_by_header, None);
    assert_eq!(from_environment.warnings.len(), 1);
    assert_ne!(from_file.digest, from_environment.digest);
}

#[test]
fn the_cache_is_per_user_unless_the_file_names_one() {
    let environment = |cache: Option<&str>, home: Option<&str>| Environment {
        mode: None,
        cache_home: cache.map(Into::into),
        home: home.map(Into::into),
        only_asked: false,
    };
    let folder = Folder::new(MINIMAL);
    for (cache, home, expected) in [
        (Some("/c"), Some("/h"), Some("/c/weir")),
        (None, Some("/h"), Some("/h/.cache/weir")),
        (Some("relative"), Some("/h"), Some("/h/.cache/weir")),
        (Some(""), Some(""), None),
        (None, None, None),
    ] {
        let config = folder.load_with(&environment(cache, home)).unwrap().config;
        assert_eq!(config.detection.cache_dir.as_deref(), expected.map(Path::new));
    }
    let named = Folder::new(&format!("detection.cache_dir = \"cache\"\n{MINIMAL}"));
    let config = named.load_with(&environment(Some("/c"), None)).unwrap().config;
    assert_eq!(config.detection.cache_dir, Some(named.path("cache")));
}

#[test]
fn host_names_of_origins_are_kept_and_name_the_certificate() {
    let text = MINIMAL.replace("127.0.0.1:9000", "localhost:9443") + "tls = {}\n";
    let origin = Folder::new(&text).load().unwrap().config.origins.remove(0);
    let address = &origin.addresses[0];
    assert_eq!((address.host.as_str(), address.port, address.ip()), ("localhost", 9443, None));
    let tls = origin.tls.unwrap();
    assert_eq!((tls.server_name.as_str(), tls.trust), ("localhost", OriginTrust::SystemRoots));
}

#[test]
fn rules_keep_their_places_and_conditions() {
    let folder = Folder::new(&format!("rules.file = \"rules.toml\"\n{MINIMAL}"));
    folder.write(
        "rules.toml",
        r#"general_mode = "off"
[[rule]]
id = 7
type = "mode"
mode = "default"
[[rule.when]]
point = ["path", 0x10]
is = "absent"
value = ""
[[rule.when]]
point = ["query", ""]
is = "equal"
value = ""
  [[rule]]
  id = 8
  type = "mode"
  mode = "safe_blocking"
  uri = "/a/*"
"#,
    );
    let rules = folder.load().unwrap().config.rules;
    assert_eq!(rules.file, Some(folder.path("rules.toml")));
    assert_eq!(rules.general_mode, RuleMode::Set(Mode::Off));
    assert_eq!((rules.rules[0].id, &rules.rules[0].kind), (7, &RuleKind::Mode(RuleMode::Default)));
    let when: Vec<_> =
        rules.rules[0].when.iter().map(|when| (&when.point, when.is, when.place.line)).collect();
    assert_eq!(when, [(&Point::Path(16), Test::Absent, 6), (&Point::Query(String::new()), Test::Equal, 10)]);
    let second = &rules.rules[1];
    assert_eq!((second.place.line, second.place.column, second.uri.as_deref()), (14, 3, Some("/a/*")));
    assert_eq!(second.place.file.as_ref(), folder.path("rules.toml"));
    assert_eq!(second.kind, RuleKind::Mode(RuleMode::Set(Mode::SafeBlocking)));
}

/// What the rules of the full config say is the same after it was written out and read again.
#[test]
fn rules_are_written_in_the_words_that_they_are_read_from() {
    #[derive(serde::Serialize)]
    struct RulesFile {
        rule: Vec<weir_policy::RuleSource>,
    }
    let sources = |rules: &RulesConfig| {
        let source = |rule: &RuleConfig| weir_policy::RuleSource {
            id: rule.id,
            kind: rule.kind.clone(),
            uri: rule.uri.clone(),
            when: rule
                .when
                .iter()
                .map(|when| weir_policy::Condition {
                    point: when.point.clone(),
                    is: when.is,
                    value: when.value.clone(),
                })
                .collect(),
        };
        rules.rules.iter().map(|rule| source(rule)).collect::<Vec<_>>()
    };
    let folder = Folder::new(&format!("rules.file = \"rules.toml\"\n{MINIMAL}"));
    folder.write("rules.toml", include_str!("../../../../configs/full-rules.toml"));
    let rule = sources(&folder.load().unwrap().config.rules);
    assert_eq!(rule.len(), weir_policy::RuleType::NAMES.len());
    folder.write("rules.toml", toml::to_string(&RulesFile { rule: rule.clone() }).unwrap());
    assert_eq!(sources(&folder.load().unwrap().config.rules), rule);
}

#[test]
fn list_entries_are_canonical() {
    let folder = Folder::new(&format!("ip_lists.file = \"lists.toml\"\n{MINIMAL}"));
    folder.write(
        "lists.toml",
        r#"
[[entry]]
list = "gray"
address = "::ffff:192.0.2.9"
expires = "2030-01-01T01:00:00+01:00"
[[entry]]
list = "allow"
address = "::ffff:10.0.0.0/104"
expires = 2030-01-01 00:00:00Z
applications = [-1, 5]
reason = "office"
"#,
    );
    let entries = folder.load().unwrap().config.ip_lists.entries;
    let entries: Vec<_> = entries.iter().collect();
    assert_eq!((entries[0].list, entries[0].subject.written().1), (ListKind::Gray, "192.0.2.9".to_owned()));
    assert_eq!((entries[0].expires, entries[1].expires), (Some(1_893_456_000), Some(1_893_456_000)));
    assert_eq!((entries[1].list, entries[1].subject.written().1), (ListKind::Allow, "10.0.0.0/8".to_owned()));
    assert_eq!(
        (entries[1].applications.as_slice(), entries[1].reason.as_deref()),
        (&[-1, 5][..], Some("office"))
    );
    assert_eq!(folder.warning_lines(), [""; 0]);
}

#[test]
fn a_digest_changes_with_every_file() {
    let folder = Folder::new(&format!("rules.file = \"rules.toml\"\n{MINIMAL}"));
    folder.write("rules.toml", "general_mode = \"off\"");
    let first = folder.load().unwrap().digest;
    assert_eq!(folder.load().unwrap().digest, first);
    folder.write("rules.toml", "general_mode = \"block\"");
    assert_ne!(folder.load().unwrap().digest, first);
}

#[test]
fn a_config_can_cross_threads() {
    fn check<T: Send + Sync + Clone + PartialEq + std::fmt::Debug>() {}
    check::<Config>();
}

#[test]
fn sizes_that_nobody_wrote_follow_the_head_s() {
    for (head, target, parked) in [("4KiB", 4 << 10, 256 << 10), ("512KiB", 24 << 10, 512 << 10)] {
        let folder = Folder::new(&format!("{MINIMAL}[http.limits]\nhead_bytes = \"{head}\"\n"));
        let limits = folder.load().unwrap().config.http.connection_limits;
        assert_eq!((limits.target_bytes, limits.parked_bytes), (target, parked));
    }
}

#[test]
fn what_is_risky_is_a_warning() {
    let text = MINIMAL.replace("\"127.0.0.1:9000\"", "\"127.0.0.1:9000\", \"127.0.0.1:9000\"")
        + "tls.verify = false\n";
    assert_eq!(
        Folder::new(&text).warning_lines(),
        [
            "weir.toml:10:13: origin[0].addresses: 127.0.0.1:9000 is already an address of this origin; it counts once",
            "weir.toml:11:14: origin[0].tls.verify: the origin's certificate is not verified: anyone on the way can \
             pose as the origin",
        ]
    );
}

#[test]
fn entries_without_effect_and_those_that_open_everything_are_warnings() {
    let folder = Folder::new(&format!("ip_lists.file = \"lists.toml\"\n{MINIMAL}"));
    folder.write(
        "lists.toml",
        r#"entry = [
{ list = "deny", address = "192.0.2.1", expires = "2020-01-01T00:00:00Z" },
{ list = "allow", address = "0.0.0.0/0" },
{ list = "allow", address = "::/0" },
{ list = "deny", address = "0.0.0.0/0" },
{ list = "allow", address = "0.0.0.0/1", expires = "2999-01-01T00:00:00Z" },
]
"#,
    );
    let lines = folder.warning_lines();
    let starts = [
        "lists.toml:2:51: entry[0].expires: is over",
        "lists.toml:3:29: entry[1].address: allows every address",
        "lists.toml:4:29: entry[2].address: allows every address",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

/// What a lists file means, read by the whole of TOML where `whole` is set.
fn read_lists(text: &str, whole: bool) -> Result<(Vec<ListEntryConfig>, Vec<String>), Vec<String>> {
    let folder = Folder::new(&format!("ip_lists.file = \"lists.toml\"\n{MINIMAL}"));
    // A quoted key says the same, and is no plain way to write it.
    let quoted = text.replacen("list = ", "\"list\" = ", 1);
    folder.write("lists.toml", if whole { &quoted } else { text });
    let loaded = folder.load().map_err(|_| folder.error_lines())?;
    let entries = loaded.config.ip_lists.entries.iter().map(|entry| {
        let place = Place { file: std::sync::Arc::from(Path::new("")), ..entry.place.clone() };
        ListEntryConfig { place, ..entry.clone() }
    });
    Ok((entries.collect(), folder.warning_lines()))
}

#[test]
fn plain_lists_are_read_as_toml_reads_them() {
    let right = [
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\n",
        "# comment\n\n[[entry]]\r\n  list=\"allow\"  # why\r\n\taddress\t=\t\"0.0.0.0/0\"\r\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"10.0.0.0/8\"\nreason = \"ü # \"\n[[entry]]\nlist = \"gray\"\naddress = \"::1\"",
        "[[entry]]\nexpires = 2001-01-01T00:00:00Z # over\nlist = \"deny\"\naddress = \"10.0.0.0/8\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"10.0.0.0/8\"\nexpires = \"2099-01-01T00:00:00+01:00\"\napplications = [ 1, -1 ,7]\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"10.0.0.0/8\"\nexpires = 2099-01-01 00:00:00.5Z\napplications = [2]\n",
        "[[entry]]\nlist = \"deny\"\ncountry = \"nl\"\n[[entry]]\nlist = \"deny\"\nproxy = \"TOR\"\n",
        // Beyond what is plain.
        "[[ entry ]]\nlist = 'deny'\naddress = \"10.0.0.\\u0031\"\napplications = [\n1,\n]\n",
        "entry = [{ list = \"deny\", address = \"10.0.0.1\" }]\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"\"\"10.0.0.1\"\"\"\napplications = [0x1, 1_0]\n",
    ];
    for text in right {
        let read = read_lists(text, false);
        assert!(read.is_ok(), "{text}: {read:?}");
        assert_eq!(read, read_lists(text, true), "{text}");
    }
}

#[test]
fn lists_that_are_not_toml_stay_wrong() {
    for text in [
        "[[entry]]\nlist = \"deny\"\naddress = \"10.0.0.0/8\"\napplications = []\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\" x\n",
        "[[entry]]\nlist = \"deny\"\nlist = \"deny\"\naddress = \"192.0.2.1\"\n",
        "list = \"deny\"\n[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\n",
        "[[entry]]\nlist = \"deny\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\ncountry = \"NL\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.256\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"10.1.2.3/8\"\n",
        "[[entry]]\nlist = \"deny\"\ncountry = \"NLD\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\nexpires = 2099-01-01\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\nreason = \"\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\napplications = [1 2]\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\napplications = [01]\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\" \u{1}\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\r# a carriage return alone\n",
        "[[entry]]\nlist = \"deny\naddress = \"192.0.2.1\"\n",
        "[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\nwhy = \"x\"\n",
    ] {
        let read = read_lists(text, false);
        assert!(read.is_err(), "{text}: {read:?}");
    }
}

#[test]
fn connections_cannot_be_kept_ready_for_clients_that_are_not_known_yet() {
    let folder = Folder::new(&format!("{MINIMAL}proxy_protocol = \"v2\"\nmin_idle_connections = 2\n"));
    let warnings = folder.warning_lines();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("min_idle_connections: has no effect"), "{warnings:?}");
}
