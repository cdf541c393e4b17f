//! Claims, volumes, classes: where a pod may go because of them, and what is promised to whom.

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Volume},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
};
use serde_json::{Value, json};

use crate::{
    cache::Cache,
    framework::CycleState,
    listers::Listers,
    testing::{self, PodBuilder, schedule_over},
};

fn claim(name: &str, class: &str, size: &str, more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        },
    });
    merge(&mut claim, more);
    serde_json::from_value(claim).unwrap()
}

fn volume(name: &str, class: &str, size: &str, host: &str, more: Value) -> PersistentVolume {
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "capacity": {"storage": size},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "host", "operator": "In", "values": [host]},
            ]}]}},
        },
        "status": {"phase": "Available"},
    });
    merge(&mut volume, more);
    serde_json::from_value(volume).unwrap()
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn class(name: &str, provisioner: &str, mode: &str) -> StorageClass {
    serde_json::from_value(json!({
        "metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
    }))
    .unwrap()
}

fn pod(name: &str, claims: &[&str]) -> PodBuilder {
    testing::pod(name).edit(|spec| {
        let volumes = claims.iter().map(|claim| {
            let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
            serde_json::from_value::<Volume>(volume).unwrap()
        });
        spec.volumes = Some(volumes.collect());
    })
}

/// Two nodes, a class of volumes that people make, and one whose driver makes them; both wait for a consumer.
fn cluster() -> (Cache, Listers) {
    let mut cache = Cache::default();
    for name in ["a", "b"] {
        cache.set_node(testing::node(name).labels(&[("host", name)]).build());
    }
    let listers = Listers::default();
    let waits = "WaitForFirstConsumer";
    let classes = [
        class("local", "kubernetes.io/no-provisioner", waits),
        class("made", "csi.example.com", waits),
        class("at-once", "csi.example.com", "Immediate"),
    ];
    for class in classes {
        listers.storage_classes.insert(class.into());
    }
    (cache, listers)
}

fn message(listers: &Listers, cache: &Cache, pod: &PodBuilder) -> String {
    let error = schedule_over(listers.clone(), cache, pod).unwrap_err();
    let head = error.message.split(" preemption:").next();
    head.unwrap_or_default().to_owned()
}

#[test]
fn a_claim_that_is_not_usable_is_said_so() {
    let (cache, listers) = cluster();
    let said = |name: &str| message(&listers, &cache, &pod("p", &[name]));
    assert_eq!(
        said("absent"),
        "0/2 nodes are available: persistentvolumeclaim \"absent\" not found."
    );
    listers
        .claims
        .insert(claim("soon", "at-once", "1Gi", json!({})).into());
    assert_eq!(
        said("soon"),
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
    let lost = json!({"status": {"phase": "Lost"}, "spec": {"volumeName": "gone"}});
    listers
        .claims
        .insert(claim("lost", "local", "1Gi", lost).into());
    assert_eq!(
        said("lost"),
        "0/2 nodes are available: persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"gone\"."
    );
}

#[test]
fn a_bound_claim_keeps_the_pod_where_its_volume_is() {
    let (mut cache, listers) = cluster();
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"},
    });
    listers
        .claims
        .insert(claim("c", "local", "1Gi", bound).into());
    assert_eq!(
        message(&listers, &cache, &pod("p", &["c"])),
        "0/2 nodes are available: persistentvolume \"v\" not found."
    );
    listers
        .volumes
        .insert(volume("v", "local", "1Gi", "b", json!({})).into());
    let decision = schedule_over(listers.clone(), &cache, &pod("p", &["c"]));
    assert_eq!(decision.unwrap().node, "b");
    cache.remove_node("b");
    assert_eq!(
        message(&listers, &cache, &pod("p", &["c"])),
        "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
    );
}

#[test]
fn the_smallest_volume_that_suits_is_promised_once() {
    let (cache, listers) = cluster();
    for name in ["c1", "c2"] {
        listers
            .claims
            .insert(claim(name, "local", "1Gi", json!({})).into());
    }
    for (name, size) in [("large", "5Gi"), ("small", "2Gi"), ("tiny", "1Mi")] {
        listers
            .volumes
            .insert(volume(name, "local", size, "a", json!({})).into());
    }
    let profile = testing::profile_over(listers);
    let promised = |name: &str, claim: &str| {
        let info = pod(name, &[claim]).info();
        let mut state = CycleState::default();
        profile
            .pre_filter(&mut state, &info, cache.snapshot())
            .unwrap();
        let node = cache.node("a").unwrap();
        profile.filter(&state, &info, node).map_err(|r| r.reasons)?;
        profile.reserve(&mut state, &info, node).unwrap();
        let plan = state.read::<super::Plan>("VolumeBinding").unwrap();
        let volume = plan.bindings[0].0.clone();
        Ok::<_, Vec<String>>((volume, state, info))
    };
    let (first, mut state, info) = promised("p1", "c1").unwrap();
    assert_eq!(first, "small");
    assert_eq!(promised("p2", "c2").unwrap().0, "large");
    profile.unreserve(&mut state, &info, "a");
    assert_eq!(promised("p3", "c1").unwrap().0, "small", "given back");
    let (cache, listers) = cluster();
    listers
        .claims
        .insert(claim("c", "local", "1Gi", json!({})).into());
    assert_eq!(
        message(&listers, &cache, &pod("p", &["c"])),
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    );
}

#[test]
fn volumes_are_made_where_the_class_and_the_driver_allow() {
    let (cache, listers) = cluster();
    listers
        .claims
        .insert(claim("c", "made", "10Gi", json!({})).into());
    assert!(schedule_over(listers.clone(), &cache, &pod("p", &["c"])).is_ok());
    let driver: CSIDriver = serde_json::from_value(json!({
        "metadata": {"name": "csi.example.com"}, "spec": {"storageCapacity": true},
    }))
    .unwrap();
    listers.csi_drivers.insert(driver.into());
    assert_eq!(
        message(&listers, &cache, &pod("p", &["c"])),
        "0/2 nodes are available: 2 node(s) did not have enough free storage."
    );
    let capacity: CSIStorageCapacity = serde_json::from_value(json!({
        "metadata": {"name": "x", "namespace": "default"},
        "storageClassName": "made", "capacity": "20Gi",
        "nodeTopology": {"matchLabels": {"host": "b"}},
    }))
    .unwrap();
    listers.csi_storage_capacities.insert(capacity.into());
    let decision = schedule_over(listers.clone(), &cache, &pod("p", &["c"]));
    assert_eq!(decision.unwrap().node, "b");
    let selected =
        json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "a"}}});
    listers
        .claims
        .insert(claim("d", "at-a", "1Gi", selected).into());
    let mut elsewhere = class("at-a", "csi.other.com", "WaitForFirstConsumer");
    listers.storage_classes.insert(elsewhere.clone().into());
    let decision = schedule_over(listers.clone(), &cache, &pod("p", &["d"]));
    assert_eq!(decision.unwrap().node, "a", "selected before");
    let only_b = json!([{"matchLabelExpressions": [{"key": "host", "values": ["b"]}]}]);
    elsewhere.allowed_topologies = serde_json::from_value(only_b).unwrap();
    listers.storage_classes.insert(elsewhere.into());
    assert!(schedule_over(listers, &cache, &pod("p", &["d"])).is_err());
}

#[test]
fn a_claim_of_one_pod_is_not_shared_but_may_be_taken_over() {
    use crate::algorithm::Nomination;
    let (mut cache, listers) = cluster();
    let exclusive = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v", "accessModes": ["ReadWriteOncePod"]},
    });
    listers
        .claims
        .insert(claim("c", "local", "1Gi", exclusive).into());
    listers
        .volumes
        .insert(volume("v", "local", "1Gi", "a", json!({})).into());
    cache.assume("a", pod("owner", &["c"]).info());
    let said = message(&listers, &cache, &pod("p", &["c"]));
    assert!(
        said.contains("ReadWriteOncePod access mode already in-use by another pod"),
        "{said}"
    );
    let error = schedule_over(listers, &cache, &pod("p", &["c"]).priority(1)).unwrap_err();
    let Nomination::Preempt(preemption) = error.nomination else {
        panic!("{error:?}");
    };
    assert_eq!(preemption.victims[0].name, "owner");
}

#[test]
fn a_driver_attaches_no_more_than_it_can() {
    let (mut cache, listers) = cluster();
    cache.remove_node("b");
    let node: CSINode = serde_json::from_value(json!({
        "metadata": {"name": "a"},
        "spec": {"drivers": [
            {"name": "csi.example.com", "nodeID": "a", "allocatable": {"count": 1}},
        ]},
    }))
    .unwrap();
    listers.csi_nodes.insert(node.into());
    for name in ["c1", "c2"] {
        listers
            .claims
            .insert(claim(name, "made", "1Gi", json!({})).into());
    }
    cache.assume("a", pod("p1", &["c1"]).info());
    assert!(schedule_over(listers.clone(), &cache, &pod("p2", &["c1"])).is_ok());
    assert_eq!(
        message(&listers, &cache, &pod("p2", &["c2"])),
        "0/1 nodes are available: 1 node(s) exceed max volume count."
    );
}

#[test]
fn a_volume_in_a_zone_is_used_there() {
    let (_, listers) = cluster();
    let mut cache = Cache::default();
    let zone = "topology.kubernetes.io/zone";
    for name in ["z1", "z2"] {
        cache.set_node(
            testing::node(name)
                .labels(&[(zone, name), ("host", "any")])
                .build(),
        );
    }
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"},
    });
    listers
        .claims
        .insert(claim("c", "local", "1Gi", bound).into());
    let zoned = json!({"metadata": {"labels": {zone: "z2__z3"}}});
    listers
        .volumes
        .insert(volume("v", "local", "1Gi", "any", zoned).into());
    let decision = schedule_over(listers.clone(), &cache, &pod("p", &["c"]));
    assert_eq!(decision.unwrap().node, "z2");
    cache.remove_node("z2");
    assert_eq!(
        message(&listers, &cache, &pod("p", &["c"])),
        "0/1 nodes are available: 1 node(s) had no available volume zone."
    );
}
