//! Small databases of addresses in MaxMind's format (version 2.0 of its specification), as a test needs them.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// A value of such a database.
pub(crate) enum Value {
    Text(&'static str),
    Flag(bool),
    Map(Vec<(&'static str, Self)>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(text, out),
            // Type 14: the size is the value.
            Self::Flag(set) => out.extend([u8::from(*set), 14 - 7]),
            Self::Map(members) => {
                out.push(7 << 5 | members.len() as u8);
                for (key, value) in members {
                    write_text(key, out);
                    value.write(out);
                }
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..29 => out.push(2 << 5 | length as u8),
        length => out.extend([2 << 5 | 29, (length - 29) as u8]),
    }
    out.extend(text.as_bytes());
}

/// What a branch of the tree leads to.
#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The bytes of a database of these networks, which must not overlap.
pub(crate) fn database(networks: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let (bits, length) = bits_of(network.parse().unwrap());
        let offset = data.len();
        value.write(&mut data);
        let mut node = 0;
        for depth in 0..length {
            let branch = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == length {
                nodes[node][branch] = Record::Data(offset);
            } else if let Record::Node(next) = nodes[node][branch] {
                node = next;
            } else {
                nodes.push([Record::Nothing; 2]);
                nodes[node][branch] = Record::Node(nodes.len() - 1);
                node = nodes.len() - 1;
            }
        }
    }
    let count = nodes.len();
    let mut bytes = Vec::new();
    for record in nodes.into_iter().flatten() {
        let number = match record {
            Record::Nothing => count,
            Record::Node(node) => node,
            Record::Data(offset) => count + 16 + offset,
        };
        bytes.extend(&(number as u32).to_be_bytes()[1..]);
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    write_metadata(count as u32, &mut bytes);
    bytes
}

/// The tree is one of IPv6; IPv4 has its place at its beginning.
fn bits_of(network: IpNet) -> (u128, u32) {
    match network {
        IpNet::V4(network) => (u128::from(u32::from(network.addr())), 96 + u32::from(network.prefix_len())),
        IpNet::V6(network) => (u128::from(network.addr()), u32::from(network.prefix_len())),
    }
}

fn write_metadata(node_count: u32, out: &mut Vec<u8>) {
    let number = |kind: u8, bytes: &[u8]| -> Vec<u8> {
        let control =
            if kind <= 7 { vec![kind << 5 | bytes.len() as u8] } else { vec![bytes.len() as u8, kind - 7] };
        [&control, bytes].concat()
    };
    let mut kind = Vec::new();
    write_text("Test", &mut kind);
    let members = BTreeMap::from([
        ("binary_format_major_version", number(5, &[2])),
        ("binary_format_minor_version", number(5, &[])),
        ("build_epoch", number(9, &1_767_225_600_u64.to_be_bytes())),
        ("database_type", kind),
        ("description", vec![7 << 5]),
        ("ip_version", number(5, &[6])),
        ("languages", vec![0, 11 - 7]),
        ("node_count", number(6, &node_count.to_be_bytes())),
        ("record_size", number(5, &[24])),
    ]);
    out.push(7 << 5 | members.len() as u8);
    for (key, value) in members {
        write_text(key, out);
        out.extend(value);
    }
}
