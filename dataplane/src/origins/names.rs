//! What is known of the names of origins: their addresses, until when they count, and how lookups went.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::lookup::{Answer, Found};
use crate::config::{Config, ResolverConfig};

/// The names of the config in force and their addresses.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: BTreeMap<String, Name>,
}

#[derive(Clone, Debug)]
struct Name {
    ipv4: Vec<IpAddr>,
    ipv6: Vec<IpAddr>,
    /// Of the last lookup that found something.
    answered: Instant,
    /// When it is to be looked up next.
    due: Instant,
    found: u64,
    failed: u64,
    /// Why the last lookup failed, if it did.
    error: Option<String>,
}

/// What is known of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameStatus {
    /// The name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How long ago they were looked up.
    pub age: Duration,
    /// Lookups that found addresses.
    pub found: u64,
    /// Lookups that failed, in full or for one of the two families.
    pub failed: u64,
    /// Why the last lookup failed, if it did.
    pub error: Option<String>,
}

/// What a lookup changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// The name has other addresses now.
    Changed,
    Unchanged,
    /// Nothing was found for the first time in a row; what was known stays.
    Failed(String),
    FailedAgain,
}

impl Names {
    /// The addresses of a name, those of IPv4 first.
    pub(crate) fn addresses(&self, host: &str) -> Vec<IpAddr> {
        self.names.get(&key(host)).map(Name::addresses).unwrap_or_default()
    }

    /// Whether any address of a name is known.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.names.contains_key(&key(host))
    }

    /// The names that a config resolves, each once.
    pub(crate) fn of(config: &Config) -> Vec<String> {
        let written = config.origins.iter().flat_map(|origin| &origin.addresses);
        let mut names: Vec<String> =
            written.filter(|one| one.ip().is_none()).map(|one| key(&one.host)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Forgets all names but these.
    pub(crate) fn keep_only(&mut self, names: &[String]) {
        self.names.retain(|name, _| names.contains(name));
    }

    /// Notes what a lookup has brought. A name is known from its first answer on.
    pub(crate) fn note(
        &mut self,
        host: &str,
        answer: Answer,
        settings: &ResolverConfig,
        now: Instant,
    ) -> Noted {
        let error = answer.error();
        let found = answer.finds_any();
        let ttl = answer.ttl().clamp(settings.ttl_min, settings.ttl_max);
        let Some(name) = self.names.get_mut(&key(host)) else {
            if !found {
                return Noted::Failed(error.unwrap_or_default());
            }
            let failed = u64::from(error.is_some());
            let due = now + if error.is_some() { settings.ttl_min } else { ttl };
            let Answer { ipv4, ipv6 } = answer;
            let (ipv4, ipv6) = (ipv4.into_addresses(), ipv6.into_addresses());
            self.names.insert(key(host), Name { ipv4, ipv6, answered: now, due, found: 1, failed, error });
            return Noted::Changed;
        };
        let was_wrong = name.error.is_some();
        name.failed += u64::from(error.is_some());
        name.due = now + if error.is_some() { settings.ttl_min } else { ttl };
        name.error.clone_from(&error);
        if !found {
            return if was_wrong { Noted::FailedAgain } else { Noted::Failed(error.unwrap_or_default()) };
        }
        name.found += 1;
        name.answered = now;
        let before = name.addresses();
        answer.ipv4.put_into(&mut name.ipv4);
        answer.ipv6.put_into(&mut name.ipv6);
        if name.addresses() == before { Noted::Unchanged } else { Noted::Changed }
    }

    /// The names that are due to be looked up, each of which is due again after `pause`; and when the next one is.
    pub(crate) fn take_due(&mut self, now: Instant, pause: Duration) -> (Vec<String>, Option<Instant>) {
        let mut due = Vec::new();
        for (text, name) in &mut self.names {
            if name.due <= now {
                name.due = now + pause;
                due.push(text.clone());
            }
        }
        (due, self.names.values().map(|name| name.due).min())
    }

    /// What is known, for operators.
    pub(crate) fn status(&self, now: Instant) -> Vec<NameStatus> {
        let status = |(name, known): (&String, &Name)| NameStatus {
            name: name.clone(),
            addresses: known.addresses(),
            age: now.saturating_duration_since(known.answered),
            found: known.found,
            failed: known.failed,
            error: known.error.clone(),
        };
        self.names.iter().map(status).collect()
    }
}

impl Name {
    fn addresses(&self) -> Vec<IpAddr> {
        [self.ipv4.as_slice(), self.ipv6.as_slice()].concat()
    }
}

impl Found {
    /// Replaces what was known, unless nothing could be learned.
    fn put_into(self, known: &mut Vec<IpAddr>) {
        match self {
            Self::Addresses(addresses, _) => *known = addresses,
            Self::Nothing => known.clear(),
            Self::Failure(_) => {}
        }
    }

    fn into_addresses(self) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        self.put_into(&mut addresses);
        addresses
    }
}

/// Names are the same in whatever case they are written, with a final dot or without.
fn key(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ResolverConfig = ResolverConfig {
        addresses: Vec::new(),
        ttl_min: Duration::from_secs(5),
        ttl_max: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        ipv6: true,
    };

    fn found(addresses: &[&str], ttl: u64) -> Found {
        Found::Addresses(addresses.iter().map(|one| one.parse().unwrap()).collect(), Duration::from_secs(ttl))
    }

    fn failure() -> Found {
        Found::Failure("no answer".to_owned())
    }

    fn texts(names: &Names) -> Vec<String> {
        names.addresses("A.test.").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_good_answer_stays_and_ttls_are_bounded() {
        let mut names = Names::default();
        let mut now = Instant::now();
        let mut look = |names: &mut Names, ipv4: Found, ipv6: Found, next_after: u64| {
            let noted = names.note("a.test", Answer { ipv4, ipv6 }, &SETTINGS, now);
            let (due, next) = names.take_due(now, SETTINGS.timeout);
            assert_eq!(due, [""; 0]);
            assert_eq!(next.map(|next| (next - now).as_secs()), (next_after > 0).then_some(next_after));
            now += Duration::from_secs(next_after);
            noted
        };
        assert!(matches!(look(&mut names, failure(), failure(), 0), Noted::Failed(_)));
        assert!(!names.knows("a.test"));
        assert_eq!(look(&mut names, found(&["192.0.2.1"], 1), Found::Nothing, 5), Noted::Changed);
        assert_eq!(look(&mut names, found(&["192.0.2.1"], 30), Found::Nothing, 30), Noted::Unchanged);
        assert!(matches!(look(&mut names, Found::Nothing, Found::Nothing, 5), Noted::Failed(_)));
        assert_eq!(look(&mut names, failure(), Found::Nothing, 5), Noted::FailedAgain);
        assert_eq!(texts(&names), ["192.0.2.1"]);
        // One family alone may fail; what was known of it stays.
        assert_eq!(look(&mut names, failure(), found(&["2001:db8::1"], 900), 5), Noted::Changed);
        assert_eq!(texts(&names), ["192.0.2.1", "2001:db8::1"]);
        let two = found(&["192.0.2.3", "192.0.2.4"], 900);
        assert_eq!(look(&mut names, two, Found::Nothing, 60), Noted::Changed);
        assert_eq!(texts(&names), ["192.0.2.3", "192.0.2.4"]);
        let status = names.status(now).remove(0);
        assert_eq!((status.found, status.failed, status.error), (4, 3, None));
        let (due, next) = names.take_due(now, SETTINGS.timeout);
        assert_eq!((due, next), (vec!["a.test".to_owned()], Some(now + SETTINGS.timeout)));
    }
}
