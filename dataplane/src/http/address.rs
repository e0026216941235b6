//! Addresses as text, without the formatting machinery of the standard library: one is written for each request.

use std::io::Write;
use std::net::IpAddr;

use arrayvec::ArrayVec;

/// Room for every address in text form.
const ADDRESS_TEXT_BYTES: usize = 48;

/// An address as text, as [`std::fmt::Display`] would write it.
pub fn address_text(address: IpAddr) -> ArrayVec<u8, ADDRESS_TEXT_BYTES> {
    let mut text = ArrayVec::new();
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    text.push(b'.');
                }
                if octet >= 100 {
                    text.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    text.push(b'0' + octet / 10 % 10);
                }
                text.push(b'0' + octet % 10);
            }
        }
        IpAddr::V6(address) => {
            // There is room for every address, so this can't fail.
            let _ = write!(text, "{address}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn every_address_reads_as_the_standard_library_writes_it() {
        let check = |address: IpAddr| assert_eq!(&address_text(address)[..], address.to_string().as_bytes());
        for octet in 0..=255 {
            check(IpAddr::V4(Ipv4Addr::new(octet, 255 - octet, octet / 3, 1)));
        }
        for words in
            [[0; 8], [0xffff; 8], [0, 0, 0, 0, 0, 0xffff, 0xc0a8, 1], [0x2001, 0xdb8, 0, 0, 1, 0, 0, 1]]
        {
            check(IpAddr::V6(Ipv6Addr::from(words)));
        }
    }
}
