//! What a Deployment writes on its ReplicaSets: its own annotations, revisions, and the size it had when it scaled them.

use std::collections::BTreeMap;

use client::Object as _;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::bounds::{max_surge, replicas};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// Revisions a ReplicaSet remembers having been; the text is cut from the front at this length.
const MAX_HISTORY_CHARS: usize = 2000;

/// What is not copied from the Deployment to its ReplicaSets.
const NOT_COPIED: [&str; 6] = [
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    ROLLBACK_TO,
];

fn annotations(set: &mut ReplicaSet) -> &mut BTreeMap<String, String> {
    set.metadata.annotations.get_or_insert_default()
}

/// The revision of a ReplicaSet; 0 if it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotation(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Copies the Deployment's annotations and sets the revision of its new ReplicaSet. A ReplicaSet that gets a newer revision than it
/// had was rolled back to, and remembers the one it had.
pub(super) fn set_new_replica_set_annotations(
    deployment: &Deployment,
    set: &mut ReplicaSet,
    new_revision: i64,
) {
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations(set).insert(key.clone(), value.clone());
        }
    }
    let old = set.annotation(REVISION).unwrap_or_default().to_owned();
    let old_revision = match old.parse::<i64>() {
        Ok(revision) => revision,
        Err(_) if old.is_empty() => 0,
        // Somebody else wrote it; it is theirs.
        Err(_) => return,
    };
    if old_revision >= new_revision {
        return;
    }
    annotations(set).insert(REVISION.to_owned(), new_revision.to_string());
    if !old.is_empty() {
        let history = set.annotation(REVISION_HISTORY).unwrap_or_default();
        let mut revisions: Vec<&str> = history
            .split(',')
            .filter(|revision| !revision.is_empty())
            .collect();
        revisions.push(&old);
        while revisions
            .iter()
            .map(|revision| revision.len() + 1)
            .sum::<usize>()
            > MAX_HISTORY_CHARS
        {
            revisions.remove(0);
        }
        let history = revisions.join(",");
        annotations(set).insert(REVISION_HISTORY.to_owned(), history);
    }
}

/// Notes the Deployment's size on a ReplicaSet: the next scaling is proportional to it.
pub(super) fn set_replicas_annotations(deployment: &Deployment, set: &mut ReplicaSet) {
    let desired = replicas(deployment);
    let annotations = annotations(set);
    annotations.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
    annotations.insert(
        MAX_REPLICAS.to_owned(),
        (desired + max_surge(deployment)).to_string(),
    );
}

/// The Deployment's size when it last scaled this ReplicaSet.
pub(super) fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    set.annotation(DESIRED_REPLICAS)?.parse().ok()
}

/// The same with surge.
pub(super) fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    set.annotation(MAX_REPLICAS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{deployment, replica_set},
        *,
    };

    #[test]
    fn a_rollback_is_remembered() {
        let mut deployment = deployment(1);
        let noted = [("note", "kept"), (LAST_APPLIED, "dropped")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        deployment.metadata.annotations = Some(noted.into());
        let mut set = replica_set(&deployment, "web-1", 1, 1);
        set_new_replica_set_annotations(&deployment, &mut set, 1);
        assert_eq!(
            (set.annotation(REVISION), set.annotation(REVISION_HISTORY)),
            (Some("1"), None)
        );
        assert_eq!(
            (set.annotation("note"), set.annotation(LAST_APPLIED)),
            (Some("kept"), None)
        );
        set_new_replica_set_annotations(&deployment, &mut set, 3);
        set_new_replica_set_annotations(&deployment, &mut set, 5);
        assert_eq!(
            (set.annotation(REVISION), set.annotation(REVISION_HISTORY)),
            (Some("5"), Some("1,3"))
        );
        set_new_replica_set_annotations(&deployment, &mut set, 4);
        assert_eq!(
            set.annotation(REVISION),
            Some("5"),
            "revisions never go back"
        );
    }
}
