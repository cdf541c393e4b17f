//! The node IPAM controller: each node its part of the pod network (`--allocate-node-cidrs`, `--cluster-cidr`), as the range allocator of
//! upstream hands it out.
//!
//! One worker, so that no range is handed out twice; what it gave and its informer has not shown is remembered.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use client::{Event, EventType, Informer, Object as _, ObjectKey, Patch};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use tracing::{error, info};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "node-ipam-controller";

/// A range of the cluster, cut into ranges of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClusterCidr {
    /// First address as a number, in the low bits for IPv4.
    base: u128,
    prefix: u8,
    node_prefix: u8,
    v4: bool,
}

impl ClusterCidr {
    fn parse(cidr: &str, node_prefix: u8) -> Option<Self> {
        let (address, prefix) = cidr.split_once('/')?;
        let prefix: u8 = prefix.parse().ok()?;
        let (base, v4) = match address.parse().ok()? {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), true),
            IpAddr::V6(ip) => (u128::from(ip), false),
        };
        let bits = if v4 { 32 } else { 128 };
        // As upstream: at most 2^16 nodes a range.
        let fits = prefix <= node_prefix && node_prefix <= bits && node_prefix - prefix <= 16;
        let host_bits = bits - prefix;
        let base = if host_bits == 128 {
            0
        } else {
            base >> host_bits << host_bits
        };
        fits.then_some(Self {
            base,
            prefix,
            node_prefix,
            v4,
        })
    }

    fn bits(self) -> u8 {
        if self.v4 { 32 } else { 128 }
    }

    fn len(self) -> u128 {
        1 << (self.node_prefix - self.prefix)
    }

    /// The `index`-th range of a node.
    fn range(self, index: u128) -> String {
        let address = self.base + (index << (self.bits() - self.node_prefix));
        let address = if self.v4 {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(address).unwrap_or_default()))
        } else {
            IpAddr::V6(Ipv6Addr::from(address))
        };
        format!("{address}/{}", self.node_prefix)
    }

    /// The first range that is not among `used`.
    fn first_free(self, used: impl Fn(&str) -> bool) -> Option<String> {
        (0..self.len())
            .map(|index| self.range(index))
            .find(|range| !used(range))
    }
}

struct NodeIpam {
    ctx: ControllerContext,
    ranges: Vec<ClusterCidr>,
    nodes: Informer<Node>,
    /// Ranges handed out that the informer may not have shown, by node.
    assumed: Mutex<HashMap<String, Vec<String>>>,
}

pub(crate) fn start(ctx: ControllerContext) {
    if !ctx.config.allocate_node_cidrs {
        return;
    }
    let config = &ctx.config;
    let ranges: Option<Vec<ClusterCidr>> = config
        .cluster_cidr
        .iter()
        .map(|cidr| {
            let v6 = cidr.contains(':');
            let mask = if v6 {
                config.node_cidr_mask_size_ipv6
            } else {
                config.node_cidr_mask_size_ipv4
            };
            ClusterCidr::parse(cidr, mask)
        })
        .collect();
    let Some(ranges) = ranges.filter(|ranges| !ranges.is_empty()) else {
        error!(controller = NAME, cidrs = ?config.cluster_cidr, "not started: invalid --cluster-cidr");
        return;
    };
    let controller = Arc::new(NodeIpam {
        ranges,
        nodes: ctx.informers.informer(),
        assumed: Mutex::default(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("node_ipam");
    queue_changes(&ctx, NAME, &controller.nodes, &queue);
    let this = controller.clone();
    on_events(&ctx, NAME, &controller.nodes, move |event| {
        if let Event::Deleted(node) = event {
            this.assumed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(node.name());
        }
    });
    run_workers(&ctx, NAME, 1, &queue, controller);
}

fn ranges_of(node: &Node) -> &[String] {
    node.spec
        .as_ref()
        .and_then(|spec| spec.pod_cidrs.as_deref())
        .unwrap_or_default()
}

#[async_trait]
impl Reconciler for NodeIpam {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.nodes.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.nodes.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        if !ranges_of(&node).is_empty()
            || node
                .spec
                .as_ref()
                .is_some_and(|spec| spec.pod_cidr.is_some())
        {
            return Ok(Next::OnEvent);
        }
        let Some(ranges) = self.assume(node.name()) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.name());
            self.ctx
                .recorder
                .event(&*node, EventType::Normal, "CIDRNotAvailable", message);
            return Err(Error::State(format!("no free CIDR for node {key}")));
        };
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": node.uid() },
            "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
        }));
        match self
            .ctx
            .client
            .api::<Node>("")
            .patch(node.name(), &patch)
            .await
        {
            Ok(_) => info!(node = node.name(), ?ranges, "pod CIDR allocated"),
            Err(error) => {
                if error.is_not_found() {
                    self.assumed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(node.name());
                    return Ok(Next::OnEvent);
                }
                // It may have got through: the range stays this node's, and is offered to it again.
                return Err(error.into());
            }
        }
        Ok(Next::OnEvent)
    }
}

impl NodeIpam {
    /// The ranges of a node: those it was promised before, or the first free ones.
    fn assume(&self, name: &str) -> Option<Vec<String>> {
        let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranges) = assumed.get(name) {
            return Some(ranges.clone());
        }
        let nodes = self.nodes.store().list();
        let mut used: std::collections::HashSet<&str> =
            assumed.values().flatten().map(String::as_str).collect();
        used.extend(
            nodes
                .iter()
                .flat_map(|node| ranges_of(node))
                .map(String::as_str),
        );
        let ranges: Option<Vec<String>> = self
            .ranges
            .iter()
            .map(|cidr| cidr.first_free(|range| used.contains(range)))
            .collect();
        let ranges = ranges?;
        assumed.insert(name.to_owned(), ranges.clone());
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_nodes() {
        let cidr = ClusterCidr::parse("10.244.3.7/16", 24).unwrap();
        assert_eq!(
            (cidr.range(0), cidr.range(255)),
            ("10.244.0.0/24".to_owned(), "10.244.255.0/24".to_owned())
        );
        assert_eq!(cidr.len(), 256);
        assert_eq!(
            cidr.first_free(|range| range == "10.244.0.0/24").unwrap(),
            "10.244.1.0/24"
        );
        assert_eq!(cidr.first_free(|_| true), None);
        let v6 = ClusterCidr::parse("fd00:10::/56", 64).unwrap();
        assert_eq!(v6.range(2), "fd00:10:0:2::/64");
        assert_eq!(ClusterCidr::parse("10.0.0.0/24", 16), None);
        assert_eq!(ClusterCidr::parse("10.0.0.0/8", 25), None, "too many nodes");
        assert_eq!(ClusterCidr::parse("10.0.0.0", 24), None);
    }
}
