//! Config files, those of rules and lists too: read, or refused with places in the file.

use weir::config::{Environment, load};

use crate::{Check, Random, Target};

pub(super) const CONFIG: Target = Target {
    name: "config_file",
    seeds: &[
        b"[http]\nmode = \"block\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[server]]\nname = \"s\"\norigin = \"o\"\n\
          hosts = [\"*.a.example\"]\n[[server.location]]\npath = \"/a\"\nmatch = \"exact\"\nmode = \"off\"\n[[origin]]\nname = \"o\"\n\
          addresses = [\"127.0.0.1:9\"]\n",
        b"[node]\nworkers = 2\ndrain_timeout = \"30s\"\n[http.limits]\nhead_bytes = \"32KiB\"\n[detection]\nbody_limit = \"1MiB\"\n",
        b"[[origin]]\nname = \"o\"\n[origin.tls]\nserver_name = \"x\"\nrequire_mtls = true\n",
    ],
    dictionary: &[
        b"[", b"]", b"[[", b"]]", b"\n", b" = ", b"\"", b"'''", b"#", b"mode = \"off\"\n", b"\"99999999999999999999GiB\"", b"-1", b"1e400",
        b"[http]\n", b"[[server]]\n", b"name = \"s\"\n", b"\xff", b"\\u{}", b"{ a = 1 }", b"1979-05-27",
    ],
    quick_cases: 1500,
    prepare: || checker("weir.toml", ""),
};

/// A config that names the files of the other targets.
const MAIN: &str = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[server]]\nname = \"s\"\norigin = \"o\"\n\
                    [[origin]]\nname = \"o\"\naddresses = [\"127.0.0.1:9\"]\n";

pub(super) const RULES: Target = Target {
    name: "rules_file",
    seeds: &[
        b"general_mode = \"monitoring\"\n[[rule]]\nid = 2\ntype = \"mode\"\nmode = \"block\"\nuri = \"/main/**\"\n[[rule.when]]\n\
          point = [\"path\", 0]\nis = \"equal\"\nvalue = \"main\"\n",
        b"[[rule]]\nid = 3\ntype = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = \"query.id\"\n[[rule]]\nid = 4\ntype = \"regex\"\n\
          regex = \"a(b|c)+$\"\nattack_type = \"xss\"\npoint = [\"header\", \"X\"]\n",
    ],
    dictionary: &[
        b"[[rule]]\n", b"[[rule.when]]\n", b"id = 9\n", b"type = \"mask\"\n", b"point = ", b"[\"query\", \"k\"]", b"\"body.json.a\"", b"uri = \"/**/x*\"\n",
        b"is = \"regex\"\n", b"value = \"(\"\n", b"\"", b"=", b"\n", b"[", b"]", b"*", b"\\", b"{1,99999}",
    ],
    quick_cases: 1500,
    prepare: || checker("rules.toml", "[rules]\nfile = \"rules.toml\"\n"),
};

pub(super) const IP_LISTS: Target = Target {
    name: "ip_lists_file",
    seeds: &[
        b"[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.0/24\"\napplications = [1, 2]\nexpires = 2030-01-01T00:00:00Z\nreason = \"x\"\n",
        b"[[entry]]\nlist = \"gray\"\naddress = \"2001:db8::7\"\n[[entry]]\nlist = \"allow\"\naddress = \"::ffff:1.2.3.4\"\n",
    ],
    dictionary: &[
        b"[[entry]]\n", b"list = \"allow\"\n", b"address = \"", b"/129", b"/0", b"::", b"country = \"NL\"\n", b"proxy = \"tor\"\n",
        b"expires = \"9999-12-31T23:59:60+14:00\"\n", b"\"", b"\n", b",", b"-1",
    ],
    quick_cases: 1500,
    prepare: || checker("lists.toml", "[ip_lists]\nfile = \"lists.toml\"\n"),
};

/// Loads a config with the input as one of its files; the main one ends with `more`, unless it is the input.
fn checker(file: &'static str, more: &str) -> Check {
    let folder = tempfile::tempdir().expect("a folder for config files");
    let main = folder.path().join("weir.toml");
    std::fs::write(&main, format!("{MAIN}{more}")).expect("a config file");
    Box::new(move |input, _: &mut Random| {
        std::fs::write(folder.path().join(file), input).expect("a config file");
        if let Err(errors) = load(&main, &Environment::default()) {
            assert!(!errors.is_empty(), "a refusal without a reason");
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    })
}
