//! The machine's own use of resources, from `/proc` and `statvfs`.

use std::{fs, path::Path};

use jiff::Timestamp;

/// One look at the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) time: Timestamp,
    pub(super) boot_time: Timestamp,
    pub(super) cpu_ns: u64,
    pub(super) cpus: usize,
    pub(super) memory: Memory,
    pub(super) network: Option<Network>,
    pub(super) processes: u64,
    pub(super) max_pid: u64,
}

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) usage: u64,
    pub(super) working_set: u64,
    pub(super) rss: u64,
}

/// The interface of the default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) rx_bytes: u64,
    pub(super) rx_errors: u64,
    pub(super) tx_bytes: u64,
    pub(super) tx_errors: u64,
}

/// A filesystem, in bytes and inodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filesystem {
    pub(super) capacity: u64,
    pub(super) available: u64,
    pub(super) inodes: u64,
    pub(super) inodes_free: u64,
}

/// Nanoseconds in one of the kernel's 100 ticks a second.
const TICK_NS: u64 = 10_000_000;

impl Machine {
    pub(super) fn look(now: Timestamp) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/stat");
        let number = |path: &str| read(path).trim().parse().unwrap_or_default();
        Self {
            time: now,
            boot_time: boot_time(&stat).unwrap_or_default(),
            cpu_ns: cpu_ns(&stat),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(&read("/proc/meminfo")),
            network: default_interface(&read("/proc/net/route"))
                .and_then(|name| network(&read("/proc/net/dev"), name)),
            // The fourth field of loadavg is `running/all`.
            processes: read("/proc/loadavg")
                .split_whitespace()
                .nth(3)
                .and_then(|field| field.split('/').nth(1)?.parse().ok())
                .unwrap_or_default(),
            max_pid: number("/proc/sys/kernel/pid_max"),
        }
    }
}

impl Filesystem {
    pub(super) fn look(path: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(Self {
            capacity: stat.f_blocks * stat.f_frsize,
            available: stat.f_bavail * stat.f_frsize,
            inodes: stat.f_files,
            inodes_free: stat.f_ffree,
        })
    }
}

fn boot_time(stat: &str) -> Option<Timestamp> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

/// user nice system idle iowait irq softirq steal; all but idle and iowait is use.
fn cpu_ns(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let used = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4));
    used.map(|(_, ticks)| ticks).sum::<u64>() * TICK_NS
}

fn memory(meminfo: &str) -> Memory {
    let field = |name: &str| -> u64 {
        let value = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes =
            value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_default() * 1024
    };
    let (total, free) = (field("MemTotal"), field("MemFree"));
    let usage = total.saturating_sub(free);
    let working_set = usage.saturating_sub(field("Inactive(file)"));
    Memory {
        total,
        available: total.saturating_sub(working_set),
        usage,
        working_set,
        rss: field("AnonPages"),
    }
}

fn default_interface(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then_some(name)
    })
}

fn network(devices: &str, name: &str) -> Option<Network> {
    let line = devices.lines().find_map(|line| {
        let (device, counters) = line.split_once(':')?;
        (device.trim() == name).then_some(counters)
    })?;
    let counters: Vec<u64> = line
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let counter = |index: usize| counters.get(index).copied().unwrap_or_default();
    Some(Network {
        name: name.to_owned(),
        rx_bytes: counter(0),
        rx_errors: counter(2),
        tx_bytes: counter(8),
        tx_errors: counter(10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables() {
        assert_eq!(
            cpu_ns("cpu  1 2 3 400 500 6 7 8 9 10\ncpu0 1"),
            27 * TICK_NS
        );
        let text = "MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nAnonPages: 50 kB\n";
        let kb = 1024;
        let expected = Memory {
            total: 1000 * kb,
            available: 500 * kb,
            usage: 600 * kb,
            working_set: 500 * kb,
            rss: 50 * kb,
        };
        assert_eq!(memory(text), expected);
        assert_eq!(
            default_interface("Iface Destination\neth1 0000A8C0\neth0 00000000 0101A8C0\n"),
            Some("eth0")
        );
        let network = network("head\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12\n", "eth0").unwrap();
        assert_eq!(
            (
                network.rx_bytes,
                network.rx_errors,
                network.tx_bytes,
                network.tx_errors
            ),
            (1, 3, 9, 11)
        );
        assert!(boot_time("cpu 1\nbtime 1700000000\n").is_some());
    }
}
