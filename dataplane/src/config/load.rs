//! Reads a config file and the files that it names, and checks them against each other.

use crate::listen::ListenAddress;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::detection::{DETECTION, read_detection};
use super::entries::ListEntries;
use super::error::{ConfigError, ConfigWarning, Where};
use super::http::{HTTP, read_http};
use super::ip_lists::{IP_LISTS, IP_LISTS_FILE, read_ip_lists_file, read_plain_ip_lists};
use super::listener::{LISTENER, judge_proxy_protocol, read_listener};
use super::model::{
    AddressDatabasesConfig, Config, HttpConfig, IpListsConfig, ListenerConfig, Mode, RuleMode, RulesConfig,
};
use super::names::Names;
use super::node::{ADMIN, EVENTS, NODE, read_admin, read_events, read_node};
use super::origin::{CLIENT_CERTIFICATE, ORIGIN, read_client_certificate, read_origin};
use super::problems::Problems;
use super::read::{FileReader, TableReader};
use super::rules::{RULES, RULES_FILE, read_rules_file};
use super::schema::{ROOT, Section, alternatives};
use super::server::{SERVER, read_servers};
use super::source::{MAX_FILE_BYTES, MAX_LISTS_FILE_BYTES, Source};
use super::suggest::nearest;
use crate::text::hex;

/// The variable that sets `[http].mode`.
const MODE_VARIABLE: &str = "WEIR_MODE";

/// What the process's environment says, as far as it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `WEIR_MODE`: sets `[http].mode` and wins over the file. Empty counts as unset.
    pub mode: Option<OsString>,
    /// `XDG_CACHE_HOME`.
    pub cache_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The config is only asked, not served: whether this user may write the event file and read the admin token
    /// doesn't matter then.
    pub only_asked: bool,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            mode: std::env::var_os(MODE_VARIABLE),
            cache_home: path("XDG_CACHE_HOME"),
            home: path("HOME"),
            only_asked: false,
        }
    }

    /// The user's cache folder for this program; only absolute paths count, as the XDG specification has it.
    pub(super) fn cache_folder(&self) -> Option<PathBuf> {
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        let cache =
            absolute(&self.cache_home).or_else(|| absolute(&self.home).map(|home| home.join(".cache")))?;
        Some(cache.join("weir"))
    }
}

/// A config that is in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What is odd about it; never a reason to stop.
    pub warnings: Vec<ConfigWarning>,
    /// SHA-256 over the texts of the config file, the rules and lists files, and the mode of the environment: 64 lower-case hex
    /// digits. Other files that these name aren't in it (certificates, block pages, signatures, address databases).
    pub digest: String,
}

/// Reads the config file at `path`, and the rules and lists files that it names. Relative paths start at the
/// folder of the file that holds them. Names of origins are not resolved, and certificates are not opened.
///
/// # Errors
/// Every error of every file, in order of line. No config comes of a file with an error.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
    let problems = Problems::default();
    let mut digest = Sha256::new();
    let config = read_main_file(path, environment, &problems, &mut digest);
    let warnings = problems.finish(path)?;
    // Without an error there is a config; an empty list of errors would be a mistake of the readers.
    let config = config.ok_or_else(Vec::new)?;
    Ok(Loaded { config, warnings, digest: hex(&digest.finalize()) })
}

/// What could be read of a config that has errors, for checks of the rest; `None` if it has none, or if nothing
/// could be read. Wherever there was an error it holds a default.
#[must_use]
pub fn load_parts(path: &Path, environment: &Environment) -> Option<Config> {
    let problems = Problems::default();
    let config = read_main_file(path, environment, &problems, &mut Sha256::new());
    problems.finish(path).is_err().then_some(config)?
}

fn read_main_file(
    path: &Path,
    environment: &Environment,
    problems: &Problems,
    digest: &mut Sha256,
) -> Option<Config> {
    let serve = !environment.only_asked;
    let mode = read_mode_variable(environment, problems);
    digest.update([mode.map_or(u8::MAX, |mode| mode as u8)]);
    let source = Source::read(path, MAX_FILE_BYTES, None, problems)?;
    add_to_digest(digest, &source);
    let (tree, broken_lines) = source.parse(problems);
    let file = FileReader::of_toml(&source, problems, broken_lines);
    let root = TableReader::new(&file, Some(tree.get_ref()), 0, String::new(), &ROOT);
    root.report_unknown_keys();
    report_absent_tables(&root);

    let mut http = read_http(&root.table("http", &HTTP));
    apply_mode_variable(&mut http, mode, problems);
    let certificates = root.tables("client_certificate", &CLIENT_CERTIFICATE);
    let certificate_names = Names::of("client certificate", &certificates);
    let origins = root.tables("origin", &ORIGIN);
    let origin_names = Names::of("origin", &origins);
    let servers = root.tables("server", &SERVER);
    Names::of("server", &servers);
    let listeners = read_listeners(&root, &http);
    Some(Config {
        node: read_node(&root.table("node", &NODE)),
        servers: read_servers(&servers, &origin_names, &http),
        origins: origins.iter().map(|table| read_origin(table, &certificate_names)).collect(),
        client_certificates: certificates.iter().map(read_client_certificate).collect(),
        detection: read_detection(&root.table("detection", &DETECTION), environment),
        rules: read_rules(&root, problems, digest),
        ip_lists: read_ip_lists(&root, problems, digest),
        events: read_events(&root.table("events", &EVENTS), serve),
        admin: root.table_if_present("admin", &ADMIN).map(|table| read_admin(&table, &listeners, serve)),
        listeners,
        http,
    })
}

/// Lengths keep two files from passing for one.
fn add_to_digest(digest: &mut Sha256, source: &Source) {
    digest.update((source.text().len() as u64).to_le_bytes());
    digest.update(source.text());
}

fn read_mode_variable(environment: &Environment, problems: &Problems) -> Option<Mode> {
    let value = environment.mode.as_ref().filter(|value| !value.is_empty())?;
    let mode = value.to_str().and_then(|name| name.parse::<Mode>().ok());
    if mode.is_none() {
        let names = Mode::ALL.map(Mode::as_str);
        let near = value.to_str().and_then(|text| nearest(text, &names));
        problems.error(ConfigError {
            place: Where::Variable(MODE_VARIABLE),
            key: "http.mode".to_owned(),
            message: format!("found {value:?}, allowed is {}", alternatives(&names)),
            advice: match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => "unset it to let the file decide".to_owned(),
            },
        });
    }
    mode
}

fn apply_mode_variable(http: &mut HttpConfig, mode: Option<Mode>, problems: &Problems) {
    if mode.is_none() {
        return;
    }
    http.context.mode = mode;
    http.context.mode_from_environment = true;
    if let Some(map) = http.context.mode_by_header.take() {
        problems.warning(ConfigWarning {
            place: Where::Text(map.place),
            key: "http.mode_by_header".to_owned(),
            message: format!("has no effect while {MODE_VARIABLE} sets the mode"),
        });
    }
}

fn report_absent_tables(root: &TableReader<'_>) {
    if !root.file.is_whole() {
        return;
    }
    for (name, advice) in [
        ("listener", "add [[listener]] with name = \"public\" and address = \"0.0.0.0:8080\""),
        ("server", "add [[server]] with name = \"server-a\" and origin = \"app\""),
        ("origin", "add [[origin]] with name = \"app\" and addresses = [\"127.0.0.1:9000\"]"),
    ] {
        if !root.has(name) {
            root.error(name, format!("the file has no [[{name}]]; allowed is one or more"), advice);
        }
    }
}

fn read_listeners(root: &TableReader<'_>, http: &HttpConfig) -> Vec<ListenerConfig> {
    let tables = root.tables("listener", &LISTENER);
    Names::of("listener", &tables);
    let mut addresses = Names::new("listener at");
    let mut listeners = Vec::with_capacity(tables.len());
    for table in &tables {
        let listener = read_listener(table, &http.connection_limits);
        judge_proxy_protocol(table, &listener, &http.trusted_proxies);
        if !matches!(listener.address, ListenAddress::Tcp(address) if address.port() == 0) {
            let address = listener.address.to_string();
            addresses.add_at(&address, &table.place_of("address"), &table.path_of("address"), table.file);
        }
        listeners.push(listener);
    }
    listeners
}

fn read_rules(root: &TableReader<'_>, problems: &Problems, digest: &mut Sha256) -> RulesConfig {
    let table = root.table("rules", &RULES);
    let mut rules = RulesConfig {
        file: table.path("file"),
        digest: String::new(),
        general_mode: RuleMode::Default,
        general_mode_place: None,
        rules: Vec::new(),
        unread_ids: Vec::new(),
        api_file: None,
    };
    if let Some((source, digest)) =
        read_other_file(&table, rules.file.as_deref(), MAX_FILE_BYTES, problems, digest)
    {
        rules.digest = digest;
        read_top(&source, &RULES_FILE, problems, |top| read_rules_file(top, &mut rules));
    }
    rules
}

fn read_ip_lists(root: &TableReader<'_>, problems: &Problems, digest: &mut Sha256) -> IpListsConfig {
    let table = root.table("ip_lists", &IP_LISTS);
    let mut lists = IpListsConfig {
        file: table.path("file"),
        databases: AddressDatabasesConfig {
            country: table.path("country_database"),
            datacenter: table.path("datacenter_database"),
            proxy: table.path("proxy_database"),
        },
        digest: String::new(),
        entries: ListEntries::default(),
    };
    if let Some((source, digest)) =
        read_other_file(&table, lists.file.as_deref(), MAX_LISTS_FILE_BYTES, problems, digest)
    {
        lists.digest = digest;
        if !read_plain_ip_lists(&source, problems, &mut lists) {
            read_top(&source, &IP_LISTS_FILE, problems, |top| read_ip_lists_file(top, &mut lists));
        }
    }
    lists
}

/// Reads the file at `path`, which the key `file` of a table names. Gives its text, and the digest of that.
fn read_other_file(
    table: &TableReader<'_>,
    path: Option<&Path>,
    limit_bytes: u64,
    problems: &Problems,
    digest: &mut Sha256,
) -> Option<(Source, String)> {
    let path = path?;
    let named_at = (&table.place_of("file"), table.path_of("file"));
    let source = Source::read(path, limit_bytes, Some((named_at.0, &named_at.1)), problems)?;
    let own = Sha256::digest(source.text());
    digest.update(own);
    Some((source, hex(&own)))
}

/// Reads the top of a file that is TOML.
fn read_top(
    source: &Source,
    section: &'static Section,
    problems: &Problems,
    read: impl FnOnce(&TableReader<'_>),
) {
    let (tree, broken_lines) = source.parse(problems);
    let file = FileReader::of_toml(source, problems, broken_lines);
    let top = TableReader::new(&file, Some(tree.get_ref()), 0, String::new(), section);
    top.report_unknown_keys();
    read(&top);
}
