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
    negotiation::{
        Accept, Encoding, Endpoint, SERIALIZERS, encode_object, respond_bytes, respond_object,
        route_produces,
    },
    query::Query,
};

pub use root_paths::root_paths;
pub use version::Version;

/// The kind of the aggregated form.
const AGGREGATED: GroupVersionKind =
    GroupVersionKind::new("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList");

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
    document: Object,
    /// The document as JSON, which nearly everybody asks for.
    json: Bytes,
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
        let asked = path;
        let path = path.trim_end_matches('/');
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
        if routed && let Err(status) = route_produces(headers, &SERIALIZERS) {
            return Some(Err(status));
        }
        // What lies below `/apis/` is another handler's, upstream's of unknown groups, which knows the older form only.
        if path == "/api" || asked == "/apis" {
            let aggregated = Accept::negotiate_aggregated_discovery(headers, query);
            if let Some(accept) = aggregated {
                return Some(documents.aggregated(path, headers, accept));
            }
        }
        let accept = match Accept::negotiate(headers, query, Endpoint::Document) {
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

    fn aggregated(
        &self,
        path: &str,
        headers: &HeaderMap,
        accept: Accept,
    ) -> Result<Response<Body>, Status> {
        let lists = self
            .aggregated
            .get_or_init(|| aggregated::lists(&self.rows, &self.remote));
        let list = lists.get(path).ok_or_else(Status::unknown_path)?;
        list.respond(headers, accept)
    }
}

impl Aggregated {
    fn respond(&self, request: &HeaderMap, accept: Accept) -> Result<Response<Body>, Status> {
        let mut response = if request.get(header::IF_NONE_MATCH) == Some(&self.etag) {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            self.document(request, accept)?
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        Ok(response)
    }

    fn document(&self, request: &HeaderMap, accept: Accept) -> Result<Response<Body>, Status> {
        let body = match accept.encoding {
            Encoding::Json if !accept.pretty => self.json.clone(),
            _ => encode_object(&self.document, &AGGREGATED, accept)?,
        };
        let mut response = respond_bytes(request, StatusCode::OK, accept, body)?;
        let GroupVersionKind {
            group,
            version,
            kind,
        } = AGGREGATED;
        let media_type = accept.encoding.media_type();
        let content_type = format!("{media_type};g={group};v={version};as={kind}");
        let content_type = HeaderValue::try_from(content_type).map_err(Status::internal)?;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

#[cfg(test)]
mod tests;
