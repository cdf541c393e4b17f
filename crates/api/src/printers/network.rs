//! Rows of services and what belongs to them.

use apimachinery::{Object, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::age,
    format::{NONE, UNSET, few, labels, load_balancer, or, selector},
};
use crate::fields::Fields;

/// Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector.
pub(super) fn service(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let cluster_ip = spec
        .texts("clusterIPs")
        .next()
        .unwrap_or(spec.text("clusterIP"));
    let mut external: Vec<String> = Vec::new();
    match spec.text("type") {
        "LoadBalancer" => {
            external = load_balancer(object.object("status"));
            external.extend(spec.texts("externalIPs").map(str::to_owned));
        }
        "ExternalName" => external.push(spec.text("externalName").to_owned()),
        _ => external.extend(spec.texts("externalIPs").map(str::to_owned)),
    }
    let external = if !external.is_empty() {
        external.join(",")
    } else if spec.text("type") == "LoadBalancer" {
        "<pending>".to_owned()
    } else {
        NONE.to_owned()
    };
    let ports: Vec<String> = spec
        .objects("ports")
        .map(|(_, port)| {
            let number = port.int("port").unwrap_or(0);
            let protocol = port.text("protocol");
            match port.int("nodePort").unwrap_or(0) {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    vec![
        json!(meta::name(object)),
        json!(spec.text("type")),
        json!(or(cluster_ip, NONE)),
        json!(external),
        json!(or(&ports.join(","), NONE)),
        json!(age(object, now)),
        json!(labels(spec.object("selector"))),
    ]
}

/// Name, Endpoints, Age.
pub(super) fn endpoints(object: &Object, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for (_, subset) in object.objects("subsets") {
        let ports: Vec<i64> = subset
            .objects("ports")
            .filter_map(|(_, p)| p.int("port"))
            .collect();
        for (_, address) in subset.objects("addresses") {
            let ip = address.text("ip");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            let host = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            all.extend(ports.iter().map(|port| format!("{host}:{port}")));
        }
    }
    let shown = few(&all, ",");
    vec![
        json!(meta::name(object)),
        json!(or(&shown, NONE)),
        json!(age(object, now)),
    ]
}

/// Name, AddressType, Ports, Endpoints, Age.
pub(super) fn endpoint_slice(object: &Object, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = object
        .objects("ports")
        .map(|(_, p)| {
            p.int("port")
                .map_or_else(|| "*".to_owned(), |n| n.to_string())
        })
        .collect();
    let addresses: Vec<String> = object
        .objects("endpoints")
        .flat_map(|(_, e)| e.texts("addresses"))
        .map(str::to_owned)
        .collect();
    vec![
        json!(meta::name(object)),
        json!(object.text("addressType")),
        json!(or(&few(&ports, ","), UNSET)),
        json!(or(&few(&addresses, ","), UNSET)),
        json!(age(object, now)),
    ]
}

/// Name, Class, Hosts, Address, Ports, Age.
pub(super) fn ingress(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let hosts: Vec<String> = spec
        .objects("rules")
        .map(|(_, r)| r.text("host").to_owned())
        .filter(|h| !h.is_empty())
        .collect();
    let ports = if spec.list("tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        json!(meta::name(object)),
        json!(spec.text_opt("ingressClassName").unwrap_or(NONE)),
        json!(or(&few(&hosts, ","), "*")),
        json!(load_balancer(object.object("status")).join(",")),
        json!(ports),
        json!(age(object, now)),
    ]
}

/// Name, Controller, Parameters, Age.
pub(super) fn ingress_class(object: &Object, now: Timestamp) -> Vec<Value> {
    let spec = object.object("spec");
    let parameters = spec
        .and_then(|s| s.object("parameters"))
        .map_or(NONE.to_owned(), |p| {
            let group = p.text("apiGroup");
            let kind = p.text("kind");
            let kind = if group.is_empty() {
                kind.to_owned()
            } else {
                format!("{kind}.{group}")
            };
            format!("{kind}/{}", p.text("name"))
        });
    vec![
        json!(meta::name(object)),
        json!(spec.map_or("", |s| s.text("controller"))),
        json!(parameters),
        json!(age(object, now)),
    ]
}

/// Name, Pod-Selector, Age.
pub(super) fn network_policy(object: &Object, now: Timestamp) -> Vec<Value> {
    let pods = object.object("spec").and_then(|s| s.object("podSelector"));
    vec![
        json!(meta::name(object)),
        json!(selector(pods)),
        json!(age(object, now)),
    ]
}

/// Name, ParentRef, and an age that upstream's columns do not name.
pub(super) fn ip_address(object: &Object, now: Timestamp) -> Vec<Value> {
    let parent = object.object("spec").and_then(|s| s.object("parentRef"));
    let parent = parent.map_or(NONE.to_owned(), |p| {
        let mut parts = vec![p.text("resource"), p.text("namespace"), p.text("name")];
        parts.retain(|s| !s.is_empty());
        let path = parts.join("/");
        match p.text("group") {
            "" => path,
            group => path.replacen('/', &format!(".{group}/"), 1),
        }
    });
    vec![
        json!(meta::name(object)),
        json!(parent),
        json!(age(object, now)),
    ]
}

/// Name, CIDRs, Age.
pub(super) fn service_cidr(object: &Object, now: Timestamp) -> Vec<Value> {
    let cidrs: Vec<&str> = object
        .object("spec")
        .into_iter()
        .flat_map(|s| s.texts("cidrs"))
        .collect();
    vec![
        json!(meta::name(object)),
        json!(cidrs.join(",")),
        json!(age(object, now)),
    ]
}
