//! Whether the schemas of a definition say the type of everything, so that objects can be pruned by them.
//!
//! Nobody can create a definition of which that is not true; those that an older server has stored may be so. Follows upstream's
//! `nonstructuralschema` controller.

use ::apiextensions::validation;
use apimachinery::{Object, status::aggregate};

use super::conditions::{Condition, NON_STRUCTURAL_SCHEMA};

/// What is to be said; `None` where all is well.
pub(super) fn judge(definition: &Object) -> Option<Condition> {
    let said = |status, reason, message: String| {
        Some(Condition::new(
            NON_STRUCTURAL_SCHEMA,
            status,
            reason,
            message,
        ))
    };
    match validation::structure(definition) {
        Ok(errors) if errors.is_empty() => None,
        Ok(errors) => said(Some(true), "Violations", aggregate(&errors)),
        Err(uncheckable) => said(None, "StructuralError", uncheckable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(preserve: bool, schema: Value) -> Option<(&'static str, Option<bool>, String)> {
        let definition = json!({"spec": {
            "preserveUnknownFields": preserve, "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}],
        }});
        judge(definition.as_object().unwrap()).map(|c| (c.reason, c.status, c.message))
    }

    #[test]
    fn only_what_is_wrong_is_said() {
        assert_eq!(judged(false, json!({"type": "object"})), None);
        let (reason, status, message) = judged(true, json!({})).unwrap();
        assert_eq!((reason, status), ("Violations", Some(true)));
        assert_eq!(
            message,
            "[spec.preserveUnknownFields: Invalid value: true: must be false, spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root]"
        );
        let (reason, status, message) = judged(false, json!({"$ref": "#/x"})).unwrap();
        assert_eq!((reason, status), ("StructuralError", None));
        assert_eq!(
            message,
            "failed to check validation schema for version v1: OpenAPIV3Schema '$ref' is not supported"
        );
    }
}
