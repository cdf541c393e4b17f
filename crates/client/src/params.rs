//! Query parameters and bodies of requests, under the names of the wire.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::Value;

/// What to list. The default is everything, consistently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// `fieldSelector`.
    pub field_selector: Option<String>,
    /// At most so many items, then a `continue` token.
    pub limit: Option<u32>,
    /// The token of the page before.
    pub continue_token: Option<String>,
    /// `resourceVersion`: `0` is "whatever the cache has".
    pub resource_version: Option<String>,
    /// `Exact` or `NotOlderThan`.
    pub resource_version_match: Option<&'static str>,
}

impl ListParams {
    /// All with these labels.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self {
            label_selector: Some(selector.into()),
            ..Self::default()
        }
    }

    /// All with these fields.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self {
            field_selector: Some(selector.into()),
            ..Self::default()
        }
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default();
        query.optional("labelSelector", self.label_selector.as_deref());
        query.optional("fieldSelector", self.field_selector.as_deref());
        query.optional(
            "limit",
            self.limit.map(|limit| limit.to_string()).as_deref(),
        );
        query.optional("continue", self.continue_token.as_deref());
        query.optional("resourceVersion", self.resource_version.as_deref());
        query.optional("resourceVersionMatch", self.resource_version_match);
        query
    }
}

/// What to watch, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchParams {
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// `fieldSelector`.
    pub field_selector: Option<String>,
    /// Changes after this resourceVersion; unset starts with what is there now.
    pub resource_version: Option<String>,
    /// The server ends the watch after so long.
    pub timeout_seconds: Option<u64>,
    /// Whether bookmarks are wanted.
    pub allow_bookmarks: bool,
}

impl WatchParams {
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default();
        query.optional("watch", Some("true"));
        query.optional("labelSelector", self.label_selector.as_deref());
        query.optional("fieldSelector", self.field_selector.as_deref());
        query.optional("resourceVersion", self.resource_version.as_deref());
        query.optional(
            "timeoutSeconds",
            self.timeout_seconds
                .map(|seconds| seconds.to_string())
                .as_deref(),
        );
        query.optional(
            "allowWatchBookmarks",
            self.allow_bookmarks.then_some("true"),
        );
        query
    }
}

/// A change of an object, in one of the four patch formats.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' strategic merge; built-in kinds alone.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// The fields that this manager wants.
        object: Value,
        /// As whom.
        field_manager: String,
        /// Whether fields of other managers are taken over.
        force: bool,
    },
}

impl Patch {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json-patch+json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Apply { .. } => "application/apply-patch+yaml",
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let (Self::Json(value)
        | Self::Merge(value)
        | Self::Strategic(value)
        | Self::Apply { object: value, .. }) = self;
        value.to_string().into_bytes()
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default();
        if let Self::Apply {
            field_manager,
            force,
            ..
        } = self
        {
            query.optional("fieldManager", Some(field_manager));
            query.optional("force", Some(if *force { "true" } else { "false" }));
        }
        query
    }
}

/// Shapes of `DeleteOptions` that components use.
pub trait DeleteOptionsExt {
    /// With a propagation policy: `Foreground`, `Background` or `Orphan`.
    fn propagation(policy: &str) -> DeleteOptions;
    /// With a grace period.
    fn grace_period(seconds: i64) -> DeleteOptions;
    /// Only if the object still is the one with this uid.
    fn with_uid(self, uid: &str) -> DeleteOptions;
    /// Only if the object has not changed since.
    fn with_resource_version(self, resource_version: &str) -> DeleteOptions;
}

impl DeleteOptionsExt for DeleteOptions {
    fn propagation(policy: &str) -> DeleteOptions {
        Self {
            propagation_policy: Some(policy.to_owned()),
            ..Self::default()
        }
    }

    fn grace_period(seconds: i64) -> DeleteOptions {
        Self {
            grace_period_seconds: Some(seconds),
            ..Self::default()
        }
    }

    fn with_uid(mut self, uid: &str) -> DeleteOptions {
        self.preconditions
            .get_or_insert_with(Preconditions::default)
            .uid = Some(uid.to_owned());
        self
    }

    fn with_resource_version(mut self, resource_version: &str) -> DeleteOptions {
        self.preconditions
            .get_or_insert_with(Preconditions::default)
            .resource_version = Some(resource_version.to_owned());
        self
    }
}

/// A query string under construction.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.push(if self.0.is_empty() { '?' } else { '&' });
            self.0.push_str(name);
            self.0.push('=');
            percent_encode(&mut self.0, value);
        }
    }

    pub(crate) fn append_to(self, mut path: String) -> String {
        path.push_str(&self.0);
        path
    }
}

/// RFC 3986: everything but unreserved characters is escaped.
pub(crate) fn percent_encode(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_escape_selectors() {
        let params = ListParams {
            limit: Some(5),
            ..ListParams::labels("app in (a,b),x!=y")
        };
        assert_eq!(
            params.query().append_to("/api/v1/pods".to_owned()),
            "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29%2Cx%21%3Dy&limit=5"
        );
        assert_eq!(
            ListParams::default().query().append_to("/api".to_owned()),
            "/api"
        );
    }
}
