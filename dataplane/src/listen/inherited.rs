//! Sockets that this process was started with.
#![allow(unsafe_code)] // Descriptors come as numbers; nothing but their owner's word says that they are ours.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::FdFlags;

use super::{ListenAddress, bind};

/// Names the sockets that a node hands to its successor: `NAME=NUMBER`, one a line.
pub const SOCKETS_VARIABLE: &str = "WEIR_INHERITED_SOCKETS";

/// The name under which a node hands over the pipe that awaits its successor's word.
pub(super) const READY_NAME: &str = "";

/// The first descriptor of a socket activation (sd_listen_fds(3)).
const FIRST_ACTIVATED: RawFd = 3;

/// What this process was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(String, OwnedFd)>,
    ready: Option<File>,
    /// Whether a predecessor has its listening sockets in non-blocking mode; absent where there is none.
    is_nonblocking: Option<bool>,
}

/// Tells whoever started this process that it serves.
#[derive(Debug, Default)]
pub struct Readiness(Option<File>);

impl Inherited {
    /// Takes what the environment names. Call it once, before anything else opens descriptors.
    ///
    /// # Errors
    /// If the environment names what isn't there.
    pub fn from_environment() -> Result<Self, String> {
        let mut inherited = Self::default();
        if let Ok(text) = std::env::var(SOCKETS_VARIABLE) {
            let mut seen = HashSet::new();
            for line in text.lines() {
                let parsed =
                    line.rsplit_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?)));
                let (name, number) =
                    parsed.ok_or_else(|| format!("{SOCKETS_VARIABLE}: {line:?} is no NAME=NUMBER"))?;
                if !seen.insert(number) {
                    return Err(format!("{SOCKETS_VARIABLE}: {line}: that descriptor is named twice"));
                }
                let descriptor =
                    own(number).map_err(|error| format!("{SOCKETS_VARIABLE}: {line}: {error}"))?;
                if name == READY_NAME {
                    inherited.ready = Some(File::from(descriptor));
                } else {
                    inherited.sockets.push((name.to_owned(), descriptor));
                }
            }
        }
        inherited.is_nonblocking = inherited.mode_of_listeners();
        inherited.take_activated()?;
        Ok(inherited)
    }

    fn mode_of_listeners(&self) -> Option<bool> {
        // What isn't a listener's has a name that none can have.
        let (_, socket) = self.sockets.iter().find(|(name, _)| !name.starts_with('['))?;
        Some(rustix::fs::fcntl_getfl(socket).ok()?.contains(OFlags::NONBLOCK))
    }

    /// Whether the listening sockets of a predecessor are in non-blocking mode, which it and this process share; nothing
    /// where there is no predecessor.
    pub fn is_nonblocking(&self) -> Option<bool> {
        self.is_nonblocking
    }

    /// The sockets of a systemd unit (sd_listen_fds(3)), with the names that `FileDescriptorName=` gives them.
    fn take_activated(&mut self) -> Result<(), String> {
        let variable = |name: &str| std::env::var(name).ok();
        let for_us = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
        let Some(count) = variable("LISTEN_FDS").filter(|_| for_us) else { return Ok(()) };
        let count: RawFd = count.parse().map_err(|_| format!("LISTEN_FDS: {count:?} is no number"))?;
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        for number in FIRST_ACTIVATED..FIRST_ACTIVATED.saturating_add(count) {
            let socket = own(number).map_err(|error| format!("LISTEN_FDS: descriptor {number}: {error}"))?;
            self.sockets.push((names.next().unwrap_or_default().to_owned(), socket));
        }
        Ok(())
    }

    /// Takes the sockets of a listener: those of its name, or else those that listen on its address.
    pub fn take(&mut self, name: &str, address: &ListenAddress) -> Vec<OwnedFd> {
        let by_name = |socket: &(String, OwnedFd)| socket.0 == name;
        let by_address =
            |socket: &(String, OwnedFd)| bind::local_address(&socket.1).is_ok_and(|at| at == *address);
        let mut taken = self.extract(by_name);
        // A config that moves a listener gets it moved: what listens elsewhere is of no use.
        taken.retain(|socket| fits(socket, address));
        if taken.is_empty() {
            taken = self.extract(by_address);
        }
        taken
    }

    /// Takes whatever came under a name that no listener has.
    pub fn take_other(&mut self, name: &str) -> Option<OwnedFd> {
        self.extract(|(other, _)| other == name).pop()
    }

    fn extract(&mut self, wanted: impl Fn(&(String, OwnedFd)) -> bool) -> Vec<OwnedFd> {
        self.sockets.extract_if(.., |socket| wanted(socket)).map(|(_, socket)| socket).collect()
    }

    /// Closes what no listener took, and says so.
    pub fn report_unused(&mut self) {
        for (name, socket) in self.sockets.drain(..) {
            let address = bind::local_address(&socket).map_or_else(|_| "?".to_owned(), |at| at.to_string());
            tracing::warn!(
                name,
                address,
                "a socket was handed over that no listener of the config asks for; it is closed"
            );
        }
    }

    /// What to call once this process serves.
    pub fn readiness(&mut self) -> Readiness {
        Readiness(self.ready.take())
    }
}

impl Readiness {
    /// Says it: to the predecessor, which then drains, and to systemd, which is told who the main process is now
    /// (sd_notify(3)).
    pub fn announce(self) {
        if let Some(mut pipe) = self.0 {
            // A predecessor that is gone doesn't wait for it.
            let _ = pipe.write_all(b"ready\n");
        }
        if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
            let message = format!("MAINPID={}\nREADY=1\n", std::process::id());
            if let Err(error) = notify(&path, message.as_bytes()) {
                tracing::warn!(%error, "systemd could not be told that weir is ready");
            }
        }
    }
}

fn notify(path: &std::ffi::OsStr, message: &[u8]) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    socket.send_to_addr(message, &address).map(drop)
}

/// Whether a socket listens where it should. A free port that was asked for is whatever it became.
fn fits(socket: &OwnedFd, address: &ListenAddress) -> bool {
    match (bind::local_address(socket), address) {
        (Ok(ListenAddress::Tcp(actual)), ListenAddress::Tcp(wanted)) => {
            actual.ip() == wanted.ip() && (wanted.port() == 0 || wanted.port() == actual.port())
        }
        (Ok(actual), wanted) => actual == *wanted,
        (Err(_), _) => false,
    }
}

/// Takes possession of an open descriptor, and keeps it from the programs that this process may start.
fn own(number: RawFd) -> std::io::Result<OwnedFd> {
    if number < FIRST_ACTIVATED {
        return Err(std::io::Error::other("standard input, output and error are no sockets"));
    }
    // SAFETY: `fcntl` takes any number and refuses those that are no open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: it is open, and it was opened for this process by the one that started it, which says so by the
    // environment; nothing else here owns it, because this runs before anything is opened.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// The value of [`SOCKETS_VARIABLE`] for these descriptors and the pipe that awaits readiness.
pub fn encode(sockets: &[(String, OwnedFd)], ready: &OwnedFd) -> String {
    let lines = sockets.iter().map(|(name, socket)| format!("{name}={}", socket.as_raw_fd()));
    lines.chain([format!("{READY_NAME}={}", ready.as_raw_fd())]).collect::<Vec<_>>().join("\n")
}
