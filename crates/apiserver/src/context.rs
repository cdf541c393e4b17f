//! What the stages learn about a request, for the stages after them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Uri};
use uuid::Uuid;

use crate::{
    audit::{Annotations, Record},
    authn::Peer,
    flow_control::Leave,
    pace::Pace,
    pipeline::Arrived,
    query::Query,
    request_info::RequestInfo,
    traces::Span,
    user::UserInfo,
    warnings::Warnings,
};

/// A request on its way: what it says, who sent it, and what the client is to be warned of.
#[derive(Debug, Default)]
pub struct Context {
    /// Names the request in the audit log; the client may have chosen it.
    pub audit_id: String,
    /// Verb, resource, name.
    pub info: RequestInfo,
    /// The query.
    pub query: Query,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who, once authenticated.
    pub user: UserInfo,
    /// Who impersonates them.
    pub impersonator: Option<UserInfo>,
    /// The verb that allowed it, where the impersonator may do no more than that as the user.
    pub impersonation_constraint: Option<String>,
    /// The connection's other end.
    pub peer: Peer,
    /// Under which flow control the request runs.
    pub flow: Option<FlowIds>,
    /// The seats it has taken.
    pub(crate) leave: Leave,
    /// Its body, as long as it has come and has no seats yet.
    pub(crate) arrived: Option<Arrived>,
    /// What is told of it, if it is traced.
    pub(crate) span: Option<Span>,
    /// When it came.
    pub(crate) came: Option<Instant>,
    /// How long it has waited for its seats.
    pub(crate) waited: Duration,
    /// How many bytes the request's body had, once it has been read.
    body_bytes: OnceLock<usize>,
    /// Whether it has come to work for many milliseconds.
    long_work: AtomicBool,
    warnings: Mutex<Warnings>,
    kept_empty: AtomicBool,
    shares_labels: AtomicBool,
    annotations: Annotations,
    /// What the audit log writes of it; none if it is not interested.
    pub(crate) audit: Option<Arc<Record>>,
    /// The request's target as sent.
    pub(crate) uri: Uri,
}

/// What the `X-Kubernetes-PF-*` headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowIds {
    /// Uid of the FlowSchema.
    pub flow_schema: HeaderValue,
    /// Uid of the PriorityLevelConfiguration.
    pub priority_level: HeaderValue,
}

impl Context {
    /// Of a request that has just come.
    pub fn new(request: &http::request::Parts, peer: Peer) -> Self {
        let audit_id = request
            .headers
            .get("audit-id")
            .and_then(|id| id.to_str().ok())
            .filter(|id| !id.is_empty())
            .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        Self {
            audit_id,
            query: Query::parse(request.uri.query().unwrap_or_default()),
            headers: request.headers.clone(),
            uri: request.uri.clone(),
            peer,
            came: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// How its work lets others have their turn.
    pub(crate) fn pace(&self) -> Pace {
        match self.peer.address {
            Some(_) => Pace::Served,
            None => Pace::InProcess,
        }
    }

    /// Warns the client, once.
    pub fn warn(&self, warning: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.add(warning.into());
    }

    /// The warnings, which are gone then.
    pub fn take_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.take()
    }

    /// What was decoded has empty lists or maps that its storage will not tell from none.
    pub(crate) fn note_kept_empty(&self) {
        self.kept_empty.store(true, Ordering::Relaxed);
    }

    /// Whether anything decoded had such.
    pub(crate) fn kept_empty(&self) -> bool {
        self.kept_empty.load(Ordering::Relaxed)
    }

    /// What was decoded has its labels from the pods it describes: they are one map until it is stored.
    pub(crate) fn note_shared_labels(&self) {
        self.shares_labels.store(true, Ordering::Relaxed);
    }

    /// Whether anything decoded had such.
    pub(crate) fn shares_labels(&self) -> bool {
        self.shares_labels.load(Ordering::Relaxed)
    }

    /// The body has been read. The first to say so is believed.
    pub(crate) fn note_body_bytes(&self, bytes: usize) {
        let _ = self.body_bytes.set(bytes);
    }

    /// What follows is work for many milliseconds. Gives others the processor, and comes back when it is the request's turn.
    pub(crate) async fn begin_long_work(&self) {
        self.long_work.store(true, Ordering::Relaxed);
        self.pace().give_way().await;
    }

    /// Whether such work has begun.
    pub(crate) fn is_long_work(&self) -> bool {
        self.long_work.load(Ordering::Relaxed)
    }

    /// How many bytes the body had; none if nobody wanted it.
    pub(crate) fn body_bytes(&self) -> Option<usize> {
        self.body_bytes.get().copied()
    }

    /// Tells the audit log; the first to use a key keeps it, as upstream.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let mut annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        annotations
            .entry(key.into())
            .or_insert_with(|| value.into());
    }

    /// The annotations, shared with who writes the audit log.
    pub(crate) fn shared_annotations(&self) -> Annotations {
        Arc::clone(&self.annotations)
    }

    /// What the audit log is told so far. Keys under `patch.webhook.admission.k8s.io/` are for level Request and above alone: their
    /// values hold parts of the object.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The client's address; none for calls within the process.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.peer.address
    }

    /// The name that changes are booked under: `fieldManager=`, else what the User-Agent begins with.
    pub fn field_manager(&self) -> String {
        if let Some(manager) = self.query.get("fieldManager").filter(|m| !m.is_empty()) {
            return manager.to_owned();
        }
        let agent = self.headers.get(http::header::USER_AGENT);
        // What is no UTF-8 counts as upstream's runes count it.
        let agent = String::from_utf8_lossy(agent.map_or(&[], |agent| agent.as_bytes()));
        let prefix = agent.split('/').next().unwrap_or_default();
        // Upstream keeps at most 128 bytes, and of a broken rune nothing.
        let mut end = prefix.len().min(128);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let manager: String = prefix[..end].chars().filter(|c| !c.is_control()).collect();
        match manager.as_str() {
            "" => "unknown".to_owned(),
            _ => manager,
        }
    }
}
