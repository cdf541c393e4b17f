//! `kube_apiserver_clusterip_allocator_*` and `kube_apiserver_nodeport_allocator_*`: how full the ranges are, counted when somebody asks.

use std::{net::IpAddr, sync::Arc};

use apimachinery::{gvk::GroupResource, meta};
use base::metrics::Registry;

use super::{
    cluster_ip::{ClusterIpAllocator, IP_ADDRESSES},
    service::{ServiceAllocator, node_ports},
};
use crate::reader::ObjectReader;

const SERVICES: GroupResource = GroupResource::new("", "services");

/// Shows how much of each range is taken.
pub(crate) fn serve(
    allocator: &ServiceAllocator,
    reader: &Arc<dyn ObjectReader>,
    metrics: &Registry,
) {
    let allocators: Arc<[ClusterIpAllocator]> = allocator.addresses().into();
    for (name, help, shown) in ADDRESSES {
        let (reader, allocators) = (Arc::clone(reader), Arc::clone(&allocators));
        metrics.on_scrape(name, help, "gauge", move |sink| {
            let objects = reader.list(&IP_ADDRESSES, "");
            let taken: Vec<IpAddr> = objects
                .iter()
                .filter_map(|object| meta::name(object).parse().ok())
                .collect();
            for range in allocators.iter().flat_map(ClusterIpAllocator::ranges) {
                let used = taken.iter().filter(|one| range.contains(one)).count();
                let cidr = range.to_string();
                sink.sample(&[("cidr", &cidr)], shown(used as f64, range.size() as f64));
            }
        });
    }
    let size = allocator.ports().range().size();
    for (name, help, shown) in PORTS {
        let reader = Arc::clone(reader);
        metrics.on_scrape(name, help, "gauge", move |sink| {
            let services = reader.list(&SERVICES, "");
            let used: usize = services
                .iter()
                .map(|service| node_ports(service).len())
                .sum();
            sink.sample(&[], shown(used as f64, size as f64));
        });
    }
}

/// Name, help, and what is shown of what is used and of all there is.
type Family = (&'static str, &'static str, fn(f64, f64) -> f64);

const ADDRESSES: [Family; 2] = [
    (
        "kube_apiserver_clusterip_allocator_allocated_ips",
        "[ALPHA] Gauge measuring the number of allocated IPs for Services",
        |used, _| used,
    ),
    (
        "kube_apiserver_clusterip_allocator_available_ips",
        "[ALPHA] Gauge measuring the number of available IPs for Services",
        |used, all| all - used,
    ),
];

const PORTS: [Family; 2] = [
    (
        "kube_apiserver_nodeport_allocator_allocated_ports",
        "[ALPHA] Gauge measuring the number of allocated NodePorts for Services",
        |used, _| used,
    ),
    (
        "kube_apiserver_nodeport_allocator_available_ports",
        "[ALPHA] Gauge measuring the number of available NodePorts for Services",
        |used, all| all - used,
    ),
];
