//! Use of resources, and the text formats that it is read from.

/// What a cgroup has used. Zero where the controller is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time since it was made, in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Bytes of memory, with caches.
    pub memory_usage: u64,
    /// Bytes of memory that cannot easily be taken back: without inactive file pages.
    pub memory_working_set: u64,
    /// Bytes of anonymous memory.
    pub memory_rss: u64,
    /// Limit in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that needed the disk.
    pub major_page_faults: u64,
    /// Processes.
    pub processes: u64,
    /// OOM kills.
    pub oom_kills: u64,
}

/// The number after `key` in a file of `key value` lines.
pub(super) fn flat_keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}
