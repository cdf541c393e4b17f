//! Rows of nodes, namespaces, configuration, storage claims and events.

use apimachinery::{Object, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::{age, since},
    format::{NONE, UNSET, access_modes, condition_is_true, count, or},
};
use crate::fields::Fields;

/// Name, Status, Age.
pub(super) fn namespace(object: &Object, now: Timestamp) -> Vec<Value> {
    let phase = object.object("status").map_or("", |s| s.text("phase"));
    vec![
        json!(meta::name(object)),
        json!(phase),
        json!(age(object, now)),
    ]
}

/// Name, Status, Roles, Age, Version, Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime.
pub(super) fn node(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let status = object.object("status").unwrap_or(&empty);
    let mut words = Vec::new();
    if let Some((_, ready)) = status
        .objects("conditions")
        .find(|(_, c)| c.text("type") == "Ready")
    {
        words.push(if ready.text("status") == "True" {
            "Ready"
        } else {
            "NotReady"
        });
    }
    if words.is_empty() {
        words.push("Unknown");
    }
    if object
        .object("spec")
        .is_some_and(|s| s.is_true("unschedulable"))
    {
        words.push("SchedulingDisabled");
    }
    let mut roles = std::collections::BTreeSet::new();
    for (key, value) in object
        .object("metadata")
        .and_then(|m| m.object("labels"))
        .into_iter()
        .flatten()
    {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.insert(value.as_str().unwrap_or_default());
        }
    }
    roles.remove("");
    let roles = roles.into_iter().collect::<Vec<_>>().join(",");
    let address = |kind: &str| {
        let found = status
            .objects("addresses")
            .find(|(_, a)| a.text("type") == kind);
        found.map_or(NONE, |(_, a)| a.text("address")).to_owned()
    };
    let info = status.object("nodeInfo").unwrap_or(&empty);
    let unknown = |field| or(info.text(field), "<unknown>").to_owned();
    vec![
        json!(meta::name(object)),
        json!(words.join(",")),
        json!(or(&roles, NONE)),
        json!(age(object, now)),
        json!(info.text("kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        json!(unknown("osImage")),
        json!(unknown("kernelVersion")),
        json!(unknown("containerRuntimeVersion")),
    ]
}

/// Name, Data, Age.
pub(super) fn config_map(object: &Object, now: Timestamp) -> Vec<Value> {
    let entries = |field| object.object(field).map_or(0, Object::len);
    vec![
        json!(meta::name(object)),
        json!(entries("data") + entries("binaryData")),
        json!(age(object, now)),
    ]
}

/// Name, Type, Data, Age.
pub(super) fn secret(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        json!(meta::name(object)),
        json!(object.text("type")),
        json!(object.object("data").map_or(0, Object::len)),
        json!(age(object, now)),
    ]
}

/// Name, Age.
pub(super) fn name_and_age(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![json!(meta::name(object)), json!(age(object, now))]
}

/// Last Seen, Type, Reason, Object, Subobject, Source, Message, First Seen, Count, Name. Takes the core group's form.
pub(super) fn event(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let involved = object.object("involvedObject").unwrap_or(&empty);
    let source = object.object("source").unwrap_or(&empty);
    let first = since(
        or(object.text("firstTimestamp"), object.text("eventTime")),
        now,
    );
    let last = object.text("lastTimestamp");
    let mut last = if last.is_empty() {
        first.clone()
    } else {
        since(last, now)
    };
    let mut count = object.int("count").unwrap_or(0);
    if let Some(series) = object.object("series") {
        last = since(series.text("lastObservedTime"), now);
        count = series.int("count").unwrap_or(0);
    } else if count == 0 {
        // A single event in the new form carries no count.
        count = 1;
    }
    let mut target = involved.text("kind").to_lowercase();
    if !involved.text("name").is_empty() {
        target = format!("{target}/{}", involved.text("name"));
    }
    let component = or(source.text("component"), object.text("reportingComponent"));
    let instance = or(source.text("host"), object.text("reportingInstance"));
    let from = if instance.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {instance}")
    };
    vec![
        json!(last),
        json!(object.text("type")),
        json!(object.text("reason")),
        json!(target),
        json!(involved.text("fieldPath")),
        json!(from),
        json!(object.text("message").trim()),
        json!(first),
        json!(count),
        json!(meta::name(object)),
    ]
}

fn phase(object: &Object) -> &str {
    if meta::is_deleting(object) {
        "Terminating"
    } else {
        object.object("status").map_or("", |s| s.text("phase"))
    }
}

/// Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, VolumeMode.
pub(super) fn persistent_volume_claim(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let (mut capacity, mut modes) = ("", String::new());
    if !spec.text("volumeName").is_empty() {
        let status = object.object("status").unwrap_or(&empty);
        modes = access_modes(status);
        // Bound and not told how large: a quantity that is not there is printed like none.
        capacity = status
            .object("capacity")
            .map_or("0", |c| or(c.text("storage"), "0"));
    }
    vec![
        json!(meta::name(object)),
        json!(phase(object)),
        json!(spec.text("volumeName")),
        json!(capacity),
        json!(modes),
        json!(spec.text("storageClassName")),
        json!(spec.text_opt("volumeAttributesClassName").unwrap_or(UNSET)),
        json!(age(object, now)),
        json!(or(spec.text("volumeMode"), UNSET)),
    ]
}

/// Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age, VolumeMode.
pub(super) fn persistent_volume(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let claim = spec.object("claimRef").map_or(String::new(), |c| {
        format!("{}/{}", c.text("namespace"), c.text("name"))
    });
    vec![
        json!(meta::name(object)),
        json!(spec.object("capacity").map_or("", |c| c.text("storage"))),
        json!(access_modes(spec)),
        json!(spec.text("persistentVolumeReclaimPolicy")),
        json!(phase(object)),
        json!(claim),
        json!(spec.text("storageClassName")),
        json!(spec.text_opt("volumeAttributesClassName").unwrap_or(UNSET)),
        json!(object.object("status").map_or("", |s| s.text("reason"))),
        json!(age(object, now)),
        json!(or(spec.text("volumeMode"), UNSET)),
    ]
}

/// Name, Request, Limit, Age.
pub(super) fn resource_quota(object: &Object, now: Timestamp) -> Vec<Value> {
    let status = object.object("status");
    let list = |field| status.and_then(|s| s.object(field));
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in list("hard").into_iter().flatten() {
        let used = list("used")
            .map_or("0", |u| or(u.text(name), "0"))
            .to_owned();
        let entry = format!("{name}: {used}/{}", hard.as_str().unwrap_or_default());
        if name.starts_with("limits") {
            limits.push(entry)
        } else {
            requests.push(entry)
        }
    }
    vec![
        json!(meta::name(object)),
        json!(requests.join(", ")),
        json!(limits.join(", ")),
        json!(age(object, now)),
    ]
}

/// Name, Status, Message, Error.
pub(super) fn component_status(object: &Object, _now: Timestamp) -> Vec<Value> {
    let mut row = ["Unknown", "", ""];
    if let Some((_, c)) = object
        .objects("conditions")
        .find(|(_, c)| c.text("type") == "Healthy")
    {
        row = match c.text("status") {
            "True" => ["Healthy", c.text("message"), c.text("error")],
            _ => ["Unhealthy", c.text("message"), c.text("error")],
        };
    }
    let mut cells = vec![json!(meta::name(object))];
    cells.extend(row.map(Value::from));
    cells
}

/// Name, Holder, Age.
pub(super) fn lease(object: &Object, now: Timestamp) -> Vec<Value> {
    let holder = object
        .object("spec")
        .map_or("", |s| s.text("holderIdentity"));
    vec![
        json!(meta::name(object)),
        json!(holder),
        json!(age(object, now)),
    ]
}

/// Name, Service, Available, Age.
pub(super) fn api_service(object: &Object, now: Timestamp) -> Vec<Value> {
    let service = object.object("spec").and_then(|s| s.object("service"));
    let service = service.map_or("Local".to_owned(), |s| {
        format!("{}/{}", s.text("namespace"), s.text("name"))
    });
    let status = object.object("status");
    let available = status
        .into_iter()
        .flat_map(|s| s.objects("conditions"))
        .find(|(_, c)| c.text("type") == "Available");
    let available = match available {
        Some(_) if condition_is_true(status, "Available") => "True".to_owned(),
        Some((_, c)) => format!("{} ({})", c.text("status"), c.text("reason")),
        None => "Unknown".to_owned(),
    };
    vec![
        json!(meta::name(object)),
        json!(service),
        json!(available),
        json!(age(object, now)),
    ]
}

/// Name, Age, SignerName, Requestor, RequestedDuration, Condition.
pub(super) fn certificate_signing_request(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let status = object.object("status").unwrap_or(&empty);
    let has = |kind: &str| {
        status
            .objects("conditions")
            .any(|(_, c)| c.text("type") == kind)
    };
    let mut words = match (has("Approved"), has("Denied")) {
        (_, true) => vec!["Denied"],
        (true, false) => vec!["Approved"],
        _ => vec!["Pending"],
    };
    if has("Failed") {
        words.push("Failed");
    }
    if !status.text("certificate").is_empty() {
        words.push("Issued");
    }
    let duration = spec
        .int("expirationSeconds")
        .map_or(NONE.to_owned(), super::age::human_duration);
    vec![
        json!(meta::name(object)),
        json!(age(object, now)),
        json!(or(spec.text("signerName"), NONE)),
        json!(spec.text("username")),
        json!(duration),
        json!(words.join(",")),
    ]
}

/// Name, Value, Global-Default, Age, PreemptionPolicy.
pub(super) fn priority_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        json!(meta::name(object)),
        json!(count(Some(object), "value")),
        json!(object.is_true("globalDefault")),
        json!(age(object, now)),
        json!(object.text("preemptionPolicy")),
    ]
}
