//! What is said of rules at load, and what `explain` tells of what they do.

use serde_json::Value;

use super::rule;
use crate::support::command::{run, run_with_input};
use crate::support::origin::Origin;
use crate::support::setup::{Setup, somewhere};

#[test]
fn rules_that_can_not_do_what_they_say_are_refused() {
    for (keys, expected) in [
        ("type = \"regex\"\nregex = \"(a\"\nattack_type = \"xss\"\npoint = \"query.a\"", "rule 7: regex"),
        ("type = \"regex\"\nregex = \"a~b\"\nattack_type = \"xss\"\npoint = \"query.a\"", "regex"),
        ("type = \"regex\"\nregex = \"a(?=b)\"\nattack_type = \"xss\"\npoint = \"query.a\"", "regex"),
        (
            "type = \"response_header\"\naction = \"set\"\nname = \"Content-Length\"\nvalues = [\"1\"]",
            "belongs to the connection or to the framing",
        ),
        (
            "type = \"response_header\"\naction = \"delete\"\nname = \"Transfer-Encoding\"",
            "belongs to the connection or to the framing",
        ),
        (
            "type = \"response_header\"\naction = \"set\"\nname = \"X-A\"\nvalues = [\"a\\r\\nb\"]",
            "control characters",
        ),
        ("type = \"mask\"\npoint = [\"remote_addr\"]", "remote_addr"),
        ("type = \"mask\"\npoint = [\"scheme\"]", "nothing is looked for in `scheme`"),
        ("type = \"ignore_regex\"\nrule = 99\npoint = \"query\"", "there is no rule 99"),
        ("type = \"upload_size\"\nlimit = \"2MiB\"\npoint = \"body.f\"", "raise detection.body_limit"),
        ("type = \"rate_limit\"\nrate = 1\nburst = 1\ndelay = 2", "at most as many as burst"),
    ] {
        let setup = Setup::new(somewhere()).rules(&rule(7, keys));
        let done = run("check", &setup.write_config(), &[]);
        let errors = done.errors().join("\n");
        assert!(errors.contains(expected), "{keys}:\n{errors}");
        assert!(errors.contains("rules.toml:"), "{errors}");
    }
}

#[test]
fn all_errors_of_a_rules_file_are_told_at_once_with_the_places_of_their_keys() {
    let rules = "[[rule]]\nid = 99999999999999999999\ntype = \"mode\"\nmode = \"block\"\n\
                 [[rule]]\nid = 2\ntype = \"mode\"\nmode = \"blocks\"\n\
                 [[rule]]\nid = 3\ntype = \"mode\"\nmode = \"block\"\nuri = \"/a*b\"\n\
                 [[rule]]\nid = 4\ntype = \"regex\"\nregex = \"\\\\d\"\nattack_type = \"sqli\"\npoint = [\"query\"]\n\
                 [[rule]]\nid = 5\ntype = \"mask\"\npoint = [\"scheme\"]\n\
                 [[rule]]\nid = 6\ntype = \"mode\"\nmode = \"off\"\n\
                 [[rule.when]]\npoint = [\"path\", 0]\nis = \"regex\"\nvalue = \"(\"\n\
                 [[rule]]\nid = 7\ntype = \"ignore_regex\"\nrule = 2\npoint = [\"query\"]\n";
    let places = |rules: &str| {
        let setup = Setup::new(somewhere()).rules(rules);
        let done = run("check", &setup.write_config(), &[]);
        let mut found: Vec<(u32, String)> = done
            .errors()
            .iter()
            .filter_map(|line| {
                let (place, told) = line.split_once("rules.toml:")?.1.split_once(": ")?;
                Some((place.split(':').next()?.parse().ok()?, told.to_owned()))
            })
            .collect();
        found.sort_by_key(|(line, _)| *line);
        found
    };
    let lines = |found: &[(u32, String)]| found.iter().map(|(line, _)| *line).collect::<Vec<_>>();
    let found = places(rules);
    assert_eq!(lines(&found), [2, 8, 13, 17, 23, 31], "{found:#?}");
    assert!(
        found[3].1.starts_with("rule 4: regex: there is a `\\d`;") && found[3].1.contains("[0-9]"),
        "{found:#?}"
    );
    let readable = rules.replace("99999999999999999999", "1").replace("blocks", "block");
    let found = places(&readable);
    assert_eq!(lines(&found), [13, 17, 23, 31, 35], "what is compiled is all told, too: {found:#?}");
}

/// The example of `docs/rules.md`.
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/shop.toml");

#[test]
fn the_shop_has_a_rule_of_every_type_and_they_do_what_it_says() {
    let shop = std::path::Path::new(SHOP);
    let done = run("check", shop, &[]);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let rules = std::fs::read_to_string(shop.with_file_name("shop-rules.toml")).unwrap();
    for (name, _) in weir_policy::RuleType::NAMES {
        assert!(rules.contains(&format!("\ntype = \"{name}\"\n")), "no rule of type {name}");
    }
    let explain = |arguments: &[&str]| -> Value {
        let done = run("explain", shop, &[&["--json"], arguments].concat());
        serde_json::from_str(&done.stdout).unwrap()
    };
    let sqli = "q=1'%20UNION%20SELECT%20password%20FROM%20users--";
    for (target, verdict) in [("search", "block"), ("offers", "pass"), ("checkout/pay", "block")] {
        let explained = explain(&[&format!("http://shop.example/{target}?{sqli}")]);
        assert_eq!(explained["verdict"], verdict, "{target}: {explained:#}");
    }
    let explained = explain(&["-H", "X-Debug: 0", "http://shop.example/"]);
    assert_eq!(explained["reason"], "virtual_patch");
    let explained =
        explain(&["-X", "POST", "-d", r#"{"review":"<script>x</script>"}"#, "http://shop.example/reviews"]);
    assert_eq!(explained["findings"], serde_json::json!([]));
    assert!(effects(&explained).contains(&(30, "ignores".to_owned())), "{explained:#}");
    let explained = explain(&["http://shop.example/login"]);
    assert!(effects(&explained).contains(&(70, "counts".to_owned())), "{explained:#}");
}

#[test]
fn rules_that_do_nothing_are_warned_about() {
    let rules = [
        rule(1, "type = \"disable_signature\"\nsignature = \"no-such-signature\"\npoint = \"query\""),
        rule(2, "type = \"parser_state\"\nparser = \"viewstate\"\nenabled = false\npoint = \"body\""),
    ]
    .concat();
    let done = run("check", &Setup::new(somewhere()).rules(&rules).write_config(), &[]);
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(said.contains("there is no signature \"no-such-signature\""), "{said}");
    assert!(said.contains("there is no parser viewstate"), "{said}");
}

const TOLD: [&str; 8] = [
    "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = \"query.id\"",
    "type = \"regex\"\nregex = \"^te\"\nattack_type = \"scanner\"\npoint = \"query.name\"",
    "type = \"regex\"\nregex = \"st$\"\nattack_type = \"rce\"\nexperimental = true\npoint = \"query.name\"",
    "type = \"disable_attack_type\"\nattack_type = \"xss\"\npoint = \"query.html\"",
    "type = \"mask\"\npoint = \"query.id\"",
    "type = \"rate_limit\"\nrate = 5\npoint = \"header.x-key\"",
    "type = \"upload_size\"\nlimit = \"4B\"\naction = \"monitoring\"",
    "type = \"response_header\"\naction = \"delete\"\nname = \"Server\"",
];

fn told() -> String {
    TOLD.iter().zip(1..).map(|(keys, id)| rule(id, keys)).collect()
}

const TARGET: &str = "/?id=1'%20UNION%20SELECT%20a%20FROM%20b--&name=test&html=<script>alert(1)</script>";

/// The word for what each rule did.
fn effects(explained: &Value) -> Vec<(u64, String)> {
    let effects = explained["effects"].as_array().unwrap();
    let effect =
        |effect: &Value| (effect["rule"].as_u64().unwrap(), effect["effect"].as_str().unwrap().to_owned());
    let mut found: Vec<_> = effects.iter().map(effect).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn explain_tells_what_rules_do() {
    let setup = Setup::new(somewhere()).mode("monitoring").rules(&told());
    let config = setup.write_config();
    let url = format!("http://a.example{TARGET}");
    let done = run("explain", &config, &["--json", "-H", "X-Key: 1", "-d", "abcde", &url]);
    let explained: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&explained["verdict"], &explained["reason"]), (&"block".into(), &"virtual_patch".into()));
    let expected = [
        (1, "blocks"),
        (2, "finds"),
        (3, "watches"),
        (4, "ignores"),
        (5, "masks"),
        (6, "counts"),
        (7, "records"),
        (8, "deletes_header"),
    ];
    let expected = expected.map(|(rule, effect)| (rule, effect.to_owned()));
    assert_eq!(effects(&explained), expected, "{explained:#}");
    let findings = explained["findings"].as_array().unwrap();
    let of_rules: Vec<_> = findings.iter().filter(|finding| finding["confirmed_by"] == "rule").collect();
    assert_eq!(of_rules.len(), 2, "{findings:#?}");
    let sqli = findings.iter().find(|finding| finding["class"] == "sqli").unwrap();
    assert_eq!(sqli["payload"], "*");
    let text = run("explain", &config, &["-H", "X-Key: 1", "-d", "abcde", &url]).stdout;
    for line in ["rule 1     virtual_patch: blocks", "rule 5     mask: masks", "rule 8     response_header"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let batch = serde_json::json!({
        "url": url, "method": "POST", "headers": [["X-Key", "1"]], "body": "abcde",
    });
    let lines = run_with_input("explain", &config, &["--batch", "-"], format!("{batch}\n").as_bytes());
    assert_eq!(lines.json_lines()[0]["effects"], explained["effects"]);
}

#[test]
fn the_live_node_explains_the_same() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&told()).start();
    let request =
        serde_json::json!({"url": format!("http://a.example{TARGET}"), "headers": [["X-Key", "1"]]});
    let answer = node.admin_request("POST", "/v1/explain", &request.to_string());
    let explained: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&explained["verdict"], &explained["reason"]), (&"block".into(), &"virtual_patch".into()));
    assert!(effects(&explained).contains(&(5, "masks".to_owned())));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn explain_tells_which_change_of_a_header_has_the_last_word() {
    let header = |id, action: &str, name: &str, scope: &str| {
        let values = if action == "delete" { "" } else { "values = [\"v\"]\n" };
        rule(
            id,
            &format!("type = \"response_header\"\naction = \"{action}\"\nname = \"{name}\"\n{values}{scope}"),
        )
    };
    let rules = [
        header(1, "set", "X-A", ""),
        header(2, "set", "x-a", ""),
        header(3, "append", "X-A", "uri = \"/a\""),
        header(4, "delete", "X-B", ""),
        header(5, "set", "X-C", "uri = \"/b\""),
    ]
    .concat();
    let setup = Setup::new(somewhere()).rules(&rules);
    let done = run("explain", &setup.write_config(), &["--json", "http://a.example/a"]);
    let explained: Value = serde_json::from_str(&done.stdout).unwrap();
    let told: Vec<(u64, bool)> = explained["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["id"].as_u64().unwrap(), rule["wins"].as_bool().unwrap()))
        .collect();
    assert_eq!(told, [(4, true), (2, false), (1, true), (3, true)], "{explained:#}");
    let why = explained["rules"][1]["why"].as_str().unwrap();
    assert!(why.contains("rule 1 comes behind it and has the last word on `x-a`"), "{why}");
    let expected = [(1, "sets_header"), (3, "appends_header"), (4, "deletes_header")];
    assert_eq!(effects(&explained), expected.map(|(rule, effect)| (rule, effect.to_owned())));
    let warning = run("check", &setup.write_config(), &[]).stderr;
    assert!(warning.contains("it has no effect: rule 1 has the last word on `x-a`"), "{warning}");
}

/// Rules of one key that is wrong, and what is said of it: what was found, and what to write instead.
const WRONG: [(&str, &str); 29] = [
    (r"type = 'moed'", "found \"moed\", allowed is"),
    (r"type = 'mode'", "has no \"mode\""),
    (r"type = 'mode'|mode = 'blok'", "did you mean \"block\"?"),
    (r"type = 'mode'|mode = 3", "found 3, allowed is \"default\""),
    (r"type = 'mode'|mode = 'off'|url = '/a'", "did you mean \"uri\"?"),
    (r"type = 'mode'|mode = 'off'|uri = '/a*b'", "`*` as a whole component"),
    (r"type = 'mode'|mode = 'off'|uri = '/a#b'", "a URI without fragment"),
    (r"type = 'mode'|mode = 'off'|uri = '/{{a'", "`{{` without its `}}`"),
    (
        r"type = 'mode'|mode = 'off'|when = [{ point = ['path', -1], is = 'equal', value = 'a' }]",
        "count from 0 to 255",
    ),
    (
        r"type = 'mode'|mode = 'off'|when = [{ point = 'method', is = 'equal', value = 'a' }]",
        "write it as a list",
    ),
    (
        r"type = 'mode'|mode = 'off'|when = [{ point = ['uri'], is = 'equals', value = 'a' }]",
        "did you mean \"equal\"?",
    ),
    (r"type = 'mode'|mode = 'off'|when = [{ point = ['uri'], is = 'equal' }]", "add value = \"TEXT\""),
    (
        r"type = 'mode'|mode = 'off'|when = [{ point = ['uri'], is = 'regex', value = 'a(?=b)' }]",
        "it looks around",
    ),
    (
        r"type = 'mode'|mode = 'off'|when = [{ point = ['uri'], is = 'regex', value = '(a)\1' }]",
        "no back references here",
    ),
    (r"type = 'regex'|regex = 'a\n'|attack_type = 'xss'|point = 'query'", "the character itself"),
    (r"type = 'regex'|regex = 'a++'|attack_type = 'xss'|point = 'query'", "without its second `+`"),
    (r"type = 'regex'|regex = '\d'|attack_type = 'xss'|point = 'query'", "`[0-9]`"),
    (r"type = 'regex'|regex = ''|attack_type = 'xss'|point = 'query'", "for example regex ="),
    (
        r"type = 'regex'|regex = '日'|attack_type = 'xss'|point = 'query'",
        "`\\u00E6\\u0097\\u00A5` in double quotes",
    ),
    (r"type = 'virtual_patch'|attack_type = 'sql'|point = 'query'", "did you mean \"sqli\"?"),
    (
        r"type = 'virtual_patch'|attack_type = 'sqli'|point = 'bod'",
        "`bod` is no part of a request; parts are",
    ),
    (r"type = 'parser_state'|parser = 'xml'|enabled = 'off'|point = 'body'", "allowed is true or false"),
    (r"type = 'response_header'|action = 'set'|name = 'X A'|values = ['a']", "make a name"),
    (r"type = 'response_header'|action = 'set'|name = 'X-A'|value = 'a'", "did you mean \"values\"?"),
    (r"type = 'over_time_limit'|time_limit = 5", "add a unit, for example \"5s\""),
    (r"type = 'rate_limit'|rate = 5|per = 'day'", "\"second\", \"minute\", \"hour\" or a time"),
    (r"type = 'rate_limit'|rate = 5|status = 200", "a whole number from 400 to 599"),
    (r"type = 'upload_size'|limit = '10 MB'", "one whole number and one unit"),
    (r"type = 'ignore_regex'|rule = 3|point = 'query'", "the id of a rule of type regex"),
];

#[test]
fn each_wrong_key_of_a_file_is_told_in_one_round_with_what_to_write() {
    let of = |wrong: &[(&str, &str)]| -> Vec<(String, String)> {
        let rules: Vec<String> =
            wrong.iter().zip(1..).map(|((keys, _), id)| rule(id, &keys.replace('|', "\n"))).collect();
        let first_line = |index: usize| rules[..index].concat().lines().count() + 1;
        let setup = Setup::new(somewhere()).rules(&rules.concat());
        let done = run("check", &setup.write_config(), &[]);
        let told = done.errors();
        let line = |error: &str| error.split_once("rules.toml:")?.1.split(':').next()?.parse::<usize>().ok();
        let of_rule = |index: usize| {
            let lines = first_line(index)..first_line(index + 1);
            let own = told.iter().filter(|error| line(error).is_some_and(|line| lines.contains(&line)));
            own.copied().collect::<Vec<_>>().join("\n")
        };
        (0..wrong.len()).map(|index| (rules[index].clone(), of_rule(index))).collect()
    };
    // what refers to other rules is judged where all of them can be read
    let (alone, refers) = WRONG.split_at(WRONG.len() - 1);
    for ((rule, told), (_, expected)) in of(alone).iter().chain(&of(refers)).zip(&WRONG) {
        assert!(told.contains(expected), "{rule}: expected {expected:?}, found {told:?}");
    }
}
