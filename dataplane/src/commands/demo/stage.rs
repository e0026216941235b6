//! What the demo plays on: a temporary folder with config and certificates, the origins, and the node.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use super::origin::{Origin, OriginPlan, RequestLog};
use crate::config::Environment;
use crate::control::{AdminLimits, AdminSocket, Backend, Control, Signals, Stop};
use crate::listen::{Inherited, ListenAddress};
use crate::node::{self, Handle, Node};
use crate::tls::forge::DemoAuthority;

const CONFIG: &str = include_str!("../../../../configs/demo.toml");
const RULES: &str = include_str!("../../../../configs/demo-rules.toml");
const IP_LISTS: &str = include_str!("../../../../configs/demo-ip-lists.toml");

/// The addresses in the config that free ones take the place of.
const LISTENER: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9901";
const APP: &str = "127.0.0.1:9441";
const BILLING: &str = "127.0.0.1:9442";
const WRONG_NAME: &str = "127.0.0.1:9443";
const STRANGER: &str = "127.0.0.1:9444";

/// How long the workers may take until all of them accept.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// The files that the demo leaves until it ends.
pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path("demo.toml")
    }

    pub(super) fn events(&self) -> PathBuf {
        self.path("events.jsonl")
    }

    pub(super) fn origin_log(&self) -> PathBuf {
        self.path("origin.jsonl")
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// All that runs.
pub(super) struct Stage {
    pub(super) node: Arc<Handle>,
    /// Where the node takes requests.
    pub(super) listener: SocketAddr,
    /// Where its admin endpoints answer.
    pub(super) admin: SocketAddr,
    serving: JoinHandle<Result<usize, String>>,
    control: Control,
    // Dropped in this order, once the node is gone.
    _origins: Vec<Origin>,
    pub(super) files: Files,
}

impl Stage {
    /// Makes the certificates, and starts the origins and the node.
    ///
    /// # Errors
    /// What could not be had, in words for a person.
    pub(super) fn set_up(environment: Environment) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("weir-demo-").tempdir();
        let files = Files { folder: folder.map_err(|error| format!("no temporary folder: {error}"))? };
        let log = RequestLog::create(&files.origin_log())
            .map_err(|error| format!("{}: {error}", files.origin_log().display()))?;
        let authority = DemoAuthority::new("Weir demo CA").map_err(|error| error.to_string())?;
        write_identities(&files, &authority)?;
        let origins = start_origins(&authority, &log)?;
        let config = with_addresses(CONFIG, &origins)?;
        files.write("demo.toml", &config)?;
        files.write("demo-rules.toml", RULES)?;
        files.write("demo-ip-lists.toml", IP_LISTS)?;
        let origins = origins.into_iter().map(|(_, origin)| origin).collect();
        Self::start_node(files, origins, environment)
    }

    fn start_node(files: Files, origins: Vec<Origin>, environment: Environment) -> Result<Self, String> {
        let path = files.config();
        let prepared = node::prepare(&path, &environment)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let admin = prepared.config.admin.as_ref().ok_or("the demo's config has no [admin]")?.address;
        let admin_socket = AdminSocket::bind(admin, false, AdminLimits::default())?;
        let admin = admin_socket.address().map_err(|error| error.to_string())?;
        let signals = Signals::catch().map_err(|error| format!("signals can't be caught: {error}"))?;
        let node = Node::start(&path, environment, prepared, &mut Inherited::default())?;
        let control = Control::start(signals, Some(admin_socket), node.events(), node.handle())
            .map_err(|error| format!("the control thread can't start: {error}"))?;
        let Some((_, ListenAddress::Tcp(listener))) = node.listeners.first() else {
            return Err("the demo's config has no TCP listener".to_owned());
        };
        let listener = *listener;
        let handle = node.handle();
        let serving = std::thread::Builder::new()
            .name("weir-serve".to_owned())
            .spawn(move || node.serve())
            .map_err(|error| format!("no thread: {error}"))?;
        let stage = Self { node: handle, listener, admin, serving, control, _origins: origins, files };
        let deadline = Instant::now() + READY_TIMEOUT;
        while !stage.node.ready() {
            if Instant::now() > deadline || stage.serving.is_finished() {
                stage.stop()?;
                return Err("the node did not get ready".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(stage)
    }

    /// A signal has asked the demo to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.node.status().draining
    }

    /// Stops the node, then the origins, and removes the folder.
    ///
    /// # Errors
    /// If a worker died.
    pub(super) fn stop(self) -> Result<(), String> {
        self.node.stop(Stop::Graceful);
        self.wait()
    }

    /// Waits until a signal has stopped the node; otherwise as [`Stage::stop`].
    pub(super) fn wait(self) -> Result<(), String> {
        let outcome = self.serving.join();
        self.control.stop();
        outcome.map_err(|_| "the node's thread died".to_owned())??;
        Ok(())
    }
}

/// The files under certs/ that the config names.
fn write_identities(files: &Files, authority: &DemoAuthority) -> Result<(), String> {
    let folder = files.path("certs");
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    files.write("certs/ca.pem", &authority.certificate_pem())?;
    for name in ["edge", "edge-b"] {
        let pair = authority.client(name).map_err(|error| error.to_string())?;
        files.write(&format!("certs/{name}.pem"), &pair.certificate_pem)?;
        files.write(&format!("certs/{name}.key"), &pair.private_key_pem)?;
    }
    Ok(())
}

/// The origins, each with the address that it has in the config.
fn start_origins(
    authority: &DemoAuthority,
    log: &Arc<RequestLog>,
) -> Result<Vec<(&'static str, Origin)>, String> {
    let stranger =
        DemoAuthority::new("An authority that signed no client").map_err(|error| error.to_string())?;
    let start = |plan: OriginPlan<'_>| Origin::start(&plan, log);
    let certificate =
        |name: &str| authority.server(&[name], &[]).map_err(|error| format!("origin `{name}`: {error}"));
    let app = start(OriginPlan {
        name: "app",
        certificate: &certificate("app.internal")?,
        clients_of: authority,
        only_client: Some("edge"),
        versions: &[&TLS13, &TLS12],
    })?;
    let billing = start(OriginPlan {
        name: "billing",
        certificate: &certificate("billing.internal")?,
        clients_of: authority,
        only_client: Some("edge-b"),
        versions: &[&TLS12],
    })?;
    let wrong_name = start(OriginPlan {
        name: "wrong-name",
        certificate: &certificate("another-name.internal")?,
        clients_of: authority,
        only_client: None,
        versions: &[&TLS13, &TLS12],
    })?;
    let stranger = start(OriginPlan {
        name: "stranger",
        certificate: &certificate("stranger.internal")?,
        clients_of: &stranger,
        only_client: None,
        versions: &[&TLS13, &TLS12],
    })?;
    Ok(vec![(APP, app), (BILLING, billing), (WRONG_NAME, wrong_name), (STRANGER, stranger)])
}

/// The config with free ports, and those of the origins.
fn with_addresses(config: &str, origins: &[(&str, Origin)]) -> Result<String, String> {
    let free = |address: &str| (address.to_owned(), "127.0.0.1:0".to_owned());
    let of_origins =
        origins.iter().map(|(address, origin)| ((*address).to_owned(), origin.address.to_string()));
    replace_addresses(config, [free(LISTENER), free(ADMIN)].into_iter().chain(of_origins))
}

fn replace_addresses(
    config: &str,
    replacements: impl Iterator<Item = (String, String)>,
) -> Result<String, String> {
    let mut text = config.to_owned();
    for (old, new) in replacements {
        let (old, new) = (format!("\"{old}\""), format!("\"{new}\""));
        if !text.contains(&old) {
            return Err(format!("the demo's config doesn't name {old}; this is a defect"));
        }
        text = text.replace(&old, &new);
    }
    Ok(text)
}

/// Reads a file of JSON lines; a last line that is still being written is left out.
pub(super) fn read_json_lines(path: &Path) -> Result<Vec<serde_json::Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    lines.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_demo_config_loads_without_warnings_and_names_every_address_that_is_replaced() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo.toml");
        let loaded = config::load(&path, &Environment::default()).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.ip_lists.entries.len(), 3);
        let addresses = [LISTENER, ADMIN, APP, BILLING, WRONG_NAME, STRANGER];
        let replacements = addresses.iter().map(|old| ((*old).to_owned(), "127.0.0.1:1".to_owned()));
        let replaced = replace_addresses(CONFIG, replacements).unwrap();
        let ports: Vec<&str> = replaced.split("\"127.0.0.1:").skip(1).collect();
        assert!(ports.iter().all(|rest| rest.starts_with("1\"")), "every address is replaced: {ports:?}");
    }

    #[test]
    fn an_address_that_the_config_lacks_is_an_error() {
        let replacements = [("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned())];
        assert!(replace_addresses(CONFIG, replacements.into_iter()).unwrap_err().contains("127.0.0.1:1"));
    }
}
