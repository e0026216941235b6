//! Deterministic simulation of a worker: the very code that runs on io_uring, on a virtual network whose seed decides
//! what is cut, delayed, stalled, refused and reset, with scripted clients and origins that check all they see.
//!
//! `script` says what is asked and answered, `client` and `origin` play it, `world` runs it and holds what must be true
//! after every turn and at the end, `explore` tries it under all weathers. The scenarios are in the other modules.
//!
//! `WEIR_SIM_SEEDS=1000` tries more seeds than the quick run does. A failure prints the number of its weather, and
//! `WEIR_SIM_ONLY=NUMBER cargo test -p weir worker::tests::...::NAME` runs exactly that again.

mod answers;
mod carried;
mod checks;
mod client;
mod explore;
mod failures;
mod limits;
mod message;
mod origin;
mod overload;
mod random;
mod script;
mod secure;
mod setup;
mod steady;
mod tunnels;
mod uploads;
mod verdicts;
mod waiting;
mod warm;
mod world;
