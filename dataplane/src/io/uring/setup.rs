//! Making a ring with the best flags that this kernel grants, and saying which those were.

use io_uring::{IoUring, Probe, opcode};

use super::operations;
use super::ring::Ring;

/// Features to do without although the kernel may have them: for tests, and to rule one out in the field.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SetupMask {
    /// Don't ask for `IORING_SETUP_NO_SQARRAY` (Linux 6.6).
    pub no_sqarray: bool,
    /// Don't ask for `IORING_SETUP_DEFER_TASKRUN` (Linux 6.1).
    pub defer_taskrun: bool,
    /// Don't ask for `IORING_SETUP_COOP_TASKRUN` (Linux 5.19).
    pub coop_taskrun: bool,
    /// Don't register the ring's descriptor (Linux 5.18).
    pub registered_ring: bool,
    /// Don't let a receive complete more than once, which needs a limit on what it brings (Linux 6.17).
    pub limited_receives: bool,
}

/// Which set of flags the ring was made with, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// Completions run only when the worker waits, and the queue has no index array (Linux 6.6).
    DeferredDirect,
    /// Completions run only when the worker waits (Linux 6.1).
    Deferred,
    /// Completions run at the worker's next system call, without an interrupt.
    Cooperative,
    /// Completions interrupt the worker.
    Plain,
}

impl Rung {
    const LADDER: [Self; 4] = [Self::DeferredDirect, Self::Deferred, Self::Cooperative, Self::Plain];

    fn allowed_by(self, mask: SetupMask) -> bool {
        match self {
            Self::DeferredDirect => !mask.defer_taskrun && !mask.no_sqarray,
            Self::Deferred => !mask.defer_taskrun,
            Self::Cooperative => !mask.coop_taskrun,
            Self::Plain => true,
        }
    }

    fn build(self, submission_entries: u32, completion_entries: u32) -> std::io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_submit_all().setup_cqsize(completion_entries).dontfork();
        match self {
            Self::DeferredDirect => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
            }
            Self::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            }
            Self::Cooperative => {
                builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
            }
            Self::Plain => {}
        }
        builder.build(submission_entries)
    }
}

/// How the ring was set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetupReport {
    /// The set of flags that the kernel accepted.
    pub rung: Rung,
    /// Whether entering the ring is spared the look-up of its descriptor.
    pub registered_ring: bool,
    /// Whether one receive may complete many times, and ends after a buffer's worth; else each completes once.
    pub limited_receives: bool,
    /// Length of the submission queue as granted.
    pub submission_entries: u32,
    /// Length of the completion queue as granted.
    pub completion_entries: u32,
}

impl std::fmt::Display for SetupReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags = match self.rung {
            Rung::DeferredDirect => "SINGLE_ISSUER, DEFER_TASKRUN, TASKRUN_FLAG, NO_SQARRAY",
            Rung::Deferred => "SINGLE_ISSUER, DEFER_TASKRUN, TASKRUN_FLAG",
            Rung::Cooperative => "SINGLE_ISSUER, COOP_TASKRUN, TASKRUN_FLAG",
            Rung::Plain => "none of SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, NO_SQARRAY",
        };
        write!(
            f,
            "flags {flags}; ring descriptor {}; receives {}; {} submission and {} completion entries",
            if self.registered_ring { "registered" } else { "not registered" },
            if self.limited_receives {
                "multishot up to a limit"
            } else {
                "one at a time (multishot: Linux 6.17)"
            },
            self.submission_entries,
            self.completion_entries
        )
    }
}

/// Makes a ring on the best rung, and checks that the kernel has all operations that the backend uses.
///
/// # Errors
/// Says what is missing or what refuses io_uring, and what to do about it.
pub(super) fn open(
    submission_entries: u32,
    completion_entries: u32,
    mask: SetupMask,
) -> std::io::Result<(Ring, SetupReport)> {
    let (uring, rung) = climb(submission_entries, completion_entries, mask)?;
    check_operations(&uring)?;
    let parameters = uring.params();
    let mut report = SetupReport {
        rung,
        registered_ring: false,
        limited_receives: false,
        submission_entries: parameters.sq_entries(),
        completion_entries: parameters.cq_entries(),
    };
    let mut ring = Ring::new(uring);
    if !mask.registered_ring {
        match ring.register_descriptor() {
            Ok(()) => report.registered_ring = true,
            Err(error) => tracing::info!(%error, "io_uring works without a registered ring descriptor"),
        }
    }
    report.limited_receives = !mask.limited_receives && operations::limits_receives(&mut ring)?;
    Ok((ring, report))
}

/// Tries the rungs from the best one down. Only EINVAL means that a flag is unknown; any other refusal
/// would meet the next rung as well.
fn climb(
    submission_entries: u32,
    completion_entries: u32,
    mask: SetupMask,
) -> std::io::Result<(IoUring, Rung)> {
    for rung in Rung::LADDER.into_iter().filter(|rung| rung.allowed_by(mask)) {
        match rung.build(submission_entries, completion_entries) {
            Ok(uring) => return Ok((uring, rung)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(refusal(&error)),
        }
    }
    Err(refusal(&std::io::Error::from_raw_os_error(libc::EINVAL)))
}

fn refusal(error: &std::io::Error) -> std::io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring; Linux 6.1 or later with CONFIG_IO_URING is needed"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here; allow it by the sysctl kernel.io_uring_disabled=0 and in the \
             container's seccomp profile"
        }
        Some(libc::ENOMEM) => "not enough memory for the ring; raise the memory limit or RLIMIT_MEMLOCK",
        Some(libc::EMFILE | libc::ENFILE) => "no file descriptor is left; raise RLIMIT_NOFILE",
        Some(libc::EINVAL) => "this kernel knows none of the flags that are needed; Linux 6.1 or later is",
        _ => "unexpected",
    };
    std::io::Error::new(error.kind(), format!("no io_uring: {advice} ({error})"))
}

/// Sandboxes can let a ring be made and still refuse operations, so these are asked for one by one.
/// SEND_ZC isn't used: it came together with multishot receive (Linux 6.0), which has no opcode of its own.
fn check_operations(uring: &IoUring) -> std::io::Result<()> {
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(|error| refusal(&error))?;
    let needed = [
        ("ACCEPT", opcode::AcceptMulti::CODE),
        ("RECV", opcode::RecvMulti::CODE),
        ("SEND", opcode::Send::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("CONNECT", opcode::Connect::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("READ", opcode::Read::CODE),
        ("multishot RECV (told by SEND_ZC)", opcode::SendZc::CODE),
    ];
    match needed.iter().find(|(_, code)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((name, _)) => Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!("no io_uring: the kernel lacks the operation {name}; Linux 6.1 or later is needed"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_lead_down_the_ladder() {
        let no_sqarray = SetupMask { no_sqarray: true, ..SetupMask::default() };
        let no_defer = SetupMask { defer_taskrun: true, ..SetupMask::default() };
        let nothing =
            SetupMask { no_sqarray: true, defer_taskrun: true, coop_taskrun: true, ..SetupMask::default() };
        for (mask, first) in [
            (SetupMask::default(), Rung::DeferredDirect),
            (no_sqarray, Rung::Deferred),
            (no_defer, Rung::Cooperative),
            (nothing, Rung::Plain),
        ] {
            let allowed = Rung::LADDER.into_iter().find(|rung| rung.allowed_by(mask));
            assert_eq!(allowed, Some(first));
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (number, word) in [
            (libc::ENOSYS, "CONFIG_IO_URING"),
            (libc::EPERM, "seccomp"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::ENOMEM, "memory"),
            (libc::EMFILE, "RLIMIT_NOFILE"),
        ] {
            let text = refusal(&std::io::Error::from_raw_os_error(number)).to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
