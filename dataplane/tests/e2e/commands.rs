//! `check`, and `run` where it refuses to start: what they print, and their exit codes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use weir::tls::forge::{DemoAuthority, LeafRequest, PemPair, Usage};

use crate::support::command::{Done, run};
use crate::support::node::weir;
use crate::support::pki::Pki;
use crate::support::setup::{Setup, somewhere};

fn files_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn check_accepts_a_good_config_and_sums_it_up() {
    let pki = Pki::new();
    let setup = pki
        .mutual(Setup::new(somewhere()))
        .rules("[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"block\"\nuri = \"/a/**\"\n")
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.0/24\"\n");
    let path = setup.write_config();
    let before = files_in(setup.folder.path());
    let done = run("check", &path, &[]);
    assert_eq!((done.code, done.errors().len()), (0, 0), "{done:?}");
    for part in ["public", "app", "edge", "1 rule,", "1 list entry\n", "signatures"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    run("explain", &path, &["/"]);
    assert_eq!(files_in(setup.folder.path()), before, "neither writes anything beside the config");
}

#[test]
fn every_error_of_a_config_is_named_with_its_place() {
    let setup = Setup::new(somewhere());
    let text = "[node]\nworkrs = 2\n[http]\nmode = \"blocking\"\n[http.limits]\nhead_timeout = \"5\"\n\
                [[listener]]\nname = \"p\"\naddress = \"nowhere\"\n[[server]]\nname = \"s\"\norigin = \"absent\"\n\
                [[origin]]\nname = \"o\"\naddresses = []\n[origin.tls]\nclient_certificate = \"none\"\n\
                [detection]\nbody_limit = -1\n";
    let path = setup.write("weir.toml", text);
    let expected = [
        ("2:", "node.workrs", "workers"),
        ("4:", "http.mode", "safe_blocking"),
        ("6:", "http.limits.head_timeout", "5s"),
        ("9:", "listener[0].address", "nowhere"),
        ("12:", "server[0].origin", "absent"),
        ("15:", "origin[0].addresses", ""),
        ("17:", "origin[0].tls.client_certificate", "none"),
        ("19:", "detection.body_limit", "-1"),
    ];
    for (command, code, arguments) in [("check", 1, &[][..]), ("run", 2, &[]), ("explain", 2, &["/"])] {
        let done = run(command, &path, arguments);
        assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{command}: {done:?}");
        for (line, key, word) in expected {
            let place = format!("{}:{line}", path.display());
            let found = done
                .errors()
                .into_iter()
                .any(|error| error.starts_with(&place) && error.contains(key) && error.contains(word));
            assert!(found, "{command}: no error at {place} {key} {word}: {}", done.stderr);
        }
        assert!(done.stderr.contains("nothing was put in force"), "{command}");
    }
}

#[test]
fn check_says_what_blocks_and_who_says_so() {
    let setup = Setup::new(somewhere()).mode("block").server(
        "mode_by_header = { header = \"User-Agent\", contains = { bot = \"off\" } }\n\
         [[server.location]]\npath = \"/watch\"\nmatch = \"exact\"\nmode = \"monitoring\"\n\
         [[server.location]]\npath = \"/b\"\nmode_allow_override = \"off\"",
    );
    let path = setup.write_config();
    let text = run("check", &path, &[]).stdout;
    for line in [
        "mode block, from [http]",
        "1 server with 2 locations",
        "server site: mode block, from http, unless User-Agent chooses another; override on, from default; origin app",
        "  location /watch (exact): mode monitoring, from location /watch; override on, from default; origin app",
        "  location /b: mode block, from http, unless User-Agent chooses another; override off, from location /b; \
         origin app",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}: {text}");
    }
    let output =
        weir().args(["check", "--config"]).arg(&path).env("WEIR_MODE", "monitoring").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nmode monitoring, from WEIR_MODE\n"), "{text}");
    assert!(text.contains("server site: mode monitoring, from environment, unless"), "{text}");
}

#[test]
fn check_refuses_what_run_could_not_open() {
    let setup = Setup::new(somewhere());
    let text = setup.text().replace("file = \"events.jsonl\"", "file = \"nowhere/events.jsonl\"");
    let path = setup.write("weir.toml", &text);
    for (command, code) in [("check", 1), ("run", 2)] {
        let done = run(command, &path, &[]);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.stderr.contains("events.file: events can't be appended to"), "{done:?}");
    }
}

#[test]
fn errors_of_certificates_come_with_those_of_the_rest() {
    let setup = Pki::new().mutual(Setup::new(somewhere()));
    let text = setup.text();
    let missing = |key: &str, text: &str| -> String {
        let is_key = |line: &&str| line.starts_with(&format!("{key} ="));
        let line = text.lines().find(is_key).unwrap_or_else(|| panic!("no {key}: {text}"));
        text.replace(line, &format!("{key} = \"missing-{key}.pem\""))
    };
    let both = missing("ca", &missing("ca_bundle", &text));
    for text in [both.clone(), both.replace("workers = ", "wrokers = ")] {
        let errors = run("check", &setup.write("weir.toml", &text), &[]).stderr;
        for part in ["missing-ca.pem", "missing-ca_bundle.pem"] {
            assert_eq!(errors.matches(part).count(), 1, "{part}: {errors}");
        }
        assert_eq!(errors.contains("wrokers"), text.contains("wrokers"), "{errors}");
    }
}

#[test]
fn errors_of_rules_and_lists_are_named_with_their_place() {
    let setup = Setup::new(somewhere())
        .rules("general_mode = \"blok\"\n[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"block\"\nuri = \"no-slash\"\n\
                [[rule]]\nid = 1\ntype = \"mode\"\nmode = \"block\"\n[[rule]]\nid = 3\ntype = \"unheard\"\n")
        .lists("[[entry]]\nlist = \"black\"\naddress = \"192.0.2.0/33\"\n");
    let done = run("check", &setup.write_config(), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    for (file, word) in [
        ("rules.toml:1:", "blok"),
        ("rules.toml:", "unheard"),
        ("ip-lists.toml:2:", "black"),
        ("ip-lists.toml:3:", "/33"),
    ] {
        let found = done.errors().into_iter().any(|error| error.contains(file) && error.contains(word));
        assert!(found, "{file} {word}: {}", done.stderr);
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_named() {
    let setup = Setup::new(somewhere());
    let broken = setup.write("broken.toml", "[node\nworkers = = 2");
    let binary = setup.write("binary.toml", [0xff, 0xfe, 0x00]);
    let missing = setup.folder.path().join("missing.toml");
    for path in [broken, binary, missing, setup.folder.path().to_owned()] {
        for (command, code) in [("check", 1), ("run", 2)] {
            let done = run(command, &path, &[]);
            assert_eq!(done.code, code, "{done:?}");
            assert!(done.stderr.contains(path.to_str().unwrap()), "{done:?}");
        }
    }
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["check"],
        &["run"],
        &["run", "--config"],
        &["explain", "--config", "x"],
        &["check", "--nope"],
    ] {
        let output = weir().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = weir().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

/// A config whose certificate files are as a test left them, with one thing changed.
struct Certificates {
    setup: Setup,
    authority: DemoAuthority,
}

impl Certificates {
    fn new() -> Self {
        let pki = Pki::new();
        let setup = pki.mutual(Setup::new(somewhere()));
        setup.write_config();
        Self { setup, authority: pki.clients }
    }

    fn issue(&self, change: impl FnOnce(LeafRequest) -> LeafRequest) -> PemPair {
        self.authority.issue(&change(LeafRequest::new("edge", Usage::Client))).unwrap()
    }

    fn put(&self, pair: &PemPair) {
        Pki::write_pair(self.setup.folder.path(), "edge", pair);
    }

    fn openssl(&self, arguments: &[&str]) {
        let output =
            Command::new("openssl").args(arguments).current_dir(self.setup.folder.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    }

    /// Puts what openssl prints in place of a file.
    fn replace(&self, name: &str, arguments: &[&str]) {
        self.openssl(&[arguments, &["-out", "replaced"]].concat());
        std::fs::rename(self.setup.folder.path().join("replaced"), self.setup.folder.path().join(name))
            .unwrap();
    }

    fn check(&self) -> Done {
        run("check", &self.setup.config_path(), &[])
    }
}

/// What is wrong with a client certificate, how it is made wrong, and words of the error that says so.
type Flaw = (&'static str, fn(&Certificates), &'static [&'static str]);

const FLAWS: [Flaw; 14] = [
    (
        "no certificate file",
        |files| std::fs::remove_file(files.setup.folder.path().join("edge.pem")).unwrap(),
        &["edge.pem", "can't be read"],
    ),
    (
        "certificate in DER",
        |files| files.replace("edge.pem", &["x509", "-in", "edge.pem", "-outform", "der"]),
        &["edge.pem", "PEM"],
    ),
    (
        "a key where the certificate belongs",
        |files| {
            std::fs::copy(
                files.setup.folder.path().join("edge.key"),
                files.setup.folder.path().join("edge.pem"),
            )
            .unwrap();
        },
        &["edge.pem", "CERTIFICATE"],
    ),
    (
        "PEM around no certificate",
        |files| {
            files.setup.write("edge.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        },
        &["edge.pem", "not X.509"],
    ),
    (
        "EKU serverAuth",
        |files| files.put(&files.issue(|request| LeafRequest { usage: Usage::Server, ..request })),
        &["edge.pem", "Client Authentication"],
    ),
    ("key is no PEM", |files| drop(files.setup.write("edge.key", "no key")), &["edge.key", "must be PEM"]),
    (
        "key is encrypted",
        |files| {
            files.replace("edge.key", &["pkcs8", "-topk8", "-in", "edge.key", "-passout", "pass:secret"]);
        },
        &["edge.key", "encrypted"],
    ),
    (
        "key of another certificate",
        |files| {
            files.setup.write("edge.key", files.issue(|request| request).private_key_pem);
        },
        &["edge.key", "doesn't match"],
    ),
    (
        "bundle is no PEM",
        |files| drop(files.setup.write("edge-ca.pem", "no bundle")),
        &["edge-ca.pem", "must be PEM"],
    ),
    (
        "bundle without the issuer",
        |files| {
            files.setup.write("edge-ca.pem", DemoAuthority::new("Another root").unwrap().certificate_pem());
        },
        &["edge-ca.pem", "Clients' root"],
    ),
    ("expired", |files| files.put(&files.issue(LeafRequest::expired)), &["edge.pem", "expired"]),
    (
        "not yet valid",
        |files| files.put(&files.issue(LeafRequest::not_yet_valid)),
        &["edge.pem", "valid from"],
    ),
    (
        "unsupported algorithm",
        |files| {
            files.openssl(&["ecparam", "-name", "secp224r1", "-genkey", "-noout", "-out", "edge.key"]);
            files.openssl(&[
                "req",
                "-x509",
                "-new",
                "-key",
                "edge.key",
                "-out",
                "edge.pem",
                "-subj",
                "/CN=edge",
                "-days",
                "30",
                "-addext",
                "extendedKeyUsage=clientAuth",
            ]);
            std::fs::copy(
                files.setup.folder.path().join("edge.pem"),
                files.setup.folder.path().join("edge-ca.pem"),
            )
            .unwrap();
        },
        &["edge.", "secp224r1"],
    ),
    (
        "no trust file of the origin",
        |files| std::fs::remove_file(files.setup.folder.path().join("origin-ca.pem")).unwrap(),
        &["origin-ca.pem"],
    ),
];

#[test]
fn each_flaw_of_a_client_certificate_is_an_error_of_its_own() {
    let mut messages = BTreeSet::new();
    for (what, make_wrong, words) in FLAWS {
        let files = Certificates::new();
        let sound = files.check();
        assert_eq!(sound.code, 0, "{what}: {sound:?}");
        make_wrong(&files);
        let done = files.check();
        assert_eq!(done.code, 1, "{what}: {done:?}");
        assert_eq!(run("run", &files.setup.config_path(), &[]).code, 2, "{what}");
        let folder = files.setup.folder.path().to_str().unwrap();
        let error = done.errors().into_iter().find(|error| words.iter().all(|word| error.contains(word)));
        let error = error.unwrap_or_else(|| panic!("{what}: no error with {words:?}: {}", done.stderr));
        assert!(error.contains("weir.toml:"), "{what}: where it is configured: {error}");
        let message: String =
            error.replace(folder, "").chars().filter(|letter| !letter.is_ascii_digit()).collect();
        assert!(messages.insert(message), "{what}: the same words as another flaw: {error}");
    }
    assert_eq!(messages.len(), FLAWS.len());
}

#[test]
fn all_flaws_of_all_certificates_are_told_at_once() {
    let files = Certificates::new();
    files.put(&files.issue(|request| LeafRequest { usage: Usage::Server, ..request }.expired()));
    files.setup.write("edge.key", "no key");
    Pki::write_pair(files.setup.folder.path(), "second", &files.issue(LeafRequest::not_yet_valid));
    files.setup.write(
        "weir.toml",
        files.setup.text()
            + "[[client_certificate]]\nname = \"second\"\ncertificate = \"second.pem\"\nprivate_key = \"second.key\"\n\
               ca_bundle = \"edge-ca.pem\"\n",
    );
    let done = files.check();
    assert_eq!(done.code, 1, "{done:?}");
    for word in ["Client Authentication", "expired", "edge.key", "second.pem"] {
        assert!(done.errors().iter().any(|error| error.contains(word)), "{word}: {}", done.stderr);
    }
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning() {
    let files = Certificates::new();
    files.put(&files.issue(|request| {
        let not_after = request.not_after - 28 * 24 * 3600;
        LeafRequest { not_after, ..request }
    }));
    let done = files.check();
    assert_eq!(done.code, 0, "warnings change no exit code: {done:?}");
    assert!(done.stderr.contains("warning: ") && done.stderr.contains("edge"), "{done:?}");
}

#[test]
fn demanding_mtls_without_a_certificate_is_an_error() {
    let setup = Pki::new().verified(Setup::new(somewhere())).tls("require_mtls = true");
    let done = run("check", &setup.write_config(), &[]);
    assert_eq!(done.code, 1);
    assert!(done.errors().iter().any(|error| error.contains("client_certificate")), "{done:?}");
}

#[test]
fn the_documented_signature_finds_what_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/detection.md")).unwrap();
    let start = page.find("class = \"rce\"").unwrap();
    let signature = &page[start..start + page[start..].find("```").unwrap()];
    let setup = Setup::new(somewhere()).detection("signatures = [\"signatures\"]");
    std::fs::create_dir(setup.folder.path().join("signatures")).unwrap();
    setup.write("signatures/shop.toml", signature);
    let path = setup.write_config();
    let command = "$ weir explain --config weir.toml '/x?__debug__=eval(1)' | grep finding\n";
    let after = &page[page.find(command).expect("the page shows the command") + command.len()..];
    let documented = after.lines().next().unwrap();
    let done = run("explain", &path, &["/x?__debug__=eval(1)"]);
    let found: Vec<&str> = done.stdout.lines().filter(|line| line.contains("finding")).collect();
    assert_eq!(found, [documented]);
    let clean = run("explain", &path, &["/x?debug=evaluate"]);
    assert!(clean.stdout.contains("findings   no signature matches"), "{}", clean.stdout);
}

#[test]
fn a_bad_signature_of_ones_own_stops_check() {
    let setup = Setup::new(somewhere()).detection("signatures = [\"own\"]");
    std::fs::create_dir(setup.folder.path().join("own")).unwrap();
    let signature = |pattern: &str| {
        format!(
            "class = \"sqli\"\n[[signature]]\nid = \"own-one\"\ndescription = \"Own\"\npattern = '''{pattern}'''\n\
                 score = 5\n[signature.examples]\nattack = [\"own attack\"]\nclean = [\"clean\"]\n"
        )
    };
    setup.write("own/one.toml", signature("own attack"));
    let path = setup.write_config();
    assert_eq!(run("check", &path, &[]).code, 0);
    let done = run("explain", &path, &["--json", "/?q=own%20attack"]);
    assert_eq!(done.json_lines()[0]["findings"][0]["signature"], "own-one");
    setup.write("own/one.toml", signature("own (attack"));
    let done = run("check", &path, &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.errors().iter().any(|error| error.contains("one.toml") && error.contains("own-one")),
        "{done:?}"
    );
}

#[test]
fn a_node_whose_address_is_taken_does_not_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (place, name) in
        [("[[listener]]\nname = \"public\"\naddress = ", "public"), ("[admin]\naddress = ", "admin")]
    {
        let setup = Setup::new(somewhere());
        let text = setup.text().replace(&format!("{place}\"127.0.0.1:0\""), &format!("{place}\"{address}\""));
        assert!(text.contains(&address));
        let done = run("run", &setup.write("weir.toml", text), &[]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains(&address) && done.stderr.contains(name), "{done:?}");
    }
}

#[test]
fn an_admin_address_for_all_needs_a_token() {
    let setup = Setup::new(somewhere());
    let text = setup.text().replace("[admin]\naddress = \"127.0.0.1:0\"", "[admin]\naddress = \"0.0.0.0:0\"");
    let done = run("check", &setup.write("weir.toml", &text), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.errors().iter().any(|error| error.contains("token_file")), "{done:?}");
    setup.write("token", "0123456789abcdef0123456789abcdef\n");
    let text = text.replace("address = \"0.0.0.0:0\"", "address = \"0.0.0.0:0\"\ntoken_file = \"token\"");
    let done = run("check", &setup.write("weir.toml", text), &[]);
    assert_eq!(done.code, 0, "{done:?}");
}
