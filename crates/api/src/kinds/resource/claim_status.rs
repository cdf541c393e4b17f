//! The rules of a ResourceClaim's status: what is allocated stays, and only what is allocated can be reserved or reported on.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
    go, meta,
};
use serde_json::Value;

use super::{device_names, resource_claim::RequestNames};
use crate::{
    fields::Fields,
    internal, names,
    validate::{conditions, invalid_shown, selectors, shown_as},
};

const ALLOCATION: &str = "io.k8s.api.resource.v1.AllocationResult";
const MAX_CONSUMERS: usize = 256;
const MAX_RESULTS: usize = 32;
const MAX_CONFIGURATIONS: usize = 64;
const MAX_CONDITIONS: usize = 8;

/// All complaints about a status write.
pub(super) fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let status = new.object("status").unwrap_or(&empty);
    let before = old.object("status").unwrap_or(&empty);
    let path = Path::new("status");
    consumers(&mut errors, &path.child("reservedFor"), status);
    let allocation = status.object("allocation");
    devices(&mut errors, &path.child("devices"), status);
    if !status.list("reservedFor").is_empty() {
        let at = path.child("reservedFor");
        let added = || {
            let mut consumers = status.list("reservedFor").iter();
            consumers.any(|consumer| !before.list("reservedFor").contains(consumer))
        };
        if allocation.is_none() {
            errors.push(FieldError::forbidden(
                &at,
                "may not be specified when `allocated` is not set",
            ));
        } else if meta::is_deleting(new) && added() {
            errors.push(FieldError::forbidden(
                &at,
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
            ));
        }
    }
    let at = path.child("allocation");
    match (before.get("allocation"), status.get("allocation")) {
        (Some(then @ Value::Object(_)), Some(now @ Value::Object(_)))
            if !internal::same(ALLOCATION, Some(then), Some(now)) =>
        {
            let ty = ALLOCATION;
            let shown = internal::shown(ty, Some(now));
            errors.push(invalid_shown(&at, &shown, "field is immutable"));
        }
        (_, Some(Value::Object(now))) => {
            allocation_result(&mut errors, &at, now, &RequestNames::of_claim(new));
        }
        _ => {}
    }
    errors
}

fn consumers(errors: &mut ErrorList, path: &Path, status: &Object) {
    let count = status.list("reservedFor").len();
    if count > MAX_CONSUMERS {
        errors.push(FieldError::too_many(path, count, MAX_CONSUMERS));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, consumer) in status.objects("reservedFor") {
        let at = path.index(index);
        for field in ["resource", "name", "uid"] {
            if consumer.text(field).is_empty() {
                errors.push(FieldError::required(&at.child(field), ""));
            }
        }
        let uid = consumer.text("uid");
        if !seen.insert(uid) {
            errors.push(FieldError::duplicate(&at, uid));
        }
    }
}

/// What identifies a device, or a share of one.
const ID: [(&str, &str); 4] = [
    ("Driver", "driver"),
    ("Pool", "pool"),
    ("Device", "device"),
    ("ShareID", "shareID"),
];

fn device_id(device: &Object) -> [&str; 4] {
    ID.map(|(_, field)| device.text(field))
}

/// As upstream's struct prints.
fn shown_id(id: [&str; 4]) -> String {
    let members = ID.iter().zip(id);
    let members =
        members.map(|((name, _), value)| format!("\"{name}\":{}", go::json(&value.into())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The id of a share, which is a UUID.
fn share_id(errors: &mut ErrorList, path: &Path, device: &Object) {
    if let Some(id) = device.text_opt("shareID")
        && let Some(detail) = names::not_a_uuid(id)
    {
        errors.push(FieldError::invalid(path, id, detail));
    }
}

/// The devices that a status says are allocated.
fn allocated(status: Option<&Object>) -> Vec<[&str; 4]> {
    let devices = status
        .and_then(|status| status.object("allocation"))
        .and_then(|allocation| allocation.object("devices"));
    let results = devices.into_iter().flat_map(|d| d.objects("results"));
    results.map(|(_, result)| device_id(result)).collect()
}

/// What was reported on a device goes with its allocation.
pub(super) fn forget_deallocated(new: &mut Object, old: &Object) {
    let before = allocated(old.object("status"));
    let Some(status) = new.object_mut("status") else {
        return;
    };
    let Some(Value::Array(mut devices)) = status.remove("devices") else {
        return;
    };
    let now = allocated(Some(status));
    devices.retain(|device| {
        let id = device.as_object().map(device_id);
        id.is_none_or(|id| !before.contains(&id) || now.contains(&id))
    });
    if !devices.is_empty() {
        status.set("devices", devices);
    }
}

fn devices(errors: &mut ErrorList, path: &Path, status: &Object) {
    let allocated = allocated(Some(status));
    let mut seen = BTreeSet::new();
    for (index, device) in status.objects("devices") {
        let at = path.index(index);
        device_names::driver(errors, &at.child("driver"), device.text("driver"));
        device_names::pool(errors, &at.child("pool"), device.text("pool"));
        let name = device.text("device");
        device_names::label(errors, &at.child("device"), name);
        share_id(errors, &at.child("shareID"), device);
        let id = device_id(device);
        if !allocated.contains(&id) {
            let detail = "must be an allocated device in the claim";
            errors.push(invalid_shown(&at, &shown_id(id), detail));
        }
        let count = device.list("conditions").len();
        if count > MAX_CONDITIONS {
            let conditions = at.child("conditions");
            errors.push(FieldError::too_many(&conditions, count, MAX_CONDITIONS));
        }
        conditions::validate(errors, &at.child("conditions"), device);
        if let Some(data) = device.object("networkData") {
            network_data(errors, &at.child("networkData"), data);
        }
        if !seen.insert(id) {
            errors.push(shown_as(ErrorType::Duplicate, &at, &shown_id(id), ""));
        }
    }
}

fn network_data(errors: &mut ErrorList, path: &Path, data: &Object) {
    for (field, max) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if data.text(field).len() > max {
            errors.push(FieldError::too_long(&path.child(field), max));
        }
    }
    let ips = path.child("ips");
    let count = data.list("ips").len();
    if count > 16 {
        errors.push(FieldError::too_many(&ips, count, 16));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, ip) in data.texts("ips").enumerate() {
        let at = ips.index(index);
        let address = ip.split_once('/').map(|(address, _)| address);
        let good = names::parse_cidr_sloppy(ip).is_some()
            && address.is_some_and(|address| names::legacy_ip(address).is_empty());
        if !good {
            errors.push(FieldError::invalid(
                &at,
                ip,
                "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            ));
        }
        if !seen.insert(ip) {
            errors.push(FieldError::duplicate(&at, ip));
        }
    }
}

fn allocation_result(
    errors: &mut ErrorList,
    path: &Path,
    allocation: &Object,
    requests: &RequestNames<'_>,
) {
    let empty = Object::new();
    let devices = allocation.object("devices").unwrap_or(&empty);
    let at = path.child("devices").child("results");
    let count = devices.list("results").len();
    if count > MAX_RESULTS {
        errors.push(FieldError::too_many(&at, count, MAX_RESULTS));
    }
    for (index, result) in devices.objects("results") {
        let at = at.index(index);
        requests.check(errors, &at.child("request"), result.text("request"));
        device_names::driver(errors, &at.child("driver"), result.text("driver"));
        device_names::pool(errors, &at.child("pool"), result.text("pool"));
        let name = result.text("device");
        device_names::label(errors, &at.child("device"), name);
        share_id(errors, &at.child("shareID"), result);
    }
    let at = path.child("devices").child("config");
    let count = devices.list("config").len();
    if count > MAX_CONFIGURATIONS {
        errors.push(FieldError::too_many(&at, count, MAX_CONFIGURATIONS));
    }
    for (index, config) in devices.objects("config") {
        let at = at.index(index);
        match config.text("source") {
            "" => errors.push(FieldError::required(&at.child("source"), "")),
            "FromClaim" | "FromClass" => {}
            other => errors.push(FieldError::not_supported(
                &at.child("source"),
                other,
                &["FromClaim", "FromClass"],
            )),
        }
        for (i, request) in config.texts("requests").enumerate() {
            requests.check(errors, &at.child("requests").index(i), request);
        }
        device_names::configuration(errors, &at, config);
    }
    if let Some(selector) = allocation.object("nodeSelector") {
        selectors::node_selector(errors, &path.child("nodeSelector"), selector);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_go_with_their_allocation() {
        let claim = |allocated: &[&str], reported: &[&str]| {
            let named = |name: &&str| json!({"driver": "d", "pool": "p", "device": name});
            let named = |names: &[&str]| names.iter().map(named).collect::<Vec<_>>();
            let status = json!({
                "allocation": {"devices": {"results": named(allocated)}}, "devices": named(reported),
            });
            json!({ "status": status }).as_object().cloned().unwrap()
        };
        for (before, now, reported, left) in [
            (["a", "b"], &["a"][..], &["a", "b"][..], &["a"][..]),
            (["a", "b"], &["a"], &["b"], &[]),
            // What never was allocated is a mistake, and kept to be complained of.
            (["a", "b"], &["a", "b"], &["c"], &["c"]),
        ] {
            let mut new = claim(now, reported);
            forget_deallocated(&mut new, &claim(&before, &[]));
            let status = new.object("status").unwrap();
            let names = status.objects("devices").map(|(_, d)| d.text("device"));
            assert_eq!(names.collect::<Vec<_>>(), left);
        }
    }
}
