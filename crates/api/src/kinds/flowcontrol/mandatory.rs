//! The objects of flow control that no cluster does without, `exempt` and `catch-all`: what they say cannot be changed, but for the seats
//! that level `exempt` lends.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, Path},
};
use serde_json::{Value, json};

use crate::{internal, validate::shown_as};

/// What they are called: a FlowSchema and a PriorityLevelConfiguration each.
pub const NAMES: [&str; 2] = ["exempt", "catch-all"];

/// The spec of a mandatory FlowSchema.
pub fn flow_schema_spec(name: &str) -> Option<Value> {
    let everything = |subjects: Value| {
        json!([{
            "subjects": subjects,
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    match name {
        "exempt" => Some(json!({
            "priorityLevelConfiguration": {"name": "exempt"},
            "matchingPrecedence": 1,
            "rules": everything(json!([group("system:masters")])),
        })),
        "catch-all" => Some(json!({
            "priorityLevelConfiguration": {"name": "catch-all"},
            "matchingPrecedence": 10_000,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": everything(json!([group("system:unauthenticated"), group("system:authenticated")])),
        })),
        _ => None,
    }
}

/// The spec of a mandatory PriorityLevelConfiguration.
pub fn priority_level_spec(name: &str) -> Option<Value> {
    match name {
        "exempt" => Some(json!({
            "type": "Exempt",
            "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
        })),
        "catch-all" => Some(json!({
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 5,
                "limitResponse": {"type": "Reject"},
                "lendablePercent": 0,
            },
        })),
        _ => None,
    }
}

/// Complains if a mandatory FlowSchema says anything else.
pub(super) fn fixed_flow_schema(errors: &mut ErrorList, name: &str, spec: Option<&Value>) {
    let ty = "io.k8s.api.flowcontrol.v1.FlowSchemaSpec";
    if let Some(fixed) = flow_schema_spec(name) {
        let detail = format!("spec of '{name}' must equal the fixed value");
        must_equal(errors, ty, spec, spec, &fixed, &detail);
    }
}

/// Complains if a mandatory PriorityLevelConfiguration says anything else. How much of `exempt` others borrow is the administrator's.
pub(super) fn fixed_priority_level(errors: &mut ErrorList, name: &str, spec: Option<&Value>) {
    let ty = "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec";
    let Some(fixed) = priority_level_spec(name) else {
        return;
    };
    if name == "exempt" {
        let mut compared: Object = spec.and_then(Value::as_object).cloned().unwrap_or_default();
        compared.insert("exempt".to_owned(), fixed["exempt"].clone());
        let compared = Value::Object(compared);
        let detail = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
        must_equal(errors, ty, spec, Some(&compared), &fixed, detail);
    } else {
        let detail = format!("spec of '{name}' must equal the fixed value");
        must_equal(errors, ty, spec, spec, &fixed, &detail);
    }
}

fn must_equal(
    errors: &mut ErrorList,
    ty: &str,
    spec: Option<&Value>,
    compared: Option<&Value>,
    fixed: &Value,
    detail: &str,
) {
    if !internal::same(ty, compared, Some(fixed)) {
        let shown = internal::shown(ty, spec);
        errors.push(shown_as(
            ErrorType::Invalid,
            &Path::new("spec"),
            &shown,
            detail,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mandatory_objects_say_what_they_must() {
        let complaints = |name: &str, spec: &Value| {
            let mut errors = ErrorList::new();
            fixed_flow_schema(&mut errors, name, Some(spec));
            errors
        };
        let mut spec = flow_schema_spec("exempt").unwrap();
        assert!(complaints("exempt", &spec).is_empty());
        spec["matchingPrecedence"] = 7.into();
        assert!(complaints("own", &spec).is_empty());
        let complaint = complaints("exempt", &spec).remove(0).to_string();
        assert!(
            complaint.starts_with(
                r#"spec: Invalid value: {"PriorityLevelConfiguration":{"Name":"exempt"},"MatchingPrecedence":7,"DistinguisherMethod":null,"Rules":[{"#
            ),
            "{complaint}"
        );
        assert!(complaint.ends_with("spec of 'exempt' must equal the fixed value"));
    }

    #[test]
    fn what_level_exempt_lends_may_be_changed() {
        let complaints = |name: &str, spec: &Value| {
            let mut errors = ErrorList::new();
            fixed_priority_level(&mut errors, name, Some(spec));
            errors.len()
        };
        let mut exempt = priority_level_spec("exempt").unwrap();
        exempt["exempt"]["lendablePercent"] = 40.into();
        assert_eq!(complaints("exempt", &exempt), 0);
        exempt["type"] = "Limited".into();
        assert_eq!(complaints("exempt", &exempt), 1);
        let mut last = priority_level_spec("catch-all").unwrap();
        assert_eq!(complaints("catch-all", &last), 0);
        last["limited"]["lendablePercent"] = 40.into();
        assert_eq!(complaints("catch-all", &last), 1);
    }
}
