//! The audit policy (`audit.k8s.io/v1 Policy`): how much is written of which request. The first rule that matches says; none says nothing is.

use std::path::Path;

use apimachinery::{
    decode,
    field::{ErrorList, FieldError, Path as FieldPath},
};
use serde::{Deserialize, Serialize};

use crate::{request_info::RequestInfo, user::UserInfo};

/// How much of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who asked for what, and what came of it.
    Metadata,
    /// And the request's object.
    Request,
    /// And the answer's.
    RequestResponse,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "None" => Self::None,
            "Metadata" => Self::Metadata,
            "Request" => Self::Request,
            "RequestResponse" => Self::RequestResponse,
            _ => return None,
        })
    }
}

/// When in a request's life an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Stage {
    /// It is authenticated.
    RequestReceived,
    /// Its answer begins; of watches and streams alone.
    ResponseStarted,
    /// Its answer has been sent.
    ResponseComplete,
    /// The server failed.
    Panic,
}

const STAGES: [(&str, Stage); 4] = [
    ("Panic", Stage::Panic),
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseComplete", Stage::ResponseComplete),
    ("ResponseStarted", Stage::ResponseStarted),
];

/// Why a policy is none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file.
    #[error("failed to read file path {path:?}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What it holds.
    #[error("failed decoding: {0}")]
    Decode(String),
    /// Of another version or kind.
    #[error("unknown group version field {0} in policy, must be audit.k8s.io/v1 Policy")]
    Kind(String),
    /// It says nothing.
    #[error("loaded illegal policy with 0 rules")]
    Empty,
    /// It says what cannot be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(ErrorList),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    rules: Vec<RuleFile>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuleFile {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What is written of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub level: Level,
    /// At which stages nothing is.
    pub omit_stages: Vec<Stage>,
    /// Whether `managedFields` are left out of objects.
    pub omit_managed_fields: bool,
}

#[derive(Debug)]
struct Rule {
    matches: RuleFile,
    verdict: Verdict,
}

/// A policy that has been checked.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// `--audit-policy-file`
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let bytes = std::fs::read(path).map_err(|source| PolicyError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&bytes)
    }

    /// Of a policy in YAML or JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let json = decode::yaml_to_json(bytes, false).map_err(PolicyError::Decode)?;
        let file: File = serde_json::from_slice(&json)
            .map_err(|error| PolicyError::Decode(error.to_string()))?;
        if file.api_version != "audit.k8s.io/v1" || file.kind != "Policy" {
            let found = format!("{}, Kind={}", file.api_version, file.kind);
            return Err(PolicyError::Kind(found));
        }
        let errors = validate(&file);
        if !errors.is_empty() {
            return Err(PolicyError::Invalid(errors));
        }
        if file.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let rules = file
            .rules
            .iter()
            .map(|rule| Rule {
                matches: rule.clone(),
                verdict: Verdict {
                    level: Level::parse(&rule.level).unwrap_or(Level::None),
                    omit_stages: stages(file.omit_stages.iter().chain(&rule.omit_stages)),
                    omit_managed_fields: rule
                        .omit_managed_fields
                        .unwrap_or(file.omit_managed_fields),
                },
            })
            .collect();
        Ok(Self { rules })
    }

    /// What is to be written of a request; `None` if nothing is.
    pub fn evaluate(&self, user: &UserInfo, info: &RequestInfo) -> Option<&Verdict> {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.matches.covers(user, info))?;
        (rule.verdict.level > Level::None).then_some(&rule.verdict)
    }
}

fn stages<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = names
        .filter_map(|name| STAGES.iter().find(|(text, _)| text == name))
        .map(|(_, stage)| *stage)
        .collect();
    stages.sort_unstable();
    stages.dedup();
    stages
}

impl RuleFile {
    fn covers(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let any_or =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        let in_group = |group: &String| user.groups.contains(group);
        if !any_or(&self.users, &user.name)
            || !self.user_groups.is_empty() && !self.user_groups.iter().any(in_group)
            || !any_or(&self.verbs, &info.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && any_or(&self.namespaces, &info.namespace)
                && (self.resources.is_empty()
                    || self.resources.iter().any(|group| group.covers(info)));
        }
        if !self.non_resource_urls.is_empty() {
            return !info.is_resource
                && self
                    .non_resource_urls
                    .iter()
                    .any(|url| match url.strip_suffix('*') {
                        Some(prefix) => info.path.starts_with(prefix),
                        None => *url == info.path,
                    });
        }
        true
    }
}

impl GroupResources {
    fn covers(&self, info: &RequestInfo) -> bool {
        if self.group != info.group_version.group {
            return false;
        }
        let named = || self.resource_names.is_empty() || self.resource_names.contains(&info.name);
        let (resource, subresource) = (info.resource.as_str(), info.subresource.as_str());
        let is_it = |wanted: &String| match wanted.split_once('/') {
            None => wanted == "*" || (subresource.is_empty() && wanted == resource),
            Some(("*", sub)) => !subresource.is_empty() && sub == subresource,
            Some((of, "*")) => of == resource,
            Some((of, sub)) => of == resource && sub == subresource,
        };
        self.resources.is_empty() || (named() && self.resources.iter().any(is_it))
    }
}

fn validate(file: &File) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_stages(
        &file.omit_stages,
        &FieldPath::new("omitStages"),
        &mut errors,
    );
    for (index, rule) in file.rules.iter().enumerate() {
        let path = FieldPath::new("rules").index(index);
        if Level::parse(&rule.level).is_none() {
            let levels = ["None", "Metadata", "Request", "RequestResponse"];
            let path = path.child("level");
            errors.push(if rule.level.is_empty() {
                FieldError::required(&path, "")
            } else {
                FieldError::not_supported(&path, rule.level.as_str(), &levels)
            });
        }
        validate_non_resource(rule, &path.child("nonResourceURLs"), &mut errors);
        for (index, group) in rule.resources.iter().enumerate() {
            validate_resources(group, &path.child("resources").index(index), &mut errors);
        }
        validate_stages(&rule.omit_stages, &path.child("omitStages"), &mut errors);
    }
    errors
}

fn validate_stages(names: &[String], path: &FieldPath, errors: &mut ErrorList) {
    for (index, name) in names.iter().enumerate() {
        if STAGES.iter().all(|(stage, _)| stage != name) {
            let path = path.index(index);
            let message =
                "allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic";
            errors.push(FieldError::invalid(&path, name.as_str(), message));
        }
    }
}

fn validate_non_resource(rule: &RuleFile, path: &FieldPath, errors: &mut ErrorList) {
    if rule.non_resource_urls.is_empty() {
        return;
    }
    if !rule.resources.is_empty() || !rule.namespaces.is_empty() {
        let urls = serde_json::json!(rule.non_resource_urls);
        let message = "rules cannot apply to both regular resources and non-resource URLs";
        errors.push(FieldError::invalid(path, urls, message));
    }
    for (index, url) in rule.non_resource_urls.iter().enumerate() {
        let path = path.index(index);
        if url == "*" {
            continue;
        }
        if !url.starts_with('/') {
            let message = "non-resource URL rules must begin with a '/' character";
            errors.push(FieldError::invalid(&path, url.as_str(), message));
        }
        if url.trim_end_matches('*').len() + 1 < url.len()
            || url.strip_suffix('*').unwrap_or(url).contains('*')
        {
            let message = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.push(FieldError::invalid(&path, url.as_str(), message));
        }
    }
}

fn validate_resources(group: &GroupResources, path: &FieldPath, errors: &mut ErrorList) {
    let well_formed = group.group.split('.').all(|label| {
        label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    });
    if !well_formed || group.group.starts_with("v1") && group.group.len() == 2 {
        let message = "group must be a DNS subdomain, without a version";
        errors.push(FieldError::invalid(
            &path.child("group"),
            group.group.as_str(),
            message,
        ));
    }
    if !group.resource_names.is_empty() && group.resources.is_empty() {
        let names = serde_json::json!(group.resource_names);
        let message = "using resourceNames requires at least one resource";
        errors.push(FieldError::invalid(
            &path.child("resourceNames"),
            names,
            message,
        ));
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

    fn policy(rules: &str) -> Result<Policy, String> {
        Policy::parse(format!("{HEAD}{rules}").as_bytes()).map_err(|error| error.to_string())
    }

    fn level(policy: &Policy, user: &str, groups: &[&str], uri: &str) -> Level {
        let user = UserInfo {
            name: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        };
        let info = RequestInfo::parse(&Method::GET, &uri.parse().unwrap());
        policy
            .evaluate(&user, &info)
            .map_or(Level::None, |verdict| verdict.level)
    }

    #[test]
    fn the_first_rule_that_matches_says() {
        let policy = policy(
            r#"
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", "/version"]}
- {level: Request, resources: [{group: "", resources: [configmaps], resourceNames: [known]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "pods/*", "*/scale"]}]}
- {level: RequestResponse, resources: [{group: apps}]}
- {level: Request, resources: [{group: batch, resources: ["*"]}]}
"#,
        )
        .unwrap();
        let groups = ["system:authenticated"];
        for (user, uri, expected) in [
            ("system:kube-proxy", "/api/v1/services?watch=1", Level::None),
            ("u", "/apis", Level::None),
            (
                "u",
                "/api/v1/namespaces/kube-system/configmaps/known",
                Level::Request,
            ),
            (
                "u",
                "/api/v1/namespaces/kube-system/configmaps/other",
                Level::None,
            ),
            (
                "u",
                "/api/v1/namespaces/default/configmaps/known",
                Level::None,
            ),
            ("u", "/api/v1/secrets", Level::Metadata),
            ("u", "/api/v1/namespaces/a/pods/p/exec", Level::Metadata),
            ("u", "/api/v1/namespaces/a/pods/p", Level::Metadata),
            (
                "u",
                "/api/v1/namespaces/a/replicationcontrollers/p/scale",
                Level::Metadata,
            ),
            ("u", "/apis/apps/v1/deployments", Level::RequestResponse),
            (
                "u",
                "/apis/batch/v1/namespaces/a/jobs/j/status",
                Level::Request,
            ),
            ("u", "/healthz", Level::None),
        ] {
            assert_eq!(level(&policy, user, &groups, uri), expected, "{user} {uri}");
        }
        assert_eq!(level(&policy, "u", &[], "/metrics"), Level::None);
    }

    #[test]
    fn stages_and_managed_fields_are_left_out_as_policy_and_rule_say() {
        let policy = policy(
            "omitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n- {level: Metadata, users: [a], omitManagedFields: false, omitStages: [Panic]}\n- {level: Metadata}\n",
        )
        .unwrap();
        let info = RequestInfo::default();
        let verdict = |name: &str| {
            let user = UserInfo {
                name: name.to_owned(),
                ..UserInfo::default()
            };
            policy.evaluate(&user, &info).unwrap().clone()
        };
        assert_eq!(
            verdict("a").omit_stages,
            [Stage::RequestReceived, Stage::Panic]
        );
        assert!(!verdict("a").omit_managed_fields && verdict("b").omit_managed_fields);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (rules, expected) in [
            ("rules: []", "loaded illegal policy with 0 rules"),
            (
                "rules: [{level: Loud}]",
                "rules[0].level: Unsupported value: \"Loud\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            ),
            (
                "rules: [{level: None, namespaces: [a], nonResourceURLs: [/x]}]",
                "rules cannot apply to both regular resources and non-resource URLs",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [x]}]",
                "must begin with a '/' character",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [/a*b]}]",
                "must be the final character of the rule",
            ),
            (
                "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
                "using resourceNames requires at least one resource",
            ),
            (
                "rules: [{level: None, omitStages: [Never]}]",
                "allowed stages are",
            ),
            ("rules: [{level: [}]", "failed decoding"),
        ] {
            let error = policy(rules).unwrap_err();
            assert!(error.contains(expected), "{rules}: {error}");
        }
        assert!(Policy::parse(b"kind: Policy").is_err());
    }
}
