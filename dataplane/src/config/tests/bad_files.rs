//! Files that can't be read, other files that are wrong, and the environment.

use super::bad::assert_lines;
use super::*;

/// A folder whose config names a rules file and a lists file of these texts.
fn with_files(rules: &str, lists: &str) -> Folder {
    let folder =
        Folder::new(&format!("rules.file = \"rules.toml\"\nip_lists.file = \"lists.toml\"\n{MINIMAL}"));
    folder.write("rules.toml", rules);
    folder.write("lists.toml", lists);
    folder
}

#[test]
fn an_empty_file_lacks_all_that_is_required() {
    assert_lines(
        &Folder::new("").error_lines(),
        &[
            "weir.toml:1:1: listener: the file has no [[listener]]",
            "weir.toml:1:1: server: the file has no [[server]]",
            "weir.toml:1:1: origin: the file has no [[origin]]",
        ],
    );
}

#[test]
fn tables_of_another_type_are_named() {
    assert_lines(
        &Folder::new("listener = 5\nserver = [\"a\"]\norigin = {}\nnode = []\n").error_lines(),
        &[
            "weir.toml:1:12: listener: found 5, allowed are [[listener]] tables; write it as [[listener]]",
            "weir.toml:2:10: server: found \"a\", allowed are [[server]] tables; write it as [[server]]",
            "weir.toml:3:10: origin: found a table, allowed are [[origin]] tables; write it as [[origin]]",
            "weir.toml:4:8: node: found a list, allowed is a table [node]; for example node = {}",
        ],
    );
}

#[test]
fn mistakes_in_rules_name_the_rules_file() {
    let rules = r#"general_mode = "on"
rules = 1
[[rule]]
id = 1
type = "mode"
mode = "x"
foo = 1
[[rule]]
id = 1
type = "mask"
point = ["x"]
[[rule]]
id = 1
type = "mode"
mode = "off"
uri = ""
[[rule]]
type = "mod"
[[rule]]
type = "zzzzzzz"
[[rule]]
when = 5
"#;
    assert_lines(
        &with_files(rules, "").error_lines(),
        &[
            r#"rules.toml:1:16: general_mode: found "on", allowed is "default", "off", "#,
            r#"rules.toml:2:1: rules: unknown key "rules"; did you mean "rule"?"#,
            r#"rules.toml:6:8: rule[0].mode: found "x""#,
            r#"rules.toml:7:1: rule[0].foo: unknown key "foo"; the keys here are id, type, uri, when, mode"#,
            r#"rules.toml:9:6: rule[1].id: found a second rule with id "1"; the first is at rules.toml:4:6"#,
            r#"rules.toml:11:9: rule[1].point: found ["x"]: `x` is no part of a request; parts are path, query, header"#,
            r#"rules.toml:13:6: rule[2].id: found a second rule with id "1"; the first is at rules.toml:4:6"#,
            r#"rules.toml:16:7: rule[2].uri: found """#,
            r#"rules.toml:17:1: rule[3].id: [[rule]] has no "id""#,
            r#"rules.toml:18:8: rule[3].type: found "mod", allowed is "mode", "virtual_patch", "#,
            r#"rules.toml:19:1: rule[4].id: [[rule]] has no "id""#,
            r#"rules.toml:20:8: rule[4].type: found "zzzzzzz", allowed is "mode", "virtual_patch", "#,
            r#"rules.toml:21:1: rule[5].type: [[rule]] has no "type"; allowed is "mode", "virtual_patch", "#,
            r#"rules.toml:21:1: rule[5].id: [[rule]] has no "id""#,
            r#"rules.toml:22:8: rule[5].when: found 5, allowed are [[rule.when]] tables"#,
        ],
    );
}

#[test]
fn mistakes_in_settings_of_types_are_named() {
    let table = [
        ("type = \"mask\"", "3:1: rule[0].point: [[rule]] of type mask has no \"point\""),
        (
            "type = \"mask\"\npoint = \"method.x\"",
            "6:9: rule[0].point: found \"method.x\": there is nothing below `method`",
        ),
        (
            "type = \"mask\"\npoint = [[[\"a\"]]]",
            "6:9: rule[0].point: found [[a list]]: this is no point; allowed is",
        ),
        (
            "type = \"mask\"\npoint = [\"body\"]\nmode = \"off\"",
            "7:1: rule[0].mode: unknown key \"mode\"; the keys here are",
        ),
        (
            "type = \"virtual_patch\"\npoint = [\"body\"]\nattack_type = \"vpatch\"",
            "7:15: rule[0].attack_type: found \"vpatch\", allowed is \"any\", \"sqli\"",
        ),
        (
            "type = \"rate_limit\"\nrate = 0\nper = \"0s\"\nstatus = 200",
            "6:8: rule[0].rate: found 0, allowed is a whole number from 1 to 1000000",
        ),
        (
            "type = \"rate_limit\"\nrate = 1\nper = \"week\"",
            "7:7: rule[0].per: found \"week\", allowed is \"second\", \"minute\", \"hour\" or a time",
        ),
        (
            "type = \"upload_size\"\nlimit = 5",
            "6:9: rule[0].limit: found 5, allowed is a size from \"1B\" to \"1TiB\"; add a unit, for example \"5B\"",
        ),
        (
            "type = \"response_header\"\naction = \"set\"\nname = \"A B\"\nvalues = [1]",
            "7:8: rule[0].name: found \"A B\", allowed is a header field name",
        ),
    ];
    for (keys, says) in table {
        let errors = with_files(&format!("\n\n[[rule]]\nid = 1\n{keys}\n"), "").error_lines();
        let says = format!("rules.toml:{says}");
        assert!(errors.iter().any(|error| error.starts_with(&says)), "{says}\nin {errors:#?}");
    }
}

#[test]
fn mistakes_in_conditions_are_named() {
    let rule = "[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"off\"\nwhen = [\n";
    let mistakes = [
        (
            r#"{ point = ["path"], is = "equal", value = "x" }"#,
            r#"12: rule[0].when[0].point: found ["path"]"#,
        ),
        (r#"{ point = ["path", 256], is = "absent" }"#, r#"12: rule[0].when[1].point: found ["path", 256]"#),
        (r#"{ point = ["path", -1], is = "absent" }"#, r#"12: rule[0].when[2].point: found ["path", -1]"#),
        (r#"{ point = ["pth", 0], is = "absent" }"#, r#"12: rule[0].when[3].point: found ["pth", 0]"#),
        (r#"{ point = ["method", 0], is = "absent" }"#, r#"12: rule[0].when[4].point: found ["method", 0]"#),
        (r#"{ point = ["uri", 0, 1], is = "absent" }"#, r#"12: rule[0].when[5].point: found ["uri", 0, 1]"#),
        (
            r#"{ point = ["header", "A B"], is = "absent" }"#,
            r#"12: rule[0].when[6].point: found ["header", "A B"]"#,
        ),
        (r#"{ point = ["query"], is = "absent" }"#, r#"12: rule[0].when[7].point: found ["query"]"#),
        (r#"{ point = "uri", is = "absent" }"#, r#"12: rule[0].when[8].point: found "uri""#),
        (r#"{ point = [], is = "absent" }"#, "12: rule[0].when[9].point: found []"),
        (r#"{ is = "absent", point = ["action"] }"#, r#"27: rule[0].when[10].point: found ["action"]"#),
        (
            r#"{ is = "regex", point = ["uri"] }"#,
            r#"2: rule[0].when[11].value: [[rule.when]] has no "value""#,
        ),
        (
            r#"{ is = "equal", point = ["uri"] }"#,
            r#"2: rule[0].when[12].value: [[rule.when]] has no "value""#,
        ),
        (r#"{ is = "equals", point = ["uri"] }"#, r#"9: rule[0].when[13].is: found "equals""#),
        (r#"{ is = "equal", value = 5, point = ["uri"] }"#, "26: rule[0].when[14].value: found 5"),
    ];
    let items: Vec<String> = mistakes.iter().map(|(text, _)| format!(" {text},\n")).collect();
    let expected: Vec<String> =
        (6..).zip(&mistakes).map(|(line, (_, says))| format!("rules.toml:{line}:{says}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_lines(&with_files(&format!("{rule}{}]", items.concat()), "").error_lines(), &expected);
}

#[test]
fn mistakes_in_lists_name_the_lists_file() {
    let lists = r#"[[entry]]
list = "black"
address = "10.0.0.0/33"
[[entry]]
list = "deny"
address = "192.0.2.1"
expires = "2030-01-01T00:00:00"
applications = ["a", 0]
[[entry]]
expires = 1969-01-01T00:00:00Z
[[entry]]
list = "deny"
address = "192.0.2.1"
expires = "2030-13-01T00:00:00Z"
reason = ""
until = "x"
[[entry]]
list = "deny"
address = "10.1.2.3/8"
"#;
    assert_lines(
        &with_files("", lists).error_lines(),
        &[
            r#"lists.toml:2:8: entry[0].list: found "black", allowed is "allow", "deny" or "gray""#,
            r#"lists.toml:3:11: entry[0].address: found "10.0.0.0/33", allowed is an IP address or a network"#,
            r#"lists.toml:7:11: entry[1].expires: found "2030-01-01T00:00:00", allowed is a date and time"#,
            r#"lists.toml:8:17: entry[1].applications[0]: found "a""#,
            r#"lists.toml:8:22: entry[1].applications[1]: found 0"#,
            r#"lists.toml:9:1: entry[2].list: [[entry]] has no "list""#,
            r#"lists.toml:9:1: entry[2].address: [[entry]] has no "address""#,
            r#"lists.toml:10:11: entry[2].expires: found 1969-01-01T00:00:00Z"#,
            r#"lists.toml:14:11: entry[3].expires: found "2030-13-01T00:00:00Z""#,
            r#"lists.toml:15:10: entry[3].reason: found """#,
            r#"lists.toml:16:1: entry[3].until: unknown key "until""#,
            r#"lists.toml:19:11: entry[4].address: found "10.1.2.3/8", which has bits beyond its prefix; write "10.0.0.0/8" for the network, or "10.1.2.3" for the one address"#,
        ],
    );
}

#[test]
fn errors_of_all_files_come_together() {
    let folder = with_files("general_mode = x", "entry = 5");
    folder.write(
        "weir.toml",
        format!("rules.file = \"rules.toml\"\nip_lists.file = \"lists.toml\"\nnode.io = 5\n{MINIMAL}"),
    );
    assert_lines(
        &folder.error_lines(),
        &[
            "weir.toml:3:11: node.io: found 5",
            "lists.toml:1:9: entry: found 5",
            "rules.toml:1:16: general_mode: found \"x\": ",
        ],
    );
}

#[test]
fn a_bad_environment_names_the_variable() {
    let errors = Folder::new(MINIMAL).load_with(&environment("Block")).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            r#"environment variable WEIR_MODE: http.mode: found "Block", allowed is "off", "monitoring", "safe_blocking" or "block"; did you mean "block"?"#
        ]
    );
}

#[test]
fn a_file_that_is_absent_too_large_or_no_text_is_refused() {
    let folder = Folder::new("a = 1\nb = \"");
    let absent = load(&folder.path("absent.toml"), &Environment::default()).unwrap_err();
    assert_eq!(absent.len(), 1);
    assert_eq!(absent[0].place, Where::File(folder.path("absent.toml")));

    folder.write("weir.toml", b"a = 1\nb = \"\xff\"");
    assert_lines(&folder.error_lines(), &["weir.toml:2:6: found bytes that are not UTF-8"]);

    let large = std::fs::File::create(folder.path("weir.toml")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let errors = folder.load().unwrap_err();
    assert!(errors[0].message.contains("larger than 64 MiB"), "{}", errors[0]);
    assert!(errors[0].advice.starts_with("make it smaller"), "{}", errors[0]);
}

#[test]
fn a_file_of_another_kind_gives_a_bounded_number_of_errors() {
    let text: String = (0..1500).map(|line| format!("key{line} = {line}\n")).collect();
    let errors = Folder::new(&format!("{text}{MINIMAL}")).error_lines();
    assert_eq!(errors.len(), 1001);
    assert_eq!(errors[1000], "weir.toml: 500 more errors are not shown; correct those above first");
}

#[test]
fn a_mutated_config_never_panics() {
    let full = include_str!("../../../../configs/full.toml");
    let rules = include_str!("../../../../configs/full-rules.toml");
    let lists = include_str!("../../../../configs/full-ip-lists.toml");
    // A fixed sequence (xorshift), so that a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let pieces = [
        "[", "]", "\"", "'", "=", "\n", "{", "}", ",", "0", "-1", "\"\"\"", "[[x]]", "\u{feff}", "\0", "1e9",
        "#",
    ];
    let folder = Folder::new("");
    for round in 0..300 {
        for (name, text) in [("weir.toml", full), ("full-rules.toml", rules), ("full-ip-lists.toml", lists)] {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=round % 4 {
                let at = next(bytes.len());
                let end = (at + next(8)).min(bytes.len());
                bytes.splice(at..end, pieces[next(pieces.len())].bytes());
            }
            // A host name that arose by chance would be looked up in the network.
            let addresses = |text: &[u8]| {
                let text = String::from_utf8_lossy(text).into_owned();
                text.lines()
                    .filter(|line| line.starts_with("addresses"))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            if addresses(&bytes) != addresses(text.as_bytes()) {
                bytes = text.as_bytes().to_vec();
            }
            folder.write(name, bytes);
        }
        if let Err(errors) = folder.load() {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.to_string().contains('\n')), "{errors:?}");
        }
    }
}

#[test]
fn a_large_file_that_is_no_toml_gives_its_first_line_alone() {
    let folder = Folder::new(&"x\n".repeat(2 << 20));
    assert_lines(&folder.error_lines(), &["weir.toml:1:2: key with no value"]);
}

#[test]
fn files_beyond_their_limits_are_refused_unread() {
    for (named_by, limit) in [("rules", "64 MiB"), ("ip_lists", "256 MiB")] {
        let folder = Folder::new(&format!("{named_by}.file = \"large.toml\"\n{MINIMAL}"));
        // It has no blocks on the disk, and so much could not be read into memory.
        std::fs::File::create(folder.path("large.toml")).unwrap().set_len(1 << 40).unwrap();
        let errors = folder.error_lines();
        assert!(errors[0].contains(&format!("larger than {limit}")), "{errors:?}");
        assert!(errors[0].contains(&format!("{named_by}.file")), "{errors:?}");
    }
}
