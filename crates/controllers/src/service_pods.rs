//! What Services see of pods; shared by the controllers of Endpoints and EndpointSlices.

use std::sync::Arc;

use client::{Event, Informer, Object as _, ObjectKey, Store, Workqueue, selects_labels};
use k8s_openapi::{
    api::core::v1::{Container, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{context::ControllerContext, pods, reconcile::on_events};

/// The pods a Service selects; nothing if it has no selector, and its endpoints are somebody else's.
pub(crate) fn selected(service: &Service, pods: &Store<Pod>) -> Option<Vec<Arc<Pod>>> {
    let selector = service
        .spec
        .as_ref()?
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())?;
    let mut pods = pods.list_namespace(service.namespace());
    pods.retain(|pod| selects_labels(selector, pod.labels()));
    Some(pods)
}

/// Whether its cluster IP is `None`.
pub(crate) fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

/// All IPs of a pod.
pub(crate) fn ips(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    match &status.pod_ips {
        Some(ips) if !ips.is_empty() => ips.iter().map(|ip| ip.ip.as_str()).collect(),
        _ => status
            .pod_ip
            .as_deref()
            .into_iter()
            .filter(|ip| !ip.is_empty())
            .collect(),
    }
}

/// `protocol`, by default TCP.
pub(crate) fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The number behind a Service's target port in one pod; nothing if the pod has no port of that name.
pub(crate) fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            // Sidecars serve as long as the pod does; other init containers do not.
            let sidecar =
                |container: &&Container| container.restart_policy.as_deref() == Some("Always");
            let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
            let ports = spec
                .containers
                .iter()
                .chain(sidecars)
                .flat_map(|container| container.ports.iter().flatten());
            let same = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
                p.name.as_deref() == Some(name.as_str())
                    && p.protocol.as_deref().unwrap_or("TCP") == protocol(port)
            };
            ports.into_iter().find(same).map(|port| port.container_port)
        }
    }
}

/// The pod's host name under the Service's domain, if it wants one there.
pub(crate) fn hostname<'a>(service: &Service, pod: &'a Pod) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec
        .hostname
        .as_deref()
        .filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.as_deref() == Some(service.name())).then_some(hostname)
}

/// Whether a change of a pod may change endpoints.
fn matters(old: &Pod, new: &Pod) -> bool {
    let facts = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            pods::is_ready(pod),
            pods::is_terminal(pod),
            pod.is_being_deleted(),
            ips(pod).into_iter().map(str::to_owned).collect::<Vec<_>>(),
            pods::node_name(pod).to_owned(),
            spec.and_then(|spec| spec.hostname.clone()),
            spec.and_then(|spec| spec.subdomain.clone()),
        )
    };
    old.labels() != new.labels() || facts(old) != facts(new)
}

/// Queues the Services that select a pod whenever something of interest happens to it.
pub(crate) fn queue_services_of_pods(
    ctx: &ControllerContext,
    controller: &'static str,
    pods: &Informer<Pod>,
    services: &Informer<Service>,
    queue: &Workqueue<ObjectKey>,
) {
    let (services, queue) = (services.store().clone(), queue.clone());
    let (all_services, all) = (services.clone(), queue.clone());
    let enqueue = move |pod: &Pod| {
        for service in services.list_namespace(pod.namespace()) {
            let selector = service
                .spec
                .as_ref()
                .and_then(|spec| spec.selector.as_ref());
            if selector.is_some_and(|selector| {
                !selector.is_empty() && selects_labels(selector, pod.labels())
            }) {
                queue.add(service.key());
            }
        }
    };
    on_events(ctx, controller, pods, move |event| match event {
        Event::Resync => all_services.keys().into_iter().for_each(|key| all.add(key)),
        Event::Updated { old, new } if matters(&old, &new) => {
            if old.labels() != new.labels() {
                enqueue(&old);
            }
            enqueue(&new);
        }
        Event::Updated { .. } => {}
        Event::Added(pod) | Event::Deleted(pod) => enqueue(&pod),
    });
}
