//! Version 2: which file takes a limit, and how use is read back.

use std::{fs, io, path::Path};

use super::{Cgroup, Resources, Setting, Stats, stats::flat_keyed};

/// CPU shares of version 1 (2 to 262144, 1024 the default) as a weight of version 2 (1 to 10000, 100 the default). The curve goes
/// through all three pairs, as runc's and crun's does since 2025; the straight line before it made 1024 a weight of 39.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 2^18")]
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

fn max_or(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// Limits as values to write.
pub(super) fn settings(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = resources.cpu_shares {
        settings.push(Setting::new("cpu", "cpu.weight", cpu_weight(shares)));
    }
    if resources.cpu_quota_us.is_some() || resources.cpu_period_us.is_some() {
        let quota = match resources.cpu_quota_us {
            Some(quota) if quota > 0 => quota.to_string(),
            _ => "max".to_owned(),
        };
        let period = resources.cpu_period_us.unwrap_or(100_000);
        settings.push(Setting::new("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if let Some(limit) = resources.memory_limit {
        settings.push(Setting::new("memory", "memory.max", max_or(limit)));
    }
    if let Some(both) = resources.memory_swap_limit {
        // Version 2 counts swap apart.
        let swap = match resources.memory_limit {
            Some(memory) if memory >= 0 && both >= 0 => (both - memory).max(0),
            _ => both,
        };
        settings.push(Setting::new("memory", "memory.swap.max", max_or(swap)));
    }
    if let Some(group) = resources.oom_group {
        settings.push(Setting::new("memory", "memory.oom.group", u8::from(group)));
    }
    if let Some(limit) = resources.pids_limit {
        settings.push(Setting::new("pids", "pids.max", max_or(limit)));
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
            format!("hugetlb.{size}.max"),
            limit,
        ));
    }
    for (file, value) in &resources.unified {
        settings.push(Setting::new("", file.clone(), value));
    }
    settings
}

/// Lets the children of a cgroup have every controller that it has. One that cannot be enabled shows when a limit is written.
pub(super) fn enable_controllers(directory: &Path) {
    let Ok(available) = fs::read_to_string(directory.join("cgroup.controllers")) else {
        return;
    };
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in available.split_ascii_whitespace() {
        if !enabled
            .split_ascii_whitespace()
            .any(|one| one == controller)
        {
            let _ = fs::write(
                directory.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
    }
}

pub(super) fn stats(cgroup: &Cgroup) -> io::Result<Stats> {
    let read = |file: &str| cgroup.read("", file).unwrap_or_default();
    Ok(parse_stats(&Files {
        cpu_stat: cgroup.read("", "cpu.stat")?,
        memory_current: read("memory.current"),
        memory_max: read("memory.max"),
        memory_stat: read("memory.stat"),
        memory_events: read("memory.events"),
        pids_current: read("pids.current"),
    }))
}

/// The texts that statistics are made of.
pub(super) struct Files {
    pub(super) cpu_stat: String,
    pub(super) memory_current: String,
    pub(super) memory_max: String,
    pub(super) memory_stat: String,
    pub(super) memory_events: String,
    pub(super) pids_current: String,
}

pub(super) fn parse_stats(files: &Files) -> Stats {
    let of_memory = |key: &str| flat_keyed(&files.memory_stat, key).unwrap_or(0);
    let usage = files.memory_current.parse().unwrap_or(0_u64);
    Stats {
        cpu_usage_ns: flat_keyed(&files.cpu_stat, "usage_usec")
            .unwrap_or(0)
            .saturating_mul(1000),
        memory_usage: usage,
        memory_working_set: usage.saturating_sub(of_memory("inactive_file")),
        memory_rss: of_memory("anon"),
        memory_limit: files.memory_max.parse().ok(),
        page_faults: of_memory("pgfault"),
        major_page_faults: of_memory("pgmajfault"),
        processes: files.pids_current.parse().unwrap_or(0),
        oom_kills: super::parse_oom_kills(&files.memory_events),
    }
}
