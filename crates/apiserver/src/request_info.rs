//! What a request is about: the second stage of the pipeline reads it off method and path, everything after it uses it.

use apimachinery::gvk::{GroupVersion, GroupVersionResource};
use http::{Method, Uri};

use crate::query::Query;

/// The path of a request, understood. Follows upstream's `RequestInfoFactory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it concerns a resource under `/api` or `/apis`.
    pub is_resource: bool,
    /// The path as sent.
    pub path: String,
    /// `get list watch create update patch delete deletecollection proxy connect`; for other paths the method in lower case.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    /// Group and version.
    pub group_version: GroupVersion,
    /// Empty for cluster scope. For `namespaces/NAME` it is that name, as upstream has it.
    pub namespace: String,
    /// Plural name.
    pub resource: String,
    /// `status`, `scale`, `exec`, …
    pub subresource: String,
    /// Object name; empty for collections. From `fieldSelector=metadata.name=` for lists and watches.
    pub name: String,
    /// Whether the path is one of the old ones that watch: `/api/v1/watch/…`.
    pub by_watch_path: bool,
    /// Whether the path is one of the old ones and ends before it says what it is about.
    pub is_cut_short: bool,
    /// What follows the subresource (proxy paths).
    pub rest: String,
    /// `fieldSelector` as sent, for list, watch and deletecollection: authorizers may allow less than everything.
    pub field_selector: String,
    /// `labelSelector` as sent, likewise.
    pub label_selector: String,
}

impl RequestInfo {
    /// Reads a request line. Never fails: what is no resource path is a non-resource request, and routing answers 404 later.
    pub fn parse(method: &Method, uri: &Uri) -> Self {
        let path = uri.path();
        let mut info = Self {
            path: path.to_owned(),
            verb: method.as_str().to_ascii_lowercase(),
            ..Self::default()
        };
        // Escapes are gone before anything is told apart: an escaped slash separates, as upstream.
        let decoded = crate::query::percent_decode(path);
        let parts: Vec<String> = decoded
            .trim_matches('/')
            .split('/')
            .map(str::to_owned)
            .collect();
        let mut rest: &[String] = match parts.as_slice() {
            // `/api/v1` and `/apis/apps/v1` by themselves are discovery.
            [prefix, version, rest @ ..] if prefix == "api" && !rest.is_empty() => {
                info.group_version.version = version.clone().into();
                rest
            }
            [prefix, group, version, rest @ ..] if prefix == "apis" && !rest.is_empty() => {
                info.group_version.group = group.clone().into();
                info.group_version.version = version.clone().into();
                rest
            }
            _ => return info,
        };
        info.is_resource = true;
        info.prefix.clone_from(&parts[0]);
        match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .clone_into(&mut info.verb);
        // Paths of old: `/api/v1/watch/…` and `/api/v1/proxy/…`.
        if let [special @ ("watch" | "proxy"), ..] = rest
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            info.verb = (*special).to_owned();
            info.by_watch_path = *special == "watch";
            rest = &rest[1..];
            if rest.is_empty() {
                info.is_cut_short = true;
                return info;
            }
        }
        if rest[0] == "namespaces" && rest.len() > 1 {
            info.namespace.clone_from(&rest[1]);
            // `namespaces/NAME/status` and `/finalize` are of the namespace itself.
            if rest.len() > 2 && !matches!(rest[2].as_str(), "status" | "finalize") {
                rest = &rest[2..];
            }
        }
        info.resource = rest.first().cloned().unwrap_or_default();
        info.name = rest.get(1).cloned().unwrap_or_default();
        info.subresource = rest.get(2).cloned().unwrap_or_default();
        info.rest = rest.get(3..).map(|rest| rest.join("/")).unwrap_or_default();
        info.refine_verb(&Query::parse(uri.query().unwrap_or_default()));
        info
    }

    /// A GET of a collection is a list or a watch, a DELETE of one a deletecollection.
    fn refine_verb(&mut self, query: &Query) {
        if !self.name.is_empty() {
            return;
        }
        // Selectors of the paths of old are not minded by authorization.
        if matches!(self.verb.as_str(), "get" | "delete") {
            let selector = |name| query.get(name).unwrap_or_default().to_owned();
            self.field_selector = selector("fieldSelector");
            self.label_selector = selector("labelSelector");
        }
        match self.verb.as_str() {
            "get" => {
                "list".clone_into(&mut self.verb);
                if query.flag("watch") {
                    "watch".clone_into(&mut self.verb);
                }
                self.name = query.single_name().unwrap_or_default();
            }
            "delete" => {
                "deletecollection".clone_into(&mut self.verb);
            }
            _ => {}
        }
    }

    /// Whether the request may take as long as it likes: watches and streams.
    pub fn is_long_running(&self) -> bool {
        matches!(self.verb.as_str(), "watch" | "proxy")
            || (self.is_resource
                && matches!(
                    self.subresource.as_str(),
                    "attach" | "exec" | "proxy" | "log" | "portforward"
                ))
    }

    /// Group, version, resource.
    pub fn gvr(&self) -> GroupVersionResource {
        self.group_version.resource(self.resource.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, uri: &str) -> (String, String, String, String, String, String) {
        let info = RequestInfo::parse(&method, &uri.parse().unwrap());
        assert!(info.is_resource, "{uri}");
        let gv = info.group_version.to_string();
        (
            info.verb,
            gv,
            info.namespace,
            info.resource,
            info.name,
            info.subresource,
        )
    }

    fn want(
        verb: &str,
        gv: &str,
        namespace: &str,
        resource: &str,
        name: &str,
        subresource: &str,
    ) -> (String, String, String, String, String, String) {
        (
            verb.into(),
            gv.into(),
            namespace.into(),
            resource.into(),
            name.into(),
            subresource.into(),
        )
    }

    #[test]
    fn resource_paths() {
        for (method, uri, expected) in [
            (
                Method::GET,
                "/api/v1/namespaces/d/pods",
                want("list", "v1", "d", "pods", "", ""),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/d/pods/",
                want("list", "v1", "d", "pods", "", ""),
            ),
            (
                Method::GET,
                "/api/v1/pods?watch=true",
                want("watch", "v1", "", "pods", "", ""),
            ),
            (
                Method::GET,
                "/api/v1/pods?watch=0",
                want("list", "v1", "", "pods", "", ""),
            ),
            (
                Method::GET,
                "/api/v1/watch/pods",
                want("watch", "v1", "", "pods", "", ""),
            ),
            (
                Method::GET,
                "/api/v1/watch/namespaces/d/pods/a",
                want("watch", "v1", "d", "pods", "a", ""),
            ),
            (
                Method::POST,
                "/api/v1/namespaces/d/pods/a/exec",
                want("create", "v1", "d", "pods", "a", "exec"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/d",
                want("get", "v1", "d", "namespaces", "d", ""),
            ),
            (
                Method::GET,
                "/api/v1/namespaces",
                want("list", "v1", "", "namespaces", "", ""),
            ),
            (
                Method::PUT,
                "/api/v1/namespaces/d/finalize",
                want("update", "v1", "d", "namespaces", "d", "finalize"),
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/d/deployments",
                want("deletecollection", "apps/v1", "d", "deployments", "", ""),
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/d/pods?fieldSelector=metadata.name%3Da",
                want("deletecollection", "v1", "d", "pods", "", ""),
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/d/deployments/a/scale",
                want("patch", "apps/v1", "d", "deployments", "a", "scale"),
            ),
            (
                Method::GET,
                "/api/v1/nodes?watch=1&fieldSelector=metadata.name%3Dn1",
                want("watch", "v1", "", "nodes", "n1", ""),
            ),
        ] {
            assert_eq!(parse(method, uri), expected, "{uri}");
        }
    }

    #[test]
    fn other_paths() {
        for uri in [
            "/",
            "/healthz",
            "/api",
            "/apis",
            "/api/v1",
            "/apis/apps",
            "/apis/apps/v1",
            "/API/v1/pods",
        ] {
            let info = RequestInfo::parse(&Method::GET, &uri.parse().unwrap());
            assert!(!info.is_resource, "{uri}");
            assert_eq!(info.verb, "get");
        }
    }

    #[test]
    fn old_paths_say_what_they_are_about() {
        for (uri, cut_short) in [
            ("/api/v1/watch", true),
            ("/apis/apps/v1/watch/", true),
            ("/api/v1/proxy", true),
            ("/api/v1/watch/pods", false),
            ("/api/watch", false),
        ] {
            let info = RequestInfo::parse(&Method::POST, &uri.parse().unwrap());
            assert_eq!(info.is_cut_short, cut_short, "{uri}");
        }
    }

    #[test]
    fn escaped_slashes_separate() {
        let uri = "/api/v1/namespaces/d/configmaps/a%2Fb".parse().unwrap();
        let info = RequestInfo::parse(&Method::GET, &uri);
        assert_eq!((info.name.as_str(), info.subresource.as_str()), ("a", "b"));
    }

    #[test]
    fn proxy_paths_keep_their_rest() {
        let uri = "/api/v1/namespaces/d/services/s:80/proxy/a/b%20c"
            .parse()
            .unwrap();
        let info = RequestInfo::parse(&Method::GET, &uri);
        assert_eq!(
            (info.subresource.as_str(), info.rest.as_str()),
            ("proxy", "a/b c")
        );
    }
}
