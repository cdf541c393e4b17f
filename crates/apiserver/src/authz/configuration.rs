//! `--authorization-config`: an `AuthorizationConfiguration` (KEP-3221), which names the authorizers in their order, webhooks with their
//! connections, caches, failure policies and match conditions.
//!
//! Read strictly, as its authentication sibling.

use std::{path::Path as FilePath, time::Duration};

use apimachinery::field::{ErrorList, FieldError, Path};
use serde::Deserialize;

use crate::component_config;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationConfiguration {
    #[expect(dead_code, reason = "checked before the rest is read")]
    api_version: String,
    #[expect(dead_code, reason = "checked before the rest is read")]
    kind: String,
    /// Asked in order.
    #[serde(default)]
    pub authorizers: Vec<AuthorizerConfig>,
}

/// One authorizer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizerConfig {
    /// `Webhook`, or a mode of `--authorization-mode`.
    #[serde(rename = "type", default)]
    pub sort: String,
    /// In logs and metrics.
    #[serde(default)]
    pub name: String,
    /// Of a webhook.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
}

/// How a webhook is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfig {
    /// How long a yes is remembered: 5m by default.
    #[serde(default, rename = "authorizedTTL")]
    pub authorized_ttl: Option<String>,
    /// Whether it is at all.
    #[serde(default)]
    pub cache_authorized_requests: Option<bool>,
    /// How long a no is remembered: 30s by default.
    #[serde(default, rename = "unauthorizedTTL")]
    pub unauthorized_ttl: Option<String>,
    /// Whether it is at all.
    #[serde(default)]
    pub cache_unauthorized_requests: Option<bool>,
    /// At most 30s.
    #[serde(default)]
    pub timeout: String,
    /// `v1` or `v1beta1`.
    #[serde(default)]
    pub subject_access_review_version: String,
    /// `v1`; what match conditions see.
    #[serde(default)]
    pub match_condition_subject_access_review_version: String,
    /// `NoOpinion` or `Deny`.
    #[serde(default)]
    pub failure_policy: String,
    /// Where it is.
    pub connection_info: ConnectionInfo,
    /// CEL over `request`: the webhook is asked only where all are true.
    #[serde(default)]
    pub match_conditions: Vec<MatchCondition>,
}

/// Where a webhook is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionInfo {
    /// `KubeConfigFile` or `InClusterConfig`.
    #[serde(rename = "type", default)]
    pub sort: String,
    /// Of the former.
    #[serde(default)]
    pub kube_config_file: Option<String>,
}

/// One condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchCondition {
    /// CEL, true or false.
    #[serde(default)]
    pub expression: String,
}

const MODES: [&str; 6] = [
    "ABAC",
    "AlwaysAllow",
    "AlwaysDeny",
    "Node",
    "RBAC",
    "Webhook",
];
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

impl AuthorizationConfiguration {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        component_config::parse(text, "AuthorizationConfiguration")
    }

    /// All complaints.
    pub fn validate(&self) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = Path::new("authorizers");
        if self.authorizers.is_empty() {
            let detail = "at least one authorization mode must be defined";
            errors.push(FieldError::required(&root, detail));
        }
        for (index, authorizer) in self.authorizers.iter().enumerate() {
            let path = root.index(index);
            let before = &self.authorizers[..index];
            let sort = authorizer.sort.as_str();
            if sort.is_empty() {
                errors.push(FieldError::required(&path.child("type"), ""));
                continue;
            }
            if !MODES.contains(&sort) {
                errors.push(FieldError::not_supported(&path.child("type"), sort, &MODES));
                continue;
            }
            if sort != "Webhook" && before.iter().any(|one| one.sort == sort) {
                errors.push(FieldError::duplicate(&path.child("type"), sort));
                continue;
            }
            let name = authorizer.name.as_str();
            if name.is_empty() {
                errors.push(FieldError::required(&path.child("name"), ""));
            } else if before.iter().any(|one| one.name == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            } else {
                let complaints = api::names::dns1123_subdomain(name);
                if !complaints.is_empty() {
                    let detail = format!("authorizer name is invalid: {}", complaints.join(", "));
                    errors.push(FieldError::invalid(&path.child("name"), name, detail));
                }
            }
            match (sort, &authorizer.webhook) {
                ("Webhook", None) => errors.push(FieldError::required(
                    &path.child("webhook"),
                    "required when type=Webhook",
                )),
                ("Webhook", Some(webhook)) => {
                    webhook.validate(&path.child("webhook"), &mut errors);
                }
                (_, Some(_)) => errors.push(FieldError::invalid(
                    &path.child("webhook"),
                    "non-null",
                    "may only be specified when type=Webhook",
                )),
                (_, None) => {}
            }
        }
        errors
    }
}

impl WebhookConfig {
    fn validate(&self, path: &Path, errors: &mut ErrorList) {
        let at = path.child("timeout");
        match parse_duration(&self.timeout) {
            _ if self.timeout.is_empty() => errors.push(FieldError::required(&at, "")),
            Some(timeout) if !timeout.is_zero() && timeout <= MAX_TIMEOUT => {}
            _ => errors.push(FieldError::invalid(
                &at,
                self.timeout.as_str(),
                "must be > 0s and <= 30s",
            )),
        }
        for (field, value) in [
            ("authorizedTTL", &self.authorized_ttl),
            ("unauthorizedTTL", &self.unauthorized_ttl),
        ] {
            if let Some(value) = value
                && parse_duration(value).is_none()
            {
                let detail = "must be > 0s";
                errors.push(FieldError::invalid(
                    &path.child(field),
                    value.as_str(),
                    detail,
                ));
            }
        }
        let one_of = |errors: &mut ErrorList, field: &str, value: &str, known: &[&str]| {
            let at = path.child(field);
            if value.is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else if !known.contains(&value) {
                errors.push(FieldError::not_supported(&at, value, known));
            }
        };
        one_of(
            errors,
            "subjectAccessReviewVersion",
            &self.subject_access_review_version,
            &["v1", "v1beta1"],
        );
        let version = self.match_condition_subject_access_review_version.as_str();
        let at = path.child("matchConditionSubjectAccessReviewVersion");
        match version {
            "" if !self.match_conditions.is_empty() => errors.push(FieldError::required(
                &at,
                "required if match conditions are specified",
            )),
            "" | "v1" => {}
            other => errors.push(FieldError::not_supported(&at, other, &["v1"])),
        }
        for (index, condition) in self.match_conditions.iter().enumerate() {
            let before = &self.match_conditions[..index];
            let expression = condition.expression.as_str();
            if before.iter().any(|one| one.expression == expression) {
                let at = path.child("matchConditions").index(index);
                errors.push(FieldError::duplicate(&at.child("expression"), expression));
            }
        }
        one_of(
            errors,
            "failurePolicy",
            &self.failure_policy,
            &["NoOpinion", "Deny"],
        );
        self.connection_info
            .validate(&path.child("connectionInfo"), errors);
    }
}

impl ConnectionInfo {
    fn validate(&self, path: &Path, errors: &mut ErrorList) {
        let at = path.child("kubeConfigFile");
        let file = self.kube_config_file.as_deref();
        match self.sort.as_str() {
            "" => errors.push(FieldError::required(&path.child("type"), "")),
            "InClusterConfig" => {
                if let Some(file) = file {
                    let detail = "can only be set when type=KubeConfigFile";
                    errors.push(FieldError::invalid(&at, file, detail));
                }
            }
            "KubeConfigFile" => match file {
                None | Some("") => errors.push(FieldError::required(&at, "")),
                Some(file) if !FilePath::new(file).is_absolute() => {
                    errors.push(FieldError::invalid(&at, file, "must be an absolute path"));
                }
                Some(file) if !FilePath::new(file).is_file() => {
                    errors.push(FieldError::invalid(&at, file, "must be a regular file"));
                }
                Some(_) => {}
            },
            other => errors.push(FieldError::not_supported(
                &path.child("type"),
                other,
                &["InClusterConfig", "KubeConfigFile"],
            )),
        }
    }
}

/// A duration as Go writes it: `1h30m`, `30s`, `500ms`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let seconds = match &after[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(authorizers: &str) -> Vec<String> {
        let header = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n";
        let config = AuthorizationConfiguration::parse(&format!("{header}{authorizers}")).unwrap();
        config.validate().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_configuration_is_judged_whole() {
        assert_eq!(
            complaints("- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n"),
            [""; 0]
        );
        assert_eq!(
            complaints(
                "- {type: RBAC, name: A_B}\n- {type: RBAC, name: b}\n- {type: Magic, name: c}\n- {type: Webhook, name: d}\n"
            ),
            [
                "authorizers[0].name: Invalid value: \"A_B\": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "authorizers[1].type: Duplicate value: \"RBAC\"",
                "authorizers[2].type: Unsupported value: \"Magic\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
                "authorizers[3].webhook: Required value: required when type=Webhook",
            ]
        );
        assert_eq!(
            complaints(
                "- {type: Webhook, name: a, webhook: {timeout: 1m, subjectAccessReviewVersion: v2, connectionInfo: {type: KubeConfigFile, kubeConfigFile: x}}}\n"
            ),
            [
                "authorizers[0].webhook.timeout: Invalid value: \"1m\": must be > 0s and <= 30s",
                "authorizers[0].webhook.subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
                "authorizers[0].webhook.failurePolicy: Required value",
                "authorizers[0].webhook.connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path",
            ]
        );
    }

    #[test]
    fn a_condition_stands_once_and_no_time_is_the_default() {
        let webhook = "timeout: 1s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: InClusterConfig}";
        assert_eq!(
            complaints(&format!(
                "- {{type: Webhook, name: a, webhook: {{{webhook}, unauthorizedTTL: 0s, matchConditions: [{{expression: 'true'}}, {{expression: 'true'}}]}}}}\n"
            )),
            ["authorizers[0].webhook.matchConditions[1].expression: Duplicate value: \"true\""]
        );
    }

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("500ms", Some(500)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
