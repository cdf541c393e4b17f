//! `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy: expressions that change what comes in.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::{
        expressions::{Expressions, Returns, Uses},
        policy, rules,
        validating_admission_policy::default_match,
    },
    lifecycle,
    validate::one_of,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicies",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
    ),
    singular: "mutatingadmissionpolicy",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("mutatingadmissionpolicies")),
    strategy: &MutatingAdmissionPolicyStrategy,
};

#[derive(Debug)]
struct MutatingAdmissionPolicyStrategy;

impl Strategy for MutatingAdmissionPolicyStrategy {
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default("failurePolicy", "Fail");
        if let Some(constraints) = spec.object_mut("matchConstraints") {
            default_match(constraints);
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        validate(object, None)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate(new, Some(old))
    }
}

fn validate(object: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    policy::head(&mut errors, &path, spec);
    let constraints = path.child("matchConstraints");
    rules::mutating_operations(&mut errors, &constraints, spec.object("matchConstraints"));
    if policy::match_conditions_changed(spec, old) {
        policy::match_conditions(&mut errors, &path, spec, spec.has("paramKind"));
    }
    let expressions = policy::variables(&mut errors, &path, spec, true);
    if spec.list("mutations").is_empty() {
        errors.push(FieldError::required(
            &path.child("mutations"),
            "mutations must contain at least one item",
        ));
    }
    for (index, entry) in spec.objects("mutations") {
        let at = path.child("mutations").index(index);
        mutation(&mut errors, &at, entry, &expressions);
    }
    match spec.text("reinvocationPolicy") {
        "" => errors.push(FieldError::required(&path.child("reinvocationPolicy"), "")),
        policy => one_of(
            &mut errors,
            &path.child("reinvocationPolicy"),
            policy,
            &["IfNeeded", "Never"],
        ),
    }
    errors
}

/// The member that the patch's type names, and no other.
fn mutation(errors: &mut ErrorList, path: &Path, mutation: &Object, expressions: &Expressions) {
    let (own, other, returns) = match mutation.text("patchType") {
        "" => {
            errors.push(FieldError::required(&path.child("patchType"), ""));
            return;
        }
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", Returns::Object),
        "JSONPatch" => ("jsonPatch", "applyConfiguration", Returns::JsonPatch),
        unknown => {
            let supported = ["ApplyConfiguration", "JSONPatch"];
            one_of(errors, &path.child("patchType"), unknown, &supported);
            return;
        }
    };
    let patch_type = mutation.text("patchType");
    let at = path.child(own);
    match mutation.object(own) {
        Some(patch) => {
            patch_expression(errors, &at.child("expression"), patch, returns, expressions)
        }
        None => {
            let detail = format!("must be specified when patchType is {patch_type}");
            errors.push(FieldError::required(&at, detail));
        }
    }
    if mutation.has(other) {
        errors.push(FieldError::invalid(
            &path.child(other),
            format!("{{{other}}}"),
            format!("must not be specified when patchType is {patch_type}"),
        ));
    }
}

fn patch_expression(
    errors: &mut ErrorList,
    at: &Path,
    patch: &Object,
    returns: Returns,
    expressions: &Expressions,
) {
    let expression = patch.text("expression").trim();
    let uses = Uses {
        authorizer: true,
        patches: true,
    };
    if expression.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if let Err(wrong) = expressions.compile(expression, uses, returns) {
        errors.push(wrong.at(at, expression));
    }
}
