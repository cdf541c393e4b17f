//! The row of a bootstrap binding, and the object it becomes.

use apimachinery::Object;
use serde_json::{Value, json};

use super::{GROUP, object};

/// A subject of a binding; service accounts are those of `kube-system`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    kind: &'static str,
    name: &'static str,
}

pub(super) const fn user(name: &'static str) -> Subject {
    Subject { kind: "User", name }
}

pub(super) const fn group(name: &'static str) -> Subject {
    Subject {
        kind: "Group",
        name,
    }
}

pub(super) const fn service_account(name: &'static str) -> Subject {
    Subject {
        kind: "ServiceAccount",
        name,
    }
}

impl Subject {
    fn to_value(self) -> Value {
        let Self { kind, name } = self;
        match kind {
            "ServiceAccount" => json!({"kind": kind, "name": name, "namespace": "kube-system"}),
            _ => json!({"kind": kind, "apiGroup": GROUP, "name": name}),
        }
    }
}

/// A role binding or cluster role binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Empty for cluster role bindings.
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    role: &'static str,
    subjects: &'static [Subject],
}

/// Of a cluster role, in the whole cluster.
pub(super) const fn cluster(
    name: &'static str,
    role: &'static str,
    subjects: &'static [Subject],
) -> Binding {
    Binding {
        namespace: "",
        name,
        role,
        subjects,
    }
}

/// Of a role in its namespace.
pub(super) const fn namespaced(
    namespace: &'static str,
    name: &'static str,
    role: &'static str,
    subjects: &'static [Subject],
) -> Binding {
    Binding {
        namespace,
        name,
        role,
        subjects,
    }
}

impl Binding {
    pub(super) fn to_object(self) -> Object {
        let subjects: Vec<Value> = self
            .subjects
            .iter()
            .map(|subject| subject.to_value())
            .collect();
        binding(self.namespace, self.name, self.role, subjects)
    }
}

/// The binding of a controller's role to the service account of its name.
pub(super) fn of_controller(role: &str) -> Object {
    let account = role.strip_prefix("system:controller:").unwrap_or(role);
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": "kube-system"});
    binding("", role, role, vec![subject])
}

fn binding(namespace: &str, name: &str, role: &str, subjects: Vec<Value>) -> Object {
    let (kind, role_kind) = if namespace.is_empty() {
        ("ClusterRoleBinding", "ClusterRole")
    } else {
        ("RoleBinding", "Role")
    };
    let mut binding = object(kind, namespace, name);
    if !subjects.is_empty() {
        binding.insert("subjects".to_owned(), subjects.into());
    }
    binding.insert(
        "roleRef".to_owned(),
        json!({"apiGroup": GROUP, "kind": role_kind, "name": role}),
    );
    binding
}
