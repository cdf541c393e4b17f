use std::{collections::HashSet, sync::Arc};

use apimachinery::Object;
use base::{Clock, TaskGroup};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    lookup,
    memory_reader::{MemoryReader, object},
    reader::{ObjectReader, ObjectWriter},
    registry::hooks::Hook as _,
};

/// A store and its cache, which servers share.
struct Cluster {
    reader: Arc<MemoryReader>,
    kv: Arc<dyn etcd::Kv>,
    _tasks: TaskGroup,
    _directory: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tasks = TaskGroup::new(&CancellationToken::new());
        let config = etcd::embedded::Config::new(directory.path());
        let kv = etcd::Embedded::open(config, Clock::system(), &tasks).unwrap();
        Self {
            reader: Arc::default(),
            kv,
            _tasks: tasks,
            _directory: directory,
        }
    }

    fn server(&self, range: &str, ports: &str) -> ServiceAllocator {
        let reader: Arc<dyn ObjectReader> = Arc::clone(&self.reader) as _;
        let writer: Arc<dyn ObjectWriter> = Arc::clone(&self.reader) as _;
        let addresses = ClusterIpAllocator::new(range.parse().unwrap(), reader, writer);
        let ports = NodePortAllocator::new(ports.parse().unwrap(), Arc::clone(&self.kv));
        ServiceAllocator::new(vec![addresses], ports)
    }
}

/// A Service as it comes to the allocators: its address stands under both names.
fn service(mut spec: Value) -> Object {
    match (spec["clusterIP"].clone(), spec["clusterIPs"][0].clone()) {
        (Value::Null, Value::Null) => {}
        (Value::Null, first) => spec["clusterIP"] = first,
        (single, _) => spec["clusterIPs"] = json!([single]),
    }
    object(json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": spec}))
}

fn node_ports(service: &Object) -> Vec<i64> {
    lookup::objects(service, &["spec", "ports"])
        .filter_map(|port| lookup::number(port, &["nodePort"]))
        .collect()
}

async fn create(server: &ServiceAllocator, spec: Value) -> Result<Object, String> {
    let mut service = service(spec);
    match server.begin_create(&mut service, false).await {
        Ok(reservation) => {
            reservation.commit();
            Ok(service)
        }
        Err(status) => Err(status.message),
    }
}

#[tokio::test]
async fn two_servers_never_hand_out_the_same() {
    let cluster = Cluster::new();
    let servers = [
        cluster.server("10.0.0.0/26", "30000-30063"),
        cluster.server("10.0.0.0/26", "30000-30063"),
    ];
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let all = servers.iter().flat_map(|server| {
        (0..31)
            .map(|_| create(server, spec.clone()))
            .collect::<Vec<_>>()
    });
    let created = futures_util::future::join_all(all).await;
    let mut addresses = HashSet::new();
    let mut ports = HashSet::new();
    for service in created {
        let service = service.unwrap();
        assert!(addresses.insert(lookup::text(&service, &["spec", "clusterIP"]).to_owned()));
        assert!(ports.insert(node_ports(&service)[0]));
    }
    assert_eq!(
        (addresses.len(), ports.len()),
        (62, 62),
        "the range has 62 addresses"
    );
    let full = create(&servers[0], json!({"type": "ClusterIP"}))
        .await
        .unwrap_err();
    assert_eq!(
        full,
        "Internal error occurred: failed to allocate a serviceIP: range is full"
    );
    // A restart is a server with no memory.
    let restarted = cluster.server("10.0.0.0/26", "30000-30063");
    for _ in 0..2 {
        assert!(
            create(
                &restarted,
                json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]})
            )
            .await
            .is_ok()
        );
    }
    let none = create(
        &restarted,
        json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]}),
    )
    .await;
    assert_eq!(
        none.unwrap_err(),
        "Internal error occurred: failed to allocate a nodePort: range is full"
    );
}

#[tokio::test]
async fn refusals_are_worded_as_upstream_words_them() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let taken = json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "nodePort": 30001}]});
    create(&server, taken).await.unwrap();
    for (spec, words) in [
        (
            json!({"clusterIPs": ["10.96.0.9"]}),
            r#"spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: provided IP is already allocated"#,
        ),
        (
            json!({"clusterIPs": ["192.0.2.1"]}),
            r#"spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: the provided network does not match the current range"#,
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}),
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ] {
        let refusal = create(&server, spec).await.unwrap_err();
        assert_eq!(refusal, format!("Service \"s\" is invalid: {words}"));
    }
}

#[tokio::test]
async fn a_dry_run_does_not_ask_who_has_an_address() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let taken = json!({"clusterIPs": ["10.96.0.9"]});
    create(&server, taken.clone()).await.unwrap();
    let mut again = service(taken);
    assert!(server.begin_create(&mut again, true).await.is_ok());
    let mut outside = service(json!({"clusterIPs": ["192.0.2.1"]}));
    let refusal = server.begin_create(&mut outside, true).await.err();
    assert_eq!(
        refusal.unwrap().message,
        "Service \"s\" is invalid: spec.clusterIPs: Invalid value: [\"192.0.2.1\"]: failed to allocate IP 192.0.2.1: \
         the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
    );
}

#[tokio::test]
async fn a_refused_dry_run_gives_nothing_back() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let taken = json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "nodePort": 30001}]});
    create(&server, taken.clone()).await.unwrap();
    let mut again = service(taken);
    assert!(server.begin_create(&mut again, true).await.is_err());
    let other = create(&server, json!({"clusterIPs": ["10.96.0.9"]})).await;
    assert!(other.unwrap_err().contains("already allocated"));
}

#[tokio::test]
async fn service_cidrs_say_where_addresses_are() {
    let cluster = Cluster::new();
    let server = cluster.server("10.0.0.0/30", "30000-32767");
    let put = |name: &str, ranges: Value, ready: &str, deleted: Value| {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let metadata = json!({"name": name, "deletionTimestamp": deleted});
        let cidr = json!({"metadata": metadata, "spec": {"cidrs": ranges}, "status": {"conditions": conditions}});
        cluster.reader.put("servicecidrs.networking.k8s.io", cidr);
    };
    let explicit = |address: &str| create(&server, json!({"clusterIPs": [address]}));
    assert!(explicit("10.0.1.1").await.is_err());
    put(
        "kubernetes",
        json!(["10.0.0.0/30", "fd00::/112"]),
        "True",
        Value::Null,
    );
    put("more", json!(["10.0.1.0/30"]), "False", Value::Null);
    assert!(explicit("10.0.1.1").await.is_err());
    put("more", json!(["10.0.1.0/30"]), "True", Value::Null);
    assert!(explicit("10.0.1.1").await.is_ok());
    for edge in ["10.0.1.0", "10.0.1.3"] {
        assert!(explicit(edge).await.is_err(), "{edge}");
    }
    // The server's own range is filled first.
    let mut given = Vec::new();
    for _ in 0..3 {
        let created = create(&server, json!({})).await.unwrap();
        given.push(lookup::text(&created, &["spec", "clusterIP"]).to_owned());
    }
    given[..2].sort_unstable();
    assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.0.1.2"]);
    assert!(create(&server, json!({})).await.is_err());
    // Of a range that is to go, nothing is given any more, but taken back.
    let deleted = json!("2026-01-01T00:00:00Z");
    put("more", json!(["10.0.1.0/30"]), "True", deleted);
    let gone = service(json!({"clusterIPs": ["10.0.1.1"]}));
    server.after_delete(&gone).await;
    assert!(explicit("10.0.1.1").await.is_err());
    put("more", json!(["10.0.1.0/30"]), "True", Value::Null);
    assert!(explicit("10.0.1.1").await.is_ok());
}

#[tokio::test]
async fn an_update_keeps_its_own_ports() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let port = |protocol: &str, number: i64| json!({"protocol": protocol, "port": number, "nodePort": 30001});
    let spec = |ports: Value| json!({"type": "NodePort", "ports": ports});
    let old = create(&server, spec(json!([port("TCP", 80), port("UDP", 80)]))).await;
    let old = old.unwrap();
    for (ports, shared, refusal) in [
        (json!([port("TCP", 80), port("UDP", 81)]), true, None),
        (
            // Nothing is shared that was not asked for.
            json!([port("TCP", 80), {"protocol": "UDP", "port": 80}]),
            false,
            None,
        ),
        (
            json!([port("TCP", 80), port("TCP", 81)]),
            true,
            Some("duplicate nodePort: {TCP 30001}"),
        ),
        (
            json!([{"protocol": "TCP", "port": 80, "nodePort": 70_000}]),
            true,
            Some(
                "Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 70000: provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
        ),
    ] {
        let mut new = old.clone();
        new.insert("spec".to_owned(), spec(ports));
        let outcome = server.begin_update(&mut new, &old, false).await;
        if let (true, [tcp, udp]) = (outcome.is_ok(), &node_ports(&new)[..]) {
            assert_eq!((*tcp, tcp == udp), (30001, shared));
        }
        assert_eq!(outcome.err().map(|e| e.message.clone()).as_deref(), refusal);
    }
}

#[tokio::test]
async fn what_is_taken_in_vain_or_no_longer_needed_is_given_back() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let spec = json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "nodePort": 30001}]});
    let mut refused = service(spec.clone());
    drop(server.begin_create(&mut refused, false).await.unwrap());
    let mut tried = service(spec.clone());
    server
        .begin_create(&mut tried, true)
        .await
        .unwrap()
        .commit();
    let old = create(&server, spec.clone()).await.unwrap();
    let mut new =
        service(json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}));
    server
        .begin_update(&mut new, &old, false)
        .await
        .unwrap()
        .commit();
    let port_again = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]});
    assert!(
        create(&server, port_again).await.is_ok(),
        "the port is free at once"
    );
    assert!(
        create(&server, json!({"clusterIPs": ["10.96.0.9"]}))
            .await
            .is_err(),
        "the address is not"
    );
    server.after_delete(&new).await;
    assert!(
        create(&server, json!({"clusterIPs": ["10.96.0.9"]}))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn one_port_of_two_protocols_shares_a_node_port() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    let ports =
        json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, {"port": 54}]);
    let created = create(&server, json!({"type": "NodePort", "ports": ports}))
        .await
        .unwrap();
    let [tcp, udp, other] = node_ports(&created).try_into().unwrap();
    assert_eq!(tcp, udp);
    assert_ne!(tcp, other);
}

#[tokio::test]
async fn families_follow_addresses_and_policy() {
    let cluster = Cluster::new();
    let server = cluster.server("10.96.0.0/16", "30000-32767");
    for (spec, families, policy) in [
        (json!({}), json!(["IPv4"]), "SingleStack"),
        (
            json!({"ipFamilyPolicy": "PreferDualStack"}),
            json!(["IPv4"]),
            "PreferDualStack",
        ),
        (
            json!({"clusterIP": "None"}),
            json!(["IPv4", "IPv6"]),
            "RequireDualStack",
        ),
        (
            json!({"clusterIP": "None", "selector": {"a": "b"}}),
            json!(["IPv4"]),
            "SingleStack",
        ),
    ] {
        let created = create(&server, spec.clone()).await.unwrap();
        assert_eq!(
            (
                &created["spec"]["ipFamilies"],
                created["spec"]["ipFamilyPolicy"].as_str()
            ),
            (&families, Some(policy)),
            "{spec}"
        );
    }
    assert!(
        create(&server, json!({"ipFamilies": ["IPv6"]}))
            .await
            .is_err()
    );
    assert!(
        create(&server, json!({"ipFamilyPolicy": "RequireDualStack"}))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn repair_finds_what_a_crash_left() {
    let cluster = Cluster::new();
    let server = Arc::new(cluster.server("10.96.0.0/16", "30000-32767"));
    // Taken, and never written; the addresses' objects carry their age.
    let mut lost = service(
        json!({"type": "NodePort", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80, "nodePort": 30007}]}),
    );
    std::mem::forget(server.begin_create(&mut lost, false).await.unwrap());
    let lost_address = json!({"metadata": {"name": "10.96.0.7", "creationTimestamp": "2020-01-01T00:00:00Z",
        "labels": {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}}});
    cluster
        .reader
        .put("ipaddresses.networking.k8s.io", lost_address);
    // Written by somebody who did not take.
    cluster.reader.put(
        "services",
        json!({"metadata": {"namespace": "ns", "name": "t"}, "spec": {"type": "NodePort", "clusterIP": "10.96.0.8",
            "clusterIPs": ["10.96.0.8"], "ports": [{"port": 80, "nodePort": 30008}]}}),
    );
    let reader: Arc<dyn ObjectReader> = Arc::clone(&cluster.reader) as _;
    Repair {
        allocator: Arc::clone(&server),
        reader,
        clock: Clock::system(),
    }
    .once()
    .await;
    let free = json!({"type": "NodePort", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80, "nodePort": 30007}]});
    assert!(create(&server, free).await.is_ok());
    assert!(
        create(&server, json!({"clusterIPs": ["10.96.0.8"]}))
            .await
            .is_err()
    );
    assert!(
        create(
            &server,
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30008}]})
        )
        .await
        .is_err()
    );
}
