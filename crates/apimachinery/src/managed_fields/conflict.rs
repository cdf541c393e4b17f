//! Fields that an apply wants to change and others own, told as upstream tells them.

use std::collections::BTreeMap;

use super::{
    Changes,
    managers::{Manager, Managers, OperationType},
};
use crate::status::StatusCause;

/// One field of another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub field: String,
}

pub(super) fn find(managers: &Managers, this: &Manager, changes: &Changes) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (manager, owned) in managers.iter().filter(|(manager, _)| *manager != this) {
        for field in owned.intersection(&changes.of(manager).changed).paths() {
            found.push(Conflict {
                manager: print(manager),
                field,
            });
        }
    }
    found
}

fn print(manager: &Manager) -> String {
    let mut out = crate::quote(&manager.name);
    if !manager.subresource.is_empty() {
        out.push_str(&format!(
            " with subresource {}",
            crate::quote(&manager.subresource)
        ));
    }
    if manager.operation == OperationType::Update {
        out.push_str(&format!(" using {}", manager.api_version));
    }
    out
}

pub(super) fn causes(conflicts: &[Conflict]) -> Vec<StatusCause> {
    let cause = |c: &Conflict| {
        StatusCause::new(
            "FieldManagerConflict",
            format!("conflict with {}", c.manager),
            &*c.field,
        )
    };
    conflicts.iter().map(cause).collect()
}

pub(super) fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager, one.field
        );
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager
            .entry(&conflict.manager)
            .or_default()
            .push(&conflict.field);
    }
    let mut lines = Vec::new();
    for (manager, fields) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(fields.iter().map(|field| format!("- {field}")));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}
