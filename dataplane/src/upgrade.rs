//! Upgrade of the binary under load: this process starts its successor, hands it the listening sockets, and leaves once the
//! successor serves.
//!
//! The sockets are never closed on the way: connections that wait to be accepted find the successor, and those that
//! were accepted here are served to their end.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::listen;

/// How long a successor may take until it serves: compiling signatures and rules included.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long it may take to end once it has closed its pipe, and how often that is looked at.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const EXIT_PAUSE: Duration = Duration::from_millis(10);

/// The name under which the admin endpoint's socket is handed over; no listener can be called that.
pub const ADMIN_NAME: &str = "[admin]";

/// The name under which the lock of the state folder is handed over.
pub const STATE_NAME: &str = "[state_dir]";

/// Starts this program anew with the same arguments, hands it `sockets`, and waits until it serves.
///
/// The program is looked up as it was started, so that a new file in its place is what runs.
///
/// # Errors
/// If it can't be started, ends before it serves, or takes too long; it is gone then and nothing has changed here.
pub fn start_successor(sockets: &[(String, OwnedFd)]) -> Result<u32, String> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| format!("no pipe to the successor: {error}"))?;
    let mut child =
        spawn(sockets, &theirs).map_err(|error| format!("the successor can't be started: {error}"))?;
    drop(theirs);
    match await_ready(File::from(ours)) {
        Ok(()) => Ok(child.id()),
        Err(reason) => {
            let status = end(&mut child, reason.is_ending);
            Err(format!("{} ({status}); its log says why, and this process goes on", reason.message))
        }
    }
}

/// Sees to it that the successor is gone: it must not serve beside this process. Gives how it ended.
fn end(child: &mut Child, is_ending: bool) -> String {
    let deadline = Instant::now() + EXIT_TIMEOUT;
    // Its pipe closes a moment before it can be waited for; killed in that moment, it would have ended by the signal.
    while is_ending && Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(EXIT_PAUSE),
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
        }
    }
    let _ = child.kill();
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    format!("killed by this process: {status}")
}

/// Why a successor doesn't serve.
struct NotReady {
    message: String,
    /// It closed its pipe: it is about to end by itself.
    is_ending: bool,
}

impl NotReady {
    fn killed(message: String) -> Self {
        Self { message, is_ending: false }
    }
}

fn spawn(sockets: &[(String, OwnedFd)], ready: &OwnedFd) -> std::io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program =
        arguments.next().ok_or_else(|| std::io::Error::other("the program's own name is unknown"))?;
    // Duplicates outlive `exec`, the originals don't: nothing else that this process starts inherits them.
    let inheritable = |descriptor: &OwnedFd| rustix::io::dup(descriptor);
    let mut handed = Vec::with_capacity(sockets.len());
    for (name, socket) in sockets {
        handed.push((name.clone(), inheritable(socket)?));
    }
    let ready = inheritable(ready)?;
    Command::new(program)
        .args(arguments)
        .env(listen::SOCKETS_VARIABLE, listen::encode(&handed, &ready))
        // Those were meant for this process.
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES")
        .spawn()
}

/// Waits for the successor's word. The end of the pipe without it is the end of the successor.
fn await_ready(mut pipe: File) -> Result<(), NotReady> {
    let (sender, outcome) = channel();
    std::thread::Builder::new()
        .name("weir-upgrade".to_owned())
        .spawn(move || {
            let mut word = [0; 1];
            // Nobody listens any more if it took too long.
            let _ = sender.send(pipe.read_exact(&mut word));
        })
        .map_err(|error| NotReady::killed(format!("no thread to wait for the successor: {error}")))?;
    match outcome.recv_timeout(READY_TIMEOUT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
            Err(NotReady { message: "the successor ended before it served".to_owned(), is_ending: true })
        }
        Err(RecvTimeoutError::Timeout) => {
            let message = format!("the successor doesn't serve after {} s", READY_TIMEOUT.as_secs());
            Err(NotReady::killed(message))
        }
    }
}
