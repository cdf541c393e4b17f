//! `apps/v1` StatefulSet: pods with names and storage of their own. Of the spec only what the controller can follow may change.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta as of,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::{
        apps::deployment::not_decremented,
        core::{
            persistent_volume_claim,
            pod_spec::{self, defaults, template},
        },
    },
    lifecycle, meta, names,
    validate::{
        int_or_percent, invalid_shown, is_zero, non_negative, non_negatives,
        not_more_than_100_percent, one_of, selectors, text,
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
        // Who names the type and says no more gets no more.
        if strategy.text("type").is_empty() {
            strategy.set("type", "RollingUpdate");
            strategy.ensure_object("rollingUpdate");
        }
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = strategy.object_mut("rollingUpdate")
        {
            rolling.set_default("partition", 0);
        }
        let retention = spec.ensure_object("persistentVolumeClaimRetentionPolicy");
        retention.set_default_zero("whenDeleted", "Retain");
        retention.set_default_zero("whenScaled", "Retain");
        spec.set_default("replicas", 1);
        spec.set_default("revisionHistoryLimit", 10);
        spec.each_object("volumeClaimTemplates", |claim| {
            claim.set("apiVersion", "v1");
            claim.set("kind", "PersistentVolumeClaim");
            persistent_volume_claim::default(claim);
        });
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_disabled(object, None);
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        drop_disabled(new, Some(old));
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object, true);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, new, false);
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
        let ty = "io.k8s.api.apps.v1.StatefulSetSpec";
        if !internal::same(ty, Some(&rest(new)), Some(&rest(old))) {
            errors.push(FieldError::forbidden(
                &Path::new("spec"),
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::dns1123_label(&names::mask_trailing_dash(name))
        } else {
            names::dns1123_label(name)
        }
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
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
                "collisionCount",
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
        // Here, alone of all kinds, the metadata comes after the status.
        errors.extend(meta::validate_update(new, old));
        let before = old.object("status").unwrap_or(&empty);
        errors.extend(not_decremented(&path, status, before));
        errors
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        false
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let template = |o: &Object| o.object("spec").and_then(|s| s.object("template")).cloned();
        let path = Path::new("spec");
        let mut warnings = Vec::new();
        if old.is_none_or(|old| of::generation(new) != of::generation(old)) {
            let old = old.and_then(template);
            warnings = pod_spec::warnings::of_template(
                &path.child("template"),
                template(new).as_ref(),
                old.as_ref(),
            );
        }
        let empty = Object::new();
        let spec = new.object("spec").unwrap_or(&empty);
        for (index, claim) in spec.objects("volumeClaimTemplates") {
            let mut at = path.child("volumeClaimTemplates").index(index);
            // So upstream names it, when it is not new.
            if old.is_some() {
                at = at.child("Spec");
            }
            let spec = claim.object("spec").unwrap_or(&empty);
            warnings.extend(persistent_volume_claim::warnings_of_spec(&at, spec));
        }
        if spec.int("revisionHistoryLimit").is_some_and(|n| n < 0) {
            warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
        }
        warnings
    }
}

/// Fields of features that are off are as if they had not been sent, unless they are there already: `MaxUnavailableStatefulSet`.
fn drop_disabled(object: &mut Object, old: Option<&Object>) {
    const FIELD: &str = "maxUnavailable";
    pod_spec::disabled::drop_from_template(object);
    let in_use = old
        .and_then(|old| old.object("spec"))
        .and_then(|spec| spec.object("updateStrategy"))
        .and_then(|strategy| strategy.object("rollingUpdate"))
        .is_some_and(|rolling| rolling.has(FIELD));
    if !in_use
        && let Some(rolling) = object
            .object_mut("spec")
            .and_then(|spec| spec.object_mut("updateStrategy"))
            .and_then(|strategy| strategy.object_mut("rollingUpdate"))
    {
        rolling.remove(FIELD);
    }
}

/// The rules of `spec`. What cannot change is judged when it is `new` alone.
fn validate_spec(errors: &mut ErrorList, object: &Object, new: bool) {
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
    if new {
        for (index, claim) in spec.objects("volumeClaimTemplates") {
            let at = path
                .child("volumeClaimTemplates")
                .index(index)
                .child("spec");
            let claim = claim.object("spec").unwrap_or(&empty);
            persistent_volume_claim::validate_spec(errors, &at, claim, false);
        }
    }
    non_negatives(errors, &path, spec, &["replicas", "minReadySeconds"]);
    if let Some(ordinals) = spec.object("ordinals") {
        let at = path.child("ordinals.start");
        non_negative(errors, &at, ordinals.int("start"));
    }
    let service = spec.text("serviceName");
    if new && !service.is_empty() {
        let at = path.child("serviceName");
        text(errors, &at, service, names::dns1123_label(service));
    }
    let at = path.child("selector");
    let selector = spec.object("selector");
    let detail = "empty selector is invalid for statefulset";
    if selectors::of_workload(errors, &at, selector, detail) {
        if !selector.is_some_and(selectors::is_empty) {
            selectors::template_matches(errors, &path, spec);
        }
        let at = path.child("template");
        let pods = pods_as_made(spec);
        template::validate_template(errors, &at, Some(&pods));
        // Upstream judges these twice.
        template::validate_metadata(errors, &at, &pods);
    } else {
        errors.push(selectors::invalid(&at, selector, ""));
    }
    let pods = spec.object("template");
    template::runs_forever(errors, &path.child("template"), pods, "StatefulSet");
}

/// The template as its pods will be: their names are the set's to give, and volumes are made of the claims.
fn pods_as_made(spec: &Object) -> Object {
    let mut template = spec.object("template").cloned().unwrap_or_default();
    // Claims of one name make one volume.
    let claims: BTreeSet<&str> = spec
        .objects("volumeClaimTemplates")
        .map(|(_, claim)| of::name(claim))
        .collect();
    let pod = template.ensure_object("spec");
    pod.remove("subdomain");
    pod.remove("hostname");
    if !claims.is_empty() {
        let of_claims = claims
            .iter()
            .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        let others = pod
            .list("volumes")
            .iter()
            .filter(|volume| !claims.contains(&volume["name"].as_str().unwrap_or_default()))
            .cloned();
        let volumes: Vec<Value> = of_claims.chain(others).collect();
        pod.set("volumes", volumes);
    }
    template
}

fn update_strategy(errors: &mut ErrorList, path: &Path, strategy: &Object) {
    let rolling = strategy.object("rollingUpdate");
    match strategy.text("type") {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" => {
            if rolling.is_some() {
                errors.push(invalid_shown(
                    &path.child("rollingUpdate"),
                    &internal::shown(
                        "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy",
                        strategy.get("rollingUpdate"),
                    ),
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
        _ => errors.push(invalid_shown(
            path,
            &internal::shown(
                "io.k8s.api.apps.v1.StatefulSetUpdateStrategy",
                Some(&Value::Object(strategy.clone())),
            ),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
}
