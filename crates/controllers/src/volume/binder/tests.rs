//! Tables for the plans.

use std::sync::Arc;

use client::Object as _;
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

use super::plan::{ClaimStep, Surroundings, VolumeStep, plan_claim, plan_volume};

fn volume(name: &str, size: &str, modes: &[&str], extra: &Value) -> Arc<PersistentVolume> {
    let mut spec = json!({
        "capacity": {"storage": size}, "accessModes": modes, "storageClassName": "manual",
        "persistentVolumeReclaimPolicy": "Retain",
    });
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let object =
        json!({"metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}});
    Arc::new(serde_json::from_value(object).unwrap())
}

fn claim(size: &str, class: Option<&str>, extra: &Value) -> PersistentVolumeClaim {
    let mut object = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "c-uid"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    });
    if let Some(class) = class {
        object["spec"]["storageClassName"] = json!(class);
    }
    for (field, value) in extra.as_object().unwrap() {
        match field.as_str() {
            "annotations" => object["metadata"]["annotations"] = value.clone(),
            field => object["spec"][field] = value.clone(),
        }
    }
    serde_json::from_value(object).unwrap()
}

fn class(name: &str, provisioner: &str, mode: &str, default: bool) -> Arc<StorageClass> {
    let annotations = if default {
        json!({"storageclass.kubernetes.io/is-default-class": "true"})
    } else {
        json!({})
    };
    let object = json!({
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": provisioner, "volumeBindingMode": mode,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// The step in short: what, and the volume, class, provisioner or reason.
fn step(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    classes: &[Arc<StorageClass>],
    waiting_pods: &[String],
) -> (&'static str, String) {
    let around = Surroundings {
        volumes,
        classes,
        waiting_pods,
    };
    match plan_claim(claim, &around) {
        ClaimStep::Bind(volume) => ("bind", volume.name().to_owned()),
        ClaimStep::Pending(told) => (
            "pending",
            told.map(|told| told.1.to_owned()).unwrap_or_default(),
        ),
        ClaimStep::Lost(reason, _) => ("lost", reason.to_owned()),
        ClaimStep::SetClass(class) => ("class", class),
        ClaimStep::AskProvisioner(name) => ("ask", name),
        ClaimStep::Broken(told) => ("broken", told.1.to_owned()),
    }
}

#[test]
fn the_smallest_that_fits() {
    let rwo = ["ReadWriteOnce"];
    let volumes = [
        volume("large", "10Gi", &rwo, &json!({})),
        volume("small", "1Gi", &rwo, &json!({})),
        volume("middle", "5Gi", &rwo, &json!({})),
        volume(
            "shared",
            "5Gi",
            &["ReadWriteOnce", "ReadWriteMany"],
            &json!({}),
        ),
        volume("block", "5Gi", &rwo, &json!({"volumeMode": "Block"})),
        volume(
            "taken",
            "5Gi",
            &rwo,
            &json!({"claimRef": {"name": "x", "namespace": "ns", "uid": "u"}}),
        ),
    ];
    let manual =
        |size: &str, extra: Value| step(&claim(size, Some("manual"), &extra), &volumes, &[], &[]);
    assert_eq!(manual("2Gi", json!({})), ("bind", "middle".to_owned()));
    assert_eq!(manual("6Gi", json!({})), ("bind", "large".to_owned()));
    assert_eq!(
        manual("2Gi", json!({"accessModes": ["ReadWriteMany"]})),
        ("bind", "shared".to_owned())
    );
    assert_eq!(
        manual("2Gi", json!({"volumeMode": "Block"})),
        ("bind", "block".to_owned())
    );
    assert_eq!(manual("20Gi", json!({})).1, "ProvisioningFailed");
    assert_eq!(
        step(&claim("2Gi", Some(""), &json!({})), &volumes, &[], &[]).1,
        "FailedBinding"
    );
    // By name.
    assert_eq!(
        manual("2Gi", json!({"volumeName": "large"})),
        ("bind", "large".to_owned())
    );
    assert_eq!(
        manual("2Gi", json!({"volumeName": "small"})),
        ("pending", "VolumeMismatch".to_owned())
    );
    assert_eq!(
        manual("2Gi", json!({"volumeName": "taken"})),
        ("pending", "FailedBinding".to_owned())
    );
    assert_eq!(
        manual("2Gi", json!({"volumeName": "none"})),
        ("pending", String::new())
    );
    // Reserved.
    let reserved = [
        volumes[2].clone(),
        volume(
            "mine",
            "9Gi",
            &rwo,
            &json!({"claimRef": {"name": "c", "namespace": "ns"}}),
        ),
    ];
    assert_eq!(
        step(
            &claim("2Gi", Some("manual"), &json!({})),
            &reserved,
            &[],
            &[]
        )
        .1,
        "mine"
    );
}

#[test]
fn classes_and_their_first_consumers() {
    let wait = class("late", "csi.example.com", "WaitForFirstConsumer", false);
    let now = class("fast", "csi.example.com", "Immediate", true);
    let none = class("local", "kubernetes.io/no-provisioner", "Immediate", false);
    let classes = [wait, now, none];
    let ask = |claim: &PersistentVolumeClaim, pods: &[String]| step(claim, &[], &classes, pods);
    assert_eq!(
        ask(&claim("1Gi", None, &json!({})), &[]),
        ("class", "fast".to_owned())
    );
    assert_eq!(
        ask(&claim("1Gi", Some("fast"), &json!({})), &[]),
        ("ask", "csi.example.com".to_owned())
    );
    assert_eq!(
        ask(&claim("1Gi", Some("local"), &json!({})), &[]).1,
        "ProvisioningFailed"
    );
    let late = claim("1Gi", Some("late"), &json!({}));
    assert_eq!(ask(&late, &[]).1, "WaitForFirstConsumer");
    assert_eq!(ask(&late, &["p".to_owned()]).1, "WaitForPodScheduled");
    let chosen = json!({"annotations": {"volume.kubernetes.io/selected-node": "n"}});
    assert_eq!(ask(&claim("1Gi", Some("late"), &chosen), &[]).0, "ask");
}

#[test]
fn what_was_bound_is_lost_with_its_volume() {
    let bound = |name: &str| {
        claim(
            "1Gi",
            Some("manual"),
            &json!({"volumeName": name, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}),
        )
    };
    let held = |uid: &str| {
        [volume(
            "v",
            "1Gi",
            &["ReadWriteOnce"],
            &json!({"claimRef": {"name": "c", "namespace": "ns", "uid": uid}}),
        )]
    };
    assert_eq!(step(&bound("v"), &held("c-uid"), &[], &[]).0, "bind");
    assert_eq!(
        step(&bound("v"), &held("other"), &[], &[]),
        ("lost", "ClaimMisbound".to_owned())
    );
    assert_eq!(
        step(&bound("v"), &[], &[], &[]),
        ("lost", "ClaimLost".to_owned())
    );
    assert_eq!(
        step(&bound(""), &[], &[], &[]),
        ("lost", "ClaimLost".to_owned())
    );
}

#[test]
fn a_volume_follows_its_claim() {
    let mine = json!({"claimRef": {"name": "c", "namespace": "ns", "uid": "c-uid"}});
    let free = volume("v", "1Gi", &[], &json!({}));
    assert_eq!(plan_volume(&free, None), VolumeStep::Phase("Available"));
    let held = volume("v", "1Gi", &[], &mine);
    assert_eq!(plan_volume(&held, None), VolumeStep::Reclaim);
    let at = |name: &str| claim("1Gi", None, &json!({"volumeName": name}));
    assert_eq!(
        plan_volume(&held, Some(&at("v"))),
        VolumeStep::Phase("Bound")
    );
    assert_eq!(plan_volume(&held, Some(&at("w"))), VolumeStep::Unbind);
    assert_eq!(
        plan_volume(&held, Some(&claim("1Gi", None, &json!({})))),
        VolumeStep::LookAtClaim
    );
    let block = claim("1Gi", None, &json!({"volumeMode": "Block"}));
    assert!(matches!(
        plan_volume(&held, Some(&block)),
        VolumeStep::Mismatch(..)
    ));
}
