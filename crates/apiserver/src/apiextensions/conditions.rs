//! `status.conditions` of a CustomResourceDefinition: found by type, set as upstream's `SetCRDCondition` sets them.

use apimachinery::Object;
use serde_json::{Value, json};

use crate::lookup;

/// The definition's names are its own.
pub(super) const NAMES_ACCEPTED: &str = "NamesAccepted";
/// It is served.
pub(super) const ESTABLISHED: &str = "Established";
/// It is on its way out, and its objects with it.
pub(super) const TERMINATING: &str = "Terminating";
/// Whether a group of the Kubernetes community carries the approval it needs.
pub(super) const API_APPROVAL: &str = "KubernetesAPIApprovalPolicyConformant";

/// It has a schema by which objects cannot be pruned; absent where all is well.
pub(super) const NON_STRUCTURAL_SCHEMA: &str = "NonStructuralSchema";

/// What is said of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    /// `None`: it is not known.
    pub(super) status: Option<bool>,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Condition {
    pub(super) fn new(
        kind: &'static str,
        status: impl Into<Option<bool>>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            status: status.into(),
            reason,
            message: message.into(),
        }
    }

    fn status(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }

    /// Whether the definition says so already.
    pub(super) fn stands_in(&self, definition: &Object) -> bool {
        find(definition, self.kind).is_some_and(|found| {
            lookup::text(found, &["status"]) == self.status()
                && lookup::text(found, &["reason"]) == self.reason
                && lookup::text(found, &["message"]) == self.message
        })
    }

    /// Says so, in place of what was said. The time moves when the status does.
    pub(super) fn set(&self, definition: &mut Object, now: &str) {
        let moved = lookup::text(
            find(definition, self.kind).unwrap_or(&Object::new()),
            &["status"],
        ) != self.status();
        let conditions = lookup::list_mut(definition, &["status"], "conditions");
        let found = conditions
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .find(|c| lookup::text(c, &["type"]) == self.kind);
        let Some(condition) = found else {
            conditions.push(json!({
                "type": self.kind, "status": self.status(), "lastTransitionTime": now,
                "reason": self.reason, "message": self.message,
            }));
            return;
        };
        if moved {
            condition.insert("status".to_owned(), self.status().into());
            condition.insert("lastTransitionTime".to_owned(), now.into());
        }
        condition.insert("reason".to_owned(), self.reason.into());
        condition.insert("message".to_owned(), self.message.as_str().into());
    }
}

/// The condition of this type.
pub(super) fn find<'a>(definition: &'a Object, kind: &str) -> Option<&'a Object> {
    lookup::objects(definition, &["status", "conditions"])
        .find(|condition| lookup::text(condition, &["type"]) == kind)
}

/// Says nothing of this type any more. Whether anything was said.
pub(super) fn remove(definition: &mut Object, kind: &str) -> bool {
    if find(definition, kind).is_none() {
        return false;
    }
    let conditions = lookup::list_mut(definition, &["status"], "conditions");
    conditions.retain(|condition| condition["type"] != kind);
    true
}

/// Whether the condition of this type is true.
pub(super) fn is_true(definition: &Object, kind: &str) -> bool {
    find(definition, kind).is_some_and(|condition| lookup::text(condition, &["status"]) == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_with_the_status_alone() {
        let mut definition = Object::new();
        let condition = |status, reason| Condition::new(ESTABLISHED, status, reason, "m");
        condition(false, "Installing").set(&mut definition, "t1");
        condition(false, "Other").set(&mut definition, "t2");
        let time = |definition: &Object| {
            lookup::text(
                find(definition, ESTABLISHED).unwrap(),
                &["lastTransitionTime"],
            )
            .to_owned()
        };
        assert_eq!(time(&definition), "t1");
        assert!(condition(false, "Other").stands_in(&definition));
        condition(true, "Other").set(&mut definition, "t3");
        assert_eq!(time(&definition), "t3");
        assert!(is_true(&definition, ESTABLISHED));
        assert!(remove(&mut definition, ESTABLISHED));
        assert!(!remove(&mut definition, ESTABLISHED));
    }
}
