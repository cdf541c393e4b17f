//! The `APIService` of every group and version that this server serves itself: where aggregated servers find their place in the order.

use apimachinery::gvk::GroupResource;
use serde_json::json;

use super::{Wanted, keep, objects::object};

/// Group, version, the group's priority, the version's in the group. Facts of upstream at v1.36.
const TABLE: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18000, 1),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("apps", "v1", 17800, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("networking.k8s.io", "v1", 17200, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("storage.k8s.io", "v1", 16800, 15),
];

/// The priority of a built-in group and that of its version; `None` where there is no APIService: of `apiregistration.k8s.io` itself.
pub(crate) fn priority(group: &str, version: &str) -> Option<(i64, i64)> {
    let named = TABLE.iter().find(|row| row.0 == group && row.1 == version);
    named.map(|row| (row.2, row.3))
}

pub(super) fn objects() -> impl Iterator<Item = Wanted> {
    TABLE.iter().map(|(group, version, group_priority, version_priority)| {
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
        });
        if !group.is_empty() {
            spec["group"] = (*group).into();
        }
        Wanted {
            resource: GroupResource::new("apiregistration.k8s.io", "apiservices"),
            object: object(json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {
                    "name": format!("{version}.{group}"),
                    "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
                },
                "spec": spec,
                "status": {"conditions": [{
                    "type": "Available", "status": "True", "reason": "Local",
                    "message": "Local APIServices are always available",
                }]},
            })),
            mend: keep,
        }
    })
}
