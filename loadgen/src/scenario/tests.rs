use std::fs;

use super::*;

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(text, Path::new("/nowhere")).map_err(|error| error.to_string())
}

#[test]
fn requests_belong_to_labels_and_groups() {
    let scenario = parse(
        r#"
        seed = 7
        block_statuses = [403, 406]
        [[request]]
        label = "a"
        weight = 3
        target = "/"
        [[request]]
        label = "b"
        raw = "GET / HTTP/1.1\r\nHost : x\r\n\r\n"
        expect = "refuse"
        groups = ["two"]
        [[request]]
        label = "c"
        target = "/${int:1-9}"
        template = true
        expect = [200, 404]
        [[group]]
        name = "one"
        sources = ["127.0.0.2-127.0.0.4", "127.0.0.9"]
        [[group]]
        name = "two"
        share = 2
        keep_alive = false
        "#,
    )
    .unwrap();
    assert_eq!((scenario.seed, scenario.labels), (7, ["a", "b", "c"].map(str::to_owned).to_vec()));
    assert_eq!(scenario.groups[0].requests, [(0, 3), (2, 4)]);
    assert_eq!(scenario.groups[1].requests, [(0, 3), (1, 4), (2, 5)]);
    assert_eq!(scenario.groups[0].sources.len(), 4);
    assert!(scenario.groups[0].keep_alive && !scenario.groups[1].keep_alive);
    assert!(matches!(&scenario.requests[1].message, Message::Fixed(_)));
    assert!(scenario.requests[1].close && !scenario.requests[0].close);
    let expect = scenario.requests[2].expect.as_ref().unwrap();
    assert!(expect.is_met(Verdict::Passed, Some(404)) && !expect.is_met(Verdict::Passed, Some(201)));
    let expect = scenario.requests[1].expect.as_ref().unwrap();
    assert!(expect.is_met(Verdict::Unresolved, Some(400)) && !expect.is_met(Verdict::Blocked, Some(403)));
}

#[test]
fn mistakes_are_named() {
    let request = |rest: &str| format!("[[request]]\nlabel = \"x\"\n{rest}\n");
    let cases = [
        (String::new(), "request"),
        (
            request("target = \"/\"\n[[group]]\nname = \"g\"\n[[group]]\nname = \"g\""),
            "line 6: there is a [[group]] with the name `g` already",
        ),
        (request("target = \"/\"\nwieght = 3"), "line 4, column 1"),
        (request("target = \"/\"\nwieght = 3"), "did you mean `weight`?"),
        (request("target = \"/\"\n[[group]]\nname = \"g\"\nkeepalive = true"), "did you mean `keep_alive`?"),
        (request("target = \"/\"\ncorpus_label = \"x\""), "goes with `corpus`"),
        (request("corpus = \"gone\""), "can't read /nowhere/gone"),
        (request("corpus = \"gone\"\nraw = \"x\""), "exclude each other"),
        (
            format!("seed = 1\n\n{}", request("")),
            "line 3: request 1 (`x`): it has neither a target nor raw bytes",
        ),
        (request("target = \"/a b\""), "for others use `raw`"),
        (request("target = \"/\"\nmethod = \"G T\""), "`G T` is not a method"),
        (request("target = \"/\"\nheaders = [\"A\"]"), "write `Name: value`"),
        (request("target = \"/\"\nheaders = [\"A: b\\r\\nC: d\"]"), "control character"),
        (request("target = \"/\"\nheaders = [\"content-length: 3\"]"), "written from the body"),
        (request("target = \"/\"\nbody_file = \"gone\""), "can't read /nowhere/gone"),
        (request("target = \"/${x}\"\ntemplate = true"), "${x} is no field"),
        (request("raw = \"x\"\nbody = \"y\""), "a raw request has no"),
        (request("raw_base64 = \"!\""), "not base64"),
        (request("target = \"/\"\nexpect = \"allow\""), "expected pass, block, refuse, close"),
        (request("target = \"/\"\nexpect = 99"), "below 200"),
        (request("target = \"/\"\nexpect = [200, 999]"), "above 599"),
        (format!("block_statuses = [403, 999]\n{}", request("target = \"/\"")), "`block_statuses` has 999"),
        (request("target = \"/\"\nbody_file = \"/dev/zero\""), "/dev/zero is larger than"),
        (request("target = \"/\"\ngroups = []"), "nobody sends it"),
        (request("target = \"/\"\ngroups = [\"g\"]"), "no [[group]] with the name `g`"),
        (request("target = \"/\"\nweight = 0"), "has no requests"),
        (
            request("target = \"/\"") + &request("target = \"/b\""),
            "line 4: request 2 (`x`): request 1 has this label already",
        ),
        (
            request("target = \"/\"\n[[group]]\nname = \"g\"\nsources = [\"127.0.0.9-127.0.0.1\"]"),
            "no address",
        ),
        (request("target = \"/\"\n[[group]]\nname = \"g\"\ncertificate = \"c\""), "go together"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_documentation_s_example_is_a_scenario() {
    let page = include_str!("../../../docs/loadgen.md");
    let (example, _) = page.split_once("```toml\n").unwrap().1.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("order.json"), "{}").unwrap();
    let scenario = Scenario::parse(example, folder.path()).unwrap();
    assert_eq!((scenario.labels.len(), scenario.groups.len(), scenario.groups[0].sources.len()), (4, 2, 50));
}

#[test]
fn the_example_is_a_scenario() {
    let scenario = parse(include_str!("../../../configs/loadgen-mix.toml")).unwrap();
    assert_eq!((scenario.labels.len(), scenario.groups.len()), (6, 2));
}
