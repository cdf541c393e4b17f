//! Label selectors, and selectors of nodes.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{invalid_shown, text};
use crate::{fields::Fields, internal, meta, names};

/// A `LabelSelector`.
pub fn label_selector(errors: &mut ErrorList, path: &Path, selector: &Object) {
    errors.extend(meta::validate_labels(
        selector.object("matchLabels"),
        &path.child("matchLabels"),
    ));
    for (index, expression) in selector.objects("matchExpressions") {
        let at = path.child("matchExpressions").index(index);
        let some = !expression.list("values").is_empty();
        match expression.text("operator") {
            "In" | "NotIn" if !some => errors.push(FieldError::required(
                &at.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if some => errors.push(FieldError::forbidden(
                &at.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &at.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = expression.text("key");
        text(errors, &at.child("key"), key, names::qualified_name(key));
        for (i, value) in expression.texts("values").enumerate() {
            text(
                errors,
                &at.child("values").index(i),
                value,
                names::label_value(value),
            );
        }
    }
}

/// Whether a `LabelSelector` can be made into a selector at all.
pub fn can_select(selector: &Object) -> bool {
    let mut labels = selector.object("matchLabels").into_iter().flatten();
    let label = |(key, value): (&String, &Value)| {
        names::qualified_name(key).is_empty()
            && value
                .as_str()
                .is_none_or(|v| names::label_value(v).is_empty())
    };
    labels.all(label)
        && selector.objects("matchExpressions").all(|(_, e)| {
            let some = !e.list("values").is_empty();
            let fits = match e.text("operator") {
                "In" | "NotIn" => some,
                "Exists" | "DoesNotExist" => !some,
                _ => false,
            };
            fits && names::qualified_name(e.text("key")).is_empty()
                && e.texts("values").all(|v| names::label_value(v).is_empty())
        })
}

/// Whether a `LabelSelector` selects nothing in particular, and so all.
pub fn is_empty(selector: &Object) -> bool {
    selector.object("matchLabels").is_none_or(Object::is_empty)
        && selector.list("matchExpressions").is_empty()
}

/// Whether a `LabelSelector` selects these labels.
pub fn matches(selector: &Object, labels: Option<&Object>) -> bool {
    let empty = Object::new();
    let labels = labels.unwrap_or(&empty);
    let equal = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    selector
        .object("matchLabels")
        .is_none_or(|m| m.iter().all(equal))
        && selector.objects("matchExpressions").all(|(_, e)| {
            let value = labels.get(e.text("key"));
            let listed = value.is_some_and(|v| e.list("values").contains(v));
            match e.text("operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// The terms of a node selector.
pub fn node_selector(errors: &mut ErrorList, path: &Path, selector: &Object) {
    let terms = path.child("nodeSelectorTerms");
    if selector.list("nodeSelectorTerms").is_empty() {
        let advice = "must have at least one node selector term";
        errors.push(FieldError::required(&terms, advice));
    }
    for (index, term) in selector.objects("nodeSelectorTerms") {
        node_selector_term(errors, &terms.index(index), term, true);
    }
}

/// One term: expressions over labels and over fields, of which there is one, the name. A `strict` one has values that labels can have.
pub fn node_selector_term(errors: &mut ErrorList, path: &Path, term: &Object, strict: bool) {
    for (index, expression) in term.objects("matchExpressions") {
        let at = path.child("matchExpressions").index(index);
        let count = expression.list("values").len();
        match expression.text("operator") {
            "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
                &at.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(FieldError::forbidden(
                &at.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if count != 1 => errors.push(FieldError::required(
                &at.child("values"),
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(FieldError::invalid(
                &at.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = expression.text("key");
        text(errors, &at.child("key"), key, names::qualified_name(key));
        if strict {
            for (i, value) in expression.texts("values").enumerate() {
                let at = at.child("values").index(i);
                text(errors, &at, value, names::label_value(value));
            }
        }
    }
    for (index, expression) in term.objects("matchFields") {
        let at = path.child("matchFields").index(index);
        match expression.text("operator") {
            "In" | "NotIn" if expression.list("values").len() != 1 => {
                errors.push(FieldError::required(
                    &at.child("values"),
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                ));
            }
            "In" | "NotIn" => {}
            other => errors.push(FieldError::invalid(
                &at.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        if expression.text("key") == "metadata.name" {
            for (i, value) in expression.texts("values").enumerate() {
                text(
                    errors,
                    &at.child("values").index(i),
                    value,
                    names::dns1123_subdomain(value),
                );
            }
        } else {
            errors.push(FieldError::invalid(
                &at.child("key"),
                expression.text("key"),
                "not a valid field selector key",
            ));
        }
    }
}

/// Terms of topology: which values labels of nodes may have. No key twice in a term, no term twice.
pub fn topology_selector_terms(errors: &mut ErrorList, path: &Path, terms: &[Value]) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let at = path.index(index).child("matchLabelExpressions");
        let mut expressions = BTreeMap::new();
        let term = term.as_object().into_iter();
        for (i, expression) in term.flat_map(|t| t.objects("matchLabelExpressions")) {
            let at = at.index(i);
            let values = at.child("values");
            let mut set = BTreeSet::new();
            if expression.list("values").is_empty() {
                errors.push(FieldError::required(&values, ""));
            }
            for (i, value) in expression.texts("values").enumerate() {
                if !set.insert(value) {
                    errors.push(FieldError::duplicate(&values.index(i), value));
                }
            }
            let key = expression.text("key");
            text(errors, &at.child("key"), key, names::qualified_name(key));
            if expressions.insert(key, set).is_some() {
                errors.push(FieldError::duplicate(&at.child("key"), key));
            }
        }
        // Upstream compares with as many empty places as there are terms, too: they equal a term without expressions.
        let unfilled = usize::from(expressions.is_empty()) * terms.len();
        let same = seen.iter().filter(|other| **other == expressions).count();
        for _ in 0..same + unfilled {
            errors.push(FieldError::duplicate(&at, ""));
        }
        seen.push(expressions);
    }
}

const LABEL_SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";

/// `spec.selector` of a workload: required, and not empty. Whether it can be read; one that is not there can, and selects nothing.
pub fn of_workload(
    errors: &mut ErrorList,
    path: &Path,
    selector: Option<&Object>,
    when_empty: &str,
) -> bool {
    let Some(selector) = selector else {
        errors.push(FieldError::required(path, ""));
        return true;
    };
    let before = errors.len();
    label_selector(errors, path, selector);
    let sound = errors.len() == before;
    if is_empty(selector) {
        errors.push(invalid(path, Some(selector), when_empty));
    }
    sound
}

/// `Invalid value` of a whole selector, with its fields in Go's order.
pub fn invalid(path: &Path, selector: Option<&Object>, detail: &str) -> FieldError {
    let shown = match selector {
        Some(selector) => internal::shown(LABEL_SELECTOR, Some(&Value::Object(selector.clone()))),
        None => "null".to_owned(),
    };
    invalid_shown(path, &shown, detail)
}

/// A workload keeps the pods it has: `spec.selector` never changes.
pub fn immutable(new: &Object, old: &Object) -> Option<FieldError> {
    let selector = |object: &Object| {
        object
            .object("spec")
            .and_then(|s| s.get("selector"))
            .cloned()
    };
    let (now, then) = (selector(new), selector(old));
    let same = now.is_some() == then.is_some()
        && internal::same(LABEL_SELECTOR, now.as_ref(), then.as_ref());
    let path = Path::new("spec").child("selector");
    (!same).then(|| {
        invalid(
            &path,
            now.as_ref().and_then(Value::as_object),
            "field is immutable",
        )
    })
}

/// The labels of the template must meet the selector; none is met by no labels, an empty one by all.
pub fn template_matches(errors: &mut ErrorList, spec_path: &Path, spec: &Object) {
    let labels = spec
        .object("template")
        .and_then(|t| t.object("metadata"))
        .and_then(|m| m.object("labels"));
    let met = spec
        .object("selector")
        .is_some_and(|selector| matches(selector, labels));
    if !met {
        errors.push(mismatch(spec_path, labels));
    }
}

/// The complaint that the labels of a template do not meet the selector.
pub fn mismatch(spec_path: &Path, labels: Option<&Object>) -> FieldError {
    FieldError::invalid(
        &spec_path
            .child("template")
            .child("metadata")
            .child("labels"),
        labels.map_or(Value::Null, |l| Value::Object(l.clone())),
        "`selector` does not match template `labels`",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selects() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "NotIn", "values": ["d"]}, {"key": "e", "operator": "DoesNotExist"}]});
        let selector = selector.as_object().unwrap();
        assert!(matches(selector, json!({"a": "b"}).as_object()));
        assert!(!matches(selector, json!({"a": "b", "c": "d"}).as_object()));
        assert!(!matches(selector, None));
    }
}
