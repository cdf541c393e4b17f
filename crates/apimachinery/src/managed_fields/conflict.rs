//! Fields that an apply wants to change and others own, told as upstream tells them.

use std::collections::BTreeMap;

use super::{
    Changes,
    managers::{Manager, Managers, OperationType},
    set::FieldSet,
};
use crate::status::StatusCause;

/// The fields of another manager.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The owner, as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// What it owns of what is to change.
    pub fields: FieldSet,
}

pub(super) fn find(managers: &Managers, this: &Manager, changes: &Changes) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (manager, owned) in managers.iter().filter(|(manager, _)| *manager != this) {
        let changed = &changes.of(&owned.api_version).changed;
        let fields = owned.fields.set().intersection(changed);
        if !fields.is_empty() {
            found.push(Conflict {
                manager: print(manager, &owned.api_version),
                fields,
            });
        }
    }
    found
}

fn print(manager: &Manager, api_version: &str) -> String {
    let mut out = crate::quote(&manager.name);
    if !manager.subresource.is_empty() {
        out.push_str(&format!(
            " with subresource {}",
            crate::quote(&manager.subresource)
        ));
    }
    if manager.operation == OperationType::Update {
        out.push_str(&format!(" using {api_version}"));
    }
    out
}

pub(super) fn causes(conflicts: &[Conflict]) -> Vec<StatusCause> {
    let causes = conflicts.iter().flat_map(|conflict| {
        let message = format!("conflict with {}", conflict.manager);
        let paths = conflict.fields.paths().into_iter();
        paths.map(move |path| StatusCause::new("FieldManagerConflict", message.clone(), path))
    });
    causes.collect()
}

pub(super) fn message(conflicts: &[Conflict]) -> String {
    let mut by_manager: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager
            .entry(&conflict.manager)
            .or_default()
            .extend(conflict.fields.paths());
    }
    let count: usize = by_manager.values().map(Vec::len).sum();
    if let (1, Some((manager, fields))) = (count, by_manager.iter().next()) {
        return format!(
            "Apply failed with 1 conflict: conflict with {manager}: {}",
            fields.concat()
        );
    }
    let mut lines = Vec::new();
    for (manager, fields) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(fields.iter().map(|field| format!("- {field}")));
    }
    format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
}
