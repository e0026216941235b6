//! How `explain` tells what was nominated, and how it scores a corpus.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_loadgen::replay;

use crate::support::command::{run, run_with_input};
use crate::support::origin::Origin;
use crate::support::setup::{Setup, somewhere};

/// A signature that nominates more than it confirms.
const SIGNATURE: &str = "class = \"rce\"\n[[signature]]\nid = \"own-command\"\ndescription = \"a command of our own\"\n\
                         pattern = '''own command'''\nconfirm = \"regex\"\nsecond = '''^run own command$'''\nscore = 5\n\
                         [signature.examples]\nattack = [\"run own command\"]\nclean = [\"the own command\"]\n";

/// A node's config with that signature.
fn with_signature(setup: Setup) -> Setup {
    let setup = setup.mode("block").detection("signatures = [\"signatures\"]");
    std::fs::create_dir(setup.folder.path().join("signatures")).unwrap();
    setup.write("signatures/own.toml", SIGNATURE);
    setup
}

#[test]
fn what_was_nominated_is_told_with_what_became_of_it() {
    let setup = with_signature(Setup::new(somewhere())).rules(
        "[[rule]]\nid = 4\ntype = \"disable_signature\"\nsignature = \"own-command\"\npoint = [\"query\", \"c\"]\n\
         [[rule]]\nid = 5\ntype = \"mask\"\npoint = [\"query\", \"d\"]\n",
    );
    let path = setup.write_config();
    let url = "/?a=my+own+command&b=run+own+command&c=run+own+command&d=an+own+command";
    let answer = run("explain", &path, &["--json", url]).json_lines().remove(0);
    let nominated = |point: &str, payload: &str, outcome: &str| {
        json!({
            "class": "rce", "point": point, "payload": payload, "signature": "own-command", "score": 5,
            "confirmer": "regex", "confirmed": outcome != "not_confirmed", "outcome": outcome,
        })
    };
    let expected = json!([
        nominated("query.a", "my own command", "not_confirmed"),
        nominated("query.b", "run own command", "confirmed"),
        nominated("query.c", "run own command", "dropped"),
        nominated("query.d", "*", "not_confirmed"),
    ]);
    assert_eq!(answer["nominations"], expected, "{answer:#}");
    assert_eq!((&answer["scores"], &answer["min_score"]), (&json!({"rce": 5}), &json!(5)));
    let text = run("explain", &path, &[url]).stdout;
    for line in [
        "nominated  rce at query.a: signature own-command, not confirmed by regex: my own command\n",
        "nominated  rce at query.c: signature own-command, dropped by a rule, confirmed by regex: run own command\n",
        "finding    rce at query.b: signature own-command (score 5, confirmed by regex): run own command\n",
        "score      rce 5: an attack, min_score is 5\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let text = run("explain", &path, &["/?a=my+own+command"]).stdout;
    assert!(text.contains("findings   none that counts\n"), "{text}");
}

/// A corpus line for a GET of a target.
fn line(id: &str, label: &str, category: &str, raw: &str) -> String {
    json!({"id": id, "label": label, "category": category, "raw": STANDARD.encode(raw), "more": 1})
        .to_string()
        + "\n"
}

fn request(query: &str) -> String {
    format!("GET /?q={query} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

/// A small corpus with a miss, a false alarm, and requests that are no sound HTTP.
fn corpus() -> String {
    let two_hosts = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    [
        line("hit", "attack", "sqli", &request("1'+UNION+SELECT+password+FROM+users--")),
        line("own", "attack", "rce", &request("run+own+command")),
        line("miss", "attack", "rce", &request("my+own+command")),
        line("odd", "attack", "smuggling", two_hosts),
        "\n".to_owned(),
        line("alarm", "benign", "get", &request("%3Cscript%3Ealert(1)%3C/script%3E")),
        line("clean", "benign", "get", &request("shoes")),
        line("quiet", "benign", "get", &request("boots")),
        line("broken", "benign", "odd", two_hosts),
        line("other", "neg", "", &request("%3Cscript%3Ealert(1)%3C/script%3E")),
    ]
    .concat()
}

#[test]
fn a_corpus_has_the_score_that_a_replay_over_the_network_gives() {
    let origin = Origin::echoing_targets();
    let node = with_signature(Setup::new(origin.address)).start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(corpus().as_bytes()).unwrap();
    let file = node.setup.write("corpus.jsonl.gz", encoder.finish().unwrap());
    let options = replay::Options::new(&format!("http://{}/", node.address));
    let replayed = replay::run(&options, &replay::read(&file).unwrap(), &AtomicBool::new(false)).unwrap();
    let replayed = serde_json::to_value(&replayed).unwrap();
    let done =
        run("explain", &node.setup.config_path(), &["--batch", file.to_str().unwrap(), "--score", "--json"]);
    let scored = &done.json_lines()[0];
    for (key, figures) in [("recall", (2, 4)), ("false_positive_rate", (1, 4))] {
        let told = |report: &Value| (report[key]["count"].clone(), report[key]["of"].clone());
        assert_eq!(told(scored), (json!(figures.0), json!(figures.1)), "{scored:#}");
        assert_eq!(told(scored), told(&replayed), "{replayed:#}");
    }
    for key in ["records", "balanced_accuracy", "labels", "categories"] {
        assert_eq!(scored[key], replayed[key], "{key}: {scored:#}\n{replayed:#}");
    }
    for key in ["misses", "false_alarms"] {
        let told = |report: &Value| -> Vec<Vec<Value>> {
            let list = report[key].as_array().unwrap().iter();
            list.map(|one| ["id", "category", "verdict", "request_line"].map(|key| one[key].clone()).to_vec())
                .collect()
        };
        assert_eq!(told(scored), told(&replayed), "{key}");
    }
    assert_eq!(
        scored["misses"][0]["reason"],
        "nominated, not confirmed: rce by own-command at query.q: my own command"
    );
    let alarm = scored["false_alarms"][0]["reason"].as_str().unwrap();
    assert!(alarm.starts_with("xss by ") && alarm.contains("<script>alert(1)</script>"), "{alarm}");
}

#[test]
fn a_score_is_a_table_with_the_requests_that_were_judged_wrongly() {
    let setup = with_signature(Setup::new(somewhere()));
    let path = setup.write_config();
    let done = run_with_input("explain", &path, &["--batch", "-", "--score"], corpus().as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    for part in [
        "records               9\n",
        "recall                50.00 % (2 of 4)\n",
        "false-positive rate   25.00 % (1 of 4)\n",
        "balanced accuracy     62.50 %\n",
        "attack rce              2          1          1          0       50.0\n",
        "miss\tmiss\trce\tpassed\tnominated, not confirmed: rce by own-command at query.q: my own command\tGET /?q=my+own+command HTTP/1.1\n",
        "miss\todd\tsmuggling\tunresolved\t400 (",
        "false alarm\talarm\tget\tblocked\txss by ",
    ] {
        assert!(done.stdout.contains(part), "{part} in\n{}", done.stdout);
    }
    let answers = run_with_input("explain", &path, &["--batch", "-"], corpus().as_bytes());
    assert_eq!(answers.json_lines().len(), corpus().lines().count(), "an answer to each line");
}

#[test]
fn a_batch_that_has_no_score_says_why() {
    let setup = Setup::new(somewhere());
    let path = setup.write_config();
    for (input, expected) in [
        ("\n{\"raw\":\"R0VU\"}\n", "-: line 2: `label` is missing"),
        ("{\"label\":\"attack\"}\n", "-: line 1: it describes no request: url: it is missing"),
        ("{\"label\":\"attack\",\"raw\":\"%\"}\n", "-: line 1: it describes no request: raw_base64: "),
        ("\n", "-: there is no request in it"),
    ] {
        let done = run_with_input("explain", &path, &["--batch", "-", "--score"], input.as_bytes());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
        assert!(done.stderr.contains(expected), "{expected}: {}", done.stderr);
    }
    let cut = [0x1f, 0x8b, 8, 0];
    let done = run_with_input("explain", &path, &["--batch", "-"], &cut);
    assert_eq!(done.code, 1, "compressed data that breaks off: {done:?}");
    let gone = run("explain", &path, &["--batch", "gone.jsonl", "--score"]);
    assert_eq!(gone.code, 2);
    assert!(gone.stderr.contains("gone.jsonl: No such file"), "{}", gone.stderr);
}
