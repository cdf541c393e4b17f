//! `storage.k8s.io/v1` CSIDriver: what a storage driver can do.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::{Fields, same},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
    validate::one_of,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csidrivers"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSIDriver"),
    singular: "csidriver",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csidrivers")),
    strategy: &CsiDriverStrategy,
};

#[derive(Debug)]
struct CsiDriverStrategy;

impl Strategy for CsiDriverStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default("attachRequired", true);
        spec.set_default("podInfoOnMount", false);
        spec.set_default("storageCapacity", false);
        spec.set_default("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.list("volumeLifecycleModes").is_empty() {
            spec.set("volumeLifecycleModes", json!(["Persistent"]));
        }
        spec.set_default("requiresRepublish", false);
        spec.set_default("seLinuxMount", false);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        // Behind a feature that is off.
        object
            .ensure_object("spec")
            .remove("preventPodSchedulingIfMissing");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        let spec = old.object("spec");
        if spec.is_none_or(|spec| !spec.has("preventPodSchedulingIfMissing")) {
            self.prepare_for_create(new);
        }
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        validate_spec(&mut errors, &Path::new("spec"), spec);
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        let path = Path::new("spec");
        // Upstream misspells the path.
        if after.bool_opt("attachRequired") != before.bool_opt("attachRequired") {
            errors.push(FieldError::invalid(
                &path.child("attachedRequired"),
                after.is_true("attachRequired"),
                "field is immutable",
            ));
        }
        errors.extend(crate::meta::validate_immutable_field(
            after,
            before,
            "volumeLifecycleModes",
            &path,
        ));
        errors
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        // Told when tokens are requested anew, or other ones than before.
        let tokens = |driver: &Object| {
            let spec = driver.object("spec");
            spec.and_then(|s| s.get("tokenRequests")).cloned()
        };
        if old.is_some_and(|old| same(tokens(old).as_ref(), tokens(new).as_ref())) {
            return Vec::new();
        }
        let Some(spec) = new.object("spec") else {
            return Vec::new();
        };
        if spec.list("tokenRequests").is_empty() || spec.has("serviceAccountTokenInSecrets") {
            return Vec::new();
        }
        vec![
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"
                .to_owned(),
        ]
    }
}

fn validate_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    one_of(
        errors,
        &path.child("fsGroupPolicy"),
        spec.text("fsGroupPolicy"),
        &["File", "None", "ReadWriteOnceWithFSType"],
    );
    token_requests(errors, &path.child("tokenRequests"), spec);
    for mode in spec.texts("volumeLifecycleModes") {
        one_of(
            errors,
            &path.child("volumeLifecycleModes"),
            mode,
            &["Persistent", "Ephemeral"],
        );
    }
    if let Some(period) = spec
        .int("nodeAllocatableUpdatePeriodSeconds")
        .filter(|p| *p < 10)
    {
        errors.push(FieldError::invalid(
            &path.child("nodeAllocatableUpdatePeriodSeconds"),
            period,
            "must be greater than or equal to 10 seconds",
        ));
    }
    if let Some(flag) = spec.bool_opt("serviceAccountTokenInSecrets")
        && spec.list("tokenRequests").is_empty()
    {
        errors.push(FieldError::invalid(
            &path.child("serviceAccountTokenInSecrets"),
            flag,
            "serviceAccountTokenInSecrets is set but no tokenRequests are specified",
        ));
    }
}

fn token_requests(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut audiences: Vec<&str> = Vec::new();
    for (index, request) in spec.objects("tokenRequests") {
        let at = path.index(index);
        let audience = request.text("audience");
        if audiences.contains(&audience) {
            errors.push(FieldError::duplicate(&at.child("audience"), audience));
            continue;
        }
        audiences.push(audience);
        let detail = match request.int("expirationSeconds") {
            Some(seconds) if seconds < 600 => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > 1 << 32 => {
                "may not specify a duration larger than 2^32 seconds"
            }
            _ => continue,
        };
        errors.push(FieldError::invalid(
            &at.child("expirationSeconds"),
            request.int("expirationSeconds").unwrap_or(0),
            detail,
        ));
    }
}
