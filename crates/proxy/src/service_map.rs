//! Services and their endpoints as forwarding needs them: plain values, one for each port of a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use client::Object as _;
use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use linux::nftables::Protocol;

/// The label that ties a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Services with this label are somebody else's to forward.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Slices of headless Services need no forwarding.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// How long a client stays with its endpoint when `sessionAffinityConfig` does not say.
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);

/// Where a connection can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// A port of a Service with everything that leads to it, in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardedPort {
    /// `namespace/service:port`, for people.
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// Cluster IPs, and the load balancer's and external ones.
    pub(crate) cluster_ips: Vec<IpAddr>,
    pub(crate) external_ips: Vec<IpAddr>,
    pub(crate) node_port: Option<u16>,
    /// Endpoints for connections from inside the cluster.
    pub(crate) backends: BTreeSet<Backend>,
    /// Endpoints for connections from outside: those of this node alone if the Service's external policy is `Local`.
    pub(crate) external_backends: BTreeSet<Backend>,
    /// Whether connections from outside keep their source address.
    pub(crate) keeps_source: bool,
    /// How long a client stays with its endpoint.
    pub(crate) affinity: Option<Duration>,
    /// Sources that may use the load balancer's addresses; empty is all.
    pub(crate) source_ranges: Vec<(IpAddr, u8)>,
}

/// What is forwarded, in the order of namespaces, names and ports.
pub(crate) fn forwarded_ports<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    node: &str,
    ipv4: bool,
) -> Vec<ForwardedPort> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let family = if ipv4 { "IPv4" } else { "IPv6" };
        if slice.address_type != family || slice.label(HEADLESS_LABEL).is_some() {
            continue;
        }
        if let Some(service) = slice.label(SERVICE_NAME_LABEL) {
            by_service
                .entry((slice.namespace(), service))
                .or_default()
                .push(slice);
        }
    }
    let mut ports = Vec::new();
    for service in services {
        let own = by_service.get(&(service.namespace(), service.name()));
        ports.extend(of_service(
            service,
            own.map_or(&[], Vec::as_slice),
            node,
            ipv4,
        ));
    }
    ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
    ports
}

fn of_service(
    service: &Service,
    slices: &[&EndpointSlice],
    node: &str,
    ipv4: bool,
) -> Vec<ForwardedPort> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    if spec.type_.as_deref() == Some("ExternalName") || service.label(PROXY_NAME_LABEL).is_some() {
        return Vec::new();
    }
    let ours = |address: &IpAddr| address.is_ipv4() == ipv4;
    let parse = |texts: &Option<Vec<String>>| -> Vec<IpAddr> {
        texts
            .iter()
            .flatten()
            .filter_map(|text| text.parse().ok())
            .filter(ours)
            .collect()
    };
    let mut cluster_ips = parse(&spec.cluster_ips);
    if cluster_ips.is_empty() {
        cluster_ips.extend(
            spec.cluster_ip
                .iter()
                .filter_map(|text| text.parse().ok())
                .filter(ours),
        );
    }
    if cluster_ips.is_empty() {
        return Vec::new();
    }
    let mut external_ips = parse(&spec.external_ips);
    let ingress = service
        .status
        .iter()
        .filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref());
    external_ips.extend(
        ingress
            .flatten()
            .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
            .filter(ours),
    );
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let seconds = spec
            .session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
        seconds
            .and_then(|s| u64::try_from(s).ok())
            .map_or(DEFAULT_AFFINITY, Duration::from_secs)
    });
    let source_ranges = spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .filter_map(|range| parse_range(range, ipv4));
    let source_ranges: Vec<_> = source_ranges.collect();

    let port_of = |port: &ServicePort| {
        let endpoints = Endpoints::of(port, slices, node);
        Some(ForwardedPort {
            name: port_name(service, port),
            protocol: protocol(port.protocol.as_deref())?,
            port: u16::try_from(port.port).ok()?,
            cluster_ips: cluster_ips.clone(),
            external_ips: external_ips.clone(),
            node_port: port
                .node_port
                .and_then(|p| u16::try_from(p).ok())
                .filter(|p| *p != 0),
            backends: endpoints.choose(internal_local),
            external_backends: endpoints.choose(external_local),
            keeps_source: external_local,
            affinity,
            source_ranges: source_ranges.clone(),
        })
    };
    spec.ports.iter().flatten().filter_map(port_of).collect()
}

/// The endpoints of one port, sorted by what may be done with them.
#[derive(Default)]
struct Endpoints {
    ready: BTreeSet<Backend>,
    ready_here: BTreeSet<Backend>,
    /// Not ready any more because they are ending, but still serving.
    ending: BTreeSet<Backend>,
    ending_here: BTreeSet<Backend>,
}

impl Endpoints {
    fn of(port: &ServicePort, slices: &[&EndpointSlice], node: &str) -> Self {
        let mut endpoints = Self::default();
        for slice in slices {
            let number = slice.ports.iter().flatten().find(|p| is_port(p, port));
            let Some(number) = number.and_then(|p| u16::try_from(p.port?).ok()) else {
                continue;
            };
            for endpoint in slice.endpoints.iter().flatten() {
                endpoints.sort_in(endpoint, number, node);
            }
        }
        endpoints
    }

    fn sort_in(&mut self, endpoint: &Endpoint, port: u16, node: &str) {
        let conditions = endpoint.conditions.as_ref();
        let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        let is_serving = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
        let is_ending = conditions.and_then(|c| c.terminating).unwrap_or(false);
        let is_here = endpoint.node_name.as_deref() == Some(node);
        // All addresses of an endpoint are the same pod; upstream uses the first alone.
        let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else {
            return;
        };
        let backend = Backend { address, port };
        if is_ready {
            self.ready.insert(backend);
            if is_here {
                self.ready_here.insert(backend);
            }
        } else if is_serving && is_ending {
            self.ending.insert(backend);
            if is_here {
                self.ending_here.insert(backend);
            }
        }
    }

    /// The ready ones, or as long as there are none those that are ending but still serve (KEP-1669).
    fn choose(&self, here_alone: bool) -> BTreeSet<Backend> {
        let (ready, ending) = if here_alone {
            (&self.ready_here, &self.ending_here)
        } else {
            (&self.ready, &self.ending)
        };
        if ready.is_empty() {
            ending.clone()
        } else {
            ready.clone()
        }
    }
}

fn is_port(slice_port: &EndpointPort, port: &ServicePort) -> bool {
    slice_port.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
        && slice_port.protocol.as_deref().unwrap_or("TCP")
            == port.protocol.as_deref().unwrap_or("TCP")
}

fn port_name(service: &Service, port: &ServicePort) -> String {
    let target = match (&port.name, &port.target_port) {
        (Some(name), _) => name.clone(),
        (None, Some(IntOrString::String(name))) => name.clone(),
        _ => port.port.to_string(),
    };
    format!("{}/{}:{target}", service.namespace(), service.name())
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn parse_range(range: &str, ipv4: bool) -> Option<(IpAddr, u8)> {
    let (address, length) = range.trim().split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    (address.is_ipv4() == ipv4).then_some((address, length.parse().ok()?))
}
