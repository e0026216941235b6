//! The config that Weir has in the comparison with its peers.

use std::fs;
use std::path::Path;

use weir::tls::forge::DemoAuthority;

use crate::support::command::run;
use crate::support::pki::Pki;

fn template(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peers/configs");
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_config_of_the_comparison_is_in_order() {
    let authority = DemoAuthority::new("bench CA").unwrap();
    let folder = tempfile::tempdir().unwrap();
    Pki::write_pair(folder.path(), "server", &authority.server(&["localhost"], &[]).unwrap());
    Pki::write_pair(folder.path(), "client", &authority.client("edge").unwrap());
    fs::write(folder.path().join("ca.pem"), authority.certificate_pem()).unwrap();
    for mode in ["off", "block"] {
        let mut text = template("weir.toml");
        for (name, value) in [
            ("@RUN@", folder.path().to_str().unwrap()),
            ("@MODE@", mode),
            ("@NAME@", "weir"),
            ("@PLAIN@", "8080"),
            ("@TLS@", "8443"),
            ("@ORIGIN@", "9000"),
            ("@ORIGIN_MTLS@", "9443"),
        ] {
            text = text.replace(name, value);
        }
        let config = folder.path().join("weir.toml");
        fs::write(&config, text).unwrap();
        let done = run("check", &config, &[]);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
}
