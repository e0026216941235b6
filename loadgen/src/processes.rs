//! What the processes of a target use: CPU time and memory, from `/proc`.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    time::Duration,
};

/// Some processes with all their descendants.
#[derive(Clone, Debug)]
pub(crate) struct ProcessTree {
    roots: Vec<u32>,
    /// The roots and their descendants when somebody last looked.
    members: Vec<u32>,
}

/// Nanoseconds on a CPU of each thread so far.
#[derive(Debug, Default)]
pub(crate) struct CpuReading(BTreeMap<u32, u64>);

impl ProcessTree {
    pub(crate) fn new(roots: Vec<u32>) -> Self {
        Self { members: roots.clone(), roots }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Looks which processes there are now: a server may replace its worker processes at any time.
    ///
    /// # Errors
    ///
    /// A process that was named is gone, or `/proc` can't be read.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process that ended since the folder was read has no parent to note.
            if let Some(parent) =
                fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parent)
            {
                children.entry(parent).or_default().push(pid);
            }
        }
        self.members.clear();
        let mut open = self.roots.clone();
        while let Some(pid) = open.pop() {
            if !self.members.contains(&pid) {
                self.members.push(pid);
                open.extend(children.remove(&pid).unwrap_or_default());
            }
        }
        for root in &self.roots {
            fs::metadata(format!("/proc/{root}")).map_err(|_| gone(*root))?;
        }
        Ok(())
    }

    /// CPU time so far of every thread. Time of threads that ended before is not in it.
    ///
    /// # Errors
    ///
    /// A process is gone, or the kernel has no scheduler statistics.
    pub(crate) fn cpu(&self) -> io::Result<CpuReading> {
        let mut reading = CpuReading::default();
        for pid in &self.members {
            let threads = match threads_of(*pid) {
                Ok(threads) => threads,
                // A worker process may end, also while its threads are listed; what was named may not.
                Err(_) if !self.roots.contains(pid) => continue,
                Err(_) => return Err(gone(*pid)),
            };
            for thread in threads {
                // A thread that ended since the folder was read.
                let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) else {
                    continue;
                };
                let running = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
                let running = running.ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("/proc/{pid}/task/{thread}/schedstat has an unknown form: `{text}`"),
                    )
                })?;
                reading.0.insert(thread, running);
            }
        }
        Ok(reading)
    }

    /// Memory in RAM, added up over the processes; pages that several of them share count for each.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.members.iter().filter_map(|pid| resident(*pid)).sum()
    }
}

impl CpuReading {
    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let used =
            |(thread, now): (&u32, &u64)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0));
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

fn threads_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        threads.extend(task?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(threads)
}

fn gone(pid: u32) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}"))
}

/// The fourth field of `/proc/PID/stat`. The second is a name in brackets that may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (a) b) (c) S 42 7 7 0"), Some(42));
        assert_eq!(parent("7"), None);
    }

    #[test]
    fn a_tree_has_its_descendants_threads_and_their_work() {
        // A shell with a child that waits for input, which ends with the pipe.
        let mut shell = Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut tree = ProcessTree::new(vec![shell.id()]);
        while tree.members.len() < 2 {
            tree.refresh().unwrap();
        }
        assert!(tree.resident_bytes() > 0);
        assert!(tree.cpu().unwrap().0.len() >= 2);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(tree.cpu().is_err());
        assert!(tree.refresh().is_err());

        let own = ProcessTree::new(vec![std::process::id()]);
        let before = own.cpu().unwrap();
        // Its thread is new, so all that it used counts.
        let used = std::thread::spawn(move || {
            let mut used = Duration::ZERO;
            while used.is_zero() {
                used = own.cpu().unwrap().since(&before);
            }
            used
        });
        assert!(!used.join().unwrap().is_zero());
    }
}
