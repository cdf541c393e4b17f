//! Rows of roles, storage, admission, flow control and device resources.

use apimachinery::{Object, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::age,
    format::{NONE, UNSET, or, scalar},
};
use crate::fields::Fields;

/// Name, Created At: for kinds without a row of their own, and for custom resources without columns.
pub(super) fn created_at(object: &Object, _now: Timestamp) -> Vec<Value> {
    vec![
        json!(meta::name(object)),
        json!(meta::creation_timestamp(object)),
    ]
}

/// Name, Role, Age, Users, Groups, ServiceAccounts.
pub(super) fn binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let role = object.object("roleRef").map_or(String::new(), |r| {
        format!("{}/{}", r.text("kind"), r.text("name"))
    });
    let subjects = |kind: &str| {
        let names: Vec<String> = object
            .objects("subjects")
            .filter(|(_, s)| s.text("kind") == kind)
            .map(|(_, s)| match (kind, s.text("namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", s.text("name")),
                _ => s.text("name").to_owned(),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![
        json!(meta::name(object)),
        json!(role),
        json!(age(object, now)),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

/// Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age.
pub(super) fn storage_class(object: &Object, now: Timestamp) -> Vec<Value> {
    let default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|key| meta::annotation(object, key) == Some("true"));
    let name = meta::name(object);
    vec![
        if default {
            json!(format!("{name} (default)"))
        } else {
            json!(name)
        },
        json!(object.text("provisioner")),
        json!(or(object.text("reclaimPolicy"), "Delete")),
        json!(or(object.text("volumeBindingMode"), UNSET)),
        json!(object.is_true("allowVolumeExpansion")),
        json!(age(object, now)),
    ]
}

/// Name, DriverName, Age.
pub(super) fn volume_attributes_class(object: &Object, now: Timestamp) -> Vec<Value> {
    let name = meta::name(object);
    let default = meta::annotation(
        object,
        "volumeattributesclass.kubernetes.io/is-default-class",
    ) == Some("true");
    vec![
        if default {
            json!(format!("{name} (default)"))
        } else {
            json!(name)
        },
        json!(object.text("driverName")),
        json!(age(object, now)),
    ]
}

/// Name, Attacher, PV, Node, Attached, Age.
pub(super) fn volume_attachment(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let volume = spec
        .object("source")
        .map_or("", |s| s.text("persistentVolumeName"));
    vec![
        json!(meta::name(object)),
        json!(spec.text("attacher")),
        json!(volume),
        json!(spec.text("nodeName")),
        json!(
            object
                .object("status")
                .is_some_and(|s| s.is_true("attached"))
        ),
        json!(age(object, now)),
    ]
}

/// Name, AttachRequired, PodInfoOnMount, StorageCapacity, TokenRequests, RequiresRepublish, Modes, Age.
pub(super) fn csi_driver(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let flag = |field, otherwise| spec.bool_opt(field).unwrap_or(otherwise);
    let modes = spec
        .texts("volumeLifecycleModes")
        .collect::<Vec<_>>()
        .join(",");
    let audiences = spec
        .objects("tokenRequests")
        .map(|(_, t)| t.text("audience"));
    let audiences = audiences.collect::<Vec<_>>().join(",");
    vec![
        json!(meta::name(object)),
        json!(flag("attachRequired", true)),
        json!(flag("podInfoOnMount", false)),
        json!(flag("storageCapacity", false)),
        json!(or(&audiences, UNSET)),
        json!(flag("requiresRepublish", false)),
        json!(or(&modes, NONE)),
        json!(age(object, now)),
    ]
}

/// Name, Drivers, Age.
pub(super) fn csi_node(object: &Object, now: Timestamp) -> Vec<Value> {
    let drivers = object.object("spec").map_or(0, |s| s.list("drivers").len());
    vec![
        json!(meta::name(object)),
        json!(drivers),
        json!(age(object, now)),
    ]
}

/// Name, Handler, Age.
pub(super) fn runtime_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        json!(meta::name(object)),
        json!(object.text("handler")),
        json!(age(object, now)),
    ]
}

/// Name, Webhooks, Age.
pub(super) fn webhooks(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        json!(meta::name(object)),
        json!(object.list("webhooks").len()),
        json!(age(object, now)),
    ]
}

/// Name, Validations or Mutations, ParamKind, Age.
pub(super) fn admission_policy(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let kind = spec.object("paramKind").map_or(UNSET.to_owned(), |p| {
        format!("{}/{}", p.text("apiVersion"), p.text("kind"))
    });
    let rules = spec.list("validations").len() + spec.list("mutations").len();
    vec![
        json!(meta::name(object)),
        json!(rules),
        json!(kind),
        json!(age(object, now)),
    ]
}

/// Name, PolicyName, ParamRef, Age.
pub(super) fn admission_policy_binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let parameters = spec.object("paramRef").map_or(UNSET.to_owned(), |p| {
        match (p.text("namespace"), p.text("name")) {
            (_, "") => super::format::selector(p.object("selector")),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    });
    vec![
        json!(meta::name(object)),
        json!(spec.text("policyName")),
        json!(parameters),
        json!(age(object, now)),
    ]
}

/// Name, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL.
pub(super) fn flow_schema(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let level = spec
        .object("priorityLevelConfiguration")
        .map_or("", |p| p.text("name"));
    let method = spec
        .object("distinguisherMethod")
        .map_or(NONE, |d| d.text("type"));
    let dangling = object
        .object("status")
        .into_iter()
        .flat_map(|s| s.objects("conditions"))
        .find(|(_, c)| c.text("type") == "Dangling");
    let missing = dangling.map_or("?", |(_, c)| c.text("status"));
    vec![
        json!(meta::name(object)),
        json!(level),
        json!(spec.int("matchingPrecedence").unwrap_or(0)),
        json!(method),
        json!(age(object, now)),
        json!(missing),
    ]
}

/// Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age.
pub(super) fn priority_level_configuration(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let part = spec.object("limited").unwrap_or(&empty);
    let queuing = part
        .object("limitResponse")
        .and_then(|r| r.object("queuing"))
        .unwrap_or(&empty);
    let number = |o: &Object, f: &str| o.get(f).cloned().unwrap_or_else(|| json!(NONE));
    vec![
        json!(meta::name(object)),
        json!(spec.text("type")),
        number(part, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        json!(age(object, now)),
    ]
}

/// Name, State, Age.
pub(super) fn resource_claim(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let status = object.object("status").unwrap_or(&empty);
    let mut states = Vec::new();
    if meta::is_deleting(object) {
        states.push("deleted");
    }
    if !status.has("allocation") {
        if states.is_empty() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        states.push(if status.list("reservedFor").is_empty() {
            ""
        } else {
            "reserved"
        });
    }
    states.retain(|s| !s.is_empty());
    vec![
        json!(meta::name(object)),
        json!(states.join(",")),
        json!(age(object, now)),
    ]
}

/// Name, Node, Driver, Pool, Age.
pub(super) fn resource_slice(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let node = scalar(spec.get("nodeName")).unwrap_or_else(|| {
        if spec.is_true("allNodes") {
            "<all>".to_owned()
        } else {
            "<some>".to_owned()
        }
    });
    vec![
        json!(meta::name(object)),
        json!(node),
        json!(spec.text("driver")),
        json!(spec.object("pool").map_or("", |p| p.text("name"))),
        json!(age(object, now)),
    ]
}
