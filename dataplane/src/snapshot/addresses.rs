//! Where addresses belong: files of MaxMind's format that tell country, data centre and kind of proxy.
//!
//! They are read into memory and checked whole when a config is loaded; a look-up takes microseconds, and is made once
//! for a connection.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::{Reader, WithinOptions, path};
use serde::Deserialize;
use serde::de::IgnoredAny;
use weir_policy::{Attribute, Attributes, Client, Policy};

use crate::config::{AddressDatabasesConfig, ConfigError, Where};
use crate::files;

/// A larger file is refused unread.
const DATABASE_BYTES_MAX: u64 = 512 << 20;

type Database = Reader<Vec<u8>>;

/// The databases of a config.
#[derive(Clone, Default)]
pub(crate) struct AddressDatabases {
    country: Option<Arc<Database>>,
    datacenter: Option<Arc<Database>>,
    proxy: Option<Arc<Database>>,
}

/// What tells of data centres.
#[derive(Deserialize)]
struct DatacenterRecord<'a> {
    #[serde(borrow)]
    datacenter: Option<&'a str>,
    #[serde(default)]
    is_hosting_provider: bool,
    #[serde(borrow)]
    autonomous_system_organization: Option<&'a str>,
}

/// What tells of proxies.
#[derive(Deserialize)]
struct ProxyRecord<'a> {
    #[serde(borrow)]
    proxy_type: Option<&'a str>,
    #[serde(default)]
    is_tor_exit_node: bool,
    #[serde(default)]
    is_anonymous_vpn: bool,
    #[serde(default)]
    is_public_proxy: bool,
    #[serde(default)]
    is_residential_proxy: bool,
    #[serde(default)]
    is_anonymous: bool,
}

impl AddressDatabases {
    /// Reads and checks the files. One that several keys name is read once.
    pub(super) fn open(config: &AddressDatabasesConfig, errors: &mut Vec<ConfigError>) -> Self {
        let mut opened: Vec<(PathBuf, Option<Arc<Database>>)> = Vec::new();
        let mut open = |key: &str, path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            if let Some((_, known)) = opened.iter().find(|(known, _)| known == path) {
                return known.clone();
            }
            let database = open_database(path).map(Arc::new).map_err(|reason| {
                errors.push(ConfigError {
                    place: Where::File(path.clone()),
                    key: format!("ip_lists.{key}_database"),
                    message: format!("this can't be used as a database of addresses: {reason}"),
                    advice:
                        "name a file of MaxMind's format (.mmdb) that is whole and that this user may read"
                            .to_owned(),
                });
            });
            opened.push((path.clone(), database.clone().ok()));
            database.ok()
        };
        Self {
            country: open("country", &config.country),
            datacenter: open("datacenter", &config.datacenter),
            proxy: open("proxy", &config.proxy),
        }
    }

    /// What a policy's lists ask about an address.
    pub(crate) fn client(&self, policy: &Policy, address: IpAddr) -> Client {
        let mut attributes = Attributes::default();
        if policy.uses(Attribute::Country) {
            let code = self.country.as_ref().and_then(|database| country(database, address));
            let name = code.and_then(|code| policy.attribute_name(Attribute::Country, &code));
            attributes.country = name.unwrap_or_default();
        }
        if policy.uses(Attribute::Datacenter) {
            let name = |name: &str| policy.attribute_name(Attribute::Datacenter, &name.to_lowercase());
            let names = self.datacenter.as_ref().map(|database| datacenters(database, address, name));
            attributes.datacenter = names.flatten().unwrap_or_default();
        }
        if policy.uses(Attribute::Proxy) {
            let kinds = self.proxy.as_ref().map(|database| proxies(database, address)).unwrap_or_default();
            let names = kinds.iter().filter_map(|kind| policy.attribute_name(Attribute::Proxy, kind));
            for (place, name) in attributes.proxies.iter_mut().zip(names) {
                *place = name;
            }
        }
        Client { address, attributes }
    }
}

fn open_database(path: &Path) -> Result<Database, String> {
    let bytes = files::read_bounded(path, DATABASE_BYTES_MAX).map_err(|error| error.to_string())?;
    let database = Reader::from_source(bytes).map_err(|error| error.to_string())?;
    check(&database)?;
    Ok(database)
}

/// Goes through all networks and looks at each record that they lead to. The library's own check asks in addition for
/// a description, which many files don't have.
fn check(database: &Database) -> Result<(), String> {
    // So many ends has no tree of that size, unless it leads back into itself.
    let networks_max = database.metadata().node_count as usize * 3;
    let mut seen = HashSet::new();
    let all = WithinOptions::default().include_networks_without_data();
    for (number, found) in database.networks(all).map_err(|error| error.to_string())?.enumerate() {
        if number > networks_max {
            return Err("its tree of networks leads back into itself".to_owned());
        }
        let found = found.map_err(|error| error.to_string())?;
        if found.offset().is_some_and(|offset| seen.insert(offset)) {
            found.decode::<IgnoredAny>().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The country's two letters: as MaxMind's databases have it, or directly under a name.
fn country(database: &Database, address: IpAddr) -> Option<String> {
    let found = database.lookup(address.to_canonical()).ok()?;
    let at = |path: &[maxminddb::PathElement<'_>]| found.decode_path::<&str>(path).ok().flatten();
    let code = at(&path!["country", "iso_code"]).or_else(|| at(&path!["country_code"]));
    let code = code.or_else(|| at(&path!["country"]).filter(|code| code.len() == 2));
    code.map(str::to_ascii_uppercase)
}

/// The first of the names that a data centre goes by which is known.
fn datacenters<N>(database: &Database, address: IpAddr, known: impl Fn(&str) -> Option<N>) -> Option<N> {
    let record: DatacenterRecord<'_> = database.lookup(address.to_canonical()).ok()?.decode().ok()??;
    let hosting = record.is_hosting_provider.then_some("hosting");
    let names = [record.datacenter, record.autonomous_system_organization, hosting];
    names.into_iter().flatten().find_map(known)
}

/// The kinds of proxy that an address is, the narrower ones first.
fn proxies(database: &Database, address: IpAddr) -> Vec<String> {
    let found = database.lookup(address.to_canonical()).ok();
    let record = found.and_then(|found| found.decode::<ProxyRecord<'_>>().ok().flatten());
    let Some(record) = record else { return Vec::new() };
    let flags = [
        ("tor", record.is_tor_exit_node),
        ("vpn", record.is_anonymous_vpn),
        ("public", record.is_public_proxy),
        ("residential", record.is_residential_proxy),
        ("anonymous", record.is_anonymous),
    ];
    let named = record.proxy_type.map(str::to_lowercase);
    named
        .into_iter()
        .chain(flags.into_iter().filter(|(_, set)| *set).map(|(kind, _)| kind.to_owned()))
        .collect()
}
