//! `PodTemplateSpec`, and the selector beside it, as the sorts of workloads judge them.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{annotations, validate};
use crate::{fields::Fields, meta, validate::selectors};

/// A `PodTemplateSpec` at `path`.
pub fn validate_template(errors: &mut ErrorList, path: &Path, template: Option<&Object>) {
    let empty = Object::new();
    let template = template.unwrap_or(&empty);
    validate_metadata(errors, path, template);
    let spec = template.object("spec").unwrap_or(&empty);
    let at = path.child("spec");
    validate(errors, &at, spec, None);
    annotations::match_seccomp_fields(errors, template, &at);
    annotations::match_app_armor_fields(errors, template, &at);
    if !spec.list("ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(
            &at.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

/// Its labels and annotations; upstream leaves `metadata` out of these paths.
pub fn validate_metadata(errors: &mut ErrorList, path: &Path, template: &Object) {
    let metadata = template.object("metadata");
    errors.extend(meta::validate_labels(
        metadata.and_then(|m| m.object("labels")),
        &path.child("labels"),
    ));
    let at = path.child("annotations");
    errors.extend(meta::validate_annotations(
        metadata.and_then(|m| m.object("annotations")),
        &at,
    ));
    annotations::validate(errors, &at, template);
}

/// The selector and the template of a workload that keeps its pods running for ever, as ReplicaSets and Deployments have them.
/// Nothing is said of a template whose selector cannot be read.
pub fn validate_replicated(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let at = path.child("selector");
    let selector = spec.object("selector");
    let sound = selectors::of_workload(
        errors,
        &at,
        selector,
        "empty selector is invalid for deployment",
    );
    if !sound {
        errors.push(selectors::invalid(&at, selector, "invalid label selector"));
        return;
    }
    selectors::template_matches(errors, path, spec);
    let template = spec.object("template");
    validate_template(errors, &path.child("template"), template);
    runs_forever(errors, &path.child("template"), template, "ReplicaSet");
}

/// Pods of `workload` are always restarted, and have no deadline.
pub fn runs_forever(
    errors: &mut ErrorList,
    path: &Path,
    template: Option<&Object>,
    workload: &str,
) {
    let spec = template.and_then(|t| t.object("spec"));
    let at = path.child("spec");
    let policy = spec.map_or("", |s| s.text("restartPolicy"));
    if policy != "Always" {
        errors.push(FieldError::not_supported(
            &at.child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if spec.is_some_and(|s| s.has("activeDeadlineSeconds")) {
        errors.push(FieldError::forbidden(
            &at.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {workload} is not Supported"),
        ));
    }
}
