//! Version 1: which file of which controller takes a limit, and how use is read back.

use std::{fs, io, path::Path};

use super::{Cgroup, Resources, Setting, Stats, name_path, stats::flat_keyed};

/// Memory limits at and above this mean none (the kernel rounds the largest number down to pages).
const NO_LIMIT: u64 = i64::MAX as u64 / 4096 * 4096;

/// Limits as values to write, in the order in which they can be written to a fresh cgroup.
pub(super) fn settings(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = resources.cpu_shares {
        settings.push(Setting::new("cpu", "cpu.shares", shares.clamp(2, 262_144)));
    }
    if let Some(period) = resources.cpu_period_us {
        settings.push(Setting::new("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = resources.cpu_quota_us {
        settings.push(Setting::new("cpu", "cpu.cfs_quota_us", quota.max(-1)));
    }
    if let Some(limit) = resources.memory_limit {
        settings.push(Setting::new(
            "memory",
            "memory.limit_in_bytes",
            limit.max(-1),
        ));
    }
    if let Some(limit) = resources.memory_swap_limit {
        settings.push(Setting::new(
            "memory",
            "memory.memsw.limit_in_bytes",
            limit.max(-1),
        ));
    }
    if let Some(limit) = resources.pids_limit {
        let value = if limit < 0 {
            "max".to_owned()
        } else {
            limit.to_string()
        };
        settings.push(Setting::new("pids", "pids.max", value));
    }
    if let Some(cpus) = &resources.cpuset_cpus {
        settings.push(Setting::new("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = &resources.cpuset_mems {
        settings.push(Setting::new("cpuset", "cpuset.mems", mems));
    }
    for (size, limit) in &resources.hugepages {
        settings.push(Setting::new(
            "hugetlb",
            format!("hugetlb.{size}.limit_in_bytes"),
            limit,
        ));
    }
    settings
}

/// Writes them. Memory alone may not exceed memory and swap together at any time, so which goes first depends on what is there.
pub(super) fn apply(cgroup: &Cgroup, settings: &[Setting]) -> io::Result<()> {
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let swap_is_counted = cgroup
        .directory("memory")
        .is_some_and(|directory| directory.join(SWAP).exists());
    let mut later = None;
    for setting in settings {
        if setting.file == SWAP && !swap_is_counted {
            continue;
        }
        if setting.file == "memory.limit_in_bytes" && swap_is_counted {
            match cgroup.write(setting) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => later = Some(setting),
                result => result?,
            }
            continue;
        }
        cgroup.write(setting)?;
    }
    later.map_or(Ok(()), |setting| cgroup.write(setting))
}

/// A new cpuset has no CPUs and takes no process until it is given some: its parent's.
pub(super) fn inherit_cpuset(parent: &Path, directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        let Ok(current) = fs::read_to_string(&own) else {
            return Ok(());
        };
        if !current.trim().is_empty() {
            continue;
        }
        let inherited = fs::read_to_string(parent.join(file))?;
        fs::write(&own, inherited.trim()).map_err(|error| name_path(error, &own))?;
    }
    Ok(())
}

pub(super) fn stats(cgroup: &Cgroup) -> io::Result<Stats> {
    let number = |controller: &str, file: &str| -> Option<u64> {
        cgroup.read(controller, file).ok()?.parse().ok()
    };
    let memory = cgroup.read("memory", "memory.stat")?;
    let of_memory = |key: &str| flat_keyed(&memory, key).unwrap_or(0);
    let usage = number("memory", "memory.usage_in_bytes").unwrap_or(0);
    let oom = cgroup
        .read("memory", "memory.oom_control")
        .unwrap_or_default();
    Ok(Stats {
        cpu_usage_ns: number("cpuacct", "cpuacct.usage").unwrap_or(0),
        memory_usage: usage,
        memory_working_set: usage.saturating_sub(of_memory("total_inactive_file")),
        memory_rss: of_memory("total_rss"),
        memory_limit: number("memory", "memory.limit_in_bytes").filter(|n| *n < NO_LIMIT),
        page_faults: of_memory("total_pgfault"),
        major_page_faults: of_memory("total_pgmajfault"),
        processes: number("pids", "pids.current").unwrap_or(0),
        oom_kills: super::parse_oom_kills(&oom),
    })
}
