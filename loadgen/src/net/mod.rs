//! Sockets, TLS and the threads that own them: everything between this crate and the kernel.

mod buffer;
mod connect;
mod listen;
mod ring;
mod socket;
mod stream;
mod tickets;
mod timer;
mod tls;
mod transport;
mod watch;
mod worker;

pub(crate) use buffer::ReceiveBuffer;
pub(crate) use connect::{check_source, connect, connect_and_wait};
pub use listen::Listen;
pub(crate) use listen::{Listener, RingListener, SocketFile, listen};
pub(crate) use ring::{AnsweringRing, Completion};
pub(crate) use stream::Stream;
pub(crate) use timer::Timer;
pub(crate) use tls::{
    ClientTlsFiles, ServerTlsFiles, Shown, client_config, server_config, subject_common_name,
};
pub use tls::{Identity, TlsError};
pub(crate) use transport::Transport;
pub(crate) use watch::{TICK, Watch, Watcher};
pub use worker::default_threads;
pub(crate) use worker::{CpuUse, cpu_use, run_on_ring, stop_pair, wait_for_stop};
