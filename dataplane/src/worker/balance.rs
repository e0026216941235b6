//! Which address a request goes to.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::pool::{PoolIndex, Target};
use super::request::Request;
use super::{Generation, Worker};
use crate::config::Balance;
use crate::io::{Io, Monotonic};

/// Addresses tried for one request before it is answered with the failure.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// Time between two log lines of one origin that say that too few of its addresses are usable.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(60);

/// What the log says of an origin's usable addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortage {
    is_short: bool,
    is_told: bool,
    not_before: Monotonic,
}

impl Shortage {
    /// Takes in whether too few are usable. Gives whether the log is to say so: when that begins, once in
    /// [`SHORTAGE_PAUSE`] at most, and when one that it told of ends.
    #[inline]
    fn changed(&mut self, is_short: bool, now: Monotonic) -> bool {
        if self.is_short == is_short {
            return false;
        }
        self.is_short = is_short;
        if !is_short {
            return std::mem::take(&mut self.is_told);
        }
        self.is_told = self.not_before <= now;
        if self.is_told {
            self.not_before = now.after(SHORTAGE_PAUSE);
        }
        self.is_told
    }
}

/// What the choice of an address depends on.
pub(super) struct Choice {
    generation: Rc<Generation>,
    origin: usize,
    client_ip: Option<IpAddr>,
    tried: ArrayVec<PoolIndex, ATTEMPTS_MAX>,
}

impl Choice {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let (generation, origin) = request.origin()?;
        Some(Self { generation, origin, client_ip: request.client_ip, tried: request.tried.clone() })
    }

    /// Whether a client belongs to one of the addresses.
    pub(super) fn is_sticky(&self) -> bool {
        self.generation.snapshot.origins[self.origin].balance == Balance::ClientIp
    }

    /// Whether there is an address that wasn't tried, and may be.
    pub(super) fn has_more(&self) -> bool {
        let all = self.generation.targets.borrow()[self.origin].len();
        self.tried.len() < ATTEMPTS_MAX.min(all)
    }
}

impl<I: Io> Worker<I> {
    /// The pool of the address that a request goes to, one that it hasn't tried yet if there is any. Addresses that are
    /// unhealthy or left out are passed over, unless too few would be left.
    pub(super) fn choose_address(&mut self, choice: &Choice) -> Option<PoolIndex> {
        let Choice { generation, origin, client_ip, tried } = choice;
        let targets = generation.targets.borrow();
        let targets = targets[*origin].as_slice();
        if targets.len() < 2 {
            return targets.first().map(|target| target.pool);
        }
        let now = self.io.now();
        let settings = &generation.snapshot.origins[*origin];
        let usable = |target: &Target| {
            target.state.is_healthy() && self.pools.peek(target.pool).outliers.is_usable(now)
        };
        let untried = |target: &Target| !tried.contains(&target.pool);
        let usable_count = targets.iter().filter(|target| usable(target)).count();
        let share = settings.panic_threshold_percent as usize;
        let too_few = usable_count == 0 || usable_count * 100 < targets.len() * share;
        if generation.shortages.borrow_mut()[*origin].changed(too_few, now) {
            tell_shortage(&settings.name, too_few, usable_count, targets.len());
        }
        let pick = |may: &dyn Fn(&Target) -> bool| match settings.balance {
            Balance::RoundRobin => pick_in_turn(targets, may, next_turn(generation, *origin)),
            Balance::LeastRequests => {
                let busy = |target: &Target| self.pools.peek(target.pool).requests();
                pick_least_busy(targets, may, next_turn(generation, *origin), busy)
            }
            Balance::ClientIp => pick_by_client(targets, may, *client_ip),
        };
        // A request that has failed once is better off where others fare well.
        let chosen = if too_few && tried.is_empty() {
            generation.metrics.panic(u32::try_from(*origin).unwrap_or(u32::MAX));
            pick(&|_| true)
        } else {
            pick(&|target| usable(target) && untried(target)).or_else(|| pick(&untried))
        }?;
        let pool = self.pools.get(chosen);
        if pool.outliers.chosen(now, pool.limits.connect_timeout) {
            self.address_is_back(chosen);
        }
        Some(chosen)
    }
}

#[cold]
fn tell_shortage(origin: &str, too_few: bool, usable: usize, addresses: usize) {
    if too_few {
        tracing::warn!(
            origin,
            usable,
            addresses,
            "too few addresses of an origin are usable: all of them get requests"
        );
    } else {
        tracing::info!(
            origin,
            usable,
            addresses,
            "enough addresses of an origin are usable again: the others get no requests"
        );
    }
}

fn next_turn(generation: &Generation, origin: usize) -> usize {
    let turn = &mut generation.rotation.borrow_mut()[origin];
    *turn = turn.wrapping_add(1);
    *turn
}

/// One after the other of those that may be picked, so that none of them gets the share of one that may not.
fn pick_in_turn(targets: &[Target], may: &dyn Fn(&Target) -> bool, turn: usize) -> Option<PoolIndex> {
    let count = targets.iter().filter(|target| may(target)).count();
    let position = turn.checked_rem(count)?;
    targets.iter().filter(|target| may(target)).nth(position).map(|target| target.pool)
}

/// Ties go round too, or the first address would get everything while the load is low.
fn pick_least_busy(
    targets: &[Target],
    may: &dyn Fn(&Target) -> bool,
    turn: usize,
    busy: impl Fn(&Target) -> usize,
) -> Option<PoolIndex> {
    let start = turn.checked_rem(targets.len())?;
    let in_turn = targets[start..].iter().chain(&targets[..start]);
    in_turn.filter(|target| may(target)).min_by_key(|target| busy(target)).map(|target| target.pool)
}

/// The address whose number, mixed with the client's, is the highest: when one comes or goes, only its own clients move.
fn pick_by_client(
    targets: &[Target],
    may: &dyn Fn(&Target) -> bool,
    client_ip: Option<IpAddr>,
) -> Option<PoolIndex> {
    let client = number_of(client_ip);
    let eligible = targets.iter().filter(|target| may(target));
    eligible.max_by_key(|target| mix(client ^ target.number)).map(|target| target.pool)
}

/// A number that stands for a value, the same in all workers and after every restart.
pub(super) fn number_of(value: impl std::hash::Hash) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(value)
}

/// Spreads the differences of numbers over all bits.
fn mix(number: u64) -> u64 {
    let product = u128::from(number) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (folded >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::pool::target;
    use std::net::Ipv4Addr;

    fn targets(count: u8) -> Vec<Target> {
        (0..count).map(|number| target(u32::from(number), ([10, 0, 0, number], 80).into())).collect()
    }

    fn client(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::from(0xc000_0200 + number)))
    }

    #[test]
    fn a_shortage_is_told_once_a_minute_and_its_end_if_its_begin_was() {
        let at = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let mut shortage = Shortage::default();
        assert!(!shortage.changed(false, at(1)));
        assert!(shortage.changed(true, at(2)) && !shortage.changed(true, at(3)));
        assert!(shortage.changed(false, at(4)) && !shortage.changed(false, at(5)));
        assert!(!shortage.changed(true, at(61)) && !shortage.changed(false, at(61)));
        assert!(shortage.changed(true, at(62)) && shortage.changed(false, at(62)));
    }

    #[test]
    fn turns_are_shared_evenly_by_those_that_may_be_picked() {
        let targets = targets(4);
        let mut picked = [0; 4];
        for turn in 0..300 {
            let index = pick_in_turn(&targets, &|target| target.pool != PoolIndex(1), turn).unwrap();
            picked[index.0 as usize] += 1;
        }
        assert_eq!(picked, [100, 0, 100, 100]);
        assert_eq!(pick_in_turn(&targets, &|_| false, 7), None);
    }

    #[test]
    fn the_least_busy_is_picked_and_ties_go_round() {
        let targets = targets(3);
        let mut picked = [0; 3];
        for turn in 0..300 {
            let busy = |target: &Target| usize::from(target.pool == PoolIndex(0));
            picked[pick_least_busy(&targets, &|_| true, turn, busy).unwrap().0 as usize] += 1;
        }
        assert_eq!(picked[0], 0);
        assert!(picked[1] >= 100 && picked[2] >= 100, "{picked:?}");
    }

    #[test]
    fn only_the_clients_of_an_address_that_goes_move() {
        let targets = targets(5);
        let mut picked = [0; 5];
        for number in 0..5000 {
            let before = pick_by_client(&targets, &|_| true, client(number)).unwrap();
            picked[before.0 as usize] += 1;
            let without = |target: &Target| target.pool != PoolIndex(2);
            let after = pick_by_client(&targets, &without, client(number)).unwrap();
            assert!(after != PoolIndex(2) && (after == before || before == PoolIndex(2)));
            let mut turned = targets.clone();
            turned.rotate_left(3);
            assert_eq!(pick_by_client(&turned, &|_| true, client(number)), Some(before));
        }
        assert!(picked.iter().all(|count| (800..1200).contains(count)), "{picked:?}");
    }
}
