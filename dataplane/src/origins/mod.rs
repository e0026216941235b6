//! Which addresses an origin has, and which of them work: names resolved, health checked. All of it happens on a thread
//! of its own ([`crate::node`]); workers are handed an [`AddressTable`] and look at a flag of each address.

mod addresses;
mod health;
mod lookup;
mod names;
mod probe;

pub use addresses::{AddressState, AddressTable, CheckCounters, LastCheck, OriginAddresses};
pub(crate) use health::Health;
pub(crate) use lookup::{Answer, look_up};
pub(crate) use names::Noted;
pub use names::{NameStatus, Names};
pub(crate) use probe::{Prober, Target};
