//! Which flow a request belongs to: FlowSchemas as rules that are matched against it.

use std::sync::Arc;

use apimachinery::{Object, meta};
use http::HeaderValue;
use serde_json::Value;

use super::{level::Level, stats::SchemaStats};
use crate::{context::FlowIds, lookup, request_info::RequestInfo, user::UserInfo};

/// A FlowSchema that counts: its level exists.
#[derive(Debug)]
pub(super) struct FlowSchema {
    pub(super) level: Arc<Level>,
    pub(super) ids: FlowIds,
    pub(super) stats: Arc<SchemaStats>,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    None,
    ByUser,
    ByNamespace,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    non_resources: Vec<NonResourceRule>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    /// Namespace and name.
    ServiceAccount(String, String),
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Debug)]
struct NonResourceRule {
    verbs: Vec<String>,
    urls: Vec<String>,
}

/// What a FlowSchema is ordered by: the lowest precedence first, then the name.
pub(super) fn order(object: &Object) -> (i64, &str) {
    let precedence = lookup::number(object, &["spec", "matchingPrecedence"]).unwrap_or(1000);
    (precedence, meta::name(object))
}

/// The name of the level that a FlowSchema refers to.
pub(super) fn level_name(object: &Object) -> &str {
    lookup::text(object, &["spec", "priorityLevelConfiguration", "name"])
}

/// As a header; uids are made by the server and visible, anything else is left out.
pub(super) fn header(uid: &str) -> HeaderValue {
    HeaderValue::from_str(uid).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl FlowSchema {
    /// As the object says.
    pub(super) fn new(
        object: &Object,
        level: Arc<Level>,
        level_uid: &str,
        stats: Arc<SchemaStats>,
    ) -> Self {
        let distinguisher = match lookup::text(object, &["spec", "distinguisherMethod", "type"]) {
            "ByUser" => Distinguisher::ByUser,
            "ByNamespace" => Distinguisher::ByNamespace,
            _ => Distinguisher::None,
        };
        Self {
            level,
            ids: FlowIds {
                flow_schema: header(meta::uid(object)),
                priority_level: header(level_uid),
            },
            stats,
            distinguisher,
            rules: lookup::objects(object, &["spec", "rules"])
                .map(Rule::of)
                .collect(),
        }
    }

    /// Whether a request of this user is one of its.
    pub(super) fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// Tells the request's flow from others of this schema.
    pub(super) fn distinguisher<'a>(&self, user: &'a UserInfo, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::None => "",
            Distinguisher::ByUser => &user.name,
            Distinguisher::ByNamespace => &info.namespace,
        }
    }
}

impl Rule {
    fn of(object: &Object) -> Self {
        Self {
            subjects: lookup::objects(object, &["subjects"])
                .filter_map(Subject::of)
                .collect(),
            resources: lookup::objects(object, &["resourceRules"])
                .map(|rule| ResourceRule {
                    verbs: lookup::strings(rule, &["verbs"]),
                    groups: lookup::strings(rule, &["apiGroups"]),
                    resources: lookup::strings(rule, &["resources"]),
                    cluster_scope: lookup::flag(rule, &["clusterScope"]).unwrap_or(false),
                    namespaces: lookup::strings(rule, &["namespaces"]),
                })
                .collect(),
            non_resources: lookup::objects(object, &["nonResourceRules"])
                .map(|rule| NonResourceRule {
                    verbs: lookup::strings(rule, &["verbs"]),
                    urls: lookup::strings(rule, &["nonResourceURLs"]),
                })
                .collect(),
        }
    }

    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        if !self.subjects.iter().any(|subject| subject.matches(user)) {
            return false;
        }
        if info.is_resource {
            self.resources.iter().any(|rule| rule.matches(info))
        } else {
            self.non_resources.iter().any(|rule| rule.matches(info))
        }
    }
}

impl Subject {
    fn of(object: &Object) -> Option<Self> {
        let text = |path: &[&str]| lookup::text(object, path).to_owned();
        Some(match object.get("kind").and_then(Value::as_str)? {
            "User" => Self::User(text(&["user", "name"])),
            "Group" => Self::Group(text(&["group", "name"])),
            "ServiceAccount" => Self::ServiceAccount(
                text(&["serviceAccount", "namespace"]),
                text(&["serviceAccount", "name"]),
            ),
            _ => return None,
        })
    }

    fn matches(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.groups.contains(name),
            Self::ServiceAccount(namespace, name) => user
                .name
                .strip_prefix("system:serviceaccount:")
                .and_then(|account| account.split_once(':'))
                .is_some_and(|(of, account)| of == namespace && (name == "*" || name == account)),
        }
    }
}

fn covers(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let in_scope = if info.namespace.is_empty() {
            self.cluster_scope
        } else {
            covers(&self.namespaces, &info.namespace)
        };
        in_scope
            && covers(&self.verbs, &info.verb)
            && covers(&self.groups, &info.group_version.group)
            && self.resources.iter().any(|item| {
                item == "*"
                    || match item.split_once('/') {
                        Some((resource, subresource)) => {
                            resource == info.resource && subresource == info.subresource
                        }
                        None => info.subresource.is_empty() && *item == info.resource,
                    }
            })
    }
}

impl NonResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        covers(&self.verbs, &info.verb)
            && self.urls.iter().any(|url| {
                // `/metrics/*` is all below, and not `/metrics` itself, which `/metrics` is besides.
                let prefix = url.strip_suffix('*').unwrap_or(url);
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                let below = info.path.strip_prefix(prefix);
                url == "*" || *url == info.path || below.is_some_and(|rest| rest.starts_with('/'))
            })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;

    fn rule(subject: Value, resource_rule: Value, non_resource_rule: Value) -> Rule {
        let rule = json!({
            "subjects": [subject], "resourceRules": [resource_rule], "nonResourceRules": [non_resource_rule],
        });
        Rule::of(rule.as_object().unwrap())
    }

    fn info(uri: &str) -> RequestInfo {
        RequestInfo::parse(&Method::GET, &uri.parse().unwrap())
    }

    fn user(name: &str) -> UserInfo {
        UserInfo {
            name: name.to_owned(),
            groups: vec!["g".to_owned()],
            ..UserInfo::default()
        }
    }

    #[test]
    fn rules_are_matched_as_upstream_matches_them() {
        let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"], "namespaces": ["a"]});
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/debug/*"]});
        let rule = rule(json!({"kind": "Group", "group": {"name": "g"}}), pods, urls);
        let of_group = user("u");
        for (uri, expected) in [
            ("/api/v1/namespaces/a/pods", true),
            ("/api/v1/namespaces/a/pods/p", true),
            ("/api/v1/namespaces/a/pods/p/log", true),
            ("/api/v1/namespaces/a/pods/p/status", false),
            ("/api/v1/namespaces/b/pods", false),
            ("/api/v1/pods", false),
            ("/api/v1/namespaces/a/pods?watch=1", false),
            ("/apis/apps/v1/namespaces/a/pods", false),
            ("/healthz", true),
            ("/healthz/", true),
            ("/healthz/etcd", true),
            ("/healthzes", false),
            ("/debug/pprof", true),
            ("/debug", false),
        ] {
            assert_eq!(rule.matches(&of_group, &info(uri)), expected, "{uri}");
        }
        assert!(!rule.matches(&UserInfo::default(), &info("/healthz")));
    }

    #[test]
    fn service_accounts_are_told_by_their_user_name() {
        let account = |namespace: &str, name: &str| {
            let subject = json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}});
            Subject::of(subject.as_object().unwrap()).unwrap()
        };
        let caller = user("system:serviceaccount:kube-system:dns");
        assert!(account("kube-system", "*").matches(&caller));
        assert!(account("kube-system", "dns").matches(&caller));
        assert!(!account("kube-system", "d").matches(&caller));
        assert!(!account("default", "*").matches(&caller));
    }
}
