//! `spec.persistentVolumeClaimRetentionPolicy`: with whom a pod's claim goes. Pure.
//!
//! The policy is written into the claim's owner references, and the garbage collector does the rest: a claim that is to go with the set is
//! owned by it, one whose pod was scaled away by that pod (KEP-1847). What somebody else controls is left alone.

use client::{Kind, Object as _};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

/// Whether claims go when the set is scaled down, and when it is deleted.
fn policy(set: &StatefulSet) -> (bool, bool) {
    let spec = set.spec.as_ref();
    let policy = spec.and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: Option<&str>| when == Some("Delete");
    policy.map_or((false, false), |policy| {
        (
            deletes(policy.when_scaled.as_deref()),
            deletes(policy.when_deleted.as_deref()),
        )
    })
}

fn names<K: Kind>(owner: &OwnerReference, object: &K) -> bool {
    owner.api_version == K::API_VERSION && owner.kind == K::KIND && owner.name == object.name()
}

/// The owners that the claim of a pod should have, if it has others. `scaled_away`: the pod's ordinal is no longer wanted.
pub(super) fn owners(
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    pod: &Pod,
    scaled_away: bool,
) -> Option<Vec<OwnerReference>> {
    let known = claim.owner_references();
    let of_set = |owner: &&OwnerReference| names(owner, set);
    let of_pod = |owner: &&OwnerReference| names(owner, pod);
    let stale = known
        .iter()
        .filter(of_set)
        .any(|owner| owner.uid != set.uid())
        || known
            .iter()
            .filter(of_pod)
            .any(|owner| owner.uid != pod.uid());
    if stale {
        // From another life of the set or the pod: the garbage collector's.
        return None;
    }
    let (when_scaled, when_deleted) = policy(set);
    let mut wanted: Vec<OwnerReference> = known
        .iter()
        .filter(|owner| !names(owner, set) && !names(owner, pod))
        .cloned()
        .collect();
    let controlled = wanted.iter().any(|owner| owner.controller == Some(true));
    if !(controlled && (when_scaled || when_deleted)) {
        if when_scaled && scaled_away {
            wanted.push(pod.controller_owner_reference());
        } else if when_deleted {
            wanted.push(set.controller_owner_reference());
        }
    }
    let facts = |owners: &[OwnerReference]| {
        let mut facts: Vec<(String, bool)> = owners
            .iter()
            .map(|owner| (owner.uid.clone(), owner.controller == Some(true)))
            .collect();
        facts.sort();
        facts
    };
    (facts(known) != facts(&wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_goes_with_its_owner() {
        let set = |scaled: &str, deleted: &str| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": {"name": "db", "uid": "set"},
                "spec": {"selector": {}, "template": {},
                    "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}},
            }))
            .unwrap()
        };
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "db-0", "uid": "pod"}})).unwrap();
        let claim = |owners: serde_json::Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": "c", "ownerReferences": owners}}))
                .unwrap()
        };
        let by = |kind: &str, name: &str, uid: &str| {
            let version = if kind == "Pod" { "v1" } else { "apps/v1" };
            json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true})
        };
        let found = |set: &StatefulSet, owned: serde_json::Value, away: bool| {
            let owners = owners(&claim(owned), set, &pod, away);
            owners.map(|owners| {
                owners
                    .into_iter()
                    .map(|owner| owner.uid)
                    .collect::<Vec<_>>()
            })
        };
        let some = |uid: &str| Some(vec![uid.to_owned()]);
        let none = json!([]);
        for (scaled, deleted, kept, away) in [
            ("Retain", "Retain", None, None),
            ("Retain", "Delete", some("set"), some("set")),
            ("Delete", "Retain", None, some("pod")),
            ("Delete", "Delete", some("set"), some("pod")),
        ] {
            let set = set(scaled, deleted);
            assert_eq!(found(&set, none.clone(), false), kept, "{scaled} {deleted}");
            assert_eq!(found(&set, none.clone(), true), away, "{scaled} {deleted}");
        }
        let delete = set("Delete", "Delete");
        assert_eq!(
            found(&delete, json!([by("StatefulSet", "db", "set")]), false),
            None
        );
        assert_eq!(
            found(&delete, json!([by("StatefulSet", "db", "set")]), true),
            some("pod")
        );
        assert_eq!(
            found(&delete, json!([by("StatefulSet", "db", "old")]), true),
            None
        );
        assert_eq!(found(&delete, json!([by("Other", "x", "x")]), true), None);
        let retain = set("Retain", "Retain");
        assert_eq!(
            found(&retain, json!([by("StatefulSet", "db", "set")]), false),
            Some(vec![])
        );
    }
}
