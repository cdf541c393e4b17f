//! UDP flows that lead to endpoints which are none any more, or past endpoints that have come since. Which ones: pure. Forgetting them:
//! at the end.

use std::collections::BTreeSet;

use linux::{
    conntrack::{Conntrack, ConntrackError},
    nftables::Protocol,
};

use crate::service_map::{Backend, ForwardedPort};

/// Flows to one UDP port of a Service: those to other answerers than these are stale.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UdpPort {
    addresses: BTreeSet<Backend>,
    node_port: Option<u16>,
    backends: BTreeSet<Backend>,
}

/// The UDP ports whose endpoints are not what they were.
pub(crate) fn changed_udp_ports(old: &[ForwardedPort], new: &[ForwardedPort]) -> Vec<UdpPort> {
    let is_udp = |port: &&ForwardedPort| port.protocol == Protocol::Udp;
    let mut changed = Vec::new();
    for before in old.iter().filter(is_udp) {
        let after = new
            .iter()
            .filter(is_udp)
            .find(|port| port.name == before.name);
        let unchanged = after.is_some_and(|after| {
            after.backends == before.backends && after.external_backends == before.external_backends
        });
        if unchanged {
            continue;
        }
        let ips = before.cluster_ips.iter().chain(&before.external_ips);
        changed.push(UdpPort {
            addresses: ips
                .map(|&address| Backend {
                    address,
                    port: before.port,
                })
                .collect(),
            node_port: before.node_port,
            backends: after.map_or_else(BTreeSet::new, |after| {
                after
                    .backends
                    .union(&after.external_backends)
                    .copied()
                    .collect()
            }),
        });
    }
    changed
}

impl UdpPort {
    fn is_stale(&self, destination: Backend, answerer: Backend) -> bool {
        let leads_here =
            self.addresses.contains(&destination) || self.node_port == Some(destination.port);
        leads_here && !self.backends.contains(&answerer)
    }
}

/// Makes the kernel forget the stale flows of `ports`.
pub(crate) async fn forget_stale_flows(
    conntrack: &Conntrack,
    ipv4: bool,
    ports: &[UdpPort],
) -> Result<(), ConntrackError> {
    if ports.is_empty() {
        return Ok(());
    }
    for flow in conntrack.udp_flows(ipv4).await? {
        let destination = Backend {
            address: flow.destination.ip(),
            port: flow.destination.port(),
        };
        let answerer = Backend {
            address: flow.answerer.ip(),
            port: flow.answerer.port(),
        };
        if ports
            .iter()
            .any(|port| port.is_stale(destination, answerer))
        {
            conntrack.forget(&flow).await?;
        }
    }
    Ok(())
}
