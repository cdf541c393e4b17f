//! The row of a bootstrap role, and the object it becomes.

use apimachinery::Object;
use serde_json::{Value, json};

use super::object;
use crate::authz::rbac::PolicyRule;

/// A rule in short: words separated by spaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
    paths: &'static str,
}

/// These verbs on these resources of these groups.
pub(super) const fn on(verbs: &'static str, groups: &'static str, resources: &'static str) -> Rule {
    Rule {
        verbs,
        groups,
        resources,
        names: "",
        paths: "",
    }
}

/// These verbs on these paths.
pub(super) const fn path(verbs: &'static str, paths: &'static str) -> Rule {
    Rule {
        verbs,
        groups: "",
        resources: "",
        names: "",
        paths,
    }
}

impl Rule {
    /// On objects of these names alone.
    pub(super) const fn named(self, names: &'static str) -> Self {
        Self { names, ..self }
    }

    pub(super) fn to_policy_rule(self) -> PolicyRule {
        let words = |text: &str| {
            text.split_whitespace()
                .map(|word| if word == "core" { "" } else { word }.to_owned())
                .collect()
        };
        PolicyRule {
            verbs: words(self.verbs),
            api_groups: words(self.groups),
            resources: words(self.resources),
            resource_names: words(self.names),
            non_resource_urls: words(self.paths),
        }
    }
}

/// A role or cluster role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// Empty for cluster roles.
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    pub(super) rules: &'static [Rule],
    /// `aggregate-to-admin`: its rules are those of all cluster roles with this label.
    aggregates: &'static str,
    /// The label by which others take up its rules.
    aggregated: &'static str,
}

/// A cluster role.
pub(super) const fn cluster(name: &'static str, rules: &'static [Rule]) -> Role {
    Role {
        namespace: "",
        name,
        rules,
        aggregates: "",
        aggregated: "",
    }
}

/// A role of a namespace.
pub(super) const fn namespaced(
    namespace: &'static str,
    name: &'static str,
    rules: &'static [Rule],
) -> Role {
    Role {
        namespace,
        name,
        rules,
        aggregates: "",
        aggregated: "",
    }
}

impl Role {
    /// Its rules are those of all cluster roles labelled so.
    pub(super) const fn aggregating(self, label: &'static str) -> Self {
        Self {
            aggregates: label,
            ..self
        }
    }

    /// Labelled so.
    pub(super) const fn aggregated(self, label: &'static str) -> Self {
        Self {
            aggregated: label,
            ..self
        }
    }

    pub(super) fn policy_rules(&self) -> Vec<PolicyRule> {
        self.rules
            .iter()
            .map(|rule| rule.to_policy_rule())
            .collect()
    }

    pub(super) fn to_object(self) -> Object {
        let kind = if self.namespace.is_empty() {
            "ClusterRole"
        } else {
            "Role"
        };
        let mut role = object(kind, self.namespace, self.name);
        if !self.aggregated.is_empty() {
            let label = format!("rbac.authorization.k8s.io/{}", self.aggregated);
            apimachinery::meta::set_label(&mut role, &label, Some("true"));
        }
        if self.aggregates.is_empty() {
            let rules: Vec<Value> = self
                .policy_rules()
                .iter()
                .map(PolicyRule::to_value)
                .collect();
            role.insert("rules".to_owned(), rules.into());
        } else {
            let label = format!("rbac.authorization.k8s.io/{}", self.aggregates);
            let selectors = json!([{"matchLabels": {label: "true"}}]);
            role.insert(
                "aggregationRule".to_owned(),
                json!({"clusterRoleSelectors": selectors}),
            );
            role.insert("rules".to_owned(), Value::Null);
        }
        role
    }
}
