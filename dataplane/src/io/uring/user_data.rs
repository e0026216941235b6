//! What a ring entry carries so that its completion finds its way back: kind, generation, index in 64 bits.
//!
//! Layout from the top: kind 8 bits, generation 24 bits, index 32 bits. The generation is what keeps a late
//! completion of a socket away from the socket that took its slot.

/// Generations wrap at 24 bits: a slot has to be used again 16.7 million times before one returns.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

/// Which operation completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Multishot accept; the index is the listener's.
    Accept = 1,
    /// Multishot receive of a socket.
    Receive = 2,
    /// Send of a socket, of one part or two.
    Send = 3,
    /// Connect of a socket.
    Connect = 4,
    /// Read of the wake eventfd; the index means nothing.
    Wake = 5,
    /// A cancel that found nothing, or came too late; successful ones post no completion.
    Cancel = 6,
    /// A close that failed; successful ones post no completion.
    Close = 7,
}

/// The decoded form of an entry's 64 bits of user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UserData {
    pub(super) kind: Kind,
    /// At most [`GENERATION_MASK`].
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl UserData {
    /// User data of an operation that belongs to a numbered thing without generations.
    pub(super) fn plain(kind: Kind, index: u32) -> Self {
        Self { kind, generation: 0, index }
    }

    pub(super) fn encode(self) -> u64 {
        (u64::from(self.kind as u8) << 56)
            | (u64::from(self.generation & GENERATION_MASK) << 32)
            | u64::from(self.index)
    }

    /// `None` if the kind is none of ours, which only a bug could bring about.
    pub(super) fn decode(bits: u64) -> Option<Self> {
        let kind = match (bits >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Connect,
            5 => Kind::Wake,
            6 => Kind::Cancel,
            7 => Kind::Close,
            _ => return None,
        };
        Some(Self { kind, generation: (bits >> 32) as u32 & GENERATION_MASK, index: bits as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 7] =
        [Kind::Accept, Kind::Receive, Kind::Send, Kind::Connect, Kind::Wake, Kind::Cancel, Kind::Close];

    #[test]
    fn every_kind_survives_with_extreme_numbers() {
        for kind in KINDS {
            for generation in [0, 1, 0x0080_0000, GENERATION_MASK] {
                for index in [0, 1, u32::MAX] {
                    let user_data = UserData { kind, generation, index };
                    assert_eq!(UserData::decode(user_data.encode()), Some(user_data));
                }
            }
        }
    }

    #[test]
    fn the_layout_is_kind_generation_index() {
        let user_data = UserData { kind: Kind::Receive, generation: 0x00ab_cdef, index: 0x1234_5678 };
        assert_eq!(user_data.encode(), 0x02ab_cdef_1234_5678);
    }

    #[test]
    fn a_generation_never_spills_into_the_kind() {
        let user_data = UserData { kind: Kind::Send, generation: u32::MAX, index: 0 };
        assert_eq!(user_data.encode() >> 56, Kind::Send as u64);
    }

    #[test]
    fn unknown_kinds_are_told() {
        for kind in (0..=u8::MAX).filter(|&kind| kind == 0 || kind > 7) {
            assert_eq!(UserData::decode(u64::from(kind) << 56), None);
        }
    }
}
