//! What the rendered table says, by example; that the kernel understands it is the end-to-end test's.

use std::time::Duration;

use linux::nftables::{Changes, Protocol};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn backends(addresses: &[&str]) -> BTreeSet<Backend> {
    addresses
        .iter()
        .map(|address| Backend {
            address: ip(address),
            port: 8080,
        })
        .collect()
}

fn port(addresses: &[&str]) -> ForwardedPort {
    ForwardedPort {
        name: "default/web:http".to_owned(),
        protocol: Protocol::Tcp,
        port: 80,
        cluster_ips: vec![ip("10.96.0.5")],
        external_ips: Vec::new(),
        node_port: None,
        backends: backends(addresses),
        external_backends: backends(addresses),
        keeps_source: false,
        affinity: None,
        source_ranges: Vec::new(),
    }
}

fn table(ports: &[ForwardedPort]) -> Table {
    render(Family::Ip, ports, &NodeFacts::default())
}

fn chains<'a>(table: &'a Table, prefix: &'a str) -> impl Iterator<Item = &'a String> {
    table
        .chains
        .keys()
        .filter(move |name| name.starts_with(prefix))
}

#[test]
fn a_port_leads_by_its_address_to_one_of_its_endpoints() {
    let table = table(&[port(&["10.244.0.2", "10.244.0.3"])]);
    let key = vec![
        Key::Address(ip("10.96.0.5")),
        Key::Protocol(Protocol::Tcp),
        Key::Port(80),
    ];
    assert!(matches!(
        table.sets["service-ips"].elements[&key],
        Some(Verdict::Goto(_))
    ));
    assert_eq!(chains(&table, "endpoint-").count(), 2);
    let picker = chains(&table, "service-").next().unwrap();
    assert_eq!(
        table.chains[picker].rules,
        [[Statement::RandomVerdict(2, format!("{picker}-endpoints"))]]
    );
}

#[test]
fn without_endpoints_a_port_is_refused() {
    let table = table(&[port(&[])]);
    let key = vec![
        Key::Address(ip("10.96.0.5")),
        Key::Protocol(Protocol::Tcp),
        Key::Port(80),
    ];
    assert!(table.sets["service-ips"].elements.is_empty());
    assert_eq!(
        table.sets["no-endpoint-services"].elements[&key],
        Some(Verdict::Goto("reject".to_owned()))
    );
}

#[test]
fn a_new_endpoint_changes_its_port_alone() {
    let others: Vec<ForwardedPort> = (0..100)
        .map(|n| ForwardedPort {
            name: format!("default/other-{n}:http"),
            cluster_ips: vec![ip(&format!("10.96.1.{n}"))],
            ..port(&["10.244.0.9"])
        })
        .collect();
    let before = [vec![port(&["10.244.0.2", "10.244.0.3"])], others.clone()].concat();
    let after = [
        vec![port(&["10.244.0.2", "10.244.0.3", "10.244.0.4"])],
        others,
    ]
    .concat();
    let changes = Changes::between(Some(&table(&before)), &table(&after));
    // Its chain, twice: made and written; and its element in the map of choices.
    assert_eq!(
        format!("{changes:?}").matches("endpoint-").count(),
        3,
        "{changes:#?}"
    );
}

#[test]
fn node_ports_hide_the_source_unless_the_policy_is_local() {
    let mut with_node_port = port(&["10.244.0.2"]);
    with_node_port.node_port = Some(30080);
    let open = table(&[with_node_port.clone()]);
    let external = chains(&open, "external-").next().unwrap();
    assert_eq!(
        open.chains[external].rules[0],
        [Statement::SetMark(MASQUERADE_MARK)]
    );

    with_node_port.keeps_source = true;
    with_node_port.external_backends = BTreeSet::new();
    let local = table(&[with_node_port]);
    let key = vec![Key::Protocol(Protocol::Tcp), Key::Port(30080)];
    assert!(
        local.sets["no-endpoint-node-ports"]
            .elements
            .contains_key(&key)
    );
    assert_eq!(
        local.sets["service-ips"].elements.len(),
        1,
        "inside the cluster it still answers"
    );
}

#[test]
fn with_affinity_a_client_is_looked_up_before_it_is_sent_anywhere() {
    let mut sticky = port(&["10.244.0.2", "10.244.0.3"]);
    sticky.affinity = Some(Duration::from_secs(60));
    let table = table(&[sticky]);
    let picker = chains(&table, "service-").next().unwrap();
    let rules = &table.chains[picker].rules;
    assert_eq!(rules.len(), 3);
    assert!(matches!(rules[0][0], Statement::InSet(..)));
    assert_eq!(
        table
            .sets
            .values()
            .filter(|set| set.timeout.is_some())
            .count(),
        2
    );
}

#[test]
fn node_ports_are_where_they_are_asked_for() {
    let facts = NodeFacts {
        node_port_addresses: vec![(ip("192.168.0.0"), 24), (ip("fd00::"), 64)],
        ..NodeFacts::default()
    };
    let restricted = render(Family::Ip, &[], &facts);
    let rules = &restricted.chains["services"].rules;
    assert_eq!(rules.len(), 2);
    assert!(rules[1].contains(&Statement::Destination(ip("192.168.0.0"), 24, true)));
    let only_six = NodeFacts {
        node_port_addresses: vec![(ip("fd00::"), 64)],
        ..NodeFacts::default()
    };
    assert_eq!(
        render(Family::Ip, &[], &only_six).chains["services"].rules,
        table(&[]).chains["services"].rules,
        "nothing is said of IPv4"
    );
}
