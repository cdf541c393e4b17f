//! Policy rules: what they match, and which of them another set of rules covers.

use apimachinery::{Object, quote_list};
use serde_json::{Value, json};

use crate::{lookup, request_info::RequestInfo};

/// A `PolicyRule` of `rbac.authorization.k8s.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// `*` is all.
    pub verbs: Vec<String>,
    /// `*` is all, "" the core group.
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    pub resources: Vec<String>,
    /// None is all.
    pub resource_names: Vec<String>,
    /// `/healthz`, `/api/*`, `*`.
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// The rules of who may do everything.
    pub fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self {
                verbs: all(),
                api_groups: all(),
                resources: all(),
                ..Self::default()
            },
            Self {
                verbs: all(),
                non_resource_urls: all(),
                ..Self::default()
            },
        ]
    }

    /// Reads one as it stands in a role.
    pub fn from_object(rule: &Object) -> Self {
        Self {
            verbs: lookup::strings(rule, &["verbs"]),
            api_groups: lookup::strings(rule, &["apiGroups"]),
            resources: lookup::strings(rule, &["resources"]),
            resource_names: lookup::strings(rule, &["resourceNames"]),
            non_resource_urls: lookup::strings(rule, &["nonResourceURLs"]),
        }
    }

    /// The rules of a role.
    pub fn of_role(role: &Object) -> Vec<Self> {
        lookup::objects(role, &["rules"])
            .map(Self::from_object)
            .collect()
    }

    /// As it stands in a role: empty lists left out.
    pub fn to_value(&self) -> Value {
        let mut value = json!({ "verbs": self.verbs });
        for (name, list) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !list.is_empty() {
                value[name] = json!(list);
            }
        }
        value
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, request: &RequestInfo) -> bool {
        if !has(&self.verbs, &request.verb) {
            return false;
        }
        if !request.is_resource {
            return self
                .non_resource_urls
                .iter()
                .any(|url| url_covers(url, &request.path));
        }
        has(&self.api_groups, &request.group_version.group)
            && self
                .resources
                .iter()
                .any(|rule| resource_matches(rule, &request.resource, &request.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&request.name))
    }

    /// As upstream prints it in messages: the lists that are there.
    pub fn describe(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quote_list(list)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }

    /// Rules that each name one verb on one thing, and together say the same.
    fn break_down(&self) -> Vec<Self> {
        let mut pieces = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let piece = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        pieces.push(piece);
                        continue;
                    }
                    pieces.extend(self.resource_names.iter().map(|name| Self {
                        resource_names: vec![name.clone()],
                        ..piece.clone()
                    }));
                }
            }
        }
        for url in &self.non_resource_urls {
            for verb in &self.verbs {
                pieces.push(Self {
                    verbs: vec![verb.clone()],
                    non_resource_urls: vec![url.clone()],
                    ..Self::default()
                });
            }
        }
        pieces
    }

    /// Whether this rule grants all that `piece` (of [`PolicyRule::break_down`]) does.
    fn covers(&self, piece: &Self) -> bool {
        let all = |ours: &[String], theirs: &[String]| theirs.iter().all(|one| has(ours, one));
        all(&self.verbs, &piece.verbs)
            && all(&self.api_groups, &piece.api_groups)
            && piece.resources.iter().all(|theirs| {
                let (resource, subresource) = theirs.split_once('/').unwrap_or((theirs, ""));
                self.resources
                    .iter()
                    .any(|ours| ours == theirs || resource_matches(ours, resource, subresource))
            })
            && (self.resource_names.is_empty()
                || !piece.resource_names.is_empty()
                    && all(&self.resource_names, &piece.resource_names))
            && piece.non_resource_urls.iter().all(|url| {
                self.non_resource_urls
                    .iter()
                    .any(|ours| url_covers(ours, url))
            })
    }
}

/// What of `wanted` is not covered by `held`, merged as upstream's messages merge it.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let pieces = wanted.iter().flat_map(PolicyRule::break_down);
    let missing = pieces.filter(|piece| !held.iter().any(|rule| rule.covers(piece)));
    let mut merged: Vec<PolicyRule> = Vec::new();
    for piece in missing {
        let same = merged.iter_mut().find(|rule| {
            rule.non_resource_urls.is_empty()
                && piece.non_resource_urls.is_empty()
                && rule.api_groups == piece.api_groups
                && rule.resources == piece.resources
                && rule.resource_names == piece.resource_names
        });
        match same {
            Some(rule) => rule.verbs.extend(
                piece
                    .verbs
                    .into_iter()
                    .filter(|verb| !rule.verbs.contains(verb))
                    .collect::<Vec<_>>(),
            ),
            None => merged.push(piece),
        }
    }
    merged
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((rule_resource, rule_subresource)) => {
            !subresource.is_empty()
                && rule_subresource == subresource
                && (rule_resource == "*" || rule_resource == resource)
        }
    }
}

fn url_covers(rule: &str, url: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(prefix) => url.starts_with(prefix),
        None => rule == url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &str, resources: &str, names: &str, verbs: &str) -> PolicyRule {
        let list = |text: &str| {
            text.split_whitespace()
                .map(|word| word.replace("core", ""))
                .collect()
        };
        PolicyRule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn resources_and_their_subresources() {
        for (rule, resource, subresource, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "log", false),
            ("pods/log", "pods", "log", true),
            ("pods/log", "pods", "", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*", "pods", "exec", true),
        ] {
            assert_eq!(
                resource_matches(rule, resource, subresource),
                expected,
                "{rule} {resource}/{subresource}"
            );
        }
    }

    #[test]
    fn paths() {
        for (rule, path, expected) in [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/etcd", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("*", "/anything", true),
        ] {
            assert_eq!(url_covers(rule, path), expected, "{rule} {path}");
        }
    }

    #[test]
    fn what_is_missing_is_merged_by_resource() {
        let held = [rule("core", "configmaps", "", "get list")];
        let wanted = [rule("core", "configmaps pods", "", "get delete")];
        let missing: Vec<_> = uncovered(&held, &wanted)
            .iter()
            .map(PolicyRule::describe)
            .collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["configmaps"], Verbs:["delete"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "delete"]}"#,
            ]
        );
    }

    #[test]
    fn names_narrow_what_is_held() {
        let held = [rule("core", "secrets", "a", "get")];
        assert!(uncovered(&held, &[rule("core", "secrets", "a", "get")]).is_empty());
        assert_eq!(
            uncovered(&held, &[rule("core", "secrets", "", "get")]).len(),
            1
        );
        assert_eq!(
            uncovered(&held, &[rule("core", "secrets", "a b", "get")]).len(),
            1
        );
        assert!(
            uncovered(
                &[rule("*", "*", "", "*")],
                &[rule("apps", "deployments/scale", "x", "get")]
            )
            .is_empty()
        );
    }
}
