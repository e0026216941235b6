//! What is sent: one kind of request, or a scenario's mix, worked out for one target.

use std::{
    collections::{BTreeSet, BinaryHeap},
    io::Write,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{ClientConfig, ClientConnection, client::Resumption};
use rustls_pki_types::ServerName;

use crate::{
    net::Shown,
    scenario::{
        Expectation, Message, Raw, Scenario,
        template::{Random, Template},
    },
};

/// All requests of a run.
pub(crate) struct Traffic {
    /// What reports call it.
    pub(super) description: String,
    seed: u64,
    /// Statuses that mean that a request was taken for an attack.
    pub(super) block_statuses: Vec<u16>,
    /// Empty without a scenario.
    pub(crate) labels: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    pub(super) groups: Vec<ClientGroup>,
    /// For each connection its group; empty where there is but one.
    assigned: Vec<u32>,
}

/// One kind of request.
pub(crate) struct Kind {
    /// Index into the labels; `None` without a scenario.
    pub(super) label: Option<usize>,
    /// The client closes the connection behind the answer.
    pub(super) close: bool,
    pub(super) expect: Option<Expectation>,
    bytes: Bytes,
}

enum Bytes {
    Fixed(Raw),
    OneOf(Arc<[Raw]>),
    /// Request line and fields without the empty line, and the body.
    Filled {
        head: Template,
        is_head: bool,
        body: Template,
        has_body: bool,
    },
}

/// A group's side of TLS.
#[derive(Clone)]
pub(crate) struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    /// What is shown to targets that ask for a certificate.
    pub(super) shown: Arc<Shown>,
    pub(super) server_name: ServerName<'static>,
    pub(super) resume: bool,
}

impl ClientTls {
    /// The client's side of a new connection.
    pub(super) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())
    }

    /// As [`Self::connection`], without tickets of earlier sessions, and without a trace in later ones.
    pub(super) fn unremembered_connection(&self) -> Result<ClientConnection, rustls::Error> {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        ClientConnection::new(Arc::new(config), self.server_name.clone())
    }
}

/// Clients that have something in common.
pub(crate) struct ClientGroup {
    pub(super) sources: Vec<IpAddr>,
    /// Counts connections, whose source addresses come in turn.
    connected: AtomicUsize,
    pub(super) keep_alive: bool,
    pub(super) tls: Option<ClientTls>,
    /// Indexes of kinds, each with the sum of weights up to it.
    requests: Vec<(usize, u64)>,
}

impl Traffic {
    /// One request, over and over.
    pub(super) fn single(
        description: String,
        bytes: Vec<u8>,
        is_head: bool,
        keep_alive: bool,
        tls: Option<ClientTls>,
    ) -> Self {
        let kind =
            Kind { label: None, close: false, expect: None, bytes: Bytes::Fixed(Raw { bytes, is_head }) };
        let group = ClientGroup {
            sources: Vec::new(),
            connected: AtomicUsize::new(0),
            keep_alive,
            tls,
            requests: vec![(0, 1)],
        };
        Self {
            description,
            seed: 0,
            block_statuses: vec![403],
            labels: Vec::new(),
            kinds: vec![kind],
            groups: vec![group],
            assigned: Vec::new(),
        }
    }

    /// A scenario's requests to `authority` over so many connections, with the TLS settings of each of its groups.
    pub(super) fn of_scenario(
        scenario: &Scenario,
        authority: &str,
        connections: usize,
        keep_alive: bool,
        tls: Vec<Option<ClientTls>>,
    ) -> Self {
        let kinds = scenario.requests.iter().map(|request| Kind {
            label: Some(request.label),
            close: request.close,
            expect: request.expect.clone(),
            bytes: Bytes::of_message(&request.message, authority),
        });
        let groups = scenario.groups.iter().zip(tls).map(|(group, tls)| ClientGroup {
            sources: group.sources.clone(),
            connected: AtomicUsize::new(0),
            keep_alive: group.keep_alive && keep_alive,
            tls,
            requests: group.requests.clone(),
        });
        let shares: Vec<usize> = scenario.groups.iter().map(|group| group.share).collect();
        Self {
            description: scenario.description(),
            seed: scenario.seed,
            block_statuses: scenario.block_statuses.clone(),
            labels: scenario.labels.clone(),
            kinds: kinds.collect(),
            groups: groups.collect(),
            assigned: if shares.len() > 1 { assign(&shares, connections) } else { Vec::new() },
        }
    }

    /// The group of the run's connection `number`.
    pub(super) fn group_of(&self, number: usize) -> usize {
        self.assigned.get(number).map_or(0, |group| *group as usize)
    }

    /// Indexes of the labels whose requests have a weight over 0.
    pub(super) fn used_labels(&self) -> BTreeSet<usize> {
        let kinds = self.groups.iter().flat_map(|group| &group.requests);
        kinds.filter_map(|(kind, _)| self.kinds[*kind].label).collect()
    }

    /// Writes the run's request `number`, for a client of `group`, to `out`, and returns its kind and whether its answer has
    /// no body because it is a HEAD. `scratch` is room for its body.
    pub(super) fn write_request(
        &self,
        group: usize,
        number: u64,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> (&Kind, bool) {
        let mut random = Random::new(self.seed, number);
        let kind = &self.kinds[self.groups[group].pick(&mut random)];
        let is_head = kind.write(out, scratch, &mut random, number);
        (kind, is_head)
    }
}

/// Gives each connection to a group. Each group has one of the first connections; then the next goes to the group that is
/// furthest below its share, as Webster's method for seats in a parliament has it.
fn assign(shares: &[usize], connections: usize) -> Vec<u32> {
    /// Compared by share / divisor; the first group of several.
    #[derive(PartialEq, Eq)]
    struct Claim {
        share: u64,
        divisor: u64,
        group: u32,
    }
    impl Ord for Claim {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            let (own, others) = (self.share * other.divisor, other.share * self.divisor);
            own.cmp(&others).then(other.group.cmp(&self.group))
        }
    }
    impl PartialOrd for Claim {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    let claims = (0..).zip(shares).map(|(group, share)| Claim { share: *share as u64, divisor: 3, group });
    let mut claims: BinaryHeap<Claim> = claims.collect();
    let mut assigned: Vec<u32> = (0..).take(shares.len()).collect();
    while assigned.len() < connections {
        let Some(mut claim) = claims.pop() else { break };
        assigned.push(claim.group);
        claim.divisor += 2;
        claims.push(claim);
    }
    assigned
}

impl Kind {
    /// Writes a request to `out` and says whether it is a HEAD.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        random: &mut Random,
        number: u64,
    ) -> bool {
        out.clear();
        match &self.bytes {
            Bytes::Fixed(raw) => {
                out.extend_from_slice(&raw.bytes);
                raw.is_head
            }
            Bytes::OneOf(all) => {
                // There is one at least, and the number is below how many there are.
                let raw = &all[random.below(all.len() as u64) as usize];
                out.extend_from_slice(&raw.bytes);
                raw.is_head
            }
            Bytes::Filled { head, is_head, body, has_body } => {
                head.fill(out, random, number);
                scratch.clear();
                body.fill(scratch, random, number);
                if *has_body {
                    // Writing to a vector can't fail.
                    let _written = write!(out, "Content-Length: {}\r\n", scratch.len());
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(scratch);
                *is_head
            }
        }
    }
}

impl ClientGroup {
    /// Where its next connection comes from; the system's choice without.
    pub(super) fn next_source(&self) -> Option<IpAddr> {
        let count = self.sources.len();
        (count > 0).then(|| self.sources[self.connected.fetch_add(1, Ordering::Relaxed) % count])
    }

    fn pick(&self, random: &mut Random) -> usize {
        match &self.requests[..] {
            [(only, _)] => *only,
            requests => {
                let all = requests.last().map_or(1, |(_, sum)| *sum);
                let place = random.below(all);
                let index = requests.partition_point(|(_, sum)| *sum <= place);
                requests.get(index).map_or(0, |(kind, _)| *kind)
            }
        }
    }
}

impl Bytes {
    fn of_message(message: &Message, authority: &str) -> Self {
        let (head, is_head, has_host, body, has_body) = match message {
            Message::Fixed(raw) => return Self::Fixed(raw.clone()),
            Message::OneOf(all) => return Self::OneOf(Arc::clone(all)),
            Message::Parts { head, is_head, has_host, body, has_body } => {
                (head, *is_head, *has_host, body, *has_body)
            }
        };
        let mut head = head.clone();
        if !has_host {
            head.push_text(format!("Host: {authority}\r\n").as_bytes());
        }
        if head.as_fixed().is_none() || body.as_fixed().is_none() {
            return Self::Filled { head, is_head, body: body.clone(), has_body };
        }
        // What is always the same is written once.
        let kind = Kind {
            label: None,
            close: false,
            expect: None,
            bytes: Self::Filled { head, is_head, body: body.clone(), has_body },
        };
        let mut bytes = Vec::new();
        kind.write(&mut bytes, &mut Vec::new(), &mut Random::new(0, 0), 0);
        Self::Fixed(Raw { bytes, is_head })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn traffic(text: &str) -> Traffic {
        let scenario = Scenario::parse(text, Path::new(".")).unwrap();
        let groups = scenario.groups.len();
        Traffic::of_scenario(&scenario, "a:1", 64, true, vec![None; groups])
    }

    fn request(traffic: &Traffic, group: usize, number: u64) -> String {
        let mut out = Vec::new();
        traffic.write_request(group, number, &mut out, &mut Vec::new());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_follow_their_weights_and_repeat_with_the_seed() {
        let text = "[[request]]\nlabel = \"a\"\nweight = 3\ntarget = \"/a\"\n[[request]]\nlabel = \"b\"\ntarget = \"/b\"\n";
        let traffic = traffic(text);
        let all: Vec<String> = (0..4000).map(|number| request(&traffic, 0, number)).collect();
        let share = all.iter().filter(|text| text.starts_with("GET /a ")).count();
        assert!((2800..3200).contains(&share), "{share}");
        assert_eq!(all, (0..4000).map(|number| request(&traffic, 0, number)).collect::<Vec<_>>());
        assert_eq!(all[0].split_once("\r\n").unwrap().1, "Host: a:1\r\n\r\n");
    }

    #[test]
    fn filled_bodies_have_their_length() {
        let text = "[[request]]\nlabel = \"a\"\ntarget = \"/\"\nheaders = [\"host: b\"]\n\
                    body = \"${letters:12}\"\ntemplate = true\n";
        let text = request(&traffic(text), 0, 5);
        let body = text.strip_prefix("POST / HTTP/1.1\r\nhost: b\r\nContent-Length: 12\r\n\r\n").unwrap();
        assert_eq!(body.len(), 12);
    }

    #[test]
    fn connections_belong_to_groups_by_share() {
        let text = "[[request]]\nlabel = \"a\"\ntarget = \"/\"\n[[group]]\nname = \"x\"\nshare = 2\n[[group]]\nname = \"y\"\n";
        let traffic = traffic(text);
        let groups: Vec<_> = (0..6).map(|number| traffic.group_of(number)).collect();
        assert_eq!(groups, [0, 1, 0, 0, 1, 0]);
        let counts = |shares: &[usize], connections: usize| {
            let assigned = assign(shares, connections);
            let of = |group: usize| assigned.iter().filter(|other| **other as usize == group).count();
            (0..shares.len()).map(of).collect::<Vec<_>>()
        };
        assert_eq!(counts(&[3, 1], 64), [48, 16]);
        // However small its share, each has a connection.
        assert_eq!(counts(&[1_000_000, 1, 1], 10), [8, 1, 1]);
        assert_eq!(counts(&[1, 2, 5], 800), [100, 200, 500]);
    }

    #[test]
    fn sources_come_in_turn() {
        let text = "[[request]]\nlabel = \"a\"\ntarget = \"/\"\n[[group]]\nname = \"x\"\nsources = [\"127.0.0.2-127.0.0.4\"]\n";
        let traffic = traffic(text);
        let sources: Vec<_> = (0..4).filter_map(|_| traffic.groups[0].next_source()).collect();
        assert_eq!(sources, [2, 3, 4, 2].map(|last| IpAddr::from([127, 0, 0, last])));
        assert_eq!(traffic.used_labels(), [0].into());
    }
}
