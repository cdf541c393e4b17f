//! What EndpointSlices an Endpoints object should have: `plan(endpoints, existing) → create, update, delete`. Pure.
//!
//! As upstream's reconciler: subsets are first brought into a canonical form (each set of addresses once, with all of its ports), then each
//! is one slice for each family of addresses, of at most [`MAX_ENDPOINTS`]. A slice that is no longer wanted becomes one that is, where the
//! family is the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use client::{Kind as _, Labels, Object as _};
use k8s_openapi::{
    api::{
        core::v1::{self as core, EndpointAddress, Endpoints},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::managed_slices::{MANAGED_BY, SERVICE_NAME, SliceChanges};

/// `--mirroring-max-endpoints-per-subset`.
pub(super) const MAX_ENDPOINTS: usize = 1000;
pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Annotations that say something about the Endpoints object alone.
const NOT_MIRRORED: [&str; 2] = [
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
];
/// The longest name that a generated one leaves room for.
const MAX_PREFIX: usize = 253 - 5;

/// What to write, and to tell.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) slices: SliceChanges,
    /// Warnings: reason and message.
    pub(super) warnings: Vec<(&'static str, String)>,
}

/// A port, in a form that can be compared: name, number, protocol, application protocol.
type Port = (String, Option<i32>, String, Option<String>);
/// What makes an address the same in several subsets: IP and uid of what is behind it.
type AddressKey = (String, String);
type Addresses<'a> = BTreeMap<AddressKey, (&'a EndpointAddress, bool)>;
/// A set of addresses, with all of its ports.
type Group<'a> = (BTreeSet<Port>, Addresses<'a>);

fn port_of(port: &core::EndpointPort) -> Port {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let name = port.name.clone().unwrap_or_default();
    (name, Some(port.port), protocol, port.app_protocol.clone())
}

fn ports_of(slice: &EndpointSlice) -> BTreeSet<Port> {
    let ports = slice.ports.iter().flatten();
    ports
        .map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let name = port.name.clone().unwrap_or_default();
            (name, port.port, protocol, port.app_protocol.clone())
        })
        .collect()
}

/// The subsets in canonical form: each set of addresses once, with all of its ports. One address in the same port both ready and not is
/// ready.
fn canonical(endpoints: &Endpoints) -> Vec<Group<'_>> {
    // A subset without ports is one of its own.
    let mut by_port: BTreeMap<Option<Port>, Addresses<'_>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut ports: Vec<Option<Port>> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| Some(port_of(port)))
            .collect();
        if ports.is_empty() {
            ports.push(None);
        }
        let ready = subset
            .addresses
            .iter()
            .flatten()
            .map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten();
        for (address, is_ready) in ready.chain(not_ready.map(|address| (address, false))) {
            let target = address.target_ref.as_ref();
            let uid = target
                .and_then(|target| target.uid.clone())
                .unwrap_or_default();
            let key = (address.ip.clone(), uid);
            for port in &ports {
                let addresses = by_port.entry(port.clone()).or_default();
                let known = addresses.entry(key.clone()).or_insert((address, is_ready));
                known.1 |= is_ready;
            }
        }
    }
    let mut groups: BTreeMap<Vec<(AddressKey, bool)>, Group<'_>> = BTreeMap::new();
    for (port, addresses) in by_port {
        let key = addresses
            .iter()
            .map(|(key, (_, ready))| (key.clone(), *ready))
            .collect();
        let group = groups.entry(key).or_insert((BTreeSet::new(), addresses));
        group.0.extend(port);
    }
    groups.into_values().collect()
}

fn family_of(ip: &str) -> Option<(&'static str, IpAddr)> {
    let ip: IpAddr = ip.parse().ok()?;
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    Some((family, ip))
}

fn endpoint_of(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        ..Endpoint::default()
    }
}

/// A slice that should be: family and ports.
type SliceKey = (String, BTreeSet<Port>);

/// Plans all slices of an Endpoints object. `existing` are those that this controller manages.
pub(super) fn plan(endpoints: &Endpoints, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut wanted: BTreeMap<SliceKey, Vec<Endpoint>> = BTreeMap::new();
    let (mut invalid, mut too_many) = (0, 0);
    for (ports, addresses) in canonical(endpoints) {
        let mut taken = 0;
        for (address, ready) in addresses.into_values() {
            let Some((family, ip)) = family_of(&address.ip) else {
                invalid += 1;
                continue;
            };
            if taken == MAX_ENDPOINTS {
                too_many += 1;
                continue;
            }
            taken += 1;
            let slice = wanted
                .entry((family.to_owned(), ports.clone()))
                .or_default();
            slice.push(endpoint_of(address, ip, ready));
        }
    }
    if invalid > 0 {
        let message =
            format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        plan.warnings.push(("InvalidIPAddress", message));
    }
    if too_many > 0 {
        let skipped = invalid + too_many;
        let message = format!(
            "A max of {MAX_ENDPOINTS} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
        );
        plan.warnings.push(("TooManyAddressesToMirror", message));
    }

    let mut known: HashMap<SliceKey, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in existing {
        let key = (slice.address_type.clone(), ports_of(slice));
        known.entry(key).or_default().push(Arc::clone(slice));
    }
    for (key, mirrored) in wanted {
        let mut slices = known.remove(&key).unwrap_or_default().into_iter();
        let mut desired = slice_of(endpoints, key, mirrored);
        match slices.next() {
            Some(slice) => {
                desired.metadata.name = slice.metadata.name.clone();
                desired.metadata.generate_name = None;
                if differs(&slice, &desired) {
                    plan.slices.update.push(desired);
                }
            }
            None => plan.slices.create.push(desired),
        }
        plan.slices.delete.extend(slices);
    }
    plan.slices.delete.extend(known.into_values().flatten());
    plan.slices.recycle();
    plan
}

/// Whether an existing slice is not what it should be.
fn differs(existing: &EndpointSlice, desired: &EndpointSlice) -> bool {
    let sorted = |slice: &EndpointSlice| {
        let mut endpoints = slice.endpoints.clone().unwrap_or_default();
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        endpoints
    };
    let owner = |slice: &EndpointSlice| slice.controller_ref().map(|owner| owner.uid.clone());
    existing.labels() != desired.labels()
        || existing.annotations() != desired.annotations()
        || owner(existing) != owner(desired)
        || sorted(existing) != sorted(desired)
}

fn slice_of(endpoints: &Endpoints, key: SliceKey, mirrored: Vec<Endpoint>) -> EndpointSlice {
    let (address_type, ports) = key;
    let mut labels: Labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.annotations().clone();
    annotations.retain(|name, _| !NOT_MIRRORED.contains(&name.as_str()));
    let mut prefix = format!("{}-", endpoints.name());
    if prefix.len() > MAX_PREFIX {
        prefix = endpoints.name().to_owned();
    }
    let ports = ports
        .into_iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: Some(name),
            port,
            protocol: Some(protocol),
            app_protocol,
        });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: Some(endpoints.namespace().to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![endpoints.controller_owner_reference()]),
            ..ObjectMeta::default()
        },
        address_type,
        ports: Some(ports.collect()),
        endpoints: Some(mirrored),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: &Value) -> Endpoints {
        let object = json!({
            "metadata": {
                "name": "web", "namespace": "ns", "uid": "e", "labels": {"a": "b"},
                "annotations": {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "subsets": subsets,
        });
        serde_json::from_value(object).unwrap()
    }

    fn existing(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
        let named = slices.into_iter().enumerate().map(|(number, mut slice)| {
            slice.metadata.name = Some(format!("web-{number}"));
            Arc::new(slice)
        });
        named.collect()
    }

    #[test]
    fn a_subset_is_a_slice_for_each_family() {
        let endpoints = endpoints(&json!([{
            "addresses": [{"ip": "10.0.0.1", "nodeName": "n"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "10.0.0.2", "hostname": "two"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }]));
        let plan = plan(&endpoints, &[]);
        assert_eq!(plan.slices.create.len(), 2);
        let v4 = &plan.slices.create[0];
        assert_eq!(v4.address_type, "IPv4");
        assert_eq!(v4.metadata.generate_name.as_deref(), Some("web-"));
        assert_eq!(
            (v4.label("a"), v4.label(MANAGED_BY)),
            (Some("b"), Some(MANAGER))
        );
        assert_eq!(v4.annotations().keys().collect::<Vec<_>>(), ["note"]);
        let found: Vec<(&str, Option<bool>)> = v4
            .endpoints
            .iter()
            .flatten()
            .map(|e| {
                (
                    e.addresses[0].as_str(),
                    e.conditions.as_ref().unwrap().ready,
                )
            })
            .collect();
        assert_eq!(found, [("10.0.0.1", Some(true)), ("10.0.0.2", Some(false))]);
        assert!(super::plan(&endpoints, &existing(plan.slices.create)).is_nothing());
    }

    impl Plan {
        fn is_nothing(&self) -> bool {
            self.slices.create.is_empty()
                && self.slices.update.is_empty()
                && self.slices.delete.is_empty()
        }
    }

    #[test]
    fn the_same_addresses_are_one_slice() {
        let ports_of = |subsets: Value| -> Vec<usize> {
            let plan = plan(&endpoints(&subsets), &[]);
            let ports = plan
                .slices
                .create
                .iter()
                .map(|slice| slice.ports.as_ref().unwrap().len());
            ports.collect()
        };
        let first = json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "a", "port": 1}]});
        let second =
            json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "b", "port": 2}]});
        let other = json!({"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "b", "port": 2}]});
        assert_eq!(ports_of(json!([first, second])), [2]);
        assert_eq!(ports_of(json!([first, second, other])), [1, 1]);
    }

    #[test]
    fn slices_follow_and_are_used_again() {
        let old = endpoints(&json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]));
        let slices = existing(plan(&old, &[]).slices.create);
        let moved =
            endpoints(&json!([{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]}]));
        let change = plan(&moved, &slices);
        assert_eq!(
            (
                change.slices.create.len(),
                change.slices.update.len(),
                change.slices.delete.len()
            ),
            (0, 1, 0)
        );
        let other_port =
            endpoints(&json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 81}]}]));
        let change = plan(&other_port, &slices);
        assert_eq!(
            (
                change.slices.create.len(),
                change.slices.update.len(),
                change.slices.delete.len()
            ),
            (0, 1, 0)
        );
        assert_eq!(change.slices.update[0].name(), "web-0");
        let none = plan(&endpoints(&json!([])), &slices);
        assert_eq!(none.slices.delete.len(), 1);
    }

    #[test]
    fn what_cannot_be_mirrored_is_told() {
        let addresses: Vec<Value> = (0..1001)
            .map(|i| json!({"ip": format!("10.0.{}.{}", i / 250, i % 250)}))
            .chain([json!({"ip": "nonsense"})])
            .collect();
        let plan = plan(
            &endpoints(&json!([{"addresses": addresses, "ports": [{"port": 80}]}])),
            &[],
        );
        let reasons: Vec<&str> = plan.warnings.iter().map(|warning| warning.0).collect();
        assert_eq!(reasons, ["InvalidIPAddress", "TooManyAddressesToMirror"]);
        assert_eq!(
            plan.slices.create[0].endpoints.as_ref().unwrap().len(),
            MAX_ENDPOINTS
        );
    }
}
