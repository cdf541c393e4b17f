//! Space on the disks that pods claim: `kubelet_volume_stats_*`, and the volumes of `/stats/summary`.

use std::{collections::HashMap, sync::Arc};

use base::metrics;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{super::host::Host, machine::Filesystem, summary::filesystem};
use crate::volumes::ClaimedDisk;

/// Name, help, and what of a filesystem it is.
type Row = (&'static str, &'static str, fn(&Filesystem) -> u64);

const FAMILIES: [Row; 6] = [
    (
        "kubelet_volume_stats_available_bytes",
        "[ALPHA] Number of available bytes in the volume",
        |fs| fs.available,
    ),
    (
        "kubelet_volume_stats_capacity_bytes",
        "[ALPHA] Capacity in bytes of the volume",
        |fs| fs.capacity,
    ),
    (
        "kubelet_volume_stats_inodes",
        "[ALPHA] Maximum number of inodes in the volume",
        |fs| fs.inodes,
    ),
    (
        "kubelet_volume_stats_inodes_free",
        "[ALPHA] Number of free inodes in the volume",
        |fs| fs.inodes_free,
    ),
    (
        "kubelet_volume_stats_inodes_used",
        "[ALPHA] Number of used inodes in the volume",
        |fs| fs.inodes.saturating_sub(fs.inodes_free),
    ),
    (
        "kubelet_volume_stats_used_bytes",
        "[ALPHA] Number of used bytes in the volume",
        |fs| fs.capacity.saturating_sub(fs.available),
    ),
];

/// Adds the families; a claim that several pods share has one sample.
pub(super) fn volume_metrics(registry: &metrics::Registry, host: &Arc<dyn Host>) {
    for (name, help, measure) in FAMILIES {
        let host = host.clone();
        registry.on_scrape(name, help, "gauge", move |sink| {
            let mut disks = host.claimed_disks();
            disks.sort_by(|a, b| (&a.namespace, &a.claim).cmp(&(&b.namespace, &b.claim)));
            disks.dedup_by(|a, b| (&a.namespace, &a.claim) == (&b.namespace, &b.claim));
            for disk in disks {
                if let Some(found) = Filesystem::look(&disk.path) {
                    let labels = [
                        ("namespace", disk.namespace.as_str()),
                        ("persistentvolumeclaim", &disk.claim),
                    ];
                    sink.sample(&labels, measure(&found) as f64);
                }
            }
        });
    }
}

/// The disks of each pod, as its part of the summary lists them.
pub(super) fn volumes_by_pod(
    disks: Vec<ClaimedDisk>,
    now: Timestamp,
) -> HashMap<String, Vec<Value>> {
    let mut pods: HashMap<String, Vec<Value>> = HashMap::new();
    for disk in disks {
        let mut volume = filesystem(now, Filesystem::look(&disk.path), None);
        volume["name"] = json!(disk.volume);
        volume["pvcRef"] = json!({ "name": disk.claim, "namespace": disk.namespace });
        pods.entry(disk.pod_uid).or_default().push(volume);
    }
    pods
}
