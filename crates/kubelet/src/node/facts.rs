//! What the machine is: processors, memory, disk, kernel.

use std::{collections::BTreeMap, fs, io, path::Path};

use k8s_openapi::{api::core::v1::NodeSystemInfo, apimachinery::pkg::api::resource::Quantity};

use crate::config::KubeletConfig;

/// Facts that do not change while the kubelet runs.
#[derive(Clone, Debug, Default)]
pub struct MachineFacts {
    /// Processors.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of the disk under the kubelet's root.
    pub disk_bytes: u64,
    /// `machineID`, `bootID`, kernel and system.
    pub info: NodeSystemInfo,
}

/// Asks the kernel.
pub fn machine_facts(config: &KubeletConfig) -> io::Result<MachineFacts> {
    let read = |path: &str| {
        fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let uname = rustix::system::uname();
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let machine_id = read("/etc/machine-id");
    let system_uuid = read("/sys/class/dmi/id/product_uuid");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Ok(MachineFacts {
        cpus,
        memory_bytes: memory_total().unwrap_or_default(),
        disk_bytes: disk(&config.root_dir)?.0,
        info: NodeSystemInfo {
            architecture: architecture.to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            kubelet_version: config.kubelet_version.clone(),
            system_uuid: if system_uuid.is_empty() {
                machine_id.clone()
            } else {
                system_uuid
            },
            machine_id,
            operating_system: "linux".to_owned(),
            os_image: os_image(),
            ..NodeSystemInfo::default()
        },
    })
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    text.unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "Unknown".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}

/// Bytes of memory that the machine has.
pub(crate) fn memory_total() -> Option<u64> {
    memory_info("MemTotal")
}

/// Bytes of memory that can be had without swapping.
pub(crate) fn memory_available() -> Option<u64> {
    memory_info("MemAvailable")
}

/// A line of `/proc/meminfo`, in bytes.
fn memory_info(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Bytes of the filesystem that holds a path: all, and free for us; and its inodes, likewise.
pub(crate) fn disk(path: &Path) -> io::Result<(u64, u64, u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((
        stat.f_blocks * stat.f_frsize,
        stat.f_bavail * stat.f_frsize,
        stat.f_files,
        stat.f_favail,
    ))
}

/// `capacity`, and `allocatable` after what is reserved and kept for eviction.
pub(super) fn resources(
    config: &KubeletConfig,
    facts: &MachineFacts,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let kib = |bytes: u64| Quantity(format!("{}Ki", bytes / 1024));
    let amount = |resource: &str, text: &str| {
        u64::try_from(crate::resources::amount(
            resource,
            &Quantity(text.to_owned()),
        ))
        .unwrap_or_default()
    };
    let reserved = |resource: &str| {
        config
            .reserved
            .get(resource)
            .map_or(0, |text| amount(resource, text))
    };
    // A threshold is an amount, or a share of the whole.
    let threshold = |signal: &str, whole: u64| match config.eviction_hard.get(signal) {
        Some(text) => match text
            .strip_suffix('%')
            .and_then(|share| share.parse::<f64>().ok())
        {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a number of bytes"
            )]
            Some(share) => (whole as f64 * share / 100.0) as u64,
            None => amount("memory", text),
        },
        None => 0,
    };
    let pods = Quantity(config.max_pods.to_string());
    let huge = || {
        ["hugepages-1Gi", "hugepages-2Mi"].map(|name| (name.to_owned(), Quantity("0".to_owned())))
    };
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity(facts.cpus.to_string())),
        ("memory".to_owned(), kib(facts.memory_bytes)),
        ("ephemeral-storage".to_owned(), kib(facts.disk_bytes)),
        ("pods".to_owned(), pods.clone()),
    ]);
    capacity.extend(huge());
    let milli_cpu = (facts.cpus * 1000).saturating_sub(reserved("cpu"));
    let cpu = if milli_cpu % 1000 == 0 {
        (milli_cpu / 1000).to_string()
    } else {
        format!("{milli_cpu}m")
    };
    let memory = facts
        .memory_bytes
        .saturating_sub(reserved("memory"))
        .saturating_sub(threshold("memory.available", facts.memory_bytes));
    let disk = facts
        .disk_bytes
        .saturating_sub(reserved("ephemeral-storage"))
        .saturating_sub(threshold("nodefs.available", facts.disk_bytes));
    let mut allocatable = BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu)),
        ("memory".to_owned(), kib(memory)),
        ("ephemeral-storage".to_owned(), Quantity(disk.to_string())),
        ("pods".to_owned(), pods),
    ]);
    allocatable.extend(huge());
    (capacity, allocatable)
}
