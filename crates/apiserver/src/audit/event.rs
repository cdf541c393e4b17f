//! `audit.k8s.io/v1 Event`, field for field as upstream writes it.

use std::collections::BTreeMap;

use apimachinery::status::Status;
use serde::Serialize;
use serde_json::{Value, json};

use super::policy::{Level, Stage};
use crate::user::UserInfo;

/// What happened, at one stage of a request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) level: Level,
    #[serde(rename = "auditID")]
    pub(super) audit_id: String,
    pub(super) stage: Stage,
    #[serde(rename = "requestURI")]
    pub(super) request_uri: String,
    pub(super) verb: String,
    pub(super) user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impersonated_user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authentication_metadata: Option<AuthenticationMetadata>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_ref: Option<ObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_object: Option<Value>,
    pub(super) request_received_timestamp: String,
    pub(super) stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// `authentication.k8s.io/v1 UserInfo`
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct User {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub(super) fn name(&self) -> &str {
        &self.username
    }

    pub(super) fn groups(&self) -> &[String] {
        &self.groups
    }
}

impl From<&UserInfo> for User {
    fn from(user: &UserInfo) -> Self {
        Self {
            username: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        }
    }
}

/// How the user came to be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impersonation_constraint: Option<String>,
}

/// What the request is about.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) subresource: String,
}

impl Event {
    /// As it is written.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| {
            tracing::error!(%error, "an audit event could not be encoded");
            Vec::new()
        })
    }

    /// Without the objects, as an event is written that is too large.
    pub(super) fn truncated(&self) -> Self {
        let mut event = self.clone();
        event.request_object = None;
        event.response_object = None;
        let key = "audit.k8s.io/truncated".to_owned();
        event.annotations.insert(key, "true".to_owned());
        event
    }

    /// In one line of the older form, `--audit-log-format=legacy`.
    pub(super) fn legacy(&self) -> String {
        let or = |text: &str, absent: &str| {
            if text.is_empty() {
                absent.to_owned()
            } else {
                text.to_owned()
            }
        };
        let list = |groups: &[String], absent: &str| match groups {
            [] => absent.to_owned(),
            groups => groups
                .iter()
                .map(|g| format!("{g:?}"))
                .collect::<Vec<_>>()
                .join(","),
        };
        let impersonated = self.impersonated_user.as_ref();
        let namespace = self
            .object_ref
            .as_ref()
            .map_or("", |r| r.namespace.as_str());
        let code = self
            .response_status
            .as_ref()
            .and_then(|status| status["code"].as_u64());
        format!(
            "{} AUDIT: id={:?} stage={:?} ip={:?} method={:?} user={:?} groups={:?} as={:?} asgroups={:?} user-agent={:?} namespace={:?} uri={:?} response={:?}",
            self.stage_timestamp,
            self.audit_id,
            format!("{:?}", self.stage),
            self.source_ips.first().map_or("<unknown>", String::as_str),
            self.verb,
            or(self.user.name(), "<none>"),
            list(self.user.groups(), "<none>"),
            impersonated.map_or("<self>", User::name),
            impersonated.map_or_else(
                || "<lookup>".to_owned(),
                |user| list(user.groups(), "<lookup>")
            ),
            self.user_agent,
            or(namespace, "<none>"),
            self.request_uri,
            code.map_or_else(|| "<deferred>".to_owned(), |code| code.to_string()),
        )
    }
}

/// What is written of an answer's status: its bounded fields, and the answer's own code, which that of a deletion does not tell.
pub(super) fn response_status(status: &Status, code: u16) -> Value {
    let mut out = json!({"metadata": {}, "code": code});
    for (name, text) in [
        ("status", &status.status),
        ("message", &status.message),
        ("reason", &status.reason),
    ] {
        if !text.is_empty() {
            out[name] = text.as_str().into();
        }
    }
    if let Some(details) = status
        .details
        .as_ref()
        .and_then(|d| serde_json::to_value(d).ok())
    {
        out["details"] = details;
    }
    out
}

/// What is written of an answer that is no `Status`.
pub(super) fn response_code(code: u16) -> Value {
    json!({"metadata": {}, "code": code})
}

/// `metadata.managedFields` of an object, or of a list's items, left out.
pub(super) fn omit_managed_fields(object: &mut Value) {
    let omit = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    omit(object);
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(omit);
    }
}
