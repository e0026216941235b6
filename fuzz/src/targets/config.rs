//! Config files: read, or refused with places in the file.

use weir::config::{Environment, load};

use crate::{Random, Target};

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
    prepare: || {
        let folder = tempfile::tempdir().expect("a folder for config files");
        let path = folder.path().join("weir.toml");
        Box::new(move |input, _: &mut Random| {
            let _kept = &folder;
            std::fs::write(&path, input).expect("a config file");
            if let Err(errors) = load(&path, &Environment::default()) {
                assert!(!errors.is_empty(), "a refusal without a reason");
                assert!(errors.iter().all(|error| !error.to_string().is_empty()));
            }
        })
    },
};
