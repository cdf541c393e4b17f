//! Warnings about the finalizers that a write adds to a custom resource: their names should tell whose they are.
//!
//! Of the built-in kinds a name that does not is refused; custom resources have had such names for too long. Follows upstream's
//! `customresource` strategy.

use std::collections::BTreeSet;

use apimachinery::{Object, meta, names, quote};

/// Those that belong to the system.
const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// What the client is warned of.
pub(super) fn warnings(new: &Object, old: Option<&Object>) -> Vec<String> {
    let before: BTreeSet<&str> = old.into_iter().flat_map(meta::finalizers).collect();
    let now: BTreeSet<&str> = meta::finalizers(new).collect();
    let added = now.difference(&before);
    added.flat_map(|name| judge(name)).collect()
}

fn judge(name: &str) -> Vec<String> {
    let warning = |message: &str| format!("metadata.finalizers: {}: {message}", quote(name));
    let mut warnings: Vec<String> = names::qualified_name(name)
        .iter()
        .map(|message| warning(message))
        .collect();
    if !name.contains('/') && !STANDARD.contains(&name) {
        let path = if name.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        warnings.push(warning(&format!(
            "prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        )));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_new_and_nobodys() {
        let object = |finalizers: &[&str]| {
            let object = json!({"metadata": {"finalizers": finalizers}});
            object.as_object().unwrap().clone()
        };
        let new = object(&["orphan", "example.com/mine", "old", "example.com", "new"]);
        let old = object(&["old"]);
        assert_eq!(
            warnings(&new, Some(&old)),
            [
                "metadata.finalizers: \"example.com\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
                "metadata.finalizers: \"new\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers",
            ]
        );
        assert_eq!(warnings(&new, Some(&new)), [""; 0]);
    }
}
