//! `/metrics/resource`: what metrics-server and autoscalers read.

use jiff::Timestamp;

use super::{
    super::router::Router,
    exposition::{Exposition, Sample, seconds},
    machine::Machine,
    usage::{self, PodUsage, value},
};

type Labels = Vec<(&'static str, String)>;

/// The text; with `resource_scrape_error 1` when the runtime does not answer.
pub(in super::super) async fn resource(router: &Router) -> String {
    let machine = Machine::look(Timestamp::now());
    let pods = usage::collect(router.host.runtime().as_ref()).await;
    let failed = pods.is_err();
    let pods: Vec<PodUsage> = pods.unwrap_or_default().into_values().collect();
    let mut out = Exposition::default();
    let help = "[STABLE] Cumulative cpu time consumed by the container in core-seconds";
    let cpu = containers(&pods, |container| {
        let cpu = container.stats.cpu.as_ref()?;
        Some((seconds(value(&cpu.usage_core_nano_seconds)?), cpu.timestamp))
    });
    out.family("container_cpu_usage_seconds_total", "counter", help, cpu);
    let help = "[STABLE] Current working set of the container in bytes";
    let memory = containers(&pods, |container| {
        let memory = container.stats.memory.as_ref()?;
        Some((value(&memory.working_set_bytes)? as f64, memory.timestamp))
    });
    out.family("container_memory_working_set_bytes", "gauge", help, memory);
    let help = "[STABLE] Start time of the container since unix epoch in seconds";
    let start = containers(&pods, |container| {
        Some((container.created_at_ns as f64 / 1e9, 0))
    });
    out.family("container_start_time_seconds", "gauge", help, start);

    let now = i64::try_from(machine.time.as_nanosecond()).unwrap_or_default();
    let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
    let node_cpu = Sample::new(Vec::new(), seconds(machine.cpu_ns), now);
    out.family("node_cpu_usage_seconds_total", "counter", help, [node_cpu]);
    let help = "[STABLE] Current working set of the node in bytes";
    let node_memory = Sample::new(Vec::new(), machine.memory.working_set as f64, now);
    out.family(
        "node_memory_working_set_bytes",
        "gauge",
        help,
        [node_memory],
    );

    let of_pods = |measure: &dyn Fn(&PodUsage) -> Option<(f64, i64)>| -> Vec<Sample> {
        let sample = |pod: &PodUsage| {
            let (value, time_ns) = measure(pod)?;
            Some(Sample::new(pod_labels(pod), value, time_ns))
        };
        pods.iter().filter_map(sample).collect()
    };
    let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
    let pod_cpu = of_pods(&|pod| {
        let cpu = pod.whole.cpu.as_ref()?;
        Some((seconds(value(&cpu.usage_core_nano_seconds)?), cpu.timestamp))
    });
    out.family("pod_cpu_usage_seconds_total", "counter", help, pod_cpu);
    let help = "[STABLE] Current working set of the pod in bytes";
    let pod_memory = of_pods(&|pod| {
        let memory = pod.whole.memory.as_ref()?;
        Some((value(&memory.working_set_bytes)? as f64, memory.timestamp))
    });
    out.family("pod_memory_working_set_bytes", "gauge", help, pod_memory);

    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    let error = Sample::new(Vec::new(), f64::from(u8::from(failed)), 0);
    out.family("resource_scrape_error", "gauge", help, [error]);
    out.into_text()
}

fn containers(
    pods: &[PodUsage],
    measure: impl Fn(&usage::ContainerUsage) -> Option<(f64, i64)>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for pod in pods {
        for (name, container) in &pod.containers {
            if let Some((value, time_ns)) = measure(container) {
                let mut labels = vec![("container", name.clone())];
                labels.extend(pod_labels(pod));
                samples.push(Sample::new(labels, value, time_ns));
            }
        }
    }
    samples
}

fn pod_labels(pod: &PodUsage) -> Labels {
    vec![
        ("namespace", pod.namespace.clone()),
        ("pod", pod.name.clone()),
    ]
}
