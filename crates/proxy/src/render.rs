//! The table that forwards Services. Pure.
//!
//! ```text
//! prerouting, output ─▶ services ─┬ daddr . proto . port ─▶ service-…  ─ random ─▶ endpoint-… ─ dnat
//!                                 └ local: proto . port  ─▶ external-… ─ mark, ─▶ service-…
//! filter hooks ─▶ no-endpoints: reject what has nobody to answer it
//! filter hooks after NAT ─▶ cluster-ips: reject what is still meant for a cluster IP, for a port that no Service has
//! postrouting: masquerade what is marked
//! ```
//!
//! Two maps find the chain of a port whatever the number of Services; a port's chain picks an endpoint by random number from a map of
//! its own. A changed endpoint touches that map and one small chain. Names of chains are made of a hash of what they are for,
//! so that they mean the same after a restart.

use std::{collections::BTreeSet, hash::Hasher as _, net::IpAddr};

use linux::nftables::{Family, Hook, Key, KeyField, Rule, Set, Statement, Table, Verdict};

use crate::service_map::{Backend, ForwardedPort};

/// The table's name, in both families.
pub(crate) const TABLE: &str = "ironclad-proxy";

/// Connections with this bit of the mark get the node's address: their answers must come back through this node. The bit is
/// upstream's.
const MASQUERADE_MARK: u32 = 0x4000;

const SERVICE_FIELDS: &[KeyField] = &[
    KeyField::Destination,
    KeyField::Protocol,
    KeyField::DestinationPort,
];
const CLUSTER_IP_FIELDS: &[KeyField] = &[KeyField::Destination];
const NODE_PORT_FIELDS: &[KeyField] = &[KeyField::Protocol, KeyField::DestinationPort];

/// What the table depends on besides the Services.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    /// CIDRs of the cluster's pods: what comes from elsewhere to a cluster IP is masqueraded.
    pub(crate) cluster_cidrs: Vec<(IpAddr, u8)>,
    /// CIDRs of the addresses that have node ports; all the node's if there is none.
    pub(crate) node_port_addresses: Vec<(IpAddr, u8)>,
}

/// The table of one family.
pub(crate) fn render(family: Family, ports: &[ForwardedPort], facts: &NodeFacts) -> Table {
    let mut table = skeleton(family, facts);
    for port in ports {
        add_port(&mut table, port, facts);
    }
    table
}

fn skeleton(family: Family, facts: &NodeFacts) -> Table {
    let mut table = Table::new(family, TABLE);
    table
        .sets
        .insert("service-ips".to_owned(), Set::verdict_map(SERVICE_FIELDS));
    table
        .sets
        .insert("node-ports".to_owned(), Set::verdict_map(NODE_PORT_FIELDS));
    table.sets.insert(
        "no-endpoint-services".to_owned(),
        Set::verdict_map(SERVICE_FIELDS),
    );
    table.sets.insert(
        "no-endpoint-node-ports".to_owned(),
        Set::verdict_map(NODE_PORT_FIELDS),
    );
    table.sets.insert(
        "cluster-ips".to_owned(),
        Set::verdict_map(CLUSTER_IP_FIELDS),
    );

    // Which of the node's addresses have node ports: all, if nothing is said of this family.
    let given = facts.node_port_addresses.iter();
    let mut restrictions: Vec<Option<Statement>> = given
        .filter(|(ip, _)| ip.is_ipv4() == (family == Family::Ip))
        .map(|(ip, length)| Some(Statement::Destination(*ip, *length, true)))
        .collect();
    if restrictions.is_empty() {
        restrictions.push(None);
    }
    let look_up = |services: &str, node_ports: &str| -> Vec<Rule> {
        let mut rules = vec![vec![Statement::VerdictMap(
            SERVICE_FIELDS.to_vec(),
            services.to_owned(),
        )]];
        for restriction in &restrictions {
            let mut rule = vec![Statement::DestinationIsLocal];
            rule.extend(restriction.clone());
            rule.push(Statement::VerdictMap(
                NODE_PORT_FIELDS.to_vec(),
                node_ports.to_owned(),
            ));
            rules.push(rule);
        }
        rules
    };
    table.chain("services").rules = look_up("service-ips", "node-ports");
    table.chain("no-endpoints").rules = look_up("no-endpoint-services", "no-endpoint-node-ports");
    table.chain("reject").rules = vec![vec![Statement::Reject]];
    let to_cluster_ip = Statement::VerdictMap(CLUSTER_IP_FIELDS.to_vec(), "cluster-ips".to_owned());
    table.chain("cluster-ips").rules = vec![vec![to_cluster_ip]];
    for (name, hook, target) in [
        ("nat-prerouting", Hook::NatPrerouting, "services"),
        ("nat-output", Hook::NatOutput, "services"),
        ("filter-input", Hook::FilterInput, "no-endpoints"),
        ("filter-forward", Hook::FilterForward, "no-endpoints"),
        ("filter-output", Hook::FilterOutput, "no-endpoints"),
        ("filter-forward", Hook::FilterForward, "cluster-ips"),
        (
            "filter-output-after-nat",
            Hook::FilterOutputAfterNat,
            "cluster-ips",
        ),
    ] {
        let jump = Statement::Verdict(Verdict::Jump(target.to_owned()));
        table.base_chain(name, hook).rules.push(vec![jump]);
    }
    table
        .base_chain("nat-postrouting", Hook::NatPostrouting)
        .rules = vec![vec![
        Statement::Mark(MASQUERADE_MARK),
        Statement::ClearMark(MASQUERADE_MARK),
        Statement::Masquerade,
    ]];
    table
}

fn add_port(table: &mut Table, port: &ForwardedPort, facts: &NodeFacts) {
    let id = format!("{:016x}", stable_hash(&(&port.name, port.protocol)));
    let internal = (!port.backends.is_empty()).then(|| {
        let pick = add_picker(table, &format!("service-{id}"), port, &port.backends);
        let chain = format!("cluster-ip-{id}");
        let rules = &mut table.chain(&chain).rules;
        if let Some(from_elsewhere) = from_outside_cluster(facts, port) {
            rules.push(from_elsewhere);
        }
        rules.push(vec![Statement::Verdict(Verdict::Goto(pick))]);
        chain
    });
    let external = (!port.external_backends.is_empty()).then(|| {
        let pick = if port.external_backends == port.backends {
            format!("service-{id}")
        } else {
            add_picker(
                table,
                &format!("service-local-{id}"),
                port,
                &port.external_backends,
            )
        };
        let chain = format!("external-{id}");
        let rules = &mut table.chain(&chain).rules;
        if !port.keeps_source {
            rules.push(vec![Statement::SetMark(MASQUERADE_MARK)]);
        }
        rules.push(vec![Statement::Verdict(Verdict::Goto(pick))]);
        chain
    });

    for address in &port.cluster_ips {
        add_address(table, *address, port, internal.clone());
        let key = vec![Key::Address(*address)];
        if let Some(addresses) = table.sets.get_mut("cluster-ips") {
            let reject = Verdict::Goto("reject".to_owned());
            addresses.elements.entry(key).or_insert(Some(reject));
        }
    }
    let external_entry = match &external {
        Some(chain) if !port.source_ranges.is_empty() => {
            let firewall = format!("firewall-{id}");
            let mut rules: Vec<Rule> = port
                .source_ranges
                .iter()
                .map(|(address, length)| {
                    let goto = Verdict::Goto(chain.clone());
                    vec![
                        Statement::Source(*address, *length, true),
                        Statement::Verdict(goto),
                    ]
                })
                .collect();
            rules.push(vec![Statement::Verdict(Verdict::Drop)]);
            table.chain(&firewall).rules = rules;
            Some(firewall)
        }
        _ => external.clone(),
    };
    for address in &port.external_ips {
        add_address(table, *address, port, external_entry.clone());
    }
    if let Some(node_port) = port.node_port {
        let key = vec![Key::Protocol(port.protocol), Key::Port(node_port)];
        add_entry(
            table,
            ["node-ports", "no-endpoint-node-ports"],
            key,
            external,
        );
    }
}

fn add_address(table: &mut Table, address: IpAddr, port: &ForwardedPort, chain: Option<String>) {
    let key = vec![
        Key::Address(address),
        Key::Protocol(port.protocol),
        Key::Port(port.port),
    ];
    add_entry(table, ["service-ips", "no-endpoint-services"], key, chain);
}

/// To the chain if there is one, else to the map of those that have no endpoints.
fn add_entry(table: &mut Table, maps: [&str; 2], key: Vec<Key>, chain: Option<String>) {
    let (map, verdict) = match chain {
        Some(chain) => (maps[0], Verdict::Goto(chain)),
        None => (maps[1], Verdict::Goto("reject".to_owned())),
    };
    if let Some(map) = table.sets.get_mut(map) {
        // Two Services cannot own the same address and port; the first in order keeps it if an external IP says so.
        map.elements.entry(key).or_insert(Some(verdict));
    }
}

/// Connections to a cluster IP from outside the cluster must come back through this node.
fn from_outside_cluster(facts: &NodeFacts, port: &ForwardedPort) -> Option<Rule> {
    let ipv4 = port.cluster_ips.first()?.is_ipv4();
    let pods = facts
        .cluster_cidrs
        .iter()
        .filter(|(address, _)| address.is_ipv4() == ipv4);
    let mut rule: Rule = pods
        .map(|(address, length)| Statement::Source(*address, *length, false))
        .collect();
    if rule.is_empty() {
        return None;
    }
    rule.push(Statement::SetMark(MASQUERADE_MARK));
    Some(rule)
}

/// The chain that picks one of `backends`, with a chain for each of them. Answers its name.
fn add_picker(
    table: &mut Table,
    name: &str,
    port: &ForwardedPort,
    backends: &BTreeSet<Backend>,
) -> String {
    let endpoints: Vec<String> = backends
        .iter()
        .map(|backend| add_endpoint(table, name, port, *backend))
        .collect();
    let mut rules: Vec<Rule> = Vec::new();
    if port.affinity.is_some() {
        // Whoever was with an endpoint lately goes there again.
        rules.extend(endpoints.iter().map(|endpoint| {
            vec![
                Statement::InSet(vec![KeyField::Source], affinity_set(endpoint)),
                Statement::Verdict(Verdict::Goto(endpoint.clone())),
            ]
        }));
    }
    match endpoints.as_slice() {
        [only] => rules.push(vec![Statement::Verdict(Verdict::Goto(only.clone()))]),
        several => {
            let map = format!("{name}-endpoints");
            let count = u32::try_from(several.len()).unwrap_or(u32::MAX);
            let choices = several.iter().cloned().map(Verdict::Goto);
            table.sets.insert(map.clone(), Set::choices(choices));
            rules.push(vec![Statement::RandomVerdict(count, map)]);
        }
    }
    table.chain(name).rules = rules;
    name.to_owned()
}

/// The chain that sends a connection to one endpoint. Answers its name.
fn add_endpoint(table: &mut Table, picker: &str, port: &ForwardedPort, backend: Backend) -> String {
    let name = format!(
        "endpoint-{:016x}",
        stable_hash(&(picker, backend.address, backend.port))
    );
    let length = if backend.address.is_ipv4() { 32 } else { 128 };
    // A pod that reaches itself through its Service must not see its own address as the client's.
    let mut rules: Vec<Rule> = vec![vec![
        Statement::Source(backend.address, length, true),
        Statement::SetMark(MASQUERADE_MARK),
    ]];
    if let Some(timeout) = port.affinity {
        table
            .sets
            .insert(affinity_set(&name), Set::recent_sources(timeout));
        rules.push(vec![Statement::RememberSource(affinity_set(&name))]);
    }
    rules.push(vec![
        Statement::Protocol(port.protocol),
        Statement::DestinationNat(backend.address, Some(backend.port)),
    ]);
    table.chain(&name).rules = rules;
    name
}

fn affinity_set(endpoint: &str) -> String {
    endpoint.replacen("endpoint", "affinity", 1)
}

/// FNV-1a: the same on every start and every machine, which `RandomState` is not.
fn stable_hash(value: &impl std::hash::Hash) -> u64 {
    struct Fnv(u64);
    impl std::hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
