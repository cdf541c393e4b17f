//! Pods of other nodes: a vxlan link that carries packets between nodes, and what of it changes when nodes come and go. Pure.
//!
//! Every node has one link with the same network identifier. The hardware address of a node's link follows from the node's address, so
//! that nodes need to tell each other nothing but what their Node objects say: address and pod CIDRs. A peer is a route for each of
//! its CIDRs through its gateway, a neighbour entry for that gateway and a forwarding entry for its hardware address: no packet
//! is ever flooded.

use std::net::IpAddr;

use linux::netlink::Remote;

use crate::ipam::Cidr;

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node's own addresses.
    pub addresses: Vec<IpAddr>,
    /// CIDRs of its pods.
    pub pod_cidrs: Vec<Cidr>,
}

/// The hardware address of the link of the node at `address`: locally administered, unicast.
pub(crate) fn hardware_address(address: IpAddr) -> [u8; 6] {
    let hash = match address {
        IpAddr::V4(v4) => fnv1a(&v4.octets()),
        IpAddr::V6(v6) => fnv1a(&v6.octets()),
    };
    let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
    [0x0e, a, b, c, d, e]
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What the kernel is to know of `peers`, for the node at `own`, which reaches them by addresses of the same family. `gateways` are
/// this node's own addresses towards pods.
pub(crate) fn remotes(own: IpAddr, gateways: &[IpAddr], peers: &[Peer]) -> Vec<Remote> {
    let mut remotes = Vec::new();
    for peer in peers {
        let same_family = |address: &&IpAddr| address.is_ipv4() == own.is_ipv4();
        let Some(&node) = peer.addresses.iter().find(same_family) else {
            continue;
        };
        if node == own {
            continue;
        }
        remotes.extend(peer.pod_cidrs.iter().map(|cidr| {
            Remote {
                node,
                hardware_address: hardware_address(node),
                gateway: cidr.gateway(),
                network: cidr.network(),
                length: cidr.length(),
                source: gateways
                    .iter()
                    .copied()
                    .find(|gateway| gateway.is_ipv4() == cidr.network().is_ipv4()),
            }
        }));
    }
    remotes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_reached_by_the_family_both_have() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let peer = Peer {
            addresses: vec![ip("fd01::2"), ip("192.0.2.2")],
            pod_cidrs: vec![
                "10.244.1.0/24".parse().unwrap(),
                "fd02:0:0:1::/64".parse().unwrap(),
            ],
        };
        let own = [ip("10.244.0.1"), ip("fd02::1")];
        let remotes = remotes(ip("192.0.2.1"), &own, std::slice::from_ref(&peer));
        assert_eq!(remotes.len(), 2);
        assert_eq!(remotes[0].node, ip("192.0.2.2"));
        assert_eq!(remotes[0].gateway, ip("10.244.1.1"));
        assert_eq!(remotes[0].source, Some(own[0]));
        assert_eq!(remotes[1].gateway, ip("fd02:0:0:1::1"));
        assert_eq!(remotes[1].source, Some(own[1]));
        // Oneself, seen in the list of nodes, is no peer.
        assert!(super::remotes(ip("192.0.2.2"), &own, &[peer]).is_empty());
    }

    #[test]
    fn hardware_addresses_differ_and_are_nobodys() {
        let a = hardware_address("192.0.2.1".parse().unwrap());
        let b = hardware_address("192.0.2.2".parse().unwrap());
        assert_ne!(a, b);
        assert_eq!(a[0] & 0b11, 0b10, "locally administered, unicast");
    }
}
