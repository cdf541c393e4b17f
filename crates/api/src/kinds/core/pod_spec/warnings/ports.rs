//! Ports that are named twice, or that no one can reach.

use std::collections::BTreeMap;

use apimachinery::{Object, field::Path, quote};

use super::{super::all_containers, ENOUGH};
use crate::fields::Fields;

/// A port that a container of the pod has, and where.
struct Port<'a> {
    at: Path,
    name: &'a str,
    number: i64,
    protocol: &'a str,
    host_port: i64,
    host_ip: &'a str,
}

/// Of all containers of a pod.
pub(super) fn of_pod(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    let mut ports: Vec<Port<'_>> = Vec::new();
    for (at, container) in all_containers(path, spec) {
        let at = at.child("ports");
        ports.extend(container.objects("ports").map(|(index, port)| Port {
            at: at.index(index),
            name: port.text("name"),
            number: port.int("containerPort").unwrap_or(0),
            protocol: port.text("protocol"),
            host_port: port.int("hostPort").unwrap_or(0),
            host_ip: port.text("hostIP"),
        }));
    }
    let mut of_number: BTreeMap<(i64, &str), Vec<&Port<'_>>> = BTreeMap::new();
    for port in &ports {
        if !port.host_ip.is_empty() && port.host_port == 0 {
            // Upstream prints the struct as Go does.
            warnings.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
                port.at, port.name, port.number, port.protocol, port.host_ip
            ));
        }
        let others = of_number.entry((port.number, port.protocol)).or_default();
        for other in &*others {
            if warnings.len() > ENOUGH {
                return;
            }
            if let Some(relation) = relation(port, other) {
                warnings.push(format!(
                    "{}: {relation} port definition with {}",
                    port.at, other.at
                ));
            }
        }
        others.push(port);
    }
    let mut named: BTreeMap<&str, &Port<'_>> = BTreeMap::new();
    for port in ports.iter().filter(|port| !port.name.is_empty()) {
        let first = *named.entry(port.name).or_insert(port);
        if !std::ptr::eq(first, port) {
            warnings.push(format!(
                "{}: duplicate port name {} with {at}, services and probes that select ports by name will use {at}",
                port.at,
                quote(port.name),
                at = first.at
            ));
        }
    }
}

/// What two ports of one number and protocol are to each other.
fn relation(port: &Port<'_>, other: &Port<'_>) -> Option<&'static str> {
    let same_host_port = port.host_port == other.host_port;
    if same_host_port && port.host_ip == other.host_ip {
        Some("duplicate")
    } else if port.host_port == 0 || other.host_port == 0 {
        Some("overlapping")
    } else if same_host_port && port.host_ip.is_empty() != other.host_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}
