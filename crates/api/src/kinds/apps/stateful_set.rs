//! `apps/v1` StatefulSet: pods with names and storage of their own. Of the spec only what the controller can follow may change.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same},
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::{
        persistent_volume_claim,
        pod_spec::{self, defaults},
    },
    lifecycle,
    validate::{
        int_or_percent, invalid_shown, is_zero, non_negative, non_negatives,
        not_more_than_100_percent, one_of, selectors,
    },
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "statefulsets"),
    gvk: GroupVersionKind::new("apps", "v1", "StatefulSet"),
    singular: "statefulset",
    scope: Scope::Namespaced,
    short_names: &["sts"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "StatefulSet")),
    ],
    storage: Some(Storage::plain("statefulsets")),
    strategy: &StatefulSetStrategy,
};

#[derive(Debug)]
struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default_zero("podManagementPolicy", "OrderedReady");
        spec.set_default("serviceName", "");
        let strategy = spec.ensure_object("updateStrategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            strategy
                .ensure_object("rollingUpdate")
                .set_default("partition", 0);
        }
        let retention = spec.ensure_object("persistentVolumeClaimRetentionPolicy");
        retention.set_default_zero("whenDeleted", "Retain");
        retention.set_default_zero("whenScaled", "Retain");
        spec.set_default("replicas", 1);
        spec.set_default("revisionHistoryLimit", 10);
        spec.each_object("volumeClaimTemplates", |claim| {
            claim.set_default_zero("apiVersion", "v1");
            claim.set_default_zero("kind", "PersistentVolumeClaim");
            persistent_volume_claim::default(claim);
        });
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_template(object);
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        const MUTABLE: &[&str] = &[
            "replicas",
            "template",
            "updateStrategy",
            "minReadySeconds",
            "ordinals",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
        ];
        let rest = |object: &Object| {
            let mut spec = object.object("spec").cloned().unwrap_or_default();
            for field in MUTABLE {
                spec.remove(*field);
            }
            serde_json::Value::Object(spec)
        };
        if !same(Some(&rest(new)), Some(&rest(old))) {
            errors.push(FieldError::forbidden(
                &Path::new("spec"),
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }
    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let path = Path::new("status");
        let status = new.object("status").unwrap_or(&empty);
        non_negatives(
            &mut errors,
            &path,
            status,
            &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
            ],
        );
        let count = |field| status.int(field).unwrap_or(0);
        for field in [
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ] {
            if count(field) > count("replicas") {
                errors.push(FieldError::invalid(
                    &path.child(field),
                    count(field),
                    "cannot be greater than status.replicas",
                ));
            }
        }
        if count("availableReplicas") > count("readyReplicas") {
            errors.push(FieldError::invalid(
                &path.child("availableReplicas"),
                count("availableReplicas"),
                "cannot be greater than status.readyReplicas",
            ));
        }
        errors
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let template = |o: &Object| o.object("spec").and_then(|s| s.object("template")).cloned();
        let path = Path::new("spec").child("template");
        let old = old.and_then(template);
        pod_spec::warnings::of_template(&path, template(new).as_ref(), old.as_ref())
    }
}

/// The rules of `spec`.
fn validate_spec(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let policy = spec.text("podManagementPolicy");
    if policy.is_empty() {
        errors.push(FieldError::required(&path.child("podManagementPolicy"), ""));
    } else if !matches!(policy, "OrderedReady" | "Parallel") {
        errors.push(FieldError::invalid(
            &path.child("podManagementPolicy"),
            policy,
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    update_strategy(
        errors,
        &path.child("updateStrategy"),
        spec.object("updateStrategy").unwrap_or(&empty),
    );
    if let Some(retention) = spec.object("persistentVolumeClaimRetentionPolicy") {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            one_of(
                errors,
                &at.child(field),
                retention.text(field),
                &["Retain", "Delete"],
            );
        }
    }
    non_negatives(errors, &path, spec, &["replicas", "minReadySeconds"]);
    if let Some(ordinals) = spec.object("ordinals") {
        non_negative(
            errors,
            &path.child("ordinals").child("start"),
            ordinals.int("start"),
        );
    }
    match spec.object("selector") {
        None => errors.push(FieldError::required(&path.child("selector"), "")),
        Some(selector) => {
            selectors::label_selector(errors, &path.child("selector"), selector);
            if selectors::is_empty(selector) {
                errors.push(FieldError::invalid(
                    &path.child("selector"),
                    serde_json::Value::Object(selector.clone()),
                    "empty selector is invalid for statefulset",
                ));
            }
        }
    }
    selectors::template_matches(errors, &path, spec);
    pod_spec::validate_template_of_service(
        errors,
        &path.child("template"),
        spec.object("template"),
    );
    non_negative(
        errors,
        &path.child("revisionHistoryLimit"),
        spec.int("revisionHistoryLimit"),
    );
}

fn update_strategy(errors: &mut ErrorList, path: &Path, strategy: &Object) {
    let rolling = strategy.object("rollingUpdate");
    let shown = rolling.map_or("null".to_owned(), |r| {
        let field = |name| r.value(name).map_or("null".to_owned(), |v| v.to_string());
        let partition = r.int("partition").unwrap_or(0);
        format!(
            "{{\"Partition\":{partition},\"MaxUnavailable\":{}}}",
            field("maxUnavailable")
        )
    });
    match strategy.text("type") {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" => {
            if rolling.is_some() {
                errors.push(invalid_shown(
                    &path.child("rollingUpdate"),
                    &shown,
                    "only allowed for updateStrategy 'RollingUpdate'",
                ));
            }
        }
        "RollingUpdate" => {
            let at = path.child("rollingUpdate");
            let Some(rolling) = rolling else { return };
            non_negative(errors, &at.child("partition"), rolling.int("partition"));
            if let Some(value) = rolling.value("maxUnavailable") {
                int_or_percent(errors, &at.child("maxUnavailable"), value);
                if is_zero(Some(value)) {
                    errors.push(FieldError::invalid(
                        &at.child("maxUnavailable"),
                        value.clone(),
                        "cannot be 0",
                    ));
                }
                not_more_than_100_percent(errors, &at.child("maxUnavailable"), value);
            }
        }
        other => errors.push(invalid_shown(
            path,
            &format!("{{\"Type\":{other:?},\"RollingUpdate\":{shown}}}"),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
}
