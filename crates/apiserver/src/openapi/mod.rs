//! OpenAPI v3 and v2, generated from the facts when somebody asks: one document a group and version, and one of everything.
//!
//! Generation goes in two steps. [`operations`] turns the resource rows into operations, which know nothing of a document's syntax; [`v3`] and [`v2`]
//! write them down, with the [`schemas`] that they refer to. Documents are kept once made: they change only with the rows.
//! [`custom`] follows what users define; [`gnostic`] is their second encoding; [`merge`] adds what other
//! servers serve.

mod convert;
mod custom;
mod everywhere;
mod gnostic;
mod merge;
mod names;
mod operations;
mod parameters;
mod schemas;
mod shared_parameters;
mod v2;
mod v3;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ::apiextensions::openapi::Dialect;
use api::ServedResource;
use apimachinery::{Object, status::Status};
use bytes::Bytes;
pub(crate) use convert::to_v3 as convert_to_v3;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
pub(crate) use merge::only_below;
use ring::digest;
use serde_json::{Value, json};

use self::custom::Custom;
use crate::{
    aggregation::{RemoteDocuments, RemoteV3},
    body::Body,
    negotiation::{maybe_gzip, preferred},
    query::Query,
};

const V2_PATH: &str = "/openapi/v2";
const V3_PATH: &str = "/openapi/v3";
const JSON: &str = "application/json";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// How a document is written.
#[derive(Clone, Copy)]
enum Encoding {
    Json,
    /// gnostic's messages.
    Protobuf,
}

/// In upstream's order. The second name of protobuf is no media type by the letter of the standard; older clients know no other.
const V2_ENCODINGS: &[(&str, Encoding)] = &[
    (JSON, Encoding::Json),
    (
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        Encoding::Protobuf,
    ),
    (V2_PROTOBUF, Encoding::Protobuf),
];
const V3_ENCODINGS: &[(&str, Encoding)] = &[
    (JSON, Encoding::Json),
    (
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
        Encoding::Protobuf,
    ),
    (V3_PROTOBUF, Encoding::Protobuf),
];

/// All documents of one set of resources.
pub struct OpenApi {
    rows: Vec<Arc<ServedResource>>,
    /// By what follows `/openapi/v3/`.
    documents: BTreeMap<String, Document>,
    custom: Custom,
    remote: Box<dyn Fn() -> Arc<RemoteDocuments> + Send + Sync>,
    /// What is made of all three, the last time somebody asked.
    whole: Mutex<Option<Arc<Whole>>>,
    fingerprint: String,
    /// When the documents came to be: as far as clients' caches go, the start of the server.
    last_modified: HeaderValue,
}

/// The OpenAPI 2.0 document, which is one of everything.
struct Whole {
    custom: Arc<custom::Current>,
    remote: Arc<RemoteDocuments>,
    document: Document,
}

/// A document, made at its first use.
struct Document {
    /// Names the content in ETags and in the index.
    hash: String,
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl Document {
    /// The hash is of what the document is made of, so that an index costs no documents.
    fn of(path: &str, fingerprint: &str) -> Self {
        Self {
            hash: content_hash(format!("{fingerprint}\n{path}").as_bytes()),
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// It, made by `make`; `to_protobuf` writes it in the other encoding.
    fn body(
        &self,
        encoding: Encoding,
        make: impl FnOnce() -> Value,
        to_protobuf: fn(&Value) -> Vec<u8>,
    ) -> Bytes {
        let body = match encoding {
            Encoding::Json => self.json.get_or_init(|| Bytes::from(make().to_string())),
            Encoding::Protobuf => self
                .protobuf
                .get_or_init(|| Bytes::from(to_protobuf(&make()))),
        };
        body.clone()
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
            remote: Box::new(Arc::default),
            whole: Mutex::new(None),
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

    /// Also with what other servers say of themselves.
    #[must_use]
    pub(crate) fn with_remote(
        mut self,
        remote: impl Fn() -> Arc<RemoteDocuments> + Send + Sync + 'static,
    ) -> Self {
        self.remote = Box::new(remote);
        self
    }

    /// Paths that answer, for `/`.
    pub fn paths(&self) -> [&'static str; 3] {
        [V2_PATH, V3_PATH, "/openapi/v3/"]
    }

    /// Answers, if the path is one of OpenAPI's, whatever the method.
    pub fn respond(
        &self,
        path: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Option<Result<Response<Body>, Status>> {
        let rest = path.strip_prefix("/openapi/")?;
        Some(match rest {
            "v2" => self.v2(headers),
            "v3" => Ok(self.index()),
            rest => {
                let name = rest.strip_prefix("v3/")?;
                if let Some(document) = self.documents.get(name) {
                    let make = || v3::document(name, &self.rows);
                    let body = |encoding| document.body(encoding, make, gnostic::v3::encode);
                    self.v3(name, &document.hash, body, headers, query)
                } else if let Some(custom) = self.custom.current().document(name) {
                    let document = &custom.document;
                    let make = || self.custom.v3(&custom.rows);
                    let body = |encoding| document.body(encoding, make, gnostic::v3::encode);
                    self.v3(name, &document.hash, body, headers, query)
                } else if let Some(RemoteV3::Converted { hash, body }) =
                    (self.remote)().v3.get(name)
                {
                    let body = |encoding| match encoding {
                        Encoding::Json => body.clone(),
                        Encoding::Protobuf => {
                            let document = serde_json::from_slice(body).unwrap_or_default();
                            Bytes::from(gnostic::v3::encode(&document))
                        }
                    };
                    self.v3(name, hash, body, headers, query)
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
        let here = own
            .map(|(path, document)| (path.as_str(), document))
            .chain(custom.documents())
            .map(|(path, document)| (path, address(path, &document.hash)));
        let remote = (self.remote)();
        let there = remote.v3.iter().map(|(path, document)| match document {
            RemoteV3::There(address) => (path.as_str(), address.clone()),
            RemoteV3::Converted { hash, .. } => (path.as_str(), address(path, hash)),
        });
        let paths: BTreeMap<&str, Value> = here
            .chain(there)
            .map(|(path, address)| (path, json!({ "serverRelativeURL": address })))
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
        hash: &str,
        body: impl FnOnce(Encoding) -> Bytes,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        let Some(encoding) = preferred(headers, V3_ENCODINGS) else {
            return Ok(not_acceptable());
        };
        let asked = query.get("hash").filter(|hash| !hash.is_empty());
        if let Some(asked) = asked.filter(|asked| *asked != hash) {
            tracing::debug!(name, asked, "an older OpenAPI document is asked for");
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let location = HeaderValue::try_from(address(name, hash)).map_err(Status::internal)?;
            response.headers_mut().insert(header::LOCATION, location);
            return Ok(response);
        }
        let answer = Answer {
            hash,
            media_type: match encoding {
                Encoding::Json => JSON,
                Encoding::Protobuf => V3_PROTOBUF,
            },
            vary: &["Accept"],
            forever: asked.is_some(),
        };
        self.answer(&answer, || body(encoding), headers)
    }

    /// What there is to say in OpenAPI 2.0 now.
    fn whole(&self) -> Arc<Whole> {
        let (custom, remote) = (self.custom.current(), (self.remote)());
        let mut slot = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |whole: &&Arc<Whole>| {
            Arc::ptr_eq(&whole.custom, &custom) && Arc::ptr_eq(&whole.remote, &remote)
        };
        if let Some(whole) = slot.as_ref().filter(same) {
            return Arc::clone(whole);
        }
        let tags: Vec<&str> = remote.v2.iter().map(|(tag, _)| &**tag).collect();
        let content = format!("{}\n{}\n{}", self.fingerprint, custom.hash, tags.join("\n"));
        let whole = Arc::new(Whole {
            document: Document::of("v2", &content),
            custom,
            remote,
        });
        *slot = Some(Arc::clone(&whole));
        whole
    }

    fn v2(&self, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let Some(encoding) = preferred(headers, V2_ENCODINGS) else {
            return Ok(not_acceptable());
        };
        let whole = self.whole();
        let make = || {
            let custom = whole.custom.rows();
            let published = self.custom.published(custom, Dialect::V2);
            let mut document = v2::document(&self.rows, custom, published);
            for (_, other) in &whole.remote.v2 {
                merge::merge(&mut document, other);
            }
            document
        };
        // One name for both encodings, as upstream: clients tell them apart by `Vary`.
        let answer = Answer {
            hash: &whole.document.hash,
            media_type: match encoding {
                Encoding::Json => JSON,
                Encoding::Protobuf => V2_PROTOBUF,
            },
            vary: &["Accept", "Accept-Encoding"],
            forever: false,
        };
        let body = || whole.document.body(encoding, make, gnostic::v2::encode);
        self.answer(&answer, body, headers)
    }

    fn answer(
        &self,
        answer: &Answer<'_>,
        body: impl FnOnce() -> Bytes,
        request: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let etag =
            HeaderValue::try_from(format!("\"{}\"", answer.hash)).map_err(Status::internal)?;
        let known = request
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| *known == etag);
        let mut builder = Response::builder().header(header::ETAG, etag);
        for value in answer.vary {
            builder = builder.header(header::VARY, *value);
        }
        if answer.forever {
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
        let body = body();
        let builder = builder
            .header(header::CONTENT_TYPE, answer.media_type)
            .header(header::LAST_MODIFIED, self.last_modified.clone());
        let size = body.len();
        let body = Body::at_hand(std::iter::once(body));
        maybe_gzip(request, builder, size, body).map_err(Status::internal)
    }
}

/// Names a content in ETags and in the index, in the form that upstream's names have.
pub(crate) fn content_hash(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA512, content);
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02X}")).collect()
}

/// What is said of a document beside its content.
struct Answer<'a> {
    hash: &'a str,
    media_type: &'static str,
    vary: &'static [&'static str],
    /// The address names this very content, so that it need never be asked for again.
    forever: bool,
}

/// Where a document of OpenAPI 3.0 is, for the index.
fn address(name: &str, hash: &str) -> String {
    format!("{V3_PATH}/{name}?hash={hash}")
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
