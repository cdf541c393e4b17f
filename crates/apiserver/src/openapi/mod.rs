//! OpenAPI v3 and v2, generated from the facts when somebody asks: one document a group and version, and one of everything.
//!
//! Generation goes in two steps. [`operations`] turns the resource rows into operations, which know nothing of a document's syntax; [`v3`] and [`v2`]
//! write them down, with the [`schemas`] that they refer to. Documents are kept once made: they change only with the rows.
//! [`custom`] follows what users define.

mod custom;
mod names;
mod operations;
mod parameters;
mod schemas;
mod v2;
mod v3;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ::apiextensions::openapi::Dialect;
use api::ServedResource;
use apimachinery::{Object, status::Status};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use ring::digest;
use serde_json::{Value, json};

use self::custom::Custom;
use crate::{body::Body, negotiation::maybe_gzip, query::Query};

const V2_PATH: &str = "/openapi/v2";
const V3_PATH: &str = "/openapi/v3";

/// All documents of one set of resources.
pub struct OpenApi {
    rows: Vec<Arc<ServedResource>>,
    /// By what follows `/openapi/v3/`.
    documents: BTreeMap<String, Document>,
    custom: Custom,
    fingerprint: String,
    /// When the documents came to be: as far as clients' caches go, the start of the server.
    last_modified: HeaderValue,
}

/// A document, made at its first use.
struct Document {
    /// Names the content in ETags and in the index.
    hash: String,
    body: OnceLock<Bytes>,
}

impl Document {
    /// The hash is of what the document is made of, so that an index costs no documents.
    fn of(path: &str, fingerprint: &str) -> Self {
        let digest = digest::digest(&digest::SHA512, format!("{fingerprint}\n{path}").as_bytes());
        let hash = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Self {
            hash,
            body: OnceLock::new(),
        }
    }
}

impl OpenApi {
    /// Of these rows. `fingerprint` differs between builds that may generate different documents. `now` is an HTTP date.
    pub fn new(rows: &[Arc<ServedResource>], fingerprint: &str, now: HeaderValue) -> Self {
        let mut paths: Vec<String> = [
            "api",
            "apis",
            "version",
            ".well-known/openid-configuration",
            "openid/v1/jwks",
        ]
        .map(str::to_owned)
        .to_vec();
        for row in rows {
            let (group, version) = (&row.gvr.group, &row.gvr.version);
            if group.is_empty() {
                paths.push(format!("api/{version}"));
            } else {
                paths.push(format!("apis/{group}"));
                paths.push(format!("apis/{group}/{version}"));
            }
        }
        let documents = paths
            .into_iter()
            .map(|path| (path.clone(), Document::of(&path, fingerprint)))
            .collect();
        Self {
            rows: rows.to_vec(),
            documents,
            custom: Custom::new(fingerprint),
            fingerprint: fingerprint.to_owned(),
            last_modified: now,
        }
    }

    /// Also with the custom resources among what `served` gives when it is asked; `definition` finds the stored definition of a name.
    #[must_use]
    pub fn with_custom(
        mut self,
        served: impl Fn() -> Arc<Vec<Arc<ServedResource>>> + Send + Sync + 'static,
        definition: impl Fn(&str) -> Option<Object> + Send + Sync + 'static,
    ) -> Self {
        self.custom = Custom::new(&self.fingerprint).with(served, definition);
        self
    }

    /// Paths that answer, for `/`.
    pub fn paths(&self) -> [&'static str; 3] {
        [V2_PATH, V3_PATH, "/openapi/v3/"]
    }

    /// Answers, if the path is one of OpenAPI's.
    pub fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Option<Result<Response<Body>, Status>> {
        let rest = path.strip_prefix("/openapi/")?;
        if method != Method::GET && method != Method::HEAD {
            return Some(Err(Status::method_not_allowed()));
        }
        Some(match rest.trim_end_matches('/') {
            "v2" => self.v2(headers),
            "v3" => Ok(self.index()),
            other => {
                let name = other.strip_prefix("v3/").unwrap_or_default();
                if let Some(document) = self.documents.get(name) {
                    let make = || Bytes::from(v3::document(name, &self.rows).to_string());
                    self.v3(name, document, make, headers, query)
                } else if let Some(custom) = self.custom.current().document(name) {
                    let make = || self.custom.v3(&custom.rows);
                    self.v3(name, &custom.document, make, headers, query)
                } else {
                    Ok(not_found())
                }
            }
        })
    }

    /// Where each document is. Answered as upstream answers it: JSON, though it says plain text.
    fn index(&self) -> Response<Body> {
        let custom = self.custom.current();
        let own = self.documents.iter();
        let paths: BTreeMap<&str, Value> = own
            .map(|(path, document)| (path.as_str(), document))
            .chain(custom.documents())
            .map(|(path, document)| {
                let url = format!("{V3_PATH}/{path}?hash={}", document.hash);
                (path, json!({ "serverRelativeURL": url }))
            })
            .collect();
        let mut response = Response::new(Body::from(json!({ "paths": paths }).to_string()));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(header::LAST_MODIFIED, self.last_modified.clone());
        response
    }

    fn v3(
        &self,
        name: &str,
        document: &Document,
        make: impl FnOnce() -> Bytes,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        if !accepts_json(headers) {
            return Ok(not_acceptable());
        }
        if let Some(hash) = query
            .get("hash")
            .filter(|hash| !hash.is_empty() && *hash != document.hash)
        {
            tracing::debug!(name, hash, "an older OpenAPI document is asked for");
            let location = format!("{V3_PATH}/{name}?hash={}", document.hash);
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let location = HeaderValue::try_from(location).map_err(Status::internal)?;
            response.headers_mut().insert(header::LOCATION, location);
            return Ok(response);
        }
        let forever = query.get("hash").is_some_and(|hash| !hash.is_empty());
        self.answer(document, make, headers, "Accept", forever)
    }

    fn v2(&self, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        if !accepts_json(headers) {
            return Ok(not_acceptable());
        }
        let custom = self.custom.current();
        let make = || {
            let published = self.custom.published(custom.rows(), Dialect::V2);
            Bytes::from(v2::document(&self.rows, custom.rows(), published).to_string())
        };
        self.answer(&custom.v2, make, headers, "Accept, Accept-Encoding", false)
    }

    /// `forever`: the address names this very content, so that it need never be asked for again.
    fn answer(
        &self,
        document: &Document,
        make: impl FnOnce() -> Bytes,
        request: &HeaderMap,
        vary: &'static str,
        forever: bool,
    ) -> Result<Response<Body>, Status> {
        let etag =
            HeaderValue::try_from(format!("\"{}\"", document.hash)).map_err(Status::internal)?;
        let known = request
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| *known == etag);
        let mut builder = Response::builder().header(header::ETAG, etag);
        for value in vary.split(", ") {
            builder = builder.header(header::VARY, value);
        }
        if forever {
            builder = builder
                .header(header::CACHE_CONTROL, "public, immutable")
                .header(header::EXPIRES, "Thu, 31 Dec 2037 23:55:55 GMT");
        }
        if known {
            return builder
                .status(StatusCode::NOT_MODIFIED)
                .body(Body::Empty)
                .map_err(Status::internal);
        }
        let body = document.body.get_or_init(make).clone();
        let builder = builder
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::LAST_MODIFIED, self.last_modified.clone());
        maybe_gzip(request, builder, body.len(), std::iter::once(body)).map_err(Status::internal)
    }
}

/// Whether JSON will do, the one encoding there is.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut clauses = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    if clauses.peek().is_none() {
        return true;
    }
    clauses.flat_map(|value| value.split(',')).any(|clause| {
        let media_type = clause.split(';').next().unwrap_or_default().trim();
        matches!(
            media_type,
            "application/json" | "application/*" | "*/*" | ""
        )
    })
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn not_acceptable() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    response
}

#[cfg(test)]
mod tests;
