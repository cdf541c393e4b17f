//! Which rules a user holds: roles by name, bindings by subject, each derived from the watch cache and rebuilt when it changes.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{Object, gvk::GroupResource, meta};

use super::rule::PolicyRule;
use crate::{
    authn::service_account, derived::Derived, lookup, reader::ObjectReader, user::UserInfo,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Rules by namespace (empty for cluster roles) and name.
type Roles = HashMap<String, HashMap<String, Arc<[PolicyRule]>>>;

/// Grants by namespace (empty for cluster role bindings).
type Bindings = HashMap<String, BySubject>;

/// Grants by who holds them; service accounts under their user name.
#[derive(Default)]
struct BySubject {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

/// One subject of one binding.
#[derive(Debug)]
struct Grant {
    /// The binding's, empty for cluster role bindings.
    namespace: String,
    role_kind: String,
    role_name: String,
    binding_name: String,
    /// `User "alice"`.
    subject: String,
}

impl Grant {
    /// `RoleBinding "b/ns" of Role "r" to User "u"`.
    fn describe(&self) -> String {
        let Self {
            namespace,
            role_kind,
            role_name,
            binding_name,
            subject,
        } = self;
        if namespace.is_empty() {
            format!("ClusterRoleBinding {binding_name:?} of {role_kind} {role_name:?} to {subject}")
        } else {
            let binding = format!("{binding_name}/{namespace}");
            format!("RoleBinding {binding:?} of {role_kind} {role_name:?} to {subject}")
        }
    }
}

/// Resolves users to rules.
#[derive(Debug)]
pub struct RuleResolver {
    roles: Derived<Roles>,
    cluster_roles: Derived<Roles>,
    role_bindings: Derived<Bindings>,
    cluster_role_bindings: Derived<Bindings>,
}

/// All that a user holds, and what could not be resolved.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The rules, in no particular order.
    pub rules: Vec<PolicyRule>,
    /// Roles that are bound but do not exist, and authorizers that cannot list what they allow.
    pub errors: Vec<String>,
}

impl Resolved {
    /// Of an authorizer that cannot list what it allows.
    pub fn unlisted(error: &str) -> Self {
        Self {
            errors: vec![error.to_owned()],
            ..Self::default()
        }
    }
}

impl RuleResolver {
    /// Over the four RBAC resources of `reader`.
    pub fn new(reader: &Arc<dyn ObjectReader>) -> Self {
        let resource = |name| GroupResource::new(GROUP, name);
        Self {
            roles: Derived::new(Arc::clone(reader), resource("roles"), index_roles),
            cluster_roles: Derived::new(Arc::clone(reader), resource("clusterroles"), index_roles),
            role_bindings: Derived::new(
                Arc::clone(reader),
                resource("rolebindings"),
                index_bindings,
            ),
            cluster_role_bindings: Derived::new(
                Arc::clone(reader),
                resource("clusterrolebindings"),
                index_bindings,
            ),
        }
    }

    /// Shows the user's grants in `namespace` (and those for the whole cluster) to `visit`, until it answers `false`. It is given the rules
    /// of the bound role, or the error that there is none, and a function that describes the grant.
    pub fn visit(
        &self,
        user: &UserInfo,
        namespace: &str,
        mut visit: impl FnMut(Result<&[PolicyRule], String>, &dyn Fn() -> String) -> bool,
    ) {
        let cluster_roles = self.cluster_roles.get();
        let roles = self.roles.get();
        let cluster = self.cluster_role_bindings.get();
        let local = (!namespace.is_empty()).then(|| self.role_bindings.get());
        let scopes = [
            cluster.get(""),
            local.as_ref().and_then(|bindings| bindings.get(namespace)),
        ];
        for scope in scopes.into_iter().flatten() {
            for grant in scope.held_by(user) {
                let found = if grant.role_kind == "ClusterRole" {
                    cluster_roles
                        .get("")
                        .and_then(|roles| roles.get(&grant.role_name))
                } else {
                    roles
                        .get(&grant.namespace)
                        .and_then(|roles| roles.get(&grant.role_name))
                };
                let rules = found
                    .map(|rules| &**rules)
                    .ok_or_else(|| missing(&grant.role_kind, &grant.role_name));
                if !visit(rules, &|| grant.describe()) {
                    return;
                }
            }
        }
    }

    /// Everything the user holds in `namespace`.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Resolved {
        let mut resolved = Resolved::default();
        self.visit(user, namespace, |rules, _| {
            match rules {
                Ok(rules) => resolved.rules.extend_from_slice(rules),
                Err(error) => resolved.errors.push(error),
            }
            true
        });
        resolved
    }

    /// The rules of a role that a binding in `namespace` may name.
    pub fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Arc<[PolicyRule]>> {
        let (roles, namespace) = if kind == "ClusterRole" {
            (&self.cluster_roles, "")
        } else {
            (&self.roles, namespace)
        };
        roles.get().get(namespace)?.get(name).cloned()
    }
}

impl BySubject {
    fn held_by<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Arc<Grant>> {
        let own = self.users.get(&user.name).into_iter().flatten();
        own.chain(
            user.groups
                .iter()
                .filter_map(|group| self.groups.get(group))
                .flatten(),
        )
    }
}

fn missing(kind: &str, name: &str) -> String {
    format!("{}.{GROUP} {name:?} not found", kind.to_ascii_lowercase())
}

fn index_roles(objects: &[Arc<Object>]) -> Roles {
    let mut roles = Roles::new();
    for role in objects {
        roles
            .entry(meta::namespace(role).to_owned())
            .or_default()
            .insert(
                meta::name(role).to_owned(),
                PolicyRule::of_role(role).into(),
            );
    }
    roles
}

fn index_bindings(objects: &[Arc<Object>]) -> Bindings {
    let mut bindings = Bindings::new();
    for binding in objects {
        let namespace = meta::namespace(binding);
        let by_subject = bindings.entry(namespace.to_owned()).or_default();
        for subject in lookup::objects(binding, &["subjects"]) {
            let name = lookup::text(subject, &["name"]);
            let kind = lookup::text(subject, &["kind"]);
            let (index, key, described) = match kind {
                "User" => (&mut by_subject.users, name.to_owned(), name.to_owned()),
                "Group" => (&mut by_subject.groups, name.to_owned(), name.to_owned()),
                "ServiceAccount" => {
                    let own = lookup::text(subject, &["namespace"]);
                    let home = if own.is_empty() { namespace } else { own };
                    if home.is_empty() {
                        continue;
                    }
                    let username = service_account::username(home, name);
                    (&mut by_subject.users, username, format!("{name}/{home}"))
                }
                _ => continue,
            };
            index.entry(key).or_default().push(Arc::new(Grant {
                namespace: namespace.to_owned(),
                role_kind: lookup::text(binding, &["roleRef", "kind"]).to_owned(),
                role_name: lookup::text(binding, &["roleRef", "name"]).to_owned(),
                binding_name: meta::name(binding).to_owned(),
                subject: format!("{kind} {described:?}"),
            }));
        }
    }
    bindings
}
