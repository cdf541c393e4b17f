//! The subsets of an Endpoints object: `subsets(service, pods)`. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use client::{Object as _, reference};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, ObjectReference, Pod, Service,
};

use crate::{
    pods,
    service_pods::{hostname, ips, is_headless, protocol, target_port},
};

/// Addresses an Endpoints object holds at most; more are cut off, and an annotation tells.
pub(super) const MAX_CAPACITY: usize = 1000;

/// Name, number, protocol, application protocol; `None` for "no ports", as headless Services may have.
type PortKey = Option<(String, i32, String, Option<String>)>;

/// A pod's place in a subset: by address, so that subsets are in order.
type AddressKey = (Option<IpAddr>, String);

/// The subsets of a Service, and whether addresses were cut off. Ports that the same pods have share a subset.
pub(super) fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let spec = service.spec.as_ref();
    let publish_not_ready = spec
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or_default();
    let family_is_v6 = spec
        .and_then(|spec| spec.ip_families.as_ref()?.first().cloned())
        .is_some_and(|family| family == "IPv6");
    let mut addresses: BTreeMap<AddressKey, (EndpointAddress, bool)> = BTreeMap::new();
    let mut members: BTreeMap<PortKey, BTreeSet<AddressKey>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pods::is_terminal(pod)) {
        if pod.is_being_deleted() && !publish_not_ready {
            continue;
        }
        let wanted = |ip: &&str| {
            ip.parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_ipv6() == family_is_v6)
        };
        let Some(ip) = ips(pod).into_iter().find(wanted) else {
            continue;
        };
        let key = (ip.parse().ok(), pod.uid().to_owned());
        let ready = publish_not_ready || pods::is_ready(pod);
        let mut ports: Vec<PortKey> = spec
            .into_iter()
            .flat_map(|spec| spec.ports.iter().flatten())
            .filter_map(|port| {
                let name = port.name.clone().unwrap_or_default();
                Some(Some((
                    name,
                    target_port(port, pod)?,
                    protocol(port).to_owned(),
                    port.app_protocol.clone(),
                )))
            })
            .collect();
        let portless = spec.is_none_or(|spec| spec.ports.as_ref().is_none_or(Vec::is_empty));
        if portless && is_headless(service) {
            ports.push(None);
        }
        if ports.is_empty() {
            continue;
        }
        addresses.insert(key.clone(), (address(service, pod, ip), ready));
        for port in ports {
            members.entry(port).or_default().insert(key.clone());
        }
    }
    let truncated = addresses.len() > MAX_CAPACITY;
    if truncated {
        truncate(&mut addresses);
    }
    let mut by_members: BTreeMap<BTreeSet<AddressKey>, Vec<PortKey>> = BTreeMap::new();
    for (port, mut keys) in members {
        keys.retain(|key| addresses.contains_key(key));
        by_members.entry(keys).or_default().push(port);
    }
    let subsets = by_members
        .into_iter()
        .filter(|(keys, _)| !keys.is_empty())
        .map(|(keys, ports)| subset(&keys, &ports, &addresses))
        .collect();
    (subsets, truncated)
}

/// Keeps ready addresses before others.
fn truncate(addresses: &mut BTreeMap<AddressKey, (EndpointAddress, bool)>) {
    let mut keys: Vec<(bool, AddressKey)> = addresses
        .iter()
        .map(|(key, (_, ready))| (!ready, key.clone()))
        .collect();
    keys.sort();
    for (_, key) in keys.drain(MAX_CAPACITY..) {
        addresses.remove(&key);
    }
}

fn subset(
    keys: &BTreeSet<AddressKey>,
    ports: &[PortKey],
    addresses: &BTreeMap<AddressKey, (EndpointAddress, bool)>,
) -> EndpointSubset {
    let of = |wanted: bool| {
        let list: Vec<EndpointAddress> = keys
            .iter()
            .filter_map(|key| addresses.get(key))
            .filter(|(_, ready)| *ready == wanted)
            .map(|(address, _)| address.clone())
            .collect();
        (!list.is_empty()).then_some(list)
    };
    let ports: Vec<EndpointPort> = ports
        .iter()
        .flatten()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: (!name.is_empty()).then(|| name.clone()),
            port: *port,
            protocol: Some(protocol.clone()),
            app_protocol: app_protocol.clone(),
        })
        .collect();
    EndpointSubset {
        addresses: of(true),
        not_ready_addresses: of(false),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn address(service: &Service, pod: &Pod, ip: &str) -> EndpointAddress {
    let target = reference(pod);
    EndpointAddress {
        ip: ip.to_owned(),
        node_name: Some(pods::node_name(pod).to_owned()).filter(|node| !node.is_empty()),
        hostname: hostname(service, pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: target.kind,
            namespace: target.namespace,
            name: target.name,
            uid: target.uid,
            ..ObjectReference::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodIP, PodStatus, ServicePort, ServiceSpec},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn pod(ip: &str, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let condition = PodCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            ..PodCondition::default()
        };
        Arc::new(Pod {
            metadata: ObjectMeta {
                uid: Some(format!("uid-{ip}")),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus {
                pod_ips: Some(vec![PodIP { ip: ip.to_owned() }]),
                conditions: Some(vec![condition]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        })
    }

    fn service(ports: &[i32]) -> Service {
        let ports = ports
            .iter()
            .map(|port| ServicePort {
                name: Some(format!("p{port}")),
                port: *port,
                ..ServicePort::default()
            })
            .collect();
        Service {
            spec: Some(ServiceSpec {
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    #[test]
    fn ports_with_the_same_pods_share_a_subset() {
        let pods = [
            pod("10.0.0.10", true),
            pod("10.0.0.9", true),
            pod("10.0.0.11", false),
        ];
        let (subsets, truncated) = subsets(&service(&[80, 443]), &pods);
        assert!(!truncated);
        assert_eq!(subsets.len(), 1);
        let ips = |addresses: &Option<Vec<EndpointAddress>>| -> Vec<String> {
            addresses
                .iter()
                .flatten()
                .map(|address| address.ip.clone())
                .collect()
        };
        assert_eq!(ips(&subsets[0].addresses), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.0.0.11"]);
        assert_eq!(subsets[0].ports.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn too_many_are_cut_off() {
        let mut pods: Vec<_> = (0..1100)
            .map(|i| pod(&format!("10.0.{}.{}", i / 250, i % 250), i >= 150))
            .collect();
        pods.reverse();
        let (subsets, truncated) = subsets(&service(&[80]), &pods);
        assert!(truncated);
        let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        assert_eq!(
            (
                count(&subsets[0].addresses),
                count(&subsets[0].not_ready_addresses)
            ),
            (950, 50)
        );
    }

    #[test]
    fn a_service_without_pods_has_no_subsets() {
        assert_eq!(subsets(&service(&[80]), &[]).0, []);
    }
}
