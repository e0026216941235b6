//! A timer finer than the runtime's own, which counts whole milliseconds.

use std::{fs::File, io, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A kernel timer that is read through the ring. On epoll, where such a read would block, the runtime's timer stands in.
pub(crate) struct Timer {
    precise: Option<(rustix::fd::OwnedFd, monoio::fs::File)>,
}

impl Timer {
    /// # Errors
    ///
    /// The process has no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        if monoio::utils::is_legacy() {
            return Ok(Self { precise: None });
        }
        let setter = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let reader = monoio::fs::File::from_std(File::from(setter.try_clone()?))?;
        Ok(Self { precise: Some((setter, reader)) })
    }

    /// Waits for `time`, which must be less than a year.
    ///
    /// # Errors
    ///
    /// What the kernel says about the timer.
    pub(crate) async fn wait(&self, time: Duration) -> io::Result<()> {
        let Some((setter, reader)) = &self.precise else {
            monoio::time::sleep(time).await;
            return Ok(());
        };
        // Zero would disarm the timer.
        let time = time.max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        timerfd_settime(
            setter,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        )?;
        let (result, _expirations) = reader.read_at(vec![0_u8; 8], 0).await;
        result.map(|_read| ())
    }
}
