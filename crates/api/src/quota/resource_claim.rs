//! What a ResourceClaim uses: itself, and devices of each class, as many as it may be given at most.

use std::collections::BTreeMap;

use apimachinery::{Object, Quantity, lookup};

use super::{Resources, add};

const COUNT: &str = "count/resourceclaims.resource.k8s.io";
const PER_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// So many devices a claim may have in all: what "all" may come to.
const MAX_DEVICES: i64 = 32;

pub(super) fn counts(name: &str) -> bool {
    name == COUNT || name.ends_with(PER_CLASS)
}

/// The devices of a request, or of one of its alternatives; modes that are not known do not count.
fn devices(request: &Object) -> (String, Quantity) {
    let number = match lookup::text(request, &["allocationMode"]) {
        "ExactCount" => lookup::number(request, &["count"]).unwrap_or(0),
        "All" => MAX_DEVICES,
        _ => 0,
    };
    let class = lookup::text(request, &["deviceClassName"]);
    (format!("{class}{PER_CLASS}"), Quantity::from(number))
}

pub(super) fn usage(claim: &Object) -> Resources {
    let mut usage = Resources::from([(COUNT.to_owned(), Quantity::from(1))]);
    for request in lookup::objects(claim, &["spec", "devices", "requests"]) {
        // Of alternatives one is chosen: the greatest of each class counts.
        let mut greatest: Resources = BTreeMap::new();
        for alternative in lookup::objects(request, &["firstAvailable"]) {
            let (name, number) = devices(alternative);
            let known = greatest.entry(name).or_insert(Quantity::ZERO);
            *known = (*known).max(number);
        }
        if greatest.is_empty() {
            // In v1beta1 the request is what `exactly` holds since.
            let exactly = lookup::map(request, &["exactly"]).unwrap_or(request);
            if !lookup::text(exactly, &["deviceClassName"]).is_empty() {
                greatest.extend([devices(exactly)]);
            }
        }
        greatest.retain(|_, number| !number.is_zero());
        add(&mut usage, &greatest);
    }
    usage
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_counted_by_class() {
        let requests = json!([
            {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
            {"name": "b", "exactly": {"deviceClassName": "net", "allocationMode": "All"}},
            {"name": "c", "firstAvailable": [
                {"name": "x", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                {"name": "y", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 4},
            ]},
            {"name": "d", "deviceClassName": "old", "allocationMode": "ExactCount", "count": 1},
            {"name": "e", "exactly": {"deviceClassName": "odd", "allocationMode": "Someday", "count": 9}},
        ]);
        let claim = json!({"spec": {"devices": {"requests": requests}}});
        let usage = usage(claim.as_object().unwrap());
        let shown: Vec<String> = usage
            .iter()
            .map(|(name, n)| format!("{name}={n}"))
            .collect();
        assert_eq!(
            shown,
            [
                "count/resourceclaims.resource.k8s.io=1",
                "gpu.deviceclass.resource.k8s.io/devices=6",
                "net.deviceclass.resource.k8s.io/devices=32",
                "old.deviceclass.resource.k8s.io/devices=1",
            ]
        );
        assert!(usage.keys().all(|name| counts(name)));
    }
}
