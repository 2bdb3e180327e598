//! What strace saw of pgbackup: everything that it made, with the rights that others have on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What all threads of one process share.
struct Process {
    /// The process that it came from, and when.
    born: Option<(usize, f64)>,
    /// When it set which umask.
    masks: Vec<(f64, u32)>,
    /// When pgbackup's own code made what, and with which rights, before the umask took some of them.
    made: Vec<(f64, String, u32)>,
}

/// The logs of `strace -ff -ttt`, one for each thread: in one log for all, calls made at once are torn in two.
pub struct Traces {
    logs: BTreeMap<String, String>,
    starts: regex::Regex,
    makes: regex::Regex,
    processes: Vec<Process>,
}

impl Traces {
    pub fn read(folder: &Path) -> Traces {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let thread = |path: &Path| path.extension().unwrap().to_str().unwrap().to_owned();
        Traces {
            logs: entries.map(|path| (thread(&path), fs::read_to_string(&path).unwrap())).collect(),
            starts: regex::Regex::new(r"^(?:clone3?|v?fork)\(.* = (\d+)$").unwrap(),
            makes: regex::Regex::new(
                r#"^(?:openat|open|creat|mkdir|mkdirat|mknod|mknodat)\((?:AT_FDCWD, |\d+, )?"([^"]+)".*?, (0\d+)\) += \d"#,
            )
            .unwrap(),
            processes: Vec::new(),
        }
    }

    /// Every call of pgbackup's own by which something appears in the file system, with the rights that it gave.
    pub fn appearances(mut self) -> Vec<(String, u32)> {
        let calls = self.logs.values().flat_map(|log| log.lines()).filter_map(|line| line.split_once(' '));
        let started: BTreeSet<String> =
            calls.filter_map(|(_, call)| Some(self.starts.captures(call)?[1].to_owned())).collect();
        let firsts: Vec<String> =
            self.logs.keys().filter(|thread| !started.contains(*thread)).cloned().collect();
        for first in firsts {
            self.follow_process(&first, None);
        }
        let made = |(at, process): (usize, &Process)| -> Vec<(String, u32)> {
            let masked =
                |(time, path, rights): &(f64, String, u32)| (path.clone(), rights & !self.umask(at, *time));
            process.made.iter().map(masked).collect()
        };
        self.processes.iter().enumerate().flat_map(made).collect()
    }

    fn follow_process(&mut self, thread: &str, born: Option<(usize, f64)>) {
        self.processes.push(Process { born, masks: Vec::new(), made: Vec::new() });
        self.follow(thread, self.processes.len() - 1, false);
    }

    fn follow(&mut self, thread: &str, process: usize, mut is_ours: bool) {
        let Some(log) = self.logs.remove(thread) else { return };
        for (time, call) in log.lines().filter_map(|line| line.split_once(' ')) {
            let time: f64 = time.parse().unwrap();
            if call.starts_with("execve(") && call.ends_with("= 0") {
                is_ours = call.contains("/bin/pgbackup\"");
            } else if let Some(rest) = call.strip_prefix("umask(") {
                let mask = rest.split(')').next().unwrap();
                self.processes[process].masks.push((time, u32::from_str_radix(mask, 8).unwrap()));
            } else if let Some(parts) = self.starts.captures(call) {
                if call.contains("CLONE_THREAD") {
                    self.follow(&parts[1], process, is_ours);
                } else {
                    self.follow_process(&parts[1], Some((process, time)));
                }
            } else if let Some(parts) = self.makes.captures(call).filter(|_| is_ours) {
                let rights = u32::from_str_radix(&parts[2], 8).unwrap();
                self.processes[process].made.push((time, parts[1].to_owned(), rights));
            }
        }
    }

    /// Of the process at that time, whichever of its threads has set it.
    fn umask(&self, process: usize, time: f64) -> u32 {
        let Process { born, masks, .. } = &self.processes[process];
        let set = masks.iter().filter(|(at, _)| *at <= time).max_by(|one, other| one.0.total_cmp(&other.0));
        set.map_or_else(|| born.map_or(0, |(parent, at)| self.umask(parent, at)), |(_, mask)| *mask)
    }
}
