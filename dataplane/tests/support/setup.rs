//! A config for the node under test, made from parts.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::node::Node;

/// What a config file is made of. Every part is TOML text; the rest is what most tests want: one listener, one server
/// named `site` and one origin named `app`, one worker, events and admin on, all on free ports.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    workers: usize,
    node: String,
    http: String,
    limits: String,
    listener: String,
    server: String,
    origin: String,
    origin_tls: String,
    detection: String,
    events: String,
    more: String,
    addresses: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// A program with arguments that the node is started by; none is the node itself.
    pub(crate) launcher: Vec<String>,
}

impl Setup {
    /// A second listener, under TLS with `site.pem` and `site.key`.
    pub(crate) const SECURE_LISTENER: &str = "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\n\
        [listener.tls]\ncertificates = [{ certificate = \"site.pem\", private_key = \"site.key\" }]";

    /// A node before one origin.
    pub(crate) fn new(origin: SocketAddr) -> Self {
        Self::named(&origin.to_string())
    }

    /// A node before one origin, at an address as it is written in the config.
    pub(crate) fn named(origin: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-e2e-").tempdir().unwrap();
        Self {
            folder,
            workers: 1,
            node: String::new(),
            http: String::new(),
            limits: String::new(),
            listener: String::new(),
            server: String::new(),
            origin: String::new(),
            origin_tls: String::new(),
            detection: String::new(),
            events: String::new(),
            more: String::new(),
            addresses: vec![origin.to_owned()],
            environment: Vec::new(),
            launcher: Vec::new(),
        }
    }

    /// Sets the number of workers. One is the default here: what a test opens and asks then meets in one pool.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Adds to `[node]`.
    pub(crate) fn node(mut self, text: &str) -> Self {
        add(&mut self.node, text);
        self
    }

    /// Adds to `[http]`.
    pub(crate) fn http(mut self, text: &str) -> Self {
        add(&mut self.http, text);
        self
    }

    /// Sets the mode in `[http]`.
    pub(crate) fn mode(self, mode: &str) -> Self {
        self.http(&format!("mode = \"{mode}\""))
    }

    /// Adds to `[http.limits]`.
    pub(crate) fn limits(mut self, text: &str) -> Self {
        add(&mut self.limits, text);
        self
    }

    /// Adds to `[[listener]]`, tables of it included.
    pub(crate) fn listener(mut self, text: &str) -> Self {
        add(&mut self.listener, text);
        self
    }

    /// Adds to `[[server]]`, tables of it included.
    pub(crate) fn server(mut self, text: &str) -> Self {
        add(&mut self.server, text);
        self
    }

    /// Adds to `[[origin]]`.
    pub(crate) fn origin(mut self, text: &str) -> Self {
        add(&mut self.origin, text);
        self
    }

    /// Adds an address to the origin.
    pub(crate) fn address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address.to_string());
        self
    }

    /// Adds to `[origin.tls]`, which is there once something was added.
    pub(crate) fn tls(mut self, text: &str) -> Self {
        add(&mut self.origin_tls, text);
        self
    }

    /// Adds to `[detection]`.
    pub(crate) fn detection(mut self, text: &str) -> Self {
        add(&mut self.detection, text);
        self
    }

    /// Adds to `[events]`.
    pub(crate) fn events(mut self, text: &str) -> Self {
        add(&mut self.events, text);
        self
    }

    /// Adds tables at the end.
    pub(crate) fn more(mut self, text: &str) -> Self {
        add(&mut self.more, text);
        self
    }

    /// Names a lists file with this text.
    pub(crate) fn lists(self, text: &str) -> Self {
        self.write("ip-lists.toml", text);
        self.more("[ip_lists]\nfile = \"ip-lists.toml\"")
    }

    /// Names a rules file with this text.
    pub(crate) fn rules(self, text: &str) -> Self {
        self.write("rules.toml", text);
        self.more("[rules]\nfile = \"rules.toml\"")
    }

    /// Has the node started by a program that gets its command line after `arguments`.
    pub(crate) fn launched_by(mut self, arguments: &[&str]) -> Self {
        self.launcher = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Sets an environment variable of the node.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file into the config's folder.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Where the config file is.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("weir.toml")
    }

    /// Writes the config file.
    pub(crate) fn write_config(&self) -> PathBuf {
        self.write("weir.toml", self.text())
    }

    /// The config file's text.
    pub(crate) fn text(&self) -> String {
        // `make soak` runs all of these tests on the portable backend too.
        let io = std::env::var("WEIR_TEST_IO").map_or_else(|_| String::new(), |io| format!("io = {io:?}\n"));
        let io = if self.node.contains("io = ") { String::new() } else { io };
        // A machine that is busy elsewhere for seconds must change nothing: nor must it look for certificates meanwhile.
        let unless_set = |part: &str, key: &str, value: &str| match part.contains(key) {
            true => String::new(),
            false => format!("{key} = \"{value}\"\n"),
        };
        let looks = unless_set(&self.node, "certificate_check_interval", "0s");
        let mut text =
            format!("[node]\nworkers = {}\n{io}{looks}{}\n[http]\n{}\n", self.workers, self.node, self.http);
        let heads = unless_set(&self.limits, "head_timeout", "1h");
        write!(text, "[http.limits]\n{heads}{}\n", self.limits).unwrap();
        writeln!(text, "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n{}", self.listener)
            .unwrap();
        write!(text, "[[server]]\nname = \"site\"\ndefault = true\norigin = \"app\"\n{}\n", self.server)
            .unwrap();
        let connecting = unless_set(&self.origin, "connect_timeout", "1h");
        let waiting = unless_set(&self.origin, "queue_timeout", "1h");
        write!(text, "[[origin]]\nname = \"app\"\naddresses = {:?}\n", self.addresses).unwrap();
        writeln!(text, "{connecting}{waiting}{}", self.origin).unwrap();
        if !self.origin_tls.is_empty() {
            write!(text, "[origin.tls]\n{}\n", self.origin_tls).unwrap();
        }
        let inspecting = unless_set(&self.detection, "time_limit", "1m");
        write!(text, "[detection]\ncache_dir = {:?}\n{inspecting}{}\n", cache_folder(), self.detection)
            .unwrap();
        write!(text, "[events]\nfile = \"events.jsonl\"\n{}\n", self.events).unwrap();
        text.push_str("[admin]\naddress = \"127.0.0.1:0\"\n");
        text.push_str(&self.more);
        text
    }

    /// Writes the config and starts the node.
    pub(crate) fn start(self) -> Node {
        self.write_config();
        Node::start(self)
    }
}

fn add(part: &mut String, text: &str) {
    part.push_str(text);
    part.push('\n');
}

/// Compiled signatures, kept between tests and runs.
pub(crate) fn cache_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled-signatures"))
}

/// An origin's address for commands that open no connection: nobody needs to listen there.
pub(crate) fn somewhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
}
