//! What EndpointSlices a Service should have: `plan(service, pods, zones, existing) → create, update, delete`. Pure.
//!
//! As upstream's reconciler, changes touch as few slices as they can: an endpoint that stays, stays in its slice; new ones go first
//! into slices that change anyway, then into one with room, then into a new one of at most [`MAX_ENDPOINTS`].

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use client::{Kind as _, Object as _, reference};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service},
        discovery::v1::{
            Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode,
            ForZone,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    managed_slices::{MANAGED_BY, SERVICE_NAME, SliceChanges},
    pods,
    service_pods::{hostname, ips, is_headless, protocol, target_port},
};

/// `--max-endpoints-per-slice`.
pub(super) const MAX_ENDPOINTS: usize = 100;
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The zone of a node, if it is known.
pub(super) type ZoneOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Plans all slices of a Service. `existing` are those that this controller manages.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    zone_of: ZoneOf<'_>,
    existing: &[Arc<EndpointSlice>],
) -> SliceChanges {
    let mut plan = SliceChanges::default();
    let families = address_types(service);
    for family in &families {
        let existing: Vec<_> = existing
            .iter()
            .filter(|slice| slice.address_type == *family)
            .cloned()
            .collect();
        plan_family(service, pods, zone_of, family, existing, &mut plan);
    }
    // Families the Service no longer has.
    plan.delete.extend(
        existing
            .iter()
            .filter(|slice| !families.contains(&slice.address_type))
            .cloned(),
    );
    plan.recycle();
    plan
}

/// `IPv4`, `IPv6`, in the Service's order.
fn address_types(service: &Service) -> Vec<String> {
    let families = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.clone())
        .unwrap_or_default();
    if families.is_empty() {
        vec!["IPv4".to_owned()]
    } else {
        families
    }
}

/// Ports of a slice, in a form that can be compared and hashed.
type Ports = Vec<(String, Option<i32>, String, Option<String>)>;

fn ports_key(ports: &[EndpointPort]) -> Ports {
    let mut key: Ports = ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            (
                port.name.clone().unwrap_or_default(),
                port.port,
                protocol,
                port.app_protocol.clone(),
            )
        })
        .collect();
    key.sort();
    key
}

fn plan_family(
    service: &Service,
    pods: &[Arc<Pod>],
    zone_of: ZoneOf<'_>,
    family: &str,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut SliceChanges,
) {
    let mut desired: BTreeMap<Ports, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pods::is_terminal(pod)) {
        let addresses: Vec<String> = ips(pod)
            .into_iter()
            .filter(|ip| family_of(ip) == Some(family))
            .map(str::to_owned)
            .collect();
        if addresses.is_empty() {
            continue;
        }
        let ports = endpoint_ports(service, pod);
        let endpoint = endpoint(service, pod, addresses, zone_of);
        let group = desired
            .entry(ports_key(&ports))
            .or_insert_with(|| (ports, Vec::new()));
        group.1.push(endpoint);
    }
    let mut by_ports: HashMap<Ports, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in existing {
        let key = ports_key(slice.ports.as_deref().unwrap_or_default());
        by_ports.entry(key).or_default().push(slice);
    }
    if desired.is_empty() {
        // One empty slice says that there are no endpoints, where none at all would say that nobody looked.
        let empty_key = Ports::new();
        let mut kept = by_ports.remove(&empty_key).unwrap_or_default().into_iter();
        match kept.next() {
            Some(slice) => {
                let changes = slice
                    .endpoints
                    .as_ref()
                    .is_some_and(|endpoints| !endpoints.is_empty());
                Draft {
                    existing: slice,
                    endpoints: Vec::new(),
                    changes,
                }
                .push_if_changed(service, plan);
            }
            None => plan
                .create
                .push(new_slice(service, family, Vec::new(), Vec::new())),
        }
        plan.delete.extend(kept);
        plan.delete.extend(by_ports.into_values().flatten());
        return;
    }
    for (key, (ports, endpoints)) in desired {
        let slices = by_ports.remove(&key).unwrap_or_default();
        plan_ports(service, family, ports, endpoints, slices, plan);
    }
    plan.delete.extend(by_ports.into_values().flatten());
}

fn family_of(ip: &str) -> Option<&'static str> {
    match ip.parse::<IpAddr>().ok()? {
        IpAddr::V4(_) => Some("IPv4"),
        IpAddr::V6(_) => Some("IPv6"),
    }
}

/// Distributes the endpoints of one set of ports over slices.
fn plan_ports(
    service: &Service,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut SliceChanges,
) {
    let mut wanted: HashMap<String, Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (identity(&endpoint), endpoint))
        .collect();
    let mut drafts: Vec<Draft> = Vec::with_capacity(existing.len());
    // Drop what is no longer wanted, renew what changed.
    for slice in existing {
        let had = slice.endpoints.as_deref().unwrap_or_default();
        let endpoints: Vec<Endpoint> = had
            .iter()
            .filter_map(|old| wanted.remove(&identity(old)))
            .collect();
        let changes = endpoints != had;
        drafts.push(Draft {
            existing: slice,
            endpoints,
            changes,
        });
    }
    let mut rest: Vec<Endpoint> = wanted.into_values().collect();
    rest.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    // Into slices that are written anyway …
    for draft in drafts.iter_mut().filter(|draft| draft.changes) {
        draft.fill(&mut rest);
    }
    // … then into the fullest one that takes all, …
    if !rest.is_empty() {
        let room = drafts
            .iter_mut()
            .filter(|draft| draft.endpoints.len() + rest.len() <= MAX_ENDPOINTS);
        if let Some(draft) = room.max_by_key(|draft| draft.endpoints.len()) {
            draft.fill(&mut rest);
        }
    }
    // … then into new ones.
    while !rest.is_empty() {
        let batch = rest.split_off(rest.len().saturating_sub(MAX_ENDPOINTS));
        plan.create
            .push(new_slice(service, family, ports.clone(), batch));
    }
    for draft in drafts {
        if draft.endpoints.is_empty() {
            plan.delete.push(draft.existing);
        } else {
            draft.push_if_changed(service, plan);
        }
    }
}

/// An existing slice, and the endpoints it is to have.
struct Draft {
    existing: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changes: bool,
}

impl Draft {
    fn fill(&mut self, rest: &mut Vec<Endpoint>) {
        let room = MAX_ENDPOINTS.saturating_sub(self.endpoints.len());
        let taken = rest.split_off(rest.len().saturating_sub(room));
        self.changes |= !taken.is_empty();
        self.endpoints.extend(taken);
    }

    fn push_if_changed(self, service: &Service, plan: &mut SliceChanges) {
        let (labels, owners) = (
            Some(labels(service)),
            Some(vec![service.controller_owner_reference()]),
        );
        let metadata = &self.existing.metadata;
        if self.changes || metadata.labels != labels || metadata.owner_references != owners {
            let mut updated = (*self.existing).clone();
            updated.endpoints = Some(self.endpoints);
            updated.metadata.labels = labels;
            updated.metadata.owner_references = owners;
            plan.update.push(updated);
        }
    }
}

/// What makes an endpoint the same one after a change of its conditions.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.as_deref())
        .unwrap_or_default();
    format!("{uid}/{}", endpoint.addresses.join(","))
}

fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(protocol(port).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn endpoint(service: &Service, pod: &Pod, addresses: Vec<String>, zone_of: ZoneOf<'_>) -> Endpoint {
    let spec = service.spec.as_ref();
    let publish_not_ready = spec
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or_default();
    let serving = pods::is_ready(pod);
    let terminating = pod.is_being_deleted();
    let node = Some(pods::node_name(pod)).filter(|node| !node.is_empty());
    let zone = node.and_then(zone_of);
    let ready = publish_not_ready || (serving && !terminating);
    let distribution = spec.and_then(|spec| spec.traffic_distribution.as_deref());
    let target = reference(pod);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints(distribution, node, zone.as_deref()).filter(|_| ready),
        hostname: hostname(service, pod).map(str::to_owned),
        node_name: node.map(str::to_owned),
        zone,
        target_ref: Some(ObjectReference {
            kind: target.kind,
            namespace: target.namespace,
            name: target.name,
            uid: target.uid,
            ..ObjectReference::default()
        }),
        deprecated_topology: None,
    }
}

/// `spec.trafficDistribution`: where an endpoint should be used from.
fn hints(
    distribution: Option<&str>,
    node: Option<&str>,
    zone: Option<&str>,
) -> Option<EndpointHints> {
    let for_zones = || {
        zone.map(|zone| {
            vec![ForZone {
                name: zone.to_owned(),
            }]
        })
    };
    let hints = match distribution? {
        "PreferClose" | "PreferSameZone" => EndpointHints {
            for_zones: for_zones(),
            for_nodes: None,
        },
        "PreferSameNode" => EndpointHints {
            for_zones: for_zones(),
            for_nodes: node.map(|node| {
                vec![ForNode {
                    name: node.to_owned(),
                }]
            }),
        },
        _ => return None,
    };
    (hints.for_zones.is_some() || hints.for_nodes.is_some()).then_some(hints)
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.retain(|key, _| ![HEADLESS, SERVICE_NAME, MANAGED_BY].contains(&key.as_str()));
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn new_slice(
    service: &Service,
    address_type: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: Some(service.namespace().to_owned()),
            labels: Some(labels(service)),
            owner_references: Some(vec![service.controller_owner_reference()]),
            ..ObjectMeta::default()
        },
        address_type: address_type.to_owned(),
        ports: (!ports.is_empty()).then_some(ports),
        endpoints: Some(endpoints),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodIP, PodSpec, PodStatus, ServicePort, ServiceSpec},
        apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString},
    };

    use super::*;

    fn service() -> Service {
        let port = ServicePort {
            name: Some("http".to_owned()),
            port: 80,
            target_port: Some(IntOrString::Int(8080)),
            protocol: Some("TCP".to_owned()),
            ..ServicePort::default()
        };
        Service {
            metadata: ObjectMeta {
                name: Some("web".to_owned()),
                namespace: Some("ns".to_owned()),
                uid: Some("svc".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(ServiceSpec {
                ports: Some(vec![port]),
                ip_families: Some(vec!["IPv4".to_owned()]),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }

    fn pod(number: usize, ready: bool) -> Arc<Pod> {
        let condition = PodCondition {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        };
        let ip = format!("10.0.{}.{}", number / 250, number % 250);
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(format!("p{number}")),
                namespace: Some("ns".to_owned()),
                uid: Some(format!("uid{number}")),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: Some("n1".to_owned()),
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                conditions: Some(vec![condition]),
                pod_ip: Some(ip.clone()),
                pod_ips: Some(vec![PodIP { ip }]),
                ..PodStatus::default()
            }),
        })
    }

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        (0..count).map(|number| pod(number, true)).collect()
    }

    fn zone(_: &str) -> Option<String> {
        Some("z1".to_owned())
    }

    /// The slices after a plan, with names as the server would give them.
    fn apply(existing: &[Arc<EndpointSlice>], plan: &SliceChanges) -> Vec<Arc<EndpointSlice>> {
        let mut slices: Vec<Arc<EndpointSlice>> = existing
            .iter()
            .filter(|slice| !plan.delete.iter().any(|gone| gone.name() == slice.name()))
            .map(|slice| {
                let updated = plan
                    .update
                    .iter()
                    .find(|updated| updated.name() == slice.name());
                updated.map_or_else(|| slice.clone(), |updated| Arc::new(updated.clone()))
            })
            .collect();
        for (number, slice) in plan.create.iter().enumerate() {
            let mut slice = slice.clone();
            slice.metadata.name = Some(format!("web-{}-{number}", existing.len()));
            slices.push(Arc::new(slice));
        }
        slices
    }

    fn endpoints_of(slice: &EndpointSlice) -> &[Endpoint] {
        slice.endpoints.as_deref().unwrap_or_default()
    }

    fn shape(plan: &SliceChanges) -> (Vec<usize>, Vec<usize>, usize) {
        let sizes = |slices: &[EndpointSlice]| {
            slices
                .iter()
                .map(|slice| endpoints_of(slice).len())
                .collect()
        };
        (sizes(&plan.create), sizes(&plan.update), plan.delete.len())
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let plan1 = plan(&service(), &[], &zone, &[]);
        assert_eq!(shape(&plan1), (vec![0], vec![], 0));
        let slices = apply(&[], &plan1);
        assert_eq!(
            shape(&plan(&service(), &[], &zone, &slices)),
            (vec![], vec![], 0)
        );
        // With the first pod the placeholder becomes its slice, ports and all.
        let plan2 = plan(&service(), &pods(1), &zone, &slices);
        assert_eq!(shape(&plan2), (vec![], vec![1], 0));
        assert_eq!(plan2.update[0].name(), slices[0].name());
        assert_eq!(plan2.update[0].ports.as_ref().unwrap().len(), 1);
        // And back.
        let slices = apply(&slices, &plan2);
        let plan3 = plan(&service(), &[], &zone, &slices);
        assert_eq!(shape(&plan3), (vec![], vec![0], 0));
        assert_eq!(plan3.update[0].ports, None);
    }

    #[test]
    fn endpoints_carry_what_proxies_need() {
        let plan = plan(&service(), &[pod(1, true)], &zone, &[]);
        let slice = &plan.create[0];
        assert_eq!(slice.label(SERVICE_NAME), Some("web"));
        assert_eq!(slice.label(MANAGED_BY), Some(MANAGER));
        assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
        let endpoint = &endpoints_of(slice)[0];
        assert_eq!(endpoint.addresses, ["10.0.0.1"]);
        assert_eq!(
            (endpoint.node_name.as_deref(), endpoint.zone.as_deref()),
            (Some("n1"), Some("z1"))
        );
        let conditions = endpoint.conditions.clone().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(true), Some(true), Some(false))
        );
    }

    #[test]
    fn readiness_and_termination() {
        let conditions = |service: &Service, pod: &Pod| {
            let plan = plan(service, &[Arc::new(pod.clone())], &zone, &[]);
            let conditions = endpoints_of(&plan.create[0])[0].conditions.clone().unwrap();
            (
                conditions.ready.unwrap(),
                conditions.serving.unwrap(),
                conditions.terminating.unwrap(),
            )
        };
        let mut leaving = (*pod(1, true)).clone();
        leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let mut publishing = service();
        publishing
            .spec
            .as_mut()
            .unwrap()
            .publish_not_ready_addresses = Some(true);
        assert_eq!(
            conditions(&service(), &pod(1, false)),
            (false, false, false)
        );
        assert_eq!(conditions(&service(), &leaving), (false, true, true));
        assert_eq!(
            conditions(&publishing, &pod(1, false)),
            (true, false, false)
        );
    }

    #[test]
    fn slices_are_filled_and_changes_touch_few() {
        let service = service();
        let first = plan(&service, &pods(250), &zone, &[]);
        let (mut created, updated, deleted) = shape(&first);
        created.sort_unstable();
        assert_eq!((created, updated, deleted), (vec![50, 100, 100], vec![], 0));
        let slices = apply(&[], &first);

        // One more goes into the one with room.
        assert_eq!(
            shape(&plan(&service, &pods(251), &zone, &slices)),
            (vec![], vec![51], 0)
        );
        // One that turns unready changes its own slice alone.
        let mut changed = pods(250);
        changed[7] = pod(7, false);
        let turned = plan(&service, &changed, &zone, &slices);
        assert_eq!(
            (
                turned.create.len(),
                turned.update.len(),
                turned.delete.len()
            ),
            (0, 1, 0)
        );
        // All gone.
        let none = plan(&service, &[], &zone, &slices);
        assert_eq!(
            (none.create.len(), none.update.len(), none.delete.len()),
            (0, 1, 2)
        );
        // Nothing changes nothing.
        assert_eq!(
            shape(&plan(&service, &pods(250), &zone, &slices)),
            (vec![], vec![], 0)
        );
    }

    #[test]
    fn named_ports_group_pods() {
        use k8s_openapi::api::core::v1::{Container, ContainerPort};
        let mut service = service();
        service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].target_port =
            Some(IntOrString::String("web".to_owned()));
        let with_port = |number: usize, port: i32| {
            let mut pod = (*pod(number, true)).clone();
            let ports = vec![ContainerPort {
                name: Some("web".to_owned()),
                container_port: port,
                ..ContainerPort::default()
            }];
            pod.spec.as_mut().unwrap().containers = vec![Container {
                ports: Some(ports),
                ..Container::default()
            }];
            Arc::new(pod)
        };
        let plan = plan(
            &service,
            &[with_port(1, 80), with_port(2, 81), with_port(3, 80)],
            &zone,
            &[],
        );
        assert_eq!(shape(&plan), (vec![2, 1], vec![], 0));
    }
}
