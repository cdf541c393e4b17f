//! Discovery: what this server serves, as clients ask for it. Made of the resource rows when somebody asks, and kept until they change.
//!
//! Two forms: the older one document a group and version, and the aggregated list of all of them in one answer
//! (`g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`), which has an ETag.

mod aggregated;
mod legacy;
mod priority;
mod root_paths;
mod version;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use api::ServedResource;
use apimachinery::{Object, gvk::GroupVersionKind, status::Status};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    aggregation::RemoteVersion,
    body::Body,
    negotiation::{Accept, Endpoint, SERIALIZERS, respond_object, route_produces},
    query::Query,
};

pub use root_paths::root_paths;
pub use version::Version;

/// The media type of the aggregated form.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What other servers serve now.
type Remote = dyn Fn() -> Arc<Vec<RemoteVersion>> + Send + Sync;
/// Where the rows are from: everything that is served now.
type Rows = dyn Fn() -> Arc<Vec<Arc<ServedResource>>> + Send + Sync;

/// All discovery documents.
pub struct Discovery {
    rows: Box<Rows>,
    remote: Box<Remote>,
    server_address: String,
    current: ArcSwapOption<Documents>,
}

/// The documents of one set of resources, each made at its first use.
struct Documents {
    rows: Arc<Vec<Arc<ServedResource>>>,
    remote: Arc<Vec<RemoteVersion>>,
    /// The older form, by path. As many as there are paths.
    legacy: Mutex<HashMap<String, Legacy>>,
    /// `/api` and `/apis`.
    aggregated: OnceLock<BTreeMap<&'static str, Aggregated>>,
}

type Legacy = Arc<(Object, GroupVersionKind)>;

#[derive(Debug)]
struct Aggregated {
    body: Bytes,
    /// In quotes, as the header has it.
    etag: HeaderValue,
}

impl Discovery {
    /// Of the rows that `rows` gives when it is asked, and what `remote` says that other servers serve. `server_address` is where clients
    /// outside reach the server.
    pub(crate) fn new(
        rows: impl Fn() -> Arc<Vec<Arc<ServedResource>>> + Send + Sync + 'static,
        remote: impl Fn() -> Arc<Vec<RemoteVersion>> + Send + Sync + 'static,
        server_address: &str,
    ) -> Self {
        Self {
            rows: Box::new(rows),
            remote: Box::new(remote),
            server_address: server_address.to_owned(),
            current: ArcSwapOption::empty(),
        }
    }

    /// The documents of what is served now.
    fn documents(&self) -> Arc<Documents> {
        let (rows, remote) = ((self.rows)(), (self.remote)());
        let current = self.current.load_full();
        let same = |current: &Arc<Documents>| {
            Arc::ptr_eq(&current.rows, &rows) && Arc::ptr_eq(&current.remote, &remote)
        };
        if let Some(current) = current.filter(same) {
            return current;
        }
        let documents = Arc::new(Documents {
            rows,
            remote,
            legacy: Mutex::default(),
            aggregated: OnceLock::new(),
        });
        self.current.store(Some(Arc::clone(&documents)));
        documents
    }

    /// Paths with a document.
    pub fn paths(&self) -> Vec<String> {
        let documents = self.documents();
        legacy::paths(&documents.rows, &documents.remote)
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
        if !path.starts_with("/api") {
            return None;
        }
        let documents = self.documents();
        let Some(document) = documents.legacy(path, &self.server_address) else {
            // A version that a known group does not have. The users' groups are nobody's who does not know all of them.
            let group = path.rsplit_once('/').map(|(group, _)| group)?;
            let name = group
                .strip_prefix("/apis/")
                .or(group.strip_prefix("/api"))?;
            let built_in = |row: &&api::Resource| row.gvr.group == name;
            let known = api::kinds::TABLE.iter().any(built_in);
            return (known && group != "/apis").then(|| Err(Status::unknown_path()));
        };
        // The lists of groups, and groups, have no routes of their own, and care for no method.
        let routed = path == "/api" || path.matches('/').count() == 3 || path == "/api/v1";
        if routed && method != Method::GET {
            return Some(Err(Status::method_not_allowed()));
        }
        if matches!(path, "/api" | "/apis") && wants_aggregated(headers) {
            return Some(documents.aggregated(path, headers));
        }
        let produced = match routed {
            true => route_produces(headers, &SERIALIZERS),
            false => Ok(()),
        };
        let accept = produced.and_then(|()| Accept::negotiate(headers, query, Endpoint::Document));
        let accept = match accept {
            Ok(accept) => accept,
            Err(status) => return Some(Err(status)),
        };
        let (object, gvk) = document.as_ref();
        Some(respond_object(headers, StatusCode::OK, accept, object, gvk))
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

impl Documents {
    fn legacy(&self, path: &str, server_address: &str) -> Option<Legacy> {
        let mut made = self.legacy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = made.get(path) {
            return Some(Arc::clone(found));
        }
        // What is not there is not remembered: there is no end to such paths.
        let document = Arc::new(legacy::document(
            &self.rows,
            &self.remote,
            path,
            server_address,
        )?);
        made.insert(path.to_owned(), Arc::clone(&document));
        Some(document)
    }

    fn aggregated(&self, path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let lists = self
            .aggregated
            .get_or_init(|| aggregated::lists(&self.rows, &self.remote));
        let list = lists.get(path).ok_or_else(Status::unknown_path)?;
        Ok(list.respond(headers))
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
