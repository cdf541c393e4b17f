//! How the other servers describe what they serve, for this server's OpenAPI.
//!
//! Of OpenAPI 2.0 there is one document of everything, so that theirs are downloaded and kept, cut to the paths of their group and version.
//! Of 3.0 only their index is kept: the documents stay with them, and who asks for one is passed on. A server that knows no 3.0 has its
//! 2.0 document converted. Follows upstream's `openapi` and `openapiv3` aggregation controllers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apimachinery::Object;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Aggregator, Remote, Remotes,
    reach::{FetchError, Fetched, Question, Reach},
};
use crate::{
    body::Body,
    context::Context,
    openapi::{convert_to_v3, only_below},
    user::UserInfo,
};

/// How often it is looked whether there is something to ask for.
const TICK: Duration = Duration::from_secs(1);
/// How often a server that has answered is asked again, and how soon one that has not: doubled each time. As upstream.
const RESYNC: Duration = Duration::from_secs(60);
const MAX_RETRY: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(60);
/// How large a document may be.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// What other servers say of themselves, all of them together.
#[derive(Debug, Default)]
pub(crate) struct RemoteDocuments {
    /// OpenAPI 2.0, in order of priority, each with the tag by which it is told from its successors.
    pub(crate) v2: Vec<(String, Arc<Value>)>,
    /// OpenAPI 3.0 by path (`apis/example.com/v1`).
    pub(crate) v3: BTreeMap<String, RemoteV3>,
}

/// Where a document of OpenAPI 3.0 is.
#[derive(Clone, Debug)]
pub(crate) enum RemoteV3 {
    /// With its server, at this address relative to the server's own.
    There(String),
    /// Here, made from 2.0.
    Converted {
        /// Names the content.
        hash: String,
        /// The document.
        body: Bytes,
    },
}

/// What was last heard of each server.
#[derive(Debug, Default)]
pub(crate) struct Collected(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the name of the APIService.
    heard: HashMap<String, Heard>,
    /// What was made of the above, and of which APIServices; gone when something new is heard.
    made: Option<(Arc<Remotes>, Arc<RemoteDocuments>)>,
}

/// What one server says.
#[derive(Clone, Debug, Default)]
struct Heard {
    v2: Option<(String, Arc<Value>)>,
    v3: Option<RemoteV3>,
}

impl Collected {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, api_service: &str) -> Heard {
        self.lock()
            .heard
            .get(api_service)
            .cloned()
            .unwrap_or_default()
    }

    fn learn(&self, api_service: &str, heard: Heard) {
        let mut state = self.lock();
        state.heard.insert(api_service.to_owned(), heard);
        state.made = None;
    }

    fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().heard.retain(|name, _| keep(name));
    }
}

impl Aggregator {
    /// What the other servers say of themselves. The same pointer as long as nothing changes.
    pub(crate) fn remote_documents(&self) -> Arc<RemoteDocuments> {
        let remotes = self.remotes.get();
        let mut state = self.collected.lock();
        if let Some((of, made)) = &state.made
            && Arc::ptr_eq(of, &remotes)
        {
            return Arc::clone(made);
        }
        let mut in_order: Vec<&Arc<Remote>> = remotes.by_version.values().collect();
        in_order.sort_by(|a, b| a.before(b));
        let mut documents = RemoteDocuments::default();
        for remote in in_order {
            let Some(heard) = state.heard.get(&remote.name) else {
                continue;
            };
            documents.v2.extend(heard.v2.clone());
            if let Some(v3) = heard.v3.clone() {
                documents.v3.insert(remote.document_name(), v3);
            }
        }
        let documents = Arc::new(documents);
        state.made = Some((remotes, Arc::clone(&documents)));
        documents
    }

    /// Which other server has the OpenAPI 3.0 document that a path names.
    pub(crate) fn describes(&self, path: &str) -> Option<Arc<Remote>> {
        let name = path.strip_prefix("/openapi/v3/")?;
        let remote = self.remote(&format!("/{name}"))?;
        let documents = self.remote_documents();
        matches!(documents.v3.get(name), Some(RemoteV3::There(_))).then_some(remote)
    }

    /// Passes the question for such a document on. It is asked by this server, not by the user: who may read OpenAPI here may read all of it.
    pub(crate) async fn describe(
        &self,
        remote: &Remote,
        context: &Context,
        request: Request<Body>,
    ) -> Response<Body> {
        self.pass(remote, context, &asker(), request).await
    }
}

impl Remote {
    /// `apis/example.com/v1`
    fn document_name(&self) -> String {
        self.root().trim_start_matches('/').to_owned()
    }
}

/// In whose name OpenAPI is asked for.
fn asker() -> UserInfo {
    UserInfo {
        name: "system:aggregator".to_owned(),
        ..UserInfo::default()
    }
}

/// Asks the other servers.
pub(crate) struct Collector {
    pub(crate) reach: Reach,
    pub(crate) aggregator: Arc<Aggregator>,
}

/// When a server is to be asked, and as what it was known when it was asked last.
struct Due {
    at: tokio::time::Instant,
    backoff: Duration,
    address: String,
}

impl Collector {
    /// Until cancelled.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let running = async {
            let mut due: HashMap<String, Due> = HashMap::new();
            loop {
                self.round(&mut due).await;
                tokio::time::sleep(TICK).await;
            }
        };
        let _ = cancel.run_until_cancelled(running).await;
    }

    async fn round(&self, due: &mut HashMap<String, Due>) {
        let remotes = self.aggregator.remotes.get();
        let known = |name: &str| remotes.by_version.values().any(|r| r.name == name);
        if due.keys().any(|name| !known(name)) {
            due.retain(|name, _| known(name));
            self.aggregator.collected.retain(known);
        }
        let now = tokio::time::Instant::now();
        // Who cannot be reached keeps what it has said.
        let asked = remotes.by_version.values().filter(|remote| {
            let is_due = |due: &Due| due.at <= now || due.address != remote.address();
            remote.available && due.get(&remote.name).is_none_or(is_due)
        });
        let answers = asked.map(|remote| async move {
            let heard = self.ask(remote).await;
            (remote, heard)
        });
        for (remote, heard) in futures_util::future::join_all(answers).await {
            let backoff = match heard {
                Ok(Some(heard)) => {
                    self.aggregator.collected.learn(&remote.name, heard);
                    RESYNC
                }
                Ok(None) => RESYNC,
                Err(error) => {
                    tracing::warn!(%error, api_service = remote.name, "its OpenAPI could not be had");
                    let before = due.get(&remote.name).map(|due| due.backoff * 2);
                    before.unwrap_or(RESYNC).clamp(RESYNC, MAX_RETRY)
                }
            };
            let next = Due {
                at: tokio::time::Instant::now() + backoff,
                backoff,
                address: remote.address(),
            };
            due.insert(remote.name.clone(), next);
        }
    }

    /// What a server says, if that is news.
    async fn ask(&self, remote: &Remote) -> Result<Option<Heard>, CollectError> {
        let before = self.aggregator.collected.heard(&remote.name);
        let v2 = self.v2(remote, before.v2.as_ref()).await?;
        let v3 = self.v3(remote, v2.as_ref()).await?;
        let same = v2.as_ref().map(|(tag, _)| tag) == before.v2.as_ref().map(|(tag, _)| tag)
            && v3.as_ref().map(RemoteV3::name) == before.v3.as_ref().map(RemoteV3::name);
        Ok((!same).then_some(Heard { v2, v3 }))
    }

    async fn v2(
        &self,
        remote: &Remote,
        before: Option<&(String, Arc<Value>)>,
    ) -> Result<Option<(String, Arc<Value>)>, CollectError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(tag) = before.and_then(|(tag, _)| HeaderValue::from_str(tag).ok()) {
            headers.insert(header::IF_NONE_MATCH, tag);
        }
        let answer = self.get(remote, "/openapi/v2", headers).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(before.cloned()),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let document: Value = serde_json::from_slice(&answer.body)?;
                let tag = answer.headers.get(header::ETAG);
                let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
                let tag = tag.unwrap_or_else(|| crate::openapi::content_hash(&answer.body));
                let own = only_below(document, &format!("{}/", remote.root()));
                Ok(Some((tag, Arc::new(own))))
            }
            status => Err(CollectError::Status(answer.url, status)),
        }
    }

    async fn v3(
        &self,
        remote: &Remote,
        v2: Option<&(String, Arc<Value>)>,
    ) -> Result<Option<RemoteV3>, CollectError> {
        let answer = self.get(remote, "/openapi/v3", HeaderMap::new()).await?;
        match answer.status {
            StatusCode::OK => {
                let index: Object = serde_json::from_slice(&answer.body)?;
                let name = remote.document_name();
                let address = crate::lookup::text(&index, &["paths", &name, "serverRelativeURL"]);
                Ok((!address.is_empty()).then(|| RemoteV3::There(address.to_owned())))
            }
            StatusCode::NOT_FOUND => Ok(v2.map(|(_, document)| {
                let body = Bytes::from(convert_to_v3(document).to_string());
                let hash = crate::openapi::content_hash(&body);
                RemoteV3::Converted { hash, body }
            })),
            status => Err(CollectError::Status(answer.url, status)),
        }
    }

    async fn get(
        &self,
        remote: &Remote,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Fetched, FetchError> {
        let question = Question {
            path,
            headers,
            user: &asker(),
            timeout: TIMEOUT,
            max_bytes: MAX_DOCUMENT_BYTES,
        };
        self.reach.get(remote, question).await
    }
}

impl RemoteV3 {
    /// Differs where the content does.
    fn name(&self) -> &str {
        match self {
            Self::There(address) => address,
            Self::Converted { hash, .. } => hash,
        }
    }
}

/// Why a description could not be had.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("its document is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}
