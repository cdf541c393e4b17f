//! `rbac.authorization.k8s.io/v1` RoleBinding: who has a role in a namespace. The role of a binding never changes.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::{invalid_shown, one_of, required_text, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "rolebindings"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    singular: "rolebinding",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("rolebindings")),
    strategy: &RoleBindingStrategy,
};

#[derive(Debug)]
struct RoleBindingStrategy;

impl Strategy for RoleBindingStrategy {
    fn default(&self, object: &mut Object) {
        default_binding(object);
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_binding(&mut errors, object, true);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        errors.extend(immutable_role(new, old));
        errors
    }
}

/// The group of a subject follows from its kind, that of the role is RBAC's own. Also for ClusterRoleBindings.
pub fn default_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    object
        .ensure_object("roleRef")
        .set_default_zero("apiGroup", GROUP);
    object.each_object("subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.set_default_zero("apiGroup", GROUP);
        }
    });
}

/// The rules of a RoleBinding or ClusterRoleBinding.
pub fn validate_binding(errors: &mut ErrorList, object: &Object, namespaced: bool) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let empty = Object::new();
    let role = object.object("roleRef").unwrap_or(&empty);
    let at = Path::new("roleRef");
    one_of(
        errors,
        &at.child("apiGroup"),
        role.text("apiGroup"),
        &[GROUP],
    );
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    one_of(errors, &at.child("kind"), role.text("kind"), kinds);
    required_text(
        errors,
        &at.child("name"),
        role.text("name"),
        names::path_segment_name,
    );
    for (index, subject) in object.objects("subjects") {
        let at = Path::new("subjects").index(index);
        let name = subject.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        match subject.text("kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    text(
                        errors,
                        &at.child("name"),
                        name,
                        names::dns1123_subdomain(name),
                    );
                }
                if !subject.text("apiGroup").is_empty() {
                    one_of(
                        errors,
                        &at.child("apiGroup"),
                        subject.text("apiGroup"),
                        &[""],
                    );
                }
                if subject.text("namespace").is_empty() && !namespaced {
                    errors.push(FieldError::required(&at.child("namespace"), ""));
                }
            }
            "User" | "Group" => {
                one_of(
                    errors,
                    &at.child("apiGroup"),
                    subject.text("apiGroup"),
                    &[GROUP],
                );
            }
            other => errors.push(FieldError::not_supported(
                &at.child("kind"),
                other,
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
}

/// A binding never changes its role: delete it and make another, so that nobody who may bind one role binds another.
pub fn immutable_role(new: &Object, old: &Object) -> ErrorList {
    if same_field(new, old, "roleRef") {
        return Vec::new();
    }
    let role = new.object("roleRef");
    let field = |name| role.map_or("", |r| r.text(name));
    let shown = format!(
        "{{\"APIGroup\":{:?},\"Kind\":{:?},\"Name\":{:?}}}",
        field("apiGroup"),
        field("kind"),
        field("name")
    );
    vec![invalid_shown(
        &Path::new("roleRef"),
        &shown,
        "cannot change roleRef",
    )]
}
