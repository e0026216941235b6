//! Files that a config names and that never end, or never begin: each is an error, and no wait.

use std::path::Path;
use std::process::Command;

use crate::support::command::run;
use crate::support::node::weir;
use crate::support::setup::{Setup, somewhere};

#[test]
fn no_file_of_a_config_is_waited_for() {
    let setup = Setup::new(somewhere());
    let pipe = setup.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let identity = |certificate: &str, key: &str, bundle: &str| {
        format!(
            "[[client_certificate]]\nname = \"edge\"\ncertificate = \"{certificate}\"\nprivate_key = \"{key}\"\n\
             ca_bundle = \"{bundle}\"\n"
        )
    };
    let origin =
        |tls: &str| format!("[[origin]]\nname = \"b\"\naddresses = [\"127.0.0.1:9\"]\n[origin.tls]\n{tls}\n");
    let listener =
        |tls: &str| format!("[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{tls}\n");
    let pair = |certificate: &str, key: &str| {
        format!("certificates = [{{ certificate = \"{certificate}\", private_key = \"{key}\" }}]")
    };
    for file in [pipe.as_path(), Path::new("/dev/zero")] {
        let path = file.to_str().unwrap();
        let own = pair("site.pem", "site.key");
        for (what, text) in [
            ("certificate", identity(path, "none", "none")),
            ("key", identity("none", path, "none")),
            ("bundle", identity("none", "none", path)),
            ("origin's bundle", origin(&format!("ca = \"{path}\""))),
            ("origin's revocation list", origin(&format!("crl = \"{path}\""))),
            ("listener's certificate", listener(&pair(path, "none"))),
            ("listener's key", listener(&pair("none", path))),
            (
                "clients' authorities",
                listener(&format!("{own}\nclient_ca = \"{path}\"\nclient_auth = \"require\"")),
            ),
            ("database", format!("[ip_lists]\ncountry_database = \"{path}\"\n")),
            ("rules", format!("[rules]\nfile = \"{path}\"\n")),
            ("lists", format!("[ip_lists]\nfile = \"{path}\"\n")),
        ] {
            let done = run("check", &setup.write("weir.toml", setup.text() + &text), &[]);
            assert_eq!(done.code, 1, "{what}: {done:?}");
            assert!(done.stderr.contains("it is no regular file"), "{what}: {done:?}");
        }
        let config = setup.write("weir.toml", setup.text() + &origin("server_name = \"a.example\""));
        let done = weir()
            .args(["check", "--config"])
            .arg(config)
            .env("SSL_CERT_FILE", path)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        let expected = format!("SSL_CERT_FILE names {path}: it is no regular file");
        assert!(done.status.code() == Some(1) && errors.contains(&expected), "{done:?}");
        let whole = setup.text();
        for (what, from, to) in [
            ("page", "[http]", format!("[http]\nblock_response = {{ html = \"{path}\" }}")),
            ("token", "[admin]", format!("[admin]\ntoken_file = \"{path}\"")),
        ] {
            let done = run("check", &setup.write("weir.toml", whole.replacen(from, &to, 1)), &[]);
            assert!(done.code == 1 && done.stderr.contains("it is no regular file"), "{what}: {done:?}");
        }
    }
}
