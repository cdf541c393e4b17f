//! The pod network's packet rules: what leaves the cluster wears the node's address, and host ports lead to their pods. Pure.

use std::net::IpAddr;

use linux::nftables::{Family, Hook, Protocol, Statement, Table, Verdict};

use crate::{
    ipam::Cidr,
    records::{Port, Record},
};

/// The table's name, in both families.
pub(crate) const TABLE: &str = "ironclad-network";

/// Connections with this bit of the mark set get the node's address on their way out.
const MASQUERADE_MARK: u32 = 0x8000;

/// What the rules follow from.
pub(crate) struct Situation<'a> {
    /// The bridge that all pods of this node hang on.
    pub(crate) bridge: &'a str,
    /// The node's pod CIDRs.
    pub(crate) pod_cidrs: &'a [Cidr],
    /// CIDRs of all pods of the cluster: inside, pods are seen under their own addresses.
    pub(crate) cluster_cidrs: &'a [Cidr],
}

/// The table of one family.
pub(crate) fn render<'a>(
    family: Family,
    situation: &Situation<'_>,
    records: impl Iterator<Item = &'a Record>,
) -> Table {
    let is_ours = |address: IpAddr| address.is_ipv4() == (family == Family::Ip);
    let mut table = Table::new(family, TABLE);

    let ports = table.chain("hostports");
    for record in records {
        let Some(pod) = record.addresses.iter().copied().find(|a| is_ours(*a)) else {
            continue;
        };
        let ours = record
            .ports
            .iter()
            .filter(|port| port.host_ip.is_none_or(is_ours));
        ports
            .rules
            .extend(ours.filter_map(|port| host_port(port, pod)));
    }
    for (name, hook) in [
        ("prerouting", Hook::NatPrerouting),
        ("output", Hook::NatOutput),
    ] {
        table.base_chain(name, hook).rules.push(vec![
            Statement::DestinationIsLocal,
            Statement::Verdict(Verdict::Jump("hostports".to_owned())),
        ]);
    }

    let postrouting = table.base_chain("postrouting", Hook::NatPostrouting);
    postrouting.rules.push(vec![
        Statement::Mark(MASQUERADE_MARK),
        Statement::Masquerade,
    ]);
    for pods in situation
        .pod_cidrs
        .iter()
        .filter(|cidr| is_ours(cidr.network()))
    {
        let mut rule = vec![
            Statement::Source(pods.network(), pods.length(), true),
            Statement::OutputLink(situation.bridge.to_owned(), false),
        ];
        let inside = situation
            .cluster_cidrs
            .iter()
            .filter(|cidr| is_ours(cidr.network()));
        rule.extend(
            inside.map(|cidr| Statement::Destination(cidr.network(), cidr.length(), false)),
        );
        rule.push(Statement::Masquerade);
        postrouting.rules.push(rule);
    }
    table
}

/// A packet to a host port goes to the pod, marked: the pod must answer by way of this node even when the packet came from the pod
/// itself or from loopback.
fn host_port(port: &Port, pod: IpAddr) -> Option<Vec<Statement>> {
    let protocol = match port.protocol.as_str() {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let mut rule = Vec::new();
    if let Some(address) = port.host_ip {
        let length = if address.is_ipv4() { 32 } else { 128 };
        rule.push(Statement::Destination(address, length, true));
    }
    rule.extend([
        Statement::Protocol(protocol),
        Statement::DestinationPort(port.host_port),
        Statement::SetMark(MASQUERADE_MARK),
        Statement::DestinationNat(pod, Some(port.container_port)),
    ]);
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_masqueraded_outside_the_cluster_alone() {
        let pods: Cidr = "10.244.1.0/24".parse().unwrap();
        let cluster: Cidr = "10.244.0.0/16".parse().unwrap();
        let situation = Situation {
            bridge: "br",
            pod_cidrs: &[pods],
            cluster_cidrs: &[cluster],
        };
        let table = render(Family::Ip, &situation, std::iter::empty());
        assert_eq!(
            table.chains["postrouting"].rules[1],
            [
                Statement::Source(pods.network(), 24, true),
                Statement::OutputLink("br".to_owned(), false),
                Statement::Destination(cluster.network(), 16, false),
                Statement::Masquerade,
            ]
        );
        assert_eq!(
            render(Family::Ip6, &situation, std::iter::empty()).chains["postrouting"]
                .rules
                .len(),
            1
        );
    }

    #[test]
    fn a_host_port_leads_to_its_pod_in_its_own_family() {
        let record = Record {
            addresses: vec!["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            ports: vec![Port {
                protocol: "UDP".to_owned(),
                host_ip: Some("192.168.0.1".parse().unwrap()),
                host_port: 53,
                container_port: 5353,
            }],
        };
        let situation = Situation {
            bridge: "br",
            pod_cidrs: &[],
            cluster_cidrs: &[],
        };
        let table = render(Family::Ip, &situation, std::iter::once(&record));
        assert_eq!(table.chains["hostports"].rules.len(), 1);
        let table = render(Family::Ip6, &situation, std::iter::once(&record));
        assert!(table.chains["hostports"].rules.is_empty());
    }
}
