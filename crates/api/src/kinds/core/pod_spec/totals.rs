//! Resources of a pod as a whole (KEP-2837): no less than its containers ask for, no less than any may have.

use std::collections::BTreeMap;

use apimachinery::{
    Object, Quantity,
    field::{ErrorList, FieldError, Path},
};

use super::{Context, resources};
use crate::fields::{Fields, quantity};

type Amounts<'a> = BTreeMap<&'a str, Quantity>;

/// `spec.resources`.
pub(super) fn of_pod(errors: &mut ErrorList, path: &Path, spec: &Object, context: &Context<'_>) {
    let Some(requirements) = spec.object("resources") else {
        return;
    };
    let path = path.child("resources");
    if context.os == Some("windows") {
        let detail = "may not be set for a windows pod";
        errors.push(FieldError::forbidden(&path, detail));
        return;
    }
    if requirements.has("claims") {
        errors.push(FieldError::forbidden(
            &path.child("claims"),
            "claims may not be set for Resources at pod-level",
        ));
    }
    resources::of_pod(errors, &path, requirements, &context.resource_claims);
    let amount = |part: &str, name: &str| {
        let amounts = requirements.object(part)?;
        amounts.get(name).and_then(quantity)
    };
    for (name, total) in sum(spec, "requests") {
        let Some(request) = amount("requests", name).filter(|request| total > *request) else {
            continue;
        };
        errors.push(FieldError::invalid(
            &path.child("requests").key(name),
            request.to_string(),
            format!("must be greater than or equal to aggregate container requests of {total}"),
        ));
    }
    for (name, total) in sum(spec, "limits") {
        let Some(limit) = amount("limits", name).filter(|limit| total > *limit) else {
            continue;
        };
        if name.starts_with("hugepages-") {
            errors.push(FieldError::invalid(
                &path.child("limits").key(name),
                limit.to_string(),
                format!("must be greater than or equal to aggregate container limits of {total}"),
            ));
        }
    }
    for (index, container) in spec.objects("containers") {
        for (name, own) in amounts_of(container, "limits") {
            let Some(limit) = amount("limits", name).filter(|limit| own > *limit) else {
                continue;
            };
            // Upstream's path is that of nothing.
            errors.push(FieldError::invalid(
                &path
                    .child("containers")
                    .index(index)
                    .key(name)
                    .child("limits"),
                own.to_string(),
                format!("must be less than or equal to pod limits of {limit}"),
            ));
        }
    }
}

fn amounts_of<'a>(container: &'a Object, part: &str) -> Amounts<'a> {
    let amounts = container
        .object("resources")
        .and_then(|resources| resources.object(part));
    let amounts = amounts.into_iter().flatten();
    amounts
        .filter_map(|(name, value)| Some((name.as_str(), quantity(value)?)))
        .collect()
}

/// What the containers need at once: all of them with the sidecars, or an init container with the sidecars before it.
pub(super) fn sum<'a>(spec: &'a Object, part: &str) -> Amounts<'a> {
    let mut all = Amounts::new();
    for (_, container) in spec.objects("containers") {
        add(&mut all, &amounts_of(container, part));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for (_, container) in spec.objects("initContainers") {
        let own = amounts_of(container, part);
        let mut at_once = sidecars.clone();
        add(&mut at_once, &own);
        if container.text("restartPolicy") == "Always" {
            add(&mut all, &own);
            sidecars.clone_from(&at_once);
        }
        raise(&mut starting, &at_once);
    }
    raise(&mut all, &starting);
    all
}

fn add<'a>(sum: &mut Amounts<'a>, more: &Amounts<'a>) {
    for (name, amount) in more {
        let total = match sum.remove(name) {
            Some(before) => before + *amount,
            None => *amount,
        };
        sum.insert(name, total);
    }
}

fn raise<'a>(highest: &mut Amounts<'a>, other: &Amounts<'a>) {
    for (name, amount) in other {
        if highest.get(name).is_none_or(|before| before < amount) {
            highest.insert(name, *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sidecars_run_beside_all_others() {
        let spec = json!({
            "initContainers": [
                {"resources": {"requests": {"cpu": "3"}}},
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"resources": {"requests": {"cpu": "3"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        });
        let total = sum(spec.as_object().unwrap(), "requests");
        assert_eq!(total["cpu"].to_string(), "4");
        assert_eq!(total["memory"].to_string(), "1Gi");
    }
}
