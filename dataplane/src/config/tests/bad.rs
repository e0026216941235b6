//! Configs that are wrong, and what is said about them.

use super::*;

/// Compares error lines with their expected beginnings, one for one.
#[track_caller]
pub(super) fn assert_lines(found: &[String], expected: &[&str]) {
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(same, "found\n{}\nexpected\n{}", found.join("\n"), expected.join("\n"));
}

/// Checks all error lines of a config whose text follows [`MINIMAL`], so that its first line is line 11.
#[track_caller]
fn assert_errors(text: &str, expected: &[&str]) {
    assert_lines(&Folder::new(&format!("{MINIMAL}{text}")).error_lines(), expected);
}

#[test]
fn mistakes_in_node_are_named() {
    assert_errors(
        r#"[node]
workres = 2
workers = 5000
max_connections = "x"
io = "poll"
keep_alive_timeout = "3s"
foo = 1
"new\nline" = 1
drain_timeout = 30
state_dir = ""
"#,
        &[
            r#"weir.toml:12:1: node.workres: unknown key "workres""#,
            "weir.toml:13:11: node.workers: found 5000",
            r#"weir.toml:14:19: node.max_connections: found "x""#,
            r#"weir.toml:15:6: node.io: found "poll""#,
            r#"weir.toml:16:1: node.keep_alive_timeout: unknown key "keep_alive_timeout""#,
            r#"weir.toml:17:1: node.foo: unknown key "foo""#,
            r#"weir.toml:18:1: node."new\nline": unknown key "new\nline""#,
            "weir.toml:19:17: node.drain_timeout: found 30",
            r#"weir.toml:20:13: node.state_dir: found """#,
        ],
    );
}

#[test]
fn mistakes_in_http_are_named() {
    assert_errors(
        r#"[http]
mode = "blok"
real_ip_header = "a b"
trusted_proxies = ["10.0.0.0/33", 5, "::1"]
application = 0
disable_acl = 1
acl_access_phase = "yes"
mode_by_header = { header = "x", contains = {} }
[http.limits]
head_bytes = "64KB"
target_bytes = "1MiB"
parked_bytes = "2KiB"
body_timeout = "0"
head_timeout = "1m30s"
header_count = -1
keep_alive_requests = 4294967296
lingering_bytes = "99999999999999999999B"
"#,
        &[
            r#"weir.toml:12:8: http.mode: found "blok""#,
            r#"weir.toml:13:18: http.real_ip_header: found "a b""#,
            r#"weir.toml:14:20: http.trusted_proxies[0]: found "10.0.0.0/33""#,
            "weir.toml:14:35: http.trusted_proxies[1]: found 5",
            "weir.toml:15:15: http.application: found 0",
            "weir.toml:16:15: http.disable_acl: found 1",
            r#"weir.toml:17:20: http.acl_access_phase: found "yes""#,
            "weir.toml:18:45: http.mode_by_header.contains: found an empty table",
            r#"weir.toml:20:14: http.limits.head_bytes: found "64KB""#,
            "weir.toml:21:16: http.limits.target_bytes: found 1MiB",
            "weir.toml:22:16: http.limits.parked_bytes: found 2KiB",
            r#"weir.toml:23:16: http.limits.body_timeout: found "0""#,
            r#"weir.toml:24:16: http.limits.head_timeout: found "1m30s""#,
            "weir.toml:25:16: http.limits.header_count: found -1",
            "weir.toml:26:23: http.limits.keep_alive_requests: found 4294967296",
            r#"weir.toml:27:19: http.limits.lingering_bytes: found "99999999999999999999B""#,
        ],
    );
}

#[test]
fn maps_by_header_name_their_mistakes() {
    assert_errors(
        r#"[http]
mode_by_header = { header = "", contains = { "" = "off", "a b" = "of", c = 1 }, other = 1 }
[[server]]
name = "b"
origin = "app"
mode_by_header = { }
[[server.location]]
path = "/"
mode_by_header = "x"
"#,
        &[
            r#"weir.toml:12:29: http.mode_by_header.header: found """#,
            r#"weir.toml:12:51: http.mode_by_header.contains."": found an empty text, which every value contains"#,
            r#"weir.toml:12:66: http.mode_by_header.contains."a b": found "of""#,
            "weir.toml:12:76: http.mode_by_header.contains.c: found 1",
            r#"weir.toml:12:81: http.mode_by_header.other: unknown key "other""#,
            r#"weir.toml:16:18: server[1].mode_by_header.contains: mode_by_header has no "contains""#,
            r#"weir.toml:16:18: server[1].mode_by_header.header: mode_by_header has no "header""#,
            r#"weir.toml:19:18: server[1].location[0].mode_by_header: found "x""#,
        ],
    );
}

#[test]
fn mistakes_in_listeners_are_named() {
    assert_errors(
        r#"[[listener]]
name = "public"
address = "127.0.0.1"
proxy_protocol = true
tls = { client_auth = "require" }
[[listener]]
name = "x"
address = "unix:"
[[listener]]
address = "127.0.0.1:80"
[[listener]]
name = "z"
address = "127.0.0.1:80"
"#,
        &[
            r#"weir.toml:12:8: listener[1].name: found a second listener "public""#,
            r#"weir.toml:13:11: listener[1].address: found "127.0.0.1""#,
            "weir.toml:14:18: listener[1].proxy_protocol: found true, and [http].trusted_proxies is empty: nobody could connect",
            r#"weir.toml:15:7: listener[1].tls.certificates: a TLS listener needs at least one certificate"#,
            "weir.toml:15:23: listener[1].tls.client_auth: clients are asked for a certificate, and client_ca is missing",
            r#"weir.toml:18:11: listener[2].address: found "unix:", allowed is an IP address and a port"#,
            r#"weir.toml:19:1: listener[3].name: [[listener]] has no "name""#,
            r#"weir.toml:23:11: listener[4].address: found a second listener at "127.0.0.1:80""#,
        ],
    );
}

#[test]
fn an_empty_list_of_certificates_is_an_error() {
    assert_errors(
        "[[listener]]\nname = \"x\"\naddress = \"127.0.0.1:81\"\ntls = { certificates = [] }\n",
        &["weir.toml:14:24: listener[1].tls.certificates: a TLS listener needs at least one certificate"],
    );
}

#[test]
fn mistakes_in_servers_are_named() {
    assert_errors(
        r#"[[server]]
name = "a"
origin = "ap"
hosts = ["h:80", "http://x", "*", "*x", "a..b", "ü", "[::1]", "[x]", "A.example", "a.example."]
default = true
[[server]]
name = "c"
default = true
origin = "zzzzzz"
[[server]]
hosts = "x"
"#,
        &[
            r#"weir.toml:12:8: server[1].name: found a second server "a""#,
            r#"weir.toml:13:10: server[1].origin: found "ap", which no [[origin]] has as its name"#,
            r#"weir.toml:14:10: server[1].hosts[0]: found "h:80""#,
            r#"weir.toml:14:18: server[1].hosts[1]: found "http://x""#,
            r#"weir.toml:14:30: server[1].hosts[2]: found "*""#,
            r#"weir.toml:14:35: server[1].hosts[3]: found "*x""#,
            r#"weir.toml:14:41: server[1].hosts[4]: found "a..b""#,
            r#"weir.toml:14:49: server[1].hosts[5]: found "ü""#,
            r#"weir.toml:14:63: server[1].hosts[7]: found "[x]""#,
            r#"weir.toml:14:83: server[1].hosts[9]: found a second host "a.example""#,
            "weir.toml:18:11: server[2].default: found a second default server",
            r#"weir.toml:19:10: server[2].origin: found "zzzzzz", which no [[origin]] has as its name"#,
            r#"weir.toml:20:1: server[3].origin: [[server]] has no "origin""#,
            r#"weir.toml:20:1: server[3].name: [[server]] has no "name""#,
            r#"weir.toml:21:9: server[3].hosts: found "x""#,
        ],
    );
}

#[test]
fn mistakes_in_locations_are_named() {
    assert_errors(
        r#"[[server]]
name = "b"
origin = "app"
[[server.location]]
path = "x"
match = "prefixx"
block_response = { status = 302 }
origin = "no"
[[server.location]]
match = "regex"
path = "x"
limits = { head_bytes = "1KiB" }
[[server.location]]
match = "prefix_final"
path = "/x"
[[server.location]]
path = "/x"
[[server.location]]
match = "exact"
path = "/x"
[[server.location]]
"#,
        &[
            r#"weir.toml:15:8: server[1].location[0].path: found "x""#,
            r#"weir.toml:16:9: server[1].location[0].match: found "prefixx""#,
            "weir.toml:17:29: server[1].location[0].block_response.status: found 302, allowed is 200 or 400 to 599",
            r#"weir.toml:18:10: server[1].location[0].origin: found "no", which no [[origin]] has as its name"#,
            r#"weir.toml:22:12: server[1].location[1].limits.head_bytes: unknown key "head_bytes""#,
            r#"weir.toml:27:8: server[1].location[3].path: found a second location "prefix /x""#,
            r#"weir.toml:31:1: server[1].location[5].path: [[server.location]] has no "path""#,
        ],
    );
}

#[test]
fn a_catch_all_host_is_no_host() {
    assert_errors(
        "[[server]]\nname = \"b\"\norigin = \"app\"\nhosts = [\"_\", \"_a.example\"]\n",
        &[
            r#"weir.toml:14:10: server[1].hosts[0]: found "_", allowed is a host name, or "*." and a host name; default = true"#,
        ],
    );
}

#[test]
fn modifiers_of_locations_have_a_key_of_their_own() {
    for (path, advice) in [
        ("= /x", r#"write path = "/x" with match = "exact""#),
        ("^~ /x", r#"write path = "/x" with match = "prefix_final""#),
        ("~ [.]php$", r#"write path = "[.]php$" with match = "regex""#),
        ("~* [.]php$", r#"write path = "[.]php$" with match = "regex_nocase""#),
        ("x", r#"write "/x""#),
    ] {
        assert_errors(
            &format!("[[server]]\nname = \"b\"\norigin = \"app\"\n[[server.location]]\npath = \"{path}\"\n"),
            &[&format!(
                "weir.toml:15:8: server[1].location[0].path: found \"{path}\", allowed is a path that begins with /; {advice}"
            )],
        );
    }
}

#[test]
fn mistakes_in_origins_are_named() {
    assert_errors(
        r#"[[origin]]
name = "app"
addresses = []
[[origin]]
name = "b"
addresses = ["127.0.0.1", "http://x:1", "::1:80", "x:0", "x:99999", "unix:/x", "[127.0.0.1]:1", 7, "x:+1"]
balance = "random"
[origin.tls]
require_mtls = true
server_name = "a b"
[[origin]]
name = "c"
addresses = ["127.0.0.1:1", "127.0.0.2:1"]
tls = { client_certificate = "edge" }
[[client_certificate]]
name = "edgy"
certificate = "x"
[[client_certificate]]
name = "edgy"
certificate = "x"
ca_bundle = "y"
private_key = ""
"#,
        &[
            r#"weir.toml:12:8: origin[1].name: found a second origin "app""#,
            "weir.toml:13:13: origin[1].addresses: found an empty list",
            r#"weir.toml:16:14: origin[2].addresses[0]: found "127.0.0.1""#,
            r#"weir.toml:16:27: origin[2].addresses[1]: found "http://x:1""#,
            r#"weir.toml:16:41: origin[2].addresses[2]: found "::1:80""#,
            r#"weir.toml:16:51: origin[2].addresses[3]: found "x:0""#,
            r#"weir.toml:16:58: origin[2].addresses[4]: found "x:99999""#,
            r#"weir.toml:16:69: origin[2].addresses[5]: found "unix:/x""#,
            r#"weir.toml:16:80: origin[2].addresses[6]: found "[127.0.0.1]:1""#,
            "weir.toml:16:97: origin[2].addresses[7]: found 7",
            r#"weir.toml:16:100: origin[2].addresses[8]: found "x:+1""#,
            r#"weir.toml:17:11: origin[2].balance: found "random""#,
            "weir.toml:19:16: origin[2].tls.require_mtls: found true without client_certificate",
            r#"weir.toml:20:15: origin[2].tls.server_name: found "a b""#,
            "weir.toml:24:7: origin[3].tls.server_name: is missing, and the addresses of the origin have several hosts",
            r#"weir.toml:24:30: origin[3].tls.client_certificate: found "edge", which no [[client_certificate]] has as its name"#,
            r#"weir.toml:25:1: client_certificate[0].private_key: [[client_certificate]] has no "private_key""#,
            r#"weir.toml:25:1: client_certificate[0].ca_bundle: [[client_certificate]] has no "ca_bundle""#,
            r#"weir.toml:29:8: client_certificate[1].name: found a second client certificate "edgy""#,
            r#"weir.toml:32:15: client_certificate[1].private_key: found """#,
        ],
    );
}

#[test]
fn mistakes_in_the_other_tables_are_named() {
    assert_errors(
        r#"[detection]
body_limit = "2GiB"
time_limit = 1
min_score = 0
over_body_limit = "drop"
signatures = ["none", 5]
[rules]
file = "none.toml"
[ip_lists]
file = "none-either.toml"
[events]
queue_length = 1
[admin]
address = "0.0.0.0:9901"
token_flie = "x"
"#,
        &[
            r#"weir.toml:12:14: detection.body_limit: found "2GiB""#,
            "weir.toml:13:14: detection.time_limit: found 1",
            "weir.toml:14:13: detection.min_score: found 0",
            r#"weir.toml:15:19: detection.over_body_limit: found "drop""#,
            "weir.toml:16:15: detection.signatures[0]: can't read the folder none: No such file or directory",
            "weir.toml:16:23: detection.signatures[1]: found 5",
            "weir.toml:18:8: rules.file: can't read none.toml: No such file or directory",
            "weir.toml:20:8: ip_lists.file: can't read none-either.toml: No such file or directory",
            "weir.toml:22:16: events.queue_length: found 1",
            "weir.toml:24:11: admin.address: found 0.0.0.0:9901: without token_file only a loopback address is allowed",
            r#"weir.toml:25:1: admin.token_flie: unknown key "token_flie""#,
        ],
    );
}

#[test]
fn a_token_file_must_be_there() {
    assert_errors(
        r#"[admin]
address = "0.0.0.0:9901"
token_file = "x"
"#,
        &["weir.toml:13:14: admin.token_file: token file x: No such file or directory"],
    );
}

#[test]
fn a_token_file_must_hold_a_token() {
    let folder =
        Folder::new(&format!("{MINIMAL}[admin]\naddress = \"127.0.0.1:0\"\ntoken_file = \"short.token\"\n"));
    for text in ["", "\n", "too-short\n"] {
        folder.write("short.token", text);
        assert_lines(
            &folder.error_lines(),
            &["weir.toml:13:14: admin.token_file: token file short.token: a token of at least 16 bytes"],
        );
    }
    folder.write("short.token", "0123456789abcdef\n");
    assert!(folder.load().is_ok());
}

#[test]
fn the_admin_endpoint_needs_a_port_that_no_listener_has() {
    let lines = |listener: &str, admin: &str| {
        let main = MINIMAL.replace("127.0.0.1:0", listener);
        let folder = Folder::new(&format!("{main}[admin]\naddress = \"{admin}\"\ntoken_file = \"token\"\n"));
        folder.write("token", "0123456789abcdef");
        if folder.load().is_ok() { Vec::new() } else { folder.error_lines() }
    };
    for (listener, admin) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("127.0.0.1:80", "0.0.0.0:80"),
        ("127.0.0.1:80", "[::]:80"),
        ("[::]:80", "[::1]:80"),
        ("[::1]:80", "[::]:80"),
    ] {
        let shown = format!(
            "weir.toml:12:11: admin.address: found {admin}, which listener \"public\" at weir.toml:2:1 listens on with \
             {listener}; give"
        );
        assert_lines(&lines(listener, admin), &[&shown]);
    }
    for (listener, admin) in [
        ("127.0.0.1:80", "127.0.0.1:81"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::]:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "[::1]:80"),
    ] {
        assert_lines(&lines(listener, admin), &[]);
    }
}

#[test]
fn events_need_a_file_that_can_be_appended_to() {
    let folder = |file: &str| Folder::new(&format!("{MINIMAL}[events]\nfile = \"{file}\"\n"));
    assert_lines(
        &folder("nowhere/events.jsonl").error_lines(),
        &[
            "weir.toml:12:8: events.file: events can't be appended to nowhere/events.jsonl: it doesn't exist, and folder \
           nowhere: No such file or directory",
        ],
    );
    assert_lines(
        &folder(".").error_lines(),
        &["weir.toml:12:8: events.file: events can't be appended to .: it is a folder"],
    );
    let good = folder("events.jsonl");
    assert!(good.load().is_ok());
    assert!(!good.path("events.jsonl").exists(), "nothing is created");
}

#[test]
fn an_admin_table_needs_an_address() {
    assert_errors(
        r#"[admin]
"#,
        &[r#"weir.toml:11:1: admin.address: [admin] has no "address""#],
    );
}

#[test]
fn what_is_no_toml_is_told_with_the_rest() {
    assert_errors(
        r#"a =
b = 'x
[node]
workers = "x"
zz = 1
[http]
mode = block
[http]
[[server]]
name = "b"
origin = "b"
"#,
        &[
            "weir.toml:11:4: origin.a: found nothing where a value belongs",
            "weir.toml:12:7: origin.b: invalid literal string, expected `'`",
            r#"weir.toml:14:11: node.workers: found "x""#,
            r#"weir.toml:15:1: node.zz: unknown key "zz""#,
            r#"weir.toml:17:8: http.mode: found "block": string values must be quoted, expected literal string"#,
            r#"weir.toml:18:2: http: found "http": duplicate key"#,
        ],
    );
}

#[test]
fn connections_kept_ready_have_to_fit() {
    let origin = |keys: &str| Folder::new(&format!("{MINIMAL}{keys}")).error_lines();
    let found = origin("min_idle_connections = 9\nidle_connections = 8\n");
    assert_lines(&found, &["weir.toml:11:24: origin[0].min_idle_connections: found 9, allowed is at most"]);
    let found = origin("min_idle_connections = 9\nkeep_alive_timeout = \"0s\"\n");
    assert_lines(&found, &["weir.toml:12:22: origin[0].keep_alive_timeout: found less than 1s"]);
}
