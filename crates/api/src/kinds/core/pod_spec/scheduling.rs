//! Rules of affinity, tolerations, spreading and gates.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    meta, names,
    validate::{one_of, selectors, text},
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `spec.affinity`.
pub(super) fn affinity(errors: &mut ErrorList, path: &Path, affinity: &Object) {
    if let Some(node) = affinity.object("nodeAffinity") {
        let at = path.child("nodeAffinity");
        if let Some(required) = node.object(REQUIRED) {
            selectors::node_selector(errors, &at.child(REQUIRED), required);
        }
        for (index, term) in node.objects(PREFERRED) {
            let at = at.child(PREFERRED).index(index);
            weight(errors, &at, term);
            if let Some(preference) = term.object("preference") {
                selectors::node_selector_term(errors, &at.child("preference"), preference, false);
            }
        }
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = affinity.object(name) else {
            continue;
        };
        let at = path.child(name);
        for (index, term) in pods.objects(REQUIRED) {
            pod_affinity_term(errors, &at.child(REQUIRED).index(index), term);
        }
        for (index, weighted) in pods.objects(PREFERRED) {
            let at = at.child(PREFERRED).index(index);
            weight(errors, &at, weighted);
            if let Some(term) = weighted.object("podAffinityTerm") {
                pod_affinity_term(errors, &at.child("podAffinityTerm"), term);
            }
        }
    }
}

fn weight(errors: &mut ErrorList, path: &Path, term: &Object) {
    let weight = term.int("weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(
            &path.child("weight"),
            weight,
            "must be in the range 1-100",
        ));
    }
}

fn pod_affinity_term(errors: &mut ErrorList, path: &Path, term: &Object) {
    for name in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = term.object(name) {
            selectors::label_selector(errors, &path.child(name), selector);
        }
    }
    for name in term.texts("namespaces") {
        text(
            errors,
            &path.child("namespace"),
            name,
            names::dns1123_label(name),
        );
    }
    label_keys(errors, path, term);
    let key = term.text("topologyKey");
    let at = path.child("topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&at, "can not be empty"));
    }
    text(errors, &at, key, names::qualified_name(key));
}

/// `matchLabelKeys` and `mismatchLabelKeys`: keys of labels that the selector does not name already, and that are not in both.
fn label_keys(errors: &mut ErrorList, path: &Path, owner: &Object) {
    let selector = owner.object("labelSelector");
    for name in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = path.child(name);
        if owner.list(name).is_empty() {
            continue;
        }
        if selector.is_none() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(&at, detail));
            continue;
        }
        for (index, key) in owner.texts(name).enumerate() {
            text(errors, &at.index(index), key, names::qualified_name(key));
        }
    }
    let keys: Vec<&str> = owner.texts("matchLabelKeys").collect();
    if let Some(selector) = selector {
        let labels = selector.object("matchLabels").into_iter().flatten();
        let mut seen: BTreeSet<&str> = labels.map(|(key, _)| key.as_str()).collect();
        for (_, expression) in selector.objects("matchExpressions") {
            let key = expression.text("key");
            // The registry puts the keys into the selector; one that then stands there twice was there before. Upstream's path
            // misses the name of the list.
            if seen.contains(&key)
                && let Some(index) = keys.iter().rposition(|k| *k == key)
            {
                let detail = "exists in both matchLabelKeys and labelSelector";
                errors.push(FieldError::invalid(&path.index(index), key, detail));
            }
            seen.insert(key);
        }
    }
    let others: Vec<&str> = owner.texts("mismatchLabelKeys").collect();
    for (index, key) in keys.iter().enumerate().filter(|(_, k)| others.contains(k)) {
        let at = path.child("matchLabelKeys").index(index);
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(&at, *key, detail));
    }
}

/// `spec.tolerations`.
pub(crate) fn tolerations(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (index, toleration) in spec.objects("tolerations") {
        let at = path.index(index);
        let key = toleration.text("key");
        if !key.is_empty() {
            text(errors, &at.child("key"), key, names::qualified_name(key));
        }
        let operator = toleration.text("operator");
        if key.is_empty() && operator != "Exists" {
            errors.push(FieldError::invalid(
                &at.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        let effect = toleration.text("effect");
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            errors.push(FieldError::invalid(
                &at.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        let value = toleration.text("value");
        match operator {
            "Equal" | "" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    let detail = complaints.join(";");
                    errors.push(FieldError::invalid(&at.child("operator"), value, detail));
                }
            }
            "Exists" if !value.is_empty() => errors.push(FieldError::invalid(
                &at.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            )),
            "Exists" => {}
            other => {
                // Comparisons are known, and belong to a gate that 1.36 leaves closed.
                let supported: &[&str] = match other {
                    "Lt" | "Gt" => &["Equal", "Exists", "Lt", "Gt"],
                    _ => &["Equal", "Exists"],
                };
                let at = at.child("operator");
                errors.push(FieldError::not_supported(&at, other, supported));
            }
        }
        if !effect.is_empty() {
            taint_effect(errors, &at.child("effect"), effect);
        }
    }
}

/// The effect of a taint.
pub(crate) fn taint_effect(errors: &mut ErrorList, path: &Path, effect: &str) {
    one_of(
        errors,
        path,
        effect,
        &["NoSchedule", "PreferNoSchedule", "NoExecute"],
    );
}

/// `spec.topologySpreadConstraints`.
pub(super) fn topology_spread(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut last: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, constraint) in spec.objects("topologySpreadConstraints") {
        let key = (
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
        );
        last.insert(key, index);
    }
    for (index, constraint) in spec.objects("topologySpreadConstraints") {
        let at = path.index(index);
        let skew = constraint.int("maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(
                &at.child("maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        let key = constraint.text("topologyKey");
        if key.is_empty() {
            let at = at.child("topologyKey");
            errors.push(FieldError::required(&at, "can not be empty"));
        }
        let when = constraint.text("whenUnsatisfiable");
        one_of(
            errors,
            &at.child("whenUnsatisfiable"),
            when,
            &["DoNotSchedule", "ScheduleAnyway"],
        );
        // One of the same stands further down.
        if last.get(&(key, when)) != Some(&index) {
            errors.push(FieldError::duplicate(
                &at.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {when}}}"),
            ));
        }
        if let Some(domains) = constraint.int("minDomains") {
            let at = at.child("minDomains");
            if domains <= 0 {
                let detail = "must be greater than zero";
                errors.push(FieldError::invalid(&at, domains, detail));
            }
            if when != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                );
                errors.push(FieldError::invalid(&at, domains, detail));
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if constraint.has(name) {
                one_of(
                    errors,
                    &at.child(name),
                    constraint.text(name),
                    &["Honor", "Ignore"],
                );
            }
        }
        label_keys(errors, &at, constraint);
        if let Some(selector) = constraint.object("labelSelector") {
            selectors::label_selector(errors, &at.child("labelSelector"), selector);
        }
    }
}

/// `spec.readinessGates` and `spec.schedulingGates`.
pub(super) fn gates(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (index, gate) in spec.objects("readinessGates") {
        let kind = gate.text("conditionType");
        let at = path
            .child("readinessGates")
            .index(index)
            .child("conditionType");
        text(errors, &at, kind, names::qualified_name(kind));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, gate) in spec.objects("schedulingGates") {
        let at = path.child("schedulingGates").index(index);
        let name = gate.text("name");
        text(errors, &at, name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at, name));
        }
    }
}

/// `spec.nodeSelector`.
pub(super) fn node_selector(errors: &mut ErrorList, path: &Path, spec: &Object) {
    errors.extend(meta::validate_labels(spec.object("nodeSelector"), path));
}
