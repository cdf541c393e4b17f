//! Discovery: what this server serves, as clients ask for it. Made once of the resource rows, never by hand.
//!
//! Two forms: the older one document a group and version, and the aggregated list of all of them in one answer
//! (`g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`), which has an ETag.

mod aggregated;
mod legacy;
mod root_paths;
mod version;

use std::{collections::BTreeMap, sync::Arc};

use api::ServedResource;
use apimachinery::{Object, gvk::GroupVersionKind, status::Status};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    body::Body,
    negotiation::{Accept, Endpoint, respond_object},
    query::Query,
};

pub use root_paths::root_paths;
pub use version::Version;

/// The media type of the aggregated form.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// All discovery documents of one set of resources.
#[derive(Debug)]
pub struct Discovery {
    /// The older form, by path without a trailing slash.
    documents: BTreeMap<String, (Object, GroupVersionKind)>,
    /// `/api` and `/apis`.
    aggregated: BTreeMap<&'static str, Aggregated>,
}

#[derive(Debug)]
struct Aggregated {
    body: Bytes,
    /// In quotes, as the header has it.
    etag: HeaderValue,
}

impl Discovery {
    /// Of these rows; groups and versions in order of their first row. `server_address` is where clients outside reach the server.
    pub fn new(rows: &[Arc<ServedResource>], server_address: &str) -> Self {
        Self {
            documents: legacy::documents(rows, server_address),
            aggregated: aggregated::lists(rows),
        }
    }

    /// Paths with a document.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// Answers, if the path is one of discovery's.
    pub fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Option<Result<Response<Body>, Status>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let Some((object, gvk)) = self.documents.get(path) else {
            // A version that a known group does not have.
            let group = path.rsplit_once('/').map(|(group, _)| group)?;
            let known = group != "/apis"
                && self.documents.contains_key(group)
                && path.matches('/').count() <= 3;
            return known.then(|| Err(Status::unknown_path()));
        };
        if method != Method::GET && method != Method::HEAD {
            return Some(Err(Status::method_not_allowed()));
        }
        if let Some(aggregated) = self
            .aggregated
            .get(path)
            .filter(|_| wants_aggregated(headers))
        {
            return Some(Ok(aggregated.respond(headers)));
        }
        let accept = match Accept::negotiate(headers, query, Endpoint::Object) {
            Ok(accept) => accept,
            Err(status) => return Some(Err(status)),
        };
        Some(respond_object(headers, StatusCode::OK, accept, object, gvk))
    }
}

impl Aggregated {
    fn respond(&self, request: &HeaderMap) -> Response<Body> {
        let known = request.get(header::IF_NONE_MATCH) == Some(&self.etag);
        let mut response = Response::new(if known {
            Body::Empty
        } else {
            Body::from(self.body.clone())
        });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        if !known {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
        }
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        response
    }
}

/// Whether a clause of `Accept` asks for the aggregated form before any asks for plain JSON. Parameters beyond the three that name it are ignored.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for clause in accept.flat_map(|value| value.split(',')) {
        let mut parts = clause.split(';').map(str::trim);
        if parts.next() != Some("application/json") {
            continue;
        }
        let parameters: Vec<&str> = parts.filter(|part| !part.starts_with("q=")).collect();
        let named = |parameter: &str| parameters.contains(&parameter);
        if named("g=apidiscovery.k8s.io") && named("v=v2") && named("as=APIGroupDiscoveryList") {
            return true;
        }
        if parameters.is_empty() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests;
