//! `/metrics/cadvisor`: the metrics of containers and of the machine that dashboards know by cAdvisor's names.

use jiff::Timestamp;

use super::{
    super::{body::Refusal, router::Router},
    exposition::{Exposition, Sample, seconds},
    machine::Machine,
    usage::{self, ContainerUsage, PodUsage, value},
};

/// Name, kind, help, and where the value is.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ContainerUsage) -> Option<f64>,
);

/// One row a metric of containers.
const CONTAINERS: &[Row] = &[
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        |container| {
            Some(seconds(value(
                &container.stats.cpu.as_ref()?.usage_core_nano_seconds,
            )?))
        },
    ),
    (
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        |container| Some(value(&container.stats.writable_layer.as_ref()?.used_bytes)? as f64),
    ),
    (
        "container_memory_rss",
        "gauge",
        "Size of RSS in bytes.",
        |container| Some(value(&container.stats.memory.as_ref()?.rss_bytes)? as f64),
    ),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |container| Some(value(&container.stats.memory.as_ref()?.usage_bytes)? as f64),
    ),
    (
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        |container| Some(value(&container.stats.memory.as_ref()?.working_set_bytes)? as f64),
    ),
    (
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
        |container| Some(container.created_at_ns as f64 / 1e9),
    ),
];

/// Name, help, and which counter of a pod's interface.
type NetworkRow = (
    &'static str,
    &'static str,
    fn(&cri::v1::NetworkInterfaceUsage) -> Option<u64>,
);

/// One row a metric of pods' networks.
const NETWORKS: &[NetworkRow] = &[
    (
        "container_network_receive_bytes_total",
        "Cumulative count of bytes received",
        |i| value(&i.rx_bytes),
    ),
    (
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        |i| value(&i.rx_errors),
    ),
    (
        "container_network_transmit_bytes_total",
        "Cumulative count of bytes transmitted",
        |i| value(&i.tx_bytes),
    ),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        |i| value(&i.tx_errors),
    ),
];

pub(in super::super) async fn cadvisor(router: &Router) -> Result<String, Refusal> {
    let pods = usage::collect(router.host.runtime().as_ref()).await?;
    let machine = Machine::look(Timestamp::now());
    let mut out = Exposition::default();
    for (name, kind, help, measure) in CONTAINERS {
        let samples = pods.values().flat_map(|pod| {
            pod.containers
                .iter()
                .filter_map(move |(container_name, container)| {
                    let labels = container_labels(pod, container_name, container);
                    Some(Sample::new(labels, measure(container)?, time(container)))
                })
        });
        out.family(name, kind, help, samples);
    }
    for (name, help, measure) in NETWORKS {
        let samples = pods.values().filter_map(|pod| {
            let network = pod.whole.network.as_ref()?;
            let interface = network.default_interface.as_ref()?;
            let labels = vec![
                ("container", String::new()),
                ("id", pod.sandbox_id.clone()),
                ("image", String::new()),
                ("interface", interface.name.clone()),
                ("name", pod.sandbox_id.clone()),
                ("namespace", pod.namespace.clone()),
                ("pod", pod.name.clone()),
            ];
            Some(Sample::new(
                labels,
                measure(interface)? as f64,
                network.timestamp,
            ))
        });
        out.family(name, "counter", help, samples);
    }
    let one = |value: f64| [Sample::new(Vec::new(), value, 0)];
    out.family(
        "machine_cpu_cores",
        "gauge",
        "Number of logical CPU cores.",
        one(machine.cpus as f64),
    );
    let memory = machine.memory.total as f64;
    let help = "Amount of memory installed on the machine.";
    out.family("machine_memory_bytes", "gauge", help, one(memory));
    Ok(out.into_text())
}

fn container_labels(
    pod: &PodUsage,
    name: &str,
    container: &ContainerUsage,
) -> Vec<(&'static str, String)> {
    vec![
        ("container", name.to_owned()),
        ("id", container.id.clone()),
        ("image", container.image.clone()),
        ("name", container.id.clone()),
        ("namespace", pod.namespace.clone()),
        ("pod", pod.name.clone()),
    ]
}

fn time(container: &ContainerUsage) -> i64 {
    container.stats.cpu.as_ref().map_or(0, |cpu| cpu.timestamp)
}
