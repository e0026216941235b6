//! The decision of spec S1.8 as one small table: a byte for every (mode, list, access phase, finding).

use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::source::List;

/// Why a request was blocked, recorded, or let through unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Nothing was found.
    None = 0,
    /// An attack was found (blocked or recorded, as the verdict says).
    Attack = 1,
    /// A virtual patch matched.
    VirtualPatch = 2,
    /// The source is denylisted.
    DenyList = 3,
    /// The source is allowlisted.
    AllowList = 4,
    /// The request broke the protocol.
    Protocol = 5,
    /// A limit of inspection (time, size) was reached.
    OverLimit = 6,
    /// A rate limit rejected the request.
    RateLimit = 7,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::None,
        Self::Attack,
        Self::VirtualPatch,
        Self::DenyList,
        Self::AllowList,
        Self::Protocol,
        Self::OverLimit,
        Self::RateLimit,
    ];

    /// The name in events, metrics and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Attack => "attack",
            Self::VirtualPatch => "virtual_patch",
            Self::DenyList => "deny_list",
            Self::AllowList => "allow_list",
            Self::Protocol => "protocol",
            Self::OverLimit => "over_limit",
            Self::RateLimit => "rate_limit",
        }
    }
}

/// What inspection found, weakest first: of several findings the greatest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Finding {
    /// Nothing.
    None = 0,
    /// A limit of inspection was reached, and the setting for it is to pass.
    OverLimitPass = 1,
    /// A limit of inspection was reached, and the setting for it is to block.
    OverLimitBlock = 2,
    /// An attack, found by a signature that isn't experimental.
    Attack = 3,
    /// A virtual patch matched.
    VirtualPatch = 4,
}

impl Finding {
    /// All findings, weakest first.
    pub const ALL: [Self; 5] =
        [Self::None, Self::OverLimitPass, Self::OverLimitBlock, Self::Attack, Self::VirtualPatch];
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// The request is answered with the block response and doesn't reach the origin.
    pub block: bool,
    /// Why it is blocked or recorded; `AllowList` where it passes unread.
    pub reason: Reason,
    /// An event is written.
    pub record: bool,
}

const BLOCK_BIT: u8 = 0x80;
const RECORD_BIT: u8 = 0x40;

impl Verdict {
    const PASS: Self = Self::pass(Reason::None);

    const fn pass(reason: Reason) -> Self {
        Self { block: false, reason, record: false }
    }

    const fn recorded(reason: Reason) -> Self {
        Self { block: false, reason, record: true }
    }

    const fn blocked(reason: Reason) -> Self {
        Self { block: true, reason, record: true }
    }

    const fn pack(self) -> u8 {
        let block = if self.block { BLOCK_BIT } else { 0 };
        let record = if self.record { RECORD_BIT } else { 0 };
        block | record | self.reason as u8
    }

    fn unpack(byte: u8) -> Self {
        Self {
            block: byte & BLOCK_BIT != 0,
            record: byte & RECORD_BIT != 0,
            reason: Reason::ALL[usize::from(byte & 7)],
        }
    }
}

/// The list that holds the source, as an axis of the table.
const LISTS: usize = 4;
const FINDINGS: usize = Finding::ALL.len();
const CELLS: usize = 4 * LISTS * 2 * FINDINGS;

const fn cell(mode: usize, list: usize, access_phase: usize, finding: usize) -> usize {
    ((mode * LISTS + list) * 2 + access_phase) * FINDINGS + finding
}

const fn list_axis(list: Option<List>) -> usize {
    match list {
        None => 0,
        Some(List::Allow) => 1,
        Some(List::Deny) => 2,
        Some(List::Gray) => 3,
    }
}

/// Spec S1.8, in its order.
const fn decide(mode: Mode, list: Option<List>, access_phase: bool, finding: Finding) -> Verdict {
    if matches!(mode, Mode::Off) {
        return Verdict::PASS;
    }
    match list {
        Some(List::Allow) => return Verdict::pass(Reason::AllowList),
        Some(List::Deny) if access_phase || mode as u8 >= Mode::SafeBlocking as u8 => {
            return Verdict::blocked(Reason::DenyList);
        }
        _ => {}
    }
    let gray = matches!(list, Some(List::Gray));
    let blocks_attacks = matches!(mode, Mode::Block) || (matches!(mode, Mode::SafeBlocking) && gray);
    match finding {
        Finding::None => Verdict::PASS,
        Finding::VirtualPatch => Verdict::blocked(Reason::VirtualPatch),
        Finding::Attack if blocks_attacks => Verdict::blocked(Reason::Attack),
        Finding::Attack => Verdict::recorded(Reason::Attack),
        Finding::OverLimitBlock if blocks_attacks => Verdict::blocked(Reason::OverLimit),
        Finding::OverLimitBlock | Finding::OverLimitPass => Verdict::recorded(Reason::OverLimit),
    }
}

static VERDICTS: [u8; CELLS] = {
    let modes = Mode::ALL;
    let lists = [None, Some(List::Allow), Some(List::Deny), Some(List::Gray)];
    let mut table = [0; CELLS];
    let mut mode = 0;
    while mode < modes.len() {
        let mut list = 0;
        while list < LISTS {
            let mut finding = 0;
            while finding < FINDINGS {
                let (m, l, f) = (modes[mode], lists[list], Finding::ALL[finding]);
                table[cell(mode, list, 0, finding)] = decide(m, l, false, f).pack();
                table[cell(mode, list, 1, finding)] = decide(m, l, true, f).pack();
                finding += 1;
            }
            list += 1;
        }
        mode += 1;
    }
    table
};

/// Reads the verdict; `list` is the one that holds the source, where lists are read at all.
pub(crate) fn verdict(mode: Mode, list: Option<List>, access_phase: bool, finding: Finding) -> Verdict {
    let index = cell(mode as usize, list_axis(list), usize::from(access_phase), finding as usize);
    Verdict::unpack(VERDICTS[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Block, Monitoring, Off, SafeBlocking};

    const ATTACK: Finding = Finding::Attack;
    const CLEAN: Finding = Finding::None;

    /// (blocked, recorded) with the access phase on.
    fn outcome(mode: Mode, list: Option<List>, finding: Finding) -> (bool, bool) {
        let verdict = verdict(mode, list, true, finding);
        (verdict.block, verdict.record)
    }

    fn row(list: Option<List>, finding: Finding) -> [(bool, bool); 4] {
        [Off, Monitoring, SafeBlocking, Block].map(|mode| outcome(mode, list, finding))
    }

    const PASS: (bool, bool) = (false, false);
    const EVENT: (bool, bool) = (false, true);
    const BLOCKED: (bool, bool) = (true, true);

    #[test]
    fn what_each_mode_means_s1_2() {
        // columns: off, monitoring, safe_blocking, block
        assert_eq!(row(None, CLEAN), [PASS, PASS, PASS, PASS], "clean, ordinary source");
        assert_eq!(row(None, ATTACK), [PASS, EVENT, EVENT, BLOCKED], "malicious, ordinary source");
        assert_eq!(row(Some(List::Gray), ATTACK), [PASS, EVENT, BLOCKED, BLOCKED], "malicious, graylisted");
        assert_eq!(row(Some(List::Gray), CLEAN), [PASS, PASS, PASS, PASS], "clean, graylisted");
        for finding in [CLEAN, ATTACK] {
            assert_eq!(row(Some(List::Deny), finding), [PASS, BLOCKED, BLOCKED, BLOCKED], "denylisted");
            assert_eq!(row(Some(List::Allow), finding), [PASS, PASS, PASS, PASS], "allowlisted");
        }
    }

    #[test]
    fn the_access_phase_s1_4() {
        for finding in [CLEAN, ATTACK] {
            let with_phase = |phase, mode| verdict(mode, Some(List::Deny), phase, finding);
            for phase in [true, false] {
                assert_eq!(with_phase(phase, Off), Verdict::PASS);
                for mode in [SafeBlocking, Block] {
                    assert_eq!(with_phase(phase, mode), Verdict::blocked(Reason::DenyList));
                }
            }
            assert_eq!(with_phase(true, Monitoring), Verdict::blocked(Reason::DenyList));
            let ignored = with_phase(false, Monitoring);
            assert!(!ignored.block, "never blocked");
            assert_eq!(ignored.record, finding == ATTACK, "attacks are recorded");
        }
    }

    #[test]
    fn allowlisted_traffic_s1_5() {
        for finding in Finding::ALL {
            for mode in [Monitoring, SafeBlocking, Block] {
                let verdict = verdict(mode, Some(List::Allow), true, finding);
                assert_eq!(verdict, Verdict::pass(Reason::AllowList), "beats virtual patches too");
            }
        }
    }

    #[test]
    fn limits_of_inspection_block_like_attacks_s1_6() {
        let over = Finding::OverLimitBlock;
        assert_eq!(row(None, over), [PASS, EVENT, EVENT, BLOCKED]);
        assert_eq!(row(Some(List::Gray), over), [PASS, EVENT, BLOCKED, BLOCKED]);
        assert_eq!(row(Some(List::Gray), Finding::OverLimitPass), [PASS, EVENT, EVENT, EVENT]);
    }

    #[test]
    fn virtual_patches_block_in_every_mode_but_off_s1_7() {
        assert_eq!(row(None, Finding::VirtualPatch), [PASS, BLOCKED, BLOCKED, BLOCKED]);
    }

    #[test]
    fn bytes_hold_every_verdict() {
        for reason in Reason::ALL {
            for verdict in [Verdict::pass(reason), Verdict::recorded(reason), Verdict::blocked(reason)] {
                assert_eq!(Verdict::unpack(verdict.pack()), verdict);
            }
        }
    }
}
