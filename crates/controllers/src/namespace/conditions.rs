//! What a Namespace that is being deleted tells about it: five conditions, all at all times.

use std::collections::BTreeMap;

use apimachinery::gvk::GroupVersionResource;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{NamespaceCondition, NamespaceStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// What one pass over the content found.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Group versions that the server cannot tell about.
    pub(super) discovery_failures: Vec<String>,
    /// Deletions that failed.
    pub(super) deletion_failures: Vec<String>,
    /// What is left, by resource.
    pub(super) remaining: BTreeMap<GroupVersionResource, usize>,
    /// What is left with a finalizer, by finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
}

/// Type, status, reason, message.
type Told = (&'static str, &'static str, &'static str, String);

impl Progress {
    /// Whether nothing is left, and nothing may be hidden.
    pub(super) fn is_done(&self) -> bool {
        self.discovery_failures.is_empty()
            && self.deletion_failures.is_empty()
            && self.remaining.is_empty()
    }

    fn told(&self) -> [Told; 5] {
        [
            if self.discovery_failures.is_empty() {
                ok(
                    "NamespaceDeletionDiscoveryFailure",
                    "ResourcesDiscovered",
                    "All resources successfully discovered",
                )
            } else {
                let failed = self.discovery_failures.join(", ");
                let count = self.discovery_failures.len();
                let message =
                    format!("Discovery failed for some groups, {count} failing: {failed}");
                (
                    "NamespaceDeletionDiscoveryFailure",
                    "True",
                    "DiscoveryFailed",
                    message,
                )
            },
            ok(
                "NamespaceDeletionGroupVersionParsingFailure",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            if self.deletion_failures.is_empty() {
                ok(
                    "NamespaceDeletionContentFailure",
                    "ContentDeleted",
                    "All content successfully deleted, may be waiting on finalization",
                )
            } else {
                let failed = self.deletion_failures.join(", ");
                let count = self.deletion_failures.len();
                let message =
                    format!("Failed to delete all resource types, {count} remaining: {failed}");
                (
                    "NamespaceDeletionContentFailure",
                    "True",
                    "ContentDeletionFailed",
                    message,
                )
            },
            if self.remaining.is_empty() {
                ok(
                    "NamespaceContentRemaining",
                    "ContentRemoved",
                    "All content successfully removed",
                )
            } else {
                let left = self.remaining.iter().map(|(gvr, count)| {
                    format!(
                        "{}.{} has {count} resource instances",
                        gvr.resource, gvr.group
                    )
                });
                let message = format!(
                    "Some resources are remaining: {}",
                    left.collect::<Vec<_>>().join(", ")
                );
                (
                    "NamespaceContentRemaining",
                    "True",
                    "SomeResourcesRemain",
                    message,
                )
            },
            if self.finalizers.is_empty() {
                ok(
                    "NamespaceFinalizersRemaining",
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished",
                )
            } else {
                let left = self
                    .finalizers
                    .iter()
                    .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
                let left = left.collect::<Vec<_>>().join(", ");
                let message =
                    format!("Some content in the namespace has finalizers remaining: {left}");
                (
                    "NamespaceFinalizersRemaining",
                    "True",
                    "SomeFinalizersRemain",
                    message,
                )
            },
        ]
    }

    /// Brings the conditions up to date; whether that changed anything.
    pub(super) fn apply_to(&self, status: &mut NamespaceStatus, now: Timestamp) -> bool {
        let mut changed = false;
        for (kind, value, reason, message) in self.told() {
            let conditions = status.conditions.get_or_insert_default();
            let fresh = NamespaceCondition {
                type_: kind.to_owned(),
                status: value.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: Some(Time(now)),
            };
            match conditions
                .iter_mut()
                .find(|condition| condition.type_ == kind)
            {
                None => {
                    conditions.push(fresh);
                    changed = true;
                }
                Some(known) => {
                    let kept = if known.status == fresh.status {
                        known.last_transition_time.clone()
                    } else {
                        fresh.last_transition_time.clone()
                    };
                    let fresh = NamespaceCondition {
                        last_transition_time: kept,
                        ..fresh
                    };
                    changed |= *known != fresh;
                    *known = fresh;
                }
            }
        }
        changed
    }
}

fn ok(kind: &'static str, reason: &'static str, message: &str) -> Told {
    (kind, "False", reason, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_are_told_once() {
        let mut status = NamespaceStatus::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut progress = Progress::default();
        progress
            .remaining
            .insert(GroupVersionResource::new("", "v1", "pods"), 2);
        progress.finalizers.insert("example.com/hold".to_owned(), 1);
        assert!(!progress.is_done());
        assert!(progress.apply_to(&mut status, now));
        assert!(!progress.apply_to(&mut status, now), "nothing new");
        let message = |status: &NamespaceStatus, kind: &str| {
            let conditions = status.conditions.as_ref().unwrap();
            assert_eq!(conditions.len(), 5);
            let condition = conditions
                .iter()
                .find(|condition| condition.type_ == kind)
                .unwrap();
            (condition.status.clone(), condition.message.clone().unwrap())
        };
        assert_eq!(
            message(&status, "NamespaceContentRemaining"),
            (
                "True".to_owned(),
                "Some resources are remaining: pods. has 2 resource instances".to_owned()
            )
        );
        assert_eq!(
            message(&status, "NamespaceFinalizersRemaining").1,
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        let done = Progress::default();
        assert!(done.is_done() && done.apply_to(&mut status, now));
        assert_eq!(message(&status, "NamespaceContentRemaining").0, "False");
    }
}
