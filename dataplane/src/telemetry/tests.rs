//! Tests of the parts together: counters through the registry, events through the file.

use super::*;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn labels_of(servers: &[&str], origins: &[&str]) -> Arc<Labels> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Arc::new(Labels {
        servers: owned(servers),
        origins: owned(origins),
        attack_classes: owned(&["sqli", "xss"]),
    })
}

fn value(snapshot: &MetricsSnapshot, family: Family, wanted: &[&str]) -> Option<u64> {
    snapshot.series(family).find(|(labels, _)| *labels == wanted).map(|(_, value)| value)
}

#[test]
fn each_counting_method_reaches_its_own_series() {
    let registry = MetricsRegistry::new();
    let metrics = registry.add_worker(&labels_of(&["a", "b"], &["x", "y"]));
    metrics.request(1, 3, VerdictLabel::Block);
    metrics.attack(0, AttackAction::Monitored);
    metrics.blocked(BlockReason::DenyList);
    metrics.blocked_bytes(100, 200);
    metrics.allow_listed();
    metrics.protocol_error(400, "bare_lf");
    metrics.handshake(1, HandshakeResult::WrongName);
    metrics.upstream_error(0, UpstreamError::QueueTimeout);
    metrics.retry(1);
    metrics.limit(Limit::DrainTimeout);
    metrics.connection_opened();
    metrics.connection_opened();
    metrics.connection_closed();
    metrics.bytes(10, 20);
    metrics.io_counters(&crate::io::IoCounters { enters: 5, starved: 6, accept_failures: 7 });
    metrics.inspection_nanos(2_000);
    metrics.request_nanos(1_000_000);

    let snapshot = registry.snapshot();
    let expected: [(Family, &[&str], u64); 19] = [
        (Family::Requests, &["b", "block", "block"], 1),
        (Family::Requests, &["a", "off", "pass"], 0),
        (Family::Attacks, &["sqli", "monitored"], 1),
        (Family::Blocked, &["deny_list"], 1),
        (Family::BlockedReceivedBytes, &[], 100),
        (Family::BlockedSentBytes, &[], 200),
        (Family::AllowListed, &[], 1),
        (Family::ProtocolErrors, &["400", "bare_lf"], 1),
        (Family::UpstreamHandshakes, &["y", "wrong_name"], 1),
        (Family::UpstreamErrors, &["x", "queue_timeout"], 1),
        (Family::UpstreamRetries, &["y"], 1),
        (Family::LimitHits, &["drain_timeout"], 1),
        (Family::Connections, &[], 1),
        (Family::ConnectionsAccepted, &[], 2),
        (Family::ReceivedBytes, &[], 10),
        (Family::SentBytes, &[], 20),
        (Family::RingEnters, &[], 5),
        (Family::ReceiveStarved, &[], 6),
        (Family::AcceptFailures, &[], 7),
    ];
    for (family, names, count) in expected {
        assert_eq!(value(&snapshot, family, names), Some(count), "{family:?} {names:?}");
    }
    for family in [Family::Requests, Family::Attacks, Family::Blocked, Family::UpstreamHandshakes] {
        assert_eq!(snapshot.total(family), 1, "nothing else of {family:?} may have moved");
    }
    assert_eq!((snapshot.inspection.count(), snapshot.request.sum_nanos()), (1, 1_000_000));
}

#[test]
fn a_connection_moves_through_its_states() {
    let registry = MetricsRegistry::new();
    let metrics = registry.add_worker(&labels_of(&["a"], &["x", "y"]));
    let states = || {
        let snapshot = registry.snapshot();
        ["connecting", "active", "idle"]
            .map(|state| value(&snapshot, Family::UpstreamConnections, &["y", state]).unwrap())
    };
    metrics.upstream_connection_opened(1);
    assert_eq!(states(), [1, 0, 0]);
    metrics.upstream_connection_ready(1);
    assert_eq!(states(), [0, 1, 0]);
    metrics.upstream_connection_idle(1);
    assert_eq!(states(), [0, 0, 1]);
    metrics.upstream_connection_reused(1);
    assert_eq!(states(), [0, 1, 0]);
    metrics.upstream_connection_closed(1, ConnectionState::Active);
    assert_eq!(states(), [0, 0, 0]);
    assert_eq!(registry.snapshot().total(Family::UpstreamConnectionsOpened), 1);
    assert_eq!(registry.snapshot().total(Family::UpstreamConnectionsReused), 1);
}

#[test]
fn an_index_out_of_range_is_counted_as_unknown() {
    let registry = MetricsRegistry::new();
    let metrics = registry.add_worker(&labels_of(&["a"], &["x"]));
    assert_eq!(value(&registry.snapshot(), Family::Requests, &["unknown", "block", "pass"]), None);
    metrics.request(u32::MAX, 200, VerdictLabel::Pass);
    metrics.attack(77, AttackAction::Blocked);
    metrics.upstream_error(9, UpstreamError::Reset);
    let snapshot = registry.snapshot();
    assert_eq!(value(&snapshot, Family::Requests, &["unknown", "block", "pass"]), Some(1));
    assert_eq!(value(&snapshot, Family::Attacks, &["unknown", "blocked"]), Some(1));
    assert_eq!(value(&snapshot, Family::UpstreamErrors, &["unknown", "reset"]), Some(1));
}

#[test]
fn workers_are_added_up() {
    let registry = MetricsRegistry::new();
    let names = labels_of(&["a"], &[]);
    let workers = [registry.add_worker(&names), registry.add_worker(&names)];
    for metrics in &workers {
        metrics.request(0, 1, VerdictLabel::Pass);
        metrics.request_nanos(5);
    }
    let snapshot = registry.snapshot();
    assert_eq!(value(&snapshot, Family::Requests, &["a", "monitoring", "pass"]), Some(2));
    assert_eq!(snapshot.request.count(), 2);
}

#[test]
fn totals_never_go_back_over_generations() {
    let registry = MetricsRegistry::new();
    let first = registry.add_worker(&labels_of(&["a", "b"], &["x"]));
    first.request(1, 0, VerdictLabel::Pass);
    first.connection_opened();
    first.upstream_connection_opened(0);

    assert!(Arc::ptr_eq(&first, &registry.next_generation(&first, &labels_of(&["a", "b"], &["x"]))));
    let second = registry.next_generation(&first, &labels_of(&["b"], &["new", "x"]));
    second.request(0, 0, VerdictLabel::Pass);
    first.request(1, 0, VerdictLabel::Pass);
    assert_eq!(value(&registry.snapshot(), Family::Requests, &["b", "off", "pass"]), Some(3));

    drop(first);
    // The connection that the old generation opened is closed under the new one, where the origin moved.
    second.upstream_connection_closed(1, ConnectionState::Connecting);
    for _ in 0..2 {
        let snapshot = registry.snapshot();
        assert_eq!(value(&snapshot, Family::Requests, &["b", "off", "pass"]), Some(3));
        assert_eq!(value(&snapshot, Family::UpstreamConnections, &["x", "connecting"]), Some(0));
        assert_eq!(value(&snapshot, Family::UpstreamConnectionsOpened, &["x"]), Some(1));
        assert_eq!(snapshot.total(Family::Connections), 1, "what has no names outlives the generation");
        assert_eq!(
            value(&snapshot, Family::Requests, &["a", "off", "pass"]),
            None,
            "never counted, now gone"
        );
    }
}

#[test]
fn names_that_change_for_ever_do_not_fill_the_memory() {
    let registry = MetricsRegistry::new();
    let mut metrics = registry.add_worker(&labels_of(&[], &[]));
    const GENERATIONS: usize = 5;
    const SERVERS: usize = 7_000;
    for generation in 0..GENERATIONS {
        let names: Vec<String> = (0..SERVERS).map(|server| format!("{generation}-{server}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        metrics = registry.next_generation(&metrics, &labels_of(&names, &[]));
        (0..SERVERS as u32).for_each(|server| metrics.request(server, 0, VerdictLabel::Pass));
        registry.snapshot();
    }
    drop(metrics);
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.total(Family::Requests), (GENERATIONS * SERVERS) as u64);
    assert!(value(&snapshot, Family::Requests, &["retired", "off", "pass"]).unwrap() > 0);
}

fn event(path: &[u8]) -> Event {
    Event {
        unix_nanos: 1_790_000_000_123_456_789,
        request_id: *b"0123456789abcdef0123456789abcdef",
        client_ip: Ipv4Addr::new(192, 0, 2, 7).into(),
        server: Some(Arc::from("server-a")),
        application: -1,
        method: EventText::method(b"GET"),
        host: EventText::host(b"server-a.example"),
        path: EventText::path(path),
        attack: None,
        mode: Some("block"),
        mode_source: Some("rule"),
        mode_rule_id: Some(2),
        decided_by: None,
        list_source: None,
        list: None,
        action: Some(AttackAction::Blocked),
        reason: "attack",
        status: Some(403),
        refusal: None,
        origin_error: None,
    }
}

fn json(event: &Event) -> serde_json::Value {
    let mut line = Vec::new();
    event.write_line(&mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one event, one line");
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn an_event_carries_every_field_of_the_contract() {
    let mut attack = AttackDetail::new("sqli", b"query.id", b"1' UNION SELECT password");
    attack.add_signature(Arc::from("sqli-union"));
    let line = json(&event(b"/main/login").for_attacks([attack]).remove(0));
    let expected = serde_json::json!({
        "time": "2026-09-21T14:13:20.123Z", "request_id": "0123456789abcdef0123456789abcdef",
        "client_ip": "192.0.2.7", "server": "server-a", "application": -1, "method": "GET",
        "host": "server-a.example", "path": "/main/login", "attack_class": "sqli", "point": "query.id",
        "payload": "1' UNION SELECT password", "signatures": ["sqli-union"], "mode": "block",
        "mode_source": "rule", "rule_id": 2, "mode_rule_id": 2, "rules": [], "experimental": false, "list": null, "list_source": null, "action": "blocked", "reason": "attack",
        "status": 403
    });
    assert_eq!(line, expected);
}

#[test]
fn an_event_names_the_rule_that_it_is_due_to() {
    let mut patch = AttackDetail::new("vpatch", b"query.id", b"1");
    patch.add_rule(7);
    let decided = Event { decided_by: Some(5), ..event(b"/") };
    assert_eq!(json(&decided)["rule_id"], 5);
    let events = decided.for_attacks([patch, AttackDetail::new("sqli", b"query.id", b"1")]);
    let found: Vec<_> = events.iter().map(json).collect();
    assert_eq!((&found[0]["rule_id"], &found[0]["rules"]), (&7.into(), &serde_json::json!([7])));
    assert_eq!((&found[1]["rule_id"], &found[1]["mode_rule_id"]), (&5.into(), &2.into()));
}

#[test]
fn experimental_findings_stay_apart() {
    let mut experimental = AttackDetail::new("sqli", b"query.id", b"1");
    experimental.experimental = true;
    let found = event(b"/").for_attacks([AttackDetail::new("sqli", b"query.id", b"2"), experimental]);
    let marks: Vec<_> = found.iter().map(|event| json(event)["experimental"].clone()).collect();
    assert_eq!(marks, [false, true]);
}

#[test]
fn an_event_without_an_attack_has_the_same_fields() {
    let failure = OriginFailure::new(Arc::from("app"), "wrong_name", "the certificate is for other.internal");
    let plain = Event { action: None, status: Some(502), origin_error: Some(failure), ..event(b"/") };
    let line = json(&plain);
    for name in ["attack_class", "point", "payload", "action"] {
        assert_eq!(line.get(name), Some(&serde_json::Value::Null), "{name}");
    }
    assert_eq!(line["signatures"], serde_json::json!([]));
    assert_eq!(line["origin"], "app");
    assert_eq!(line["origin_error"], "wrong_name");
    assert_eq!(line["origin_error_detail"], "the certificate is for other.internal");
}

#[test]
fn bytes_that_are_not_utf8_are_kept_exactly() {
    let line = json(&event(b"/caf\xe9\x00\"\n\xff"));
    assert_eq!(line["path"], "/caf\u{fffd}\u{0}\"\n\u{fffd}");
    assert_eq!(line["path_base64"], "L2NhZukAIgr/");
    assert_eq!(json(&event("/café\u{0}".as_bytes())).get("path_base64"), None);
}

#[test]
fn long_values_are_cut_between_characters_and_say_so() {
    let long = format!("/{}", "é".repeat(5_000));
    let line = json(&event(long.as_bytes()));
    let kept = line["path"].as_str().unwrap();
    assert_eq!(kept.len(), events::PATH_LIMIT_BYTES - 1, "2,048 would cut a character of two bytes");
    assert!(long.starts_with(kept));
    assert_eq!(line["truncated"], serde_json::json!(["path"]));
    let garbage = EventText::new(&[0x80; 100], 10);
    assert_eq!(garbage.bytes().len(), 10, "what is no UTF-8 is cut at the limit");
}

#[test]
fn there_is_one_event_for_each_class() {
    let mut first = AttackDetail::new("sqli", b"query.id", b"first");
    first.add_signature(Arc::from("s1"));
    let mut second = AttackDetail::new("sqli", b"query.name", b"second");
    second.add_signature(Arc::from("s1"));
    second.add_signature(Arc::from("s2"));
    let other = AttackDetail::new("xss", b"query.q", b"<svg>");
    let events = event(b"/").for_attacks([first, other, second]);
    let classes: Vec<_> = events.iter().map(|event| event.attack.as_ref().unwrap().class).collect();
    assert_eq!(classes, ["sqli", "xss"]);
    let sqli = json(&events[0]);
    assert_eq!((&sqli["point"], &sqli["payload"]), (&"query.id".into(), &"first".into()));
    assert_eq!(sqli["signatures"], serde_json::json!(["s1", "s2"]));
    assert_eq!(event(b"/").for_attacks([]), [event(b"/")]);
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "no half line");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_full_queue_drops_and_counts_and_keeps_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let (mut sender, receiver) = event_queue(3);
    let mut writer = EventWriter::new(Some(&file)).unwrap();
    writer.add_queue(receiver);
    let sent: Vec<bool> = (0..5).map(|number| sender.send(event(format!("/{number}").as_bytes()))).collect();
    assert_eq!(sent, [true, true, true, false, false]);
    writer.drain(Instant::now());
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (3, 2));
    let paths: Vec<_> = lines(&file).into_iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["/0", "/1", "/2"]);

    assert!(sender.send(event(b"/later")));
    drop(sender);
    writer.drain(Instant::now());
    writer.drain(Instant::now());
    assert_eq!(
        (writer.counters().written(), writer.counters().dropped()),
        (4, 2),
        "drops of a gone worker stay"
    );
}

#[test]
fn without_a_file_events_are_counted() {
    let (mut sender, receiver) = event_queue(8);
    let mut writer = EventWriter::new(None).unwrap();
    writer.add_queue(receiver);
    (0..5).for_each(|_| assert!(sender.send(event(b"/"))));
    assert_eq!(writer.finish(Instant::now()), 0);
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (5, 0));
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nothing_and_gets_whole_lines_later() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("events");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut writer = EventWriter::new(Some(&pipe)).unwrap();
    let (mut sender, receiver) = event_queue(2048);
    writer.add_queue(receiver);
    let mut now = Instant::now();
    const EVENTS: u64 = 1000;
    (0..EVENTS).for_each(|_| assert!(sender.send(event(b"/a-path-that-makes-these-lines-outgrow-the-pipe"))));
    writer.drain(now);
    let written = writer.counters().written();
    assert!(written < EVENTS, "a pipe holds 64 KiB");
    assert_eq!(writer.counters().write_errors(), 0, "its reader may be a little slow");
    // In the meantime it says that nobody reads.
    writer.drain(now + Duration::from_secs(11));
    assert_eq!(writer.counters().write_errors(), 1);
    now += Duration::from_secs(20);
    let mut reader = std::io::BufReader::new(std::fs::File::open(&pipe).unwrap());
    for _ in 0..EVENTS {
        now += Duration::from_secs(1);
        writer.drain(now);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
    }
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (EVENTS, 0));
    // And a stop doesn't wait for a reader either.
    (0..EVENTS).for_each(|_| assert!(sender.send(event(b"/a-path-that-makes-these-lines-outgrow-the-pipe"))));
    assert!(writer.finish(now) > 0);
}

#[test]
fn a_full_disk_loses_nothing_until_it_has_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    // Every write to this device fails for want of room.
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut writer = EventWriter::new(Some(&file)).unwrap();
    let (mut sender, receiver) = event_queue(8);
    writer.add_queue(receiver);
    let now = Instant::now();
    assert!(sender.send(event(b"/1")));
    writer.drain(now);
    assert_eq!((writer.counters().written(), writer.counters().write_errors()), (0, 1));
    assert!(sender.send(event(b"/2")));
    writer.drain(now);
    assert_eq!(writer.counters().write_errors(), 1, "not tried again at once");
    writer.drain(now + Duration::from_secs(2));
    assert_eq!(writer.counters().write_errors(), 2, "but later");
    std::fs::remove_file(&file).unwrap();
    writer.reopen().unwrap();
    writer.drain(now + Duration::from_secs(2));
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (2, 0));
    assert_eq!(lines(&file).len(), 2);
}

#[test]
fn what_waits_for_a_full_disk_is_bounded() {
    let mut writer = EventWriter::new(Some(Path::new("/dev/full"))).unwrap().with_pending_limit(1);
    let (mut sender, receiver) = event_queue(4);
    writer.add_queue(receiver);
    assert!(sender.send(event(b"/1")));
    writer.drain(Instant::now());
    // The first line waits in memory and fills it; from here on events wait in the queue, and then are dropped.
    for _ in 0..4 {
        assert!(sender.send(event(b"/2")));
        writer.drain(Instant::now());
    }
    assert!(!sender.send(event(b"/3")));
    writer.drain(Instant::now());
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (0, 1));
}

#[test]
fn what_can_not_be_written_at_the_end_is_counted_as_dropped() {
    let mut writer = EventWriter::new(Some(Path::new("/dev/full"))).unwrap();
    let (mut sender, receiver) = event_queue(8);
    writer.add_queue(receiver);
    (0..3).for_each(|_| assert!(sender.send(event(b"/"))));
    assert_eq!(writer.finish(Instant::now()), 3);
    assert_eq!((writer.counters().written(), writer.counters().dropped()), (0, 3));
}

#[test]
fn a_line_that_a_crash_cut_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    std::fs::write(&file, "{\"time\":\"20").unwrap();
    let (mut sender, receiver) = event_queue(8);
    let mut writer = EventWriter::new(Some(&file)).unwrap();
    writer.add_queue(receiver);
    assert!(sender.send(event(b"/after")));
    writer.finish(Instant::now());
    let text = std::fs::read_to_string(&file).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(last["path"], "/after");
}

#[test]
fn an_event_file_that_can_not_be_opened_is_named() {
    let error = EventWriter::new(Some(Path::new("/nonexistent/events.jsonl"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/events.jsonl"), "{error}");
}

#[test]
fn a_graceful_stop_loses_no_event_of_any_worker() {
    const WORKERS: usize = 3;
    const EVENTS: usize = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let mut writer = EventWriter::new(Some(&file)).unwrap();
    let mut senders = Vec::new();
    for _ in 0..WORKERS {
        let (sender, receiver) = event_queue(EVENTS);
        writer.add_queue(receiver);
        senders.push(sender);
    }
    let writer = writer.spawn().unwrap();
    let threads: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(worker, mut sender)| {
            std::thread::spawn(move || {
                (0..EVENTS).all(|number| sender.send(event(format!("/{worker}/{number}").as_bytes())))
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(writer.stop(Duration::from_secs(60)), Some(0));
    assert_eq!(lines(&file).len(), WORKERS * EVENTS);
    assert_eq!(writer.counters().written(), (WORKERS * EVENTS) as u64);
    assert_eq!(writer.stop(Duration::from_secs(1)), None, "stopped already");
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("events.jsonl"), folder.path().join("events.jsonl.1"));
    let mut writer = EventWriter::new(Some(&file)).unwrap();
    let (mut sender, receiver) = event_queue(8);
    writer.add_queue(receiver);
    let writer = writer.spawn().unwrap();
    std::fs::rename(&file, &moved).unwrap();
    writer.reopen();
    assert!(sender.send(event(b"/new")));
    assert_eq!(writer.stop(Duration::from_secs(60)), Some(0));
    assert_eq!((lines(&moved).len(), lines(&file).len()), (0, 1));
}

const METRICS_PAGE: &str = include_str!("../../../docs/metrics.md");
const EVENTS_PAGE: &str = include_str!("../../../docs/events.md");

#[test]
fn the_metrics_page_has_a_row_for_every_metric() {
    let rows: String = Family::ALL
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.kind()).to_ascii_lowercase();
            let labels: Vec<String> = family.labels().iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {kind} | {} | {} |\n", family.name(), labels.join(", "), family.help())
        })
        .collect();
    assert!(METRICS_PAGE.contains(&rows), "the table of docs/metrics.md should be:\n{rows}");
}

#[test]
fn the_metrics_page_has_every_value_of_every_label() {
    fn row(label: &str, family: Family, values: &mut dyn Iterator<Item = &'static str>) -> String {
        let values: Vec<String> = values.map(|value| format!("`{value}`")).collect();
        format!("| `{label}` | `{}` | {} |\n", family.name(), values.join(", "))
    }
    let rows = [
        row("state", Family::Workers, &mut ["configured", "ready"].into_iter()),
        row("result", Family::ConfigReloads, &mut ["in_force", "refused"].into_iter()),
        row("mode", Family::Requests, &mut labels::MODES.into_iter()),
        row("verdict", Family::Requests, &mut VerdictLabel::ALL.iter().map(|one| one.as_str())),
        row("action", Family::Attacks, &mut AttackAction::ALL.iter().map(|one| one.as_str())),
        row("reason", Family::Blocked, &mut BlockReason::ALL.iter().map(|one| one.as_str())),
        row("limit", Family::LimitHits, &mut Limit::ALL.iter().map(|one| one.as_str())),
        row("result", Family::ClientHandshakes, &mut HandshakeResult::ALL.iter().map(|one| one.as_str())),
        row("state", Family::UpstreamConnections, &mut ConnectionState::ALL.iter().map(|one| one.as_str())),
        row("result", Family::UpstreamHandshakes, &mut HandshakeResult::ALL.iter().map(|one| one.as_str())),
        row("reason", Family::UpstreamErrors, &mut UpstreamError::ALL.iter().map(|one| one.as_str())),
        row("reason", Family::OriginEjections, &mut EjectionReason::ALL.iter().map(|one| one.as_str())),
        row("result", Family::OriginChecks, &mut ["passed", "failed"].into_iter()),
        row("result", Family::DnsLookups, &mut ["found", "failed"].into_iter()),
    ]
    .concat();
    assert!(METRICS_PAGE.contains(&rows), "the table of docs/metrics.md should be:\n{rows}");
}

#[test]
fn the_events_page_has_a_row_for_every_field() {
    let failure = OriginFailure::new(Arc::from("app"), "reset", "");
    let attack = AttackDetail::new("sqli", b"query.id", b"payload");
    let path = [b'a'; events::PATH_LIMIT_BYTES + 1];
    let full = Event { origin_error: Some(failure), ..event(&path) }.for_attacks([attack]).remove(0);
    for (name, _) in json(&full).as_object().unwrap() {
        assert!(EVENTS_PAGE.contains(&format!("\n| `{name}` | ")), "docs/events.md has no row for {name}");
    }
}
