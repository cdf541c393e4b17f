//! Rules of ephemeral containers, which have no ports, probes or resources of their own.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{Context, containers};
use crate::fields::Fields;

/// Fields that a container of a pod has and an ephemeral one has not, in the order of the internal struct.
const FORBIDDEN: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// `spec.ephemeralContainers`.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, spec: &Object, context: &Context<'_>) {
    let others: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.objects(list).map(|(_, c)| c.text("name")))
        .collect();
    let mut seen = others.clone();
    for (index, container) in spec.objects("ephemeralContainers") {
        let at = path.index(index);
        containers::container_common(errors, &at, container, context);
        containers::image_of_pod(errors, &at, container);
        containers::unique_name(errors, &at, container, &mut seen);
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            let at = at.child("targetContainerName");
            errors.push(FieldError::not_found(&at, target));
        }
        for field in FORBIDDEN.iter().filter(|field| is_set(container, field)) {
            forbid(errors, &at.child(field));
        }
        for (i, mount) in container.objects("volumeMounts") {
            for field in ["subPath", "subPathExpr"] {
                if !mount.text(field).is_empty() {
                    forbid(errors, &at.child("volumeMounts").index(i).child(field));
                }
            }
        }
    }
}

fn forbid(errors: &mut ErrorList, path: &Path) {
    errors.push(FieldError::forbidden(
        path,
        "cannot be set for an Ephemeral Container",
    ));
}

/// Whether a field is more than its zero: an empty list is, an object without members behind no pointer is not.
fn is_set(container: &Object, field: &str) -> bool {
    match container.value(field) {
        Some(Value::Object(requirements)) if field == "resources" => !requirements.is_empty(),
        value => value.is_some(),
    }
}
