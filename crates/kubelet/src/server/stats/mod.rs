//! Use of resources by node, pods and containers: `/stats/summary`, `/metrics/resource`, `/metrics/cadvisor`, and the kubelet's own
//! `/metrics`.
//!
//! Everything comes from CRI and the kernel at the time of the question; nothing is collected in the background.

mod cadvisor;
mod exposition;
mod machine;
mod rate;
mod resource;
mod summary;
mod usage;
mod volumes;

use std::sync::{Arc, Mutex};

use base::metrics;

use super::host::Host;

pub(super) use cadvisor::cadvisor;
pub(super) use resource::resource;
pub(super) use summary::summary;

/// What statistics remember: the last readings of processor time, from which rates are made.
#[derive(Default)]
pub(super) struct Stats {
    rates: Mutex<rate::Rates>,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self::default()
    }
}

/// The kubelet's own metrics, by upstream's names.
pub(super) fn kubelet_metrics(registry: &metrics::Registry, host: &Arc<dyn Host>) {
    volumes::volume_metrics(registry, host);
    let version = host.config().kubelet_version.clone();
    registry.on_scrape(
        "kubernetes_build_info",
        "[ALPHA] A metric with a constant '1' value labeled by the version from which Kubernetes was built.",
        "gauge",
        move |sink| sink.sample(&[("git_version", &version)], 1.0),
    );
    let node = host.config().node_name.clone();
    registry.on_scrape(
        "kubelet_node_name",
        "[ALPHA] The node's name. The count is always 1.",
        "gauge",
        move |sink| sink.sample(&[("node", &node)], 1.0),
    );
    let pods = host.clone();
    registry.on_scrape(
        "kubelet_running_pods",
        "[ALPHA] Number of pods that have a running pod sandbox",
        "gauge",
        move |sink| {
            let is_running = |phase: Option<&str>| phase == Some("Running");
            let running = pods
                .pods()
                .iter()
                .filter(|pod| {
                    is_running(
                        pod.status
                            .as_ref()
                            .and_then(|status| status.phase.as_deref()),
                    )
                })
                .count();
            sink.sample(&[], running as f64);
        },
    );
    let containers = host.clone();
    registry.on_scrape(
        "kubelet_running_containers",
        "[ALPHA] Number of containers currently running",
        "gauge",
        move |sink| {
            let (mut running, mut exited) = (0_u32, 0_u32);
            for pod in containers.pods() {
                let statuses = pod.status.and_then(|status| status.container_statuses);
                for state in statuses
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|s| s.state)
                {
                    running += u32::from(state.running.is_some());
                    exited += u32::from(state.terminated.is_some());
                }
            }
            sink.sample(&[("container_state", "exited")], f64::from(exited));
            sink.sample(&[("container_state", "running")], f64::from(running));
        },
    );
}
