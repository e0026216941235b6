//! `explain`: what it says, in single questions and in batches, and that it is what happens.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::get;
use crate::support::command::{run, run_with_input};
use crate::support::node::weir;
use crate::support::origin::Origin;
use crate::support::setup::{Setup, somewhere};

const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

/// A config with something of everything that `explain` speaks about.
fn explained() -> Setup {
    Setup::new(somewhere())
        .server(
            "hosts = [\"site.example\"]\napplication = 3\nmode_allow_override = \"strict\"\n\
             [[server.location]]\npath = \"/main\"\nmode = \"safe_blocking\"",
        )
        .rules(
            "general_mode = \"off\"\n[[rule]]\nid = 2\ntype = \"mode\"\nmode = \"block\"\nuri = \"/main/**\"\n\
             [[rule]]\nid = 3\ntype = \"mode\"\nmode = \"monitoring\"\nuri = \"/main/login\"\n",
        )
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.1\"\n[[entry]]\nlist = \"gray\"\naddress = \"192.0.2.2\"\n\
                [[entry]]\nlist = \"allow\"\naddress = \"192.0.2.3\"\n")
}

#[test]
fn whoever_may_not_write_events_may_ask_all_the_same() {
    let setup = explained();
    let text = setup.text().replace("events.jsonl", "no/such/folder/events.jsonl");
    let path = setup.write("weir.toml", text);
    assert_eq!(run("check", &path, &[]).code, 1);
    assert_eq!(run("explain", &path, &["http://site.example/"]).code, 0);
}

#[test]
fn explain_says_where_everything_comes_from() {
    let setup = explained();
    let path = setup.write_config();
    let done = run("explain", &path, &["--json", &format!("http://site.example/main/x{}", &ATTACK[1..])]);
    assert_eq!(done.code, 0, "{done:?}");
    let lines = done.json_lines();
    assert_eq!(lines.len(), 1);
    let answer = &lines[0];
    for (field, value) in [
        ("server", json!("site")),
        ("location", json!("/main")),
        ("application", json!(3)),
        ("origin", json!("app")),
        ("server_by", json!({ "kind": "exact", "pattern": "site.example" })),
        ("local_mode", json!({ "value": "safe_blocking", "from": "location /main", "by_header": null })),
        ("mode_allow_override", json!({ "value": "strict", "from": "server site" })),
        ("mode", json!("block")),
        ("mode_from", json!("rule 2")),
        ("list", Value::Null),
        ("verdict", json!("block")),
        ("reason", json!("attack")),
        ("recorded", json!(true)),
    ] {
        assert_eq!(answer[field], value, "{field}: {answer}");
    }
    let findings = answer["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["signature"] == "sqli-union-select").unwrap();
    for (field, value) in [("class", json!("sqli")), ("point", json!("query.id"))] {
        assert_eq!(finding[field], value, "{field}: {answer}");
    }
    assert!(
        finding["score"].as_u64().unwrap() >= 5 && finding["payload"].as_str().unwrap().contains("UNION")
    );
    let rules = answer["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["id"] == 2).unwrap();
    assert_eq!(
        (&rule["type"], &rule["mode"], &rule["wins"]),
        (&json!("mode"), &json!("block"), &json!(true))
    );
    assert!(!rule["why"].as_str().unwrap().is_empty());
}

#[test]
fn explain_says_what_becomes_of_the_general_mode() {
    let setup = explained();
    let path = setup.write_config();
    for (url, wins, why) in [
        ("http://site.example/", true, "mode_allow_override is strict and off is not stricter"),
        ("http://site.example/main/x", false, "rule 2 is more specific"),
    ] {
        let answer = run("explain", &path, &["--json", url]).json_lines().remove(0);
        let general = answer["rules"].as_array().unwrap().iter().find(|rule| rule["id"].is_null());
        let general = general.unwrap_or_else(|| panic!("{answer}"));
        assert_eq!((&general["type"], &general["mode"]), (&json!("mode"), &json!("off")), "{answer}");
        assert_eq!(general["wins"], json!(wins), "{answer}");
        assert!(general["why"].as_str().unwrap().contains(why), "{answer}");
        let text = run("explain", &path, &[url]).stdout;
        let line = text.lines().find(|line| line.starts_with("general    mode off: "));
        assert!(line.is_some_and(|line| line.contains(why)), "{text}");
    }
}

#[test]
fn explain_takes_what_curl_takes() {
    let setup = explained();
    let path = setup.write_config();
    let ask = |arguments: &[&str]| {
        let done = run("explain", &path, &[&["--json"], arguments].concat());
        assert_eq!(done.code, 0, "{done:?}");
        done.json_lines().remove(0)
    };
    let denied = ask(&["--client", "192.0.2.1", "/main/"]);
    assert_eq!(
        (&denied["list"], &denied["verdict"], &denied["reason"]),
        (&json!("deny"), &json!("block"), &json!("deny_list"))
    );
    let allowed = ask(&["--client", "192.0.2.3", ATTACK]);
    assert_eq!(
        (&allowed["list"], &allowed["verdict"], &allowed["recorded"]),
        (&json!("allow"), &json!("pass"), &json!(false))
    );
    let gray_elsewhere = ask(&["--client", "192.0.2.2", "/"]);
    assert_eq!(gray_elsewhere["list"], Value::Null, "gray is read in safe_blocking alone");
    let body = ask(&[
        "-X",
        "PUT",
        "-H",
        "Content-Type: application/x-www-form-urlencoded",
        "-d",
        "id=1'+UNION+SELECT+password+FROM+users--",
        "/main/a",
    ]);
    assert_eq!((&body["verdict"], &body["findings"][0]["class"]), (&json!("block"), &json!("sqli")));
    let header = ask(&["-H", "User-Agent: <script>alert(1)</script>", "/main/a"]);
    assert_eq!(header["findings"][0]["point"], "header.user-agent");
    let text = run("explain", &path, &["/main/a"]);
    assert_eq!(text.code, 0);
    for word in ["site", "/main", "safe_blocking", "block", "rule 2", "verdict"] {
        assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
    }
}

#[test]
fn explain_says_why_this_server_and_which_header_chose_the_mode() {
    let server =
        |name: &str, more: &str| format!("[[server]]\nname = \"{name}\"\norigin = \"app\"\n{more}\n");
    let setup = Setup::new(somewhere()).more(
        &(server("named", "hosts = [\"a.example\", \"*.Example\", \"*.b.example\"]")
            + "mode_by_header = { header = \"User-Agent\", contains = { Googlebot = \"off\", bot = \"monitoring\" } }\n"),
    );
    let path = setup.write_config();
    let site = ("site", json!({ "kind": "default" }), "site, the default: no server names this host");
    for (host, (server, by, text)) in [
        (
            "a.example:80",
            ("named", json!({ "kind": "exact", "pattern": "a.example" }), "named, by host a.example\n"),
        ),
        (
            "x.EXAMPLE",
            (
                "named",
                json!({ "kind": "wildcard", "pattern": "*.Example" }),
                "named, by wildcard *.Example\n",
            ),
        ),
        ("c.b.example", ("named", json!({ "kind": "wildcard", "pattern": "*.b.example" }), "*.b.example\n")),
        ("nobody", site),
    ] {
        let url = format!("http://{host}/");
        let answer = run("explain", &path, &["--json", &url]).json_lines().remove(0);
        assert_eq!((&answer["server"], &answer["server_by"]), (&json!(server), &by), "{host}");
        assert_eq!(answer["local_mode"]["by_header"], Value::Null);
        assert!(run("explain", &path, &[&url]).stdout.contains(text), "{host}");
    }
    let bot = ["-H", "user-agent: Googlebot/2", "http://a.example/"];
    let answer = run("explain", &path, &[&["--json"], &bot[..]].concat()).json_lines().remove(0);
    assert_eq!(
        answer["local_mode"],
        json!({ "value": "monitoring", "from": "server named",
                "by_header": { "header": "User-Agent", "contains": "bot" } })
    );
    let text = run("explain", &path, &bot).stdout;
    let line = "local mode monitoring, from server named, mode_by_header: User-Agent contains \"bot\"\n";
    assert!(text.contains(line), "{text}");
    // Without a default server, the first one answers.
    let text = setup.text().replace("default = true", "");
    let first = run("explain", &setup.write("first.toml", text), &["/"]).stdout;
    assert!(first.contains("site, the first: no server names this host, and none is the default"), "{first}");
}

#[test]
fn what_no_client_can_send_is_wrong_usage() {
    let setup = explained();
    let path = setup.write_config();
    for (arguments, advice) in [
        (&["/a b"][..], "write %20"),
        (&[""], "the URL is empty"),
        (&["ftp://x/"], "write http://HOST/PATH"),
        (&["-X", "foo bar", "/"], "write one word such as GET"),
        (&["-d", "@nowhere", "/"], "-d @nowhere: No such file"),
    ] {
        let done = run("explain", &path, arguments);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
        assert!(done.stderr.contains(advice), "{done:?}");
    }
}

#[test]
fn a_body_is_read_from_a_file_as_curl_does() {
    let setup = explained();
    let path = setup.write_config();
    let file = setup.write("body", "id=1'+UNION+SELECT\n+password+FROM+users--\n");
    let named = format!("@{}", file.display());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let from_file = run("explain", &path, &["-H", form, "-d", &named, "/main/a"]);
    let direct =
        run("explain", &path, &["-H", form, "-d", "id=1'+UNION+SELECT+password+FROM+users--", "/main/a"]);
    assert_eq!(from_file.stdout, direct.stdout);
    assert!(direct.stdout.contains("1' UNION SELECT"), "quotes as they are: {}", direct.stdout);
}

#[test]
fn a_batch_gets_one_answer_a_line_whatever_the_lines_hold() {
    let setup = explained();
    let raw = |bytes: &[u8]| format!("{{\"raw_base64\":\"{}\"}}", STANDARD.encode(bytes));
    let whole = "POST /main/x HTTP/1.1\r\nHost: site.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Transfer-Encoding: chunked\r\n\r\n29\r\nid=1'+UNION+SELECT+password+FROM+users--\n\r\n0\r\n\r\n";
    let attack = json!({ "url": format!("/main/x{}", &ATTACK[1..]) }).to_string();
    let in_base64 = json!({ "url": "/main/x", "headers": [["Content-Type", "application/x-www-form-urlencoded"]],
                            "body_base64": STANDARD.encode("id=1' UNION SELECT password FROM users--") });
    let passes = |answer: &Value| answer["verdict"] == "pass" && answer["mode"].is_string();
    let attacks = |answer: &Value| answer["verdict"] == "block" && answer["reason"] == "attack";
    let protocol = |answer: &Value| {
        answer["verdict"] == "block" && answer["reason"] == "protocol" && answer["mode"].is_null()
    };
    type Expectation<'a> = &'a dyn Fn(&Value) -> bool;
    let lines: Vec<(Vec<u8>, Expectation<'_>)> = vec![
        (br#"{"url":"/main/a"}"#.to_vec(), &passes),
        (attack.into_bytes(), &attacks),
        (raw(get("/main/a").as_bytes()).into_bytes(), &passes),
        (raw(whole.as_bytes()).into_bytes(), &attacks),
        (in_base64.to_string().into_bytes(), &attacks),
        (
            br#"{"method":"GET","url":"/main/a","client":"192.0.2.1","headers":[["X","y"]],"body":""}"#
                .to_vec(),
            &|answer| answer["reason"] == "deny_list",
        ),
        (b"garbage".to_vec(), &protocol),
        (b"{".to_vec(), &protocol),
        (b"{}".to_vec(), &protocol),
        (b"null".to_vec(), &protocol),
        (b"[[[[".repeat(1000), &protocol),
        (b"\xff\xfe\x00".to_vec(), &protocol),
        (br#"{"url":"/","unknown":1}"#.to_vec(), &protocol),
        (br#"{"raw_base64":"%%%"}"#.to_vec(), &protocol),
        (raw(b"").into_bytes(), &protocol),
        (raw(b"GET / HTTP/1.1\r\n").into_bytes(), &protocol),
        (raw(b"\x16\x03\x01").into_bytes(), &protocol),
        (raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").into_bytes(), &protocol),
        (raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nshort").into_bytes(), &protocol),
        (
            raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").into_bytes(),
            &protocol,
        ),
        (br#"{"method":"BAD METHOD","url":"/"}"#.to_vec(), &protocol),
        (br#"{"url":"/a b"}"#.to_vec(), &protocol),
        (br#"{"url":"/","headers":[["Bad Name","x"]]}"#.to_vec(), &protocol),
        (br#"{"url":"/main/last"}"#.to_vec(), &passes),
    ];
    let mut input = Vec::new();
    for (line, _) in &lines {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    // The last line needs no end.
    input.pop();
    let path = setup.write_config();
    let file = setup.write("batch.jsonl", &input);
    let from_stdin = run_with_input("explain", &path, &["--batch", "-"], &input);
    let from_file = run("explain", &path, &["--batch", file.to_str().unwrap()]);
    assert_eq!((from_stdin.code, from_file.code), (0, 0), "{}", from_stdin.stderr);
    assert_eq!(from_stdin.stdout, from_file.stdout);
    let answers = from_stdin.json_lines();
    assert_eq!(answers.len(), lines.len());
    for ((line, expected), answer) in lines.iter().zip(&answers) {
        assert!(expected(answer), "{}: {answer}", line[..line.len().min(200)].escape_ascii());
        for field in [
            "server",
            "location",
            "application",
            "origin",
            "local_mode",
            "mode_allow_override",
            "rules",
            "mode",
            "mode_from",
            "list",
            "findings",
            "verdict",
            "reason",
            "recorded",
        ] {
            assert!(answer.get(field).is_some(), "{field} is missing: {answer}");
        }
    }
}

#[test]
fn a_line_of_a_corpus_is_a_request_and_its_labels_are_repeated() {
    let setup = explained();
    let raw = STANDARD.encode("GET /?a=1'+or+'1'='1 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let line = json!({"id": "i0", "label": "attack", "category": "sqli", "raw": raw}).to_string();
    let done =
        run_with_input("explain", &setup.write_config(), &["--batch", "-"], format!("{line}\n").as_bytes());
    let answer = &done.json_lines()[0];
    assert_eq!(answer.get("error"), None, "{answer}");
    assert_eq!((&answer["id"], &answer["label"]), (&json!("i0"), &json!("attack")));
    assert_eq!(answer["category"], "sqli");
    assert_eq!(answer["findings"][0]["class"], "sqli", "{answer}");
}

#[test]
fn an_empty_line_of_a_batch_is_a_line() {
    let setup = explained();
    let done = run_with_input(
        "explain",
        &setup.write_config(),
        &["--batch", "-"],
        b"{\"url\":\"/\",\"id\":7}\n\n{\"url\":\"/ \",\"id\":\"x\"}\n",
    );
    let answers = done.json_lines();
    assert_eq!((&answers[0]["id"], answers[0].get("error")), (&json!(7), None));
    assert_eq!((answers[1].get("id"), answers[1]["error"].is_string()), (None, true));
    assert_eq!(answers[2]["id"], "x");
    assert!(answers[2]["error"].as_str().unwrap().contains("write %20"), "{}", answers[2]);
    assert_eq!(
        answers.len(),
        3,
        "whoever pairs lines with answers must not get out of step: {}",
        done.stdout
    );
    assert_eq!(answers[1]["reason"], "protocol");
}

#[test]
fn a_batch_answers_while_its_input_stays_open() {
    let setup = explained();
    let mut process = weir()
        .args(["explain", "--config"])
        .arg(setup.write_config())
        .args(["--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let (sender, answers) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
    });
    for _ in 0..3 {
        input.write_all(b"{\"url\":\"/\"}\n").unwrap();
        let answer = answers.recv_timeout(PATIENCE).expect("an answer before the next line is written");
        assert!(answer.contains("\"verdict\":\"pass\""), "{answer}");
    }
    drop(input);
    assert!(process.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn what_is_explained_is_what_happens() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("block")
        .server("[[server.location]]\npath = \"/off\"\nmode = \"off\"\n[[server.location]]\npath = \"/watch\"\nmode = \"monitoring\"")
        .start();
    let form = "Host: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let requests = [
        get("/clean?x=1"),
        get(ATTACK),
        get(&format!("/off{}", &ATTACK[1..])),
        get(&format!("/watch{}", &ATTACK[1..])),
        get("/?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        get("/../../../../etc/passwd"),
        get("/?f=../../../../etc/passwd"),
        format!(
            "POST / HTTP/1.1\r\n{form}Content-Length: 40\r\n\r\nid=1'+UNION+SELECT+password+FROM+users--"
        ),
        format!("POST / HTTP/1.1\r\n{form}Content-Length: 5\r\n\r\na=b&c"),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
    ];
    let batch: String = requests
        .iter()
        .map(|request| format!("{{\"raw_base64\":\"{}\"}}\n", STANDARD.encode(request)))
        .collect();
    let done = run_with_input("explain", &node.setup.config_path(), &["--batch", "-"], batch.as_bytes());
    for (request, explained) in requests.iter().zip(done.json_lines()) {
        let answer = node.connect().ask(request);
        let blocked = answer.status() != 200;
        assert_eq!(
            explained["verdict"] == "block",
            blocked,
            "{request:?}: {} and {explained}",
            answer.status()
        );
        if let Some(status) = explained.get("status") {
            assert_eq!(status, &answer.status(), "{request:?}: {explained}");
        }
        if explained["recorded"] == true {
            let event = node.await_event_of(&answer);
            for (field, said) in [("mode", "mode"), ("reason", "reason"), ("server", "server")] {
                assert_eq!(event[field], explained[said], "{field} of {request:?}");
            }
        }
        // The admin endpoint says the same of the live snapshot.
        let body = format!("{{\"raw_base64\":\"{}\"}}", STANDARD.encode(request));
        let live = node.admin_request("POST", "/v1/explain", &body);
        let live: Value = serde_json::from_slice(&live.body).unwrap();
        assert_eq!((&live["verdict"], &live["findings"]), (&explained["verdict"], &explained["findings"]));
    }
}
