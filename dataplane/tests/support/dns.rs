//! A small DNS server over UDP that answers what a test says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// What is answered to a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These addresses, with a TTL in seconds. Those of the other family are none.
    Addresses(Vec<IpAddr>, u32),
    /// An error: 2 = the server failed, 3 = there is no such name.
    Error(u8),
    /// Nothing at all.
    Silence,
}

type Replies = Arc<Mutex<BTreeMap<String, Reply>>>;

/// A server on a free port. Its thread ends with the test process.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    replies: Replies,
    asked: Arc<Mutex<u64>>,
}

impl Dns {
    /// A server that knows no name.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let replies = Replies::default();
        let asked = Arc::new(Mutex::new(0));
        let (known, count) = (Arc::clone(&replies), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut query).unwrap();
                let Some((name, kind, end)) = read_question(&query[..length]) else { continue };
                let reply = known.lock().unwrap().get(&name).cloned().unwrap_or(Reply::Error(3));
                if let Some(answer) = answer(&query[..end], kind, &reply) {
                    socket.send_to(&answer, from).unwrap();
                }
                *count.lock().unwrap() += 1;
            }
        });
        Self { address, replies, asked }
    }

    /// Sets what is answered for a name.
    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(name.to_owned(), reply);
    }

    /// Sets the addresses of a name, for a second.
    pub(crate) fn point(&self, name: &str, addresses: &[&str]) {
        self.set(name, Reply::Addresses(addresses.iter().map(|one| one.parse().unwrap()).collect(), 1));
    }

    /// Questions that were answered.
    pub(crate) fn asked(&self) -> u64 {
        *self.asked.lock().unwrap()
    }
}

/// The name and the type of the one question, and where it ends (RFC 1035 section 4.1.2).
fn read_question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// `question` is the query up to the end of its question.
fn answer(question: &[u8], kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (code, records, ttl) = match reply {
        Reply::Silence => return None,
        Reply::Error(code) => (*code, Vec::new(), 0),
        Reply::Addresses(addresses, ttl) => {
            let bytes = |address: &IpAddr| match address {
                IpAddr::V4(ip) if kind == 1 => Some(ip.octets().to_vec()),
                IpAddr::V6(ip) if kind == 28 => Some(ip.octets().to_vec()),
                _ => None,
            };
            (0, addresses.iter().filter_map(bytes).collect(), *ttl)
        }
    };
    let mut answer = question.to_vec();
    answer[2..12].fill(0);
    // An answer, recursion asked for and available.
    (answer[2], answer[3]) = (0x81, 0x80 | code);
    (answer[5], answer[7]) = (1, records.len() as u8);
    for bytes in records {
        // The name is that at byte 12.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend(1_u16.to_be_bytes());
        answer.extend(ttl.to_be_bytes());
        answer.extend((bytes.len() as u16).to_be_bytes());
        answer.extend(bytes);
    }
    Some(answer)
}
