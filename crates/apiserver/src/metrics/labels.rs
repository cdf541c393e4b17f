//! What requests are told apart by in metrics: values of bounded sets alone, never free text of a client.

use std::sync::Arc;

use api::ServedResource;
use apimachinery::gvk::GroupVersionResource;

use crate::request_info::RequestInfo;

/// A request's label values, all of bounded sets.
pub(super) struct Labels {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) scope: &'static str,
    pub(super) verb: &'static str,
}

impl Labels {
    /// Whether nothing of a request to a resource was left out of them, as of what is not served.
    pub(super) fn say_it_all(&self, info: &RequestInfo) -> bool {
        info.is_resource
            && self.resource == info.resource
            && self.subresource == info.subresource
            && self.group == *info.group_version.group
            && self.version == *info.group_version.version
    }

    /// The values of [`REQUEST`].
    pub(super) fn of_request(&self) -> [&str; 7] {
        [
            "apiserver",
            &self.group,
            &self.resource,
            self.scope,
            &self.subresource,
            self.verb,
            &self.version,
        ]
    }

    /// Of a request; `served` finds custom resources.
    pub(super) fn of(
        info: &RequestInfo,
        verb: &'static str,
        served: impl FnOnce(&GroupVersionResource) -> Option<Arc<ServedResource>>,
    ) -> Self {
        if !info.is_resource {
            // Of other paths, only the first segment: scanners ask for any.
            let first = info
                .path
                .trim_start_matches('/')
                .split('/')
                .next()
                .unwrap_or_default();
            let known = [
                "api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version",
                "openid",
            ];
            let subresource = if known.contains(&first) {
                format!("/{first}")
            } else {
                String::new()
            };
            return Self {
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource,
                scope: "",
                verb,
            };
        }
        // What is not served would be the client's text.
        let subresource = &info.subresource;
        let gvr = info.gvr();
        let of_row = match api::kinds::by_resource(&gvr) {
            Some(row) => Some(row.subresources.iter().any(|s| s.name == subresource)),
            None => served(&gvr).map(|row| row.subresources.iter().any(|s| s.name == subresource)),
        };
        let text = |text: &str, is_served: bool| if is_served { text } else { "" }.to_owned();
        let is_served = of_row.is_some();
        Self {
            group: text(&info.group_version.group, is_served),
            version: text(&info.group_version.version, is_served),
            resource: text(&info.resource, is_served),
            subresource: text(subresource, of_row == Some(true)),
            scope: scope(info),
            verb,
        }
    }
}

/// As upstream calls it in metrics: `resource` for one object, or `namespace`, or `cluster`.
pub(crate) fn scope(info: &RequestInfo) -> &'static str {
    match (
        info.is_resource,
        info.namespace.is_empty(),
        info.name.is_empty(),
    ) {
        (false, ..) => "",
        (true, _, false) => "resource",
        (true, ..) if info.verb == "create" => "resource",
        (true, false, true) => "namespace",
        (true, true, true) => "cluster",
    }
}

/// The method, told apart where one method means several things; free text is `other`.
pub(super) fn reported_verb(info: &RequestInfo, applies: bool) -> &'static str {
    const STREAMS: [&str; 5] = ["log", "exec", "portforward", "attach", "proxy"];
    if info.is_resource && STREAMS.contains(&info.subresource.as_str()) {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if applies => "APPLY",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        _ => "other",
    }
}
