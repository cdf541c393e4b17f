//! What is known of one request, from its authentication to the end of its answer, and the events that are made of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use apimachinery::status::Status;
use base::Clock;
use http::{Request, Response, header};
use serde_json::Value;

use super::{
    Audit,
    capture::Capture,
    event::{
        AuthenticationMetadata, Event, ObjectReference, User, omit_managed_fields, response_code,
        response_status,
    },
    policy::{Level, Stage, Verdict},
};
use crate::{body::Body, context::Context, request_info::RequestInfo};

/// Longer ones are cut, as upstream.
const MAX_USER_AGENT: usize = 1024;
/// Annotations that hold parts of objects are for the levels that write objects.
const OBJECT_ANNOTATIONS: &str = "patch.webhook.admission.k8s.io/";

/// Shared annotations of a request.
pub(crate) type Annotations = Arc<Mutex<BTreeMap<String, String>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    /// As at `RequestReceived`.
    event: Event,
    long_running: bool,
    impersonated: OnceLock<(User, Option<String>)>,
    annotations: Annotations,
    request: Capture,
    response: Capture,
    outcome: OnceLock<Value>,
}

impl Record {
    pub(super) fn new(audit: Arc<Audit>, verdict: Verdict, context: &Context) -> Self {
        let info = &context.info;
        let now = timestamp(&audit.clock);
        let object_ref = info.is_resource.then(|| ObjectReference {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group_version.group.to_string(),
            api_version: info.group_version.version.to_string(),
            subresource: info.subresource.clone(),
            ..ObjectReference::default()
        });
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: verdict.level,
            audit_id: context.audit_id.clone(),
            stage: Stage::RequestReceived,
            request_uri: context
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            verb: info.verb.clone(),
            user: User::from(&context.user),
            impersonated_user: None,
            authentication_metadata: None,
            source_ips: source_ips(context),
            user_agent: user_agent(context),
            object_ref,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: now.clone(),
            stage_timestamp: now,
            annotations: BTreeMap::new(),
        };
        Self {
            audit,
            verdict,
            event,
            long_running: info.is_long_running(),
            impersonated: OnceLock::new(),
            annotations: context.shared_annotations(),
            request: Capture::default(),
            response: Capture::default(),
            outcome: OnceLock::new(),
        }
    }

    /// Notes who is impersonated, once that is known.
    pub(crate) fn note(&self, context: &Context) {
        if context.impersonator.is_some() {
            let constraint = context.impersonation_constraint.clone();
            let _ = self
                .impersonated
                .set((User::from(&context.user), constraint));
        }
    }

    /// The request, its body listened to if it is to be written.
    pub(crate) fn listen_request(
        &self,
        request: Request<Body>,
        info: &RequestInfo,
    ) -> Request<Body> {
        // A new object's name is in its body, which is looked at for that alone at the lower level.
        let names_itself = info.verb == "create" && info.is_resource;
        if self.verdict.level < Level::Request && !names_itself || self.long_running {
            return request;
        }
        let (parts, body) = request.into_parts();
        let body = self.request.listen(&parts.headers, body);
        Request::from_parts(parts, body)
    }

    /// The answer, its body listened to if it is to be written.
    pub(crate) fn listen_response(&self, response: Response<Body>) -> Response<Body> {
        if self.verdict.level < Level::RequestResponse || self.long_running {
            return response;
        }
        let (parts, body) = response.into_parts();
        let body = self.response.listen(&parts.headers, body);
        Response::from_parts(parts, body)
    }

    /// Whether the answer may be a status though nothing went wrong.
    pub(crate) fn deletes(&self) -> bool {
        self.event.verb.starts_with("delete")
    }

    /// What is answered, as far as it is known before the body.
    pub(crate) fn note_outcome(&self, code: u16, status: Option<&Status>) {
        let outcome = match status {
            Some(status) => response_status(status, code),
            None => response_code(code),
        };
        let _ = self.outcome.set(outcome);
    }

    /// Notes that nobody knows who asks, and by what they tried to say so.
    pub(crate) fn note_unauthenticated(&self, context: &Context, status: &Status) {
        let scheme = context
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_whitespace().next())
            .map(str::to_ascii_lowercase);
        let message = match scheme.as_deref() {
            _ if status.code != 401 => status.message.clone(),
            Some(scheme @ ("basic" | "bearer")) => {
                format!("Authentication failed, attempted: {scheme}")
            }
            _ => "Authentication failed, no credentials provided".to_owned(),
        };
        let _ = self.outcome.set(serde_json::json!({
            "metadata": {}, "status": "Failure", "message": message, "code": status.code,
        }));
    }

    /// Writes that the request has come. An error says that it may not go on.
    pub(super) async fn received(&self) -> Result<(), super::Lost> {
        match self.at(Stage::RequestReceived) {
            Some(event) => self.audit.submit(event).await,
            None => Ok(()),
        }
    }

    /// Writes that a long answer begins.
    pub(crate) async fn started(&self) {
        if self.long_running
            && let Some(event) = self.at(Stage::ResponseStarted)
        {
            let _ = self.audit.submit(event).await;
        }
    }

    /// Writes that the request is refused before anybody knows whose it is.
    pub(crate) async fn refused(&self) {
        if let Some(event) = self.at(Stage::ResponseStarted) {
            let _ = self.audit.submit(event).await;
        }
    }

    /// Writes that the answer is there, and waits until that is written where the backend says so.
    pub(crate) async fn completed(&self) {
        if let Some(event) = self.at(Stage::ResponseComplete) {
            let _ = self.audit.submit(event).await;
        }
    }

    /// Likewise at the end of a body, where nobody can wait.
    pub(crate) fn sent(&self) {
        if let Some(event) = self.at(Stage::ResponseComplete) {
            self.audit.offer(event);
        }
    }

    /// Writes that the handler failed.
    pub(crate) async fn panicked(&self) {
        let failure = serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "message": "APIServer panic'd", "code": 500,
        });
        let _ = self.outcome.set(failure);
        if let Some(event) = self.at(Stage::Panic) {
            let _ = self.audit.submit(event).await;
        }
    }

    /// The event of a stage, unless the policy leaves it out.
    fn at(&self, stage: Stage) -> Option<Event> {
        if self.verdict.omit_stages.contains(&stage) {
            return None;
        }
        let mut event = self.event.clone();
        event.stage = stage;
        if stage == Stage::RequestReceived {
            return Some(event);
        }
        event.stage_timestamp = timestamp(&self.audit.clock);
        if let Some((user, constraint)) = self.impersonated.get() {
            event.impersonated_user = Some(user.clone());
            event.authentication_metadata = constraint.as_ref().map(|c| AuthenticationMetadata {
                impersonation_constraint: Some(c.clone()),
            });
        }
        event.annotations = self.annotations();
        event.response_status = self.outcome.get().cloned();
        self.add_objects(&mut event);
        Some(event)
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut annotations = annotations.clone();
        if self.verdict.level < Level::Request {
            annotations.retain(|key, _| !key.starts_with(OBJECT_ANNOTATIONS));
        }
        annotations
    }

    fn add_objects(&self, event: &mut Event) {
        let prepare = |mut object: Value| {
            if self.verdict.omit_managed_fields {
                omit_managed_fields(&mut object);
            }
            object
        };
        let request = self.request.object();
        if let (Some(object_ref), Some(request)) = (&mut event.object_ref, &request) {
            complete(object_ref, &request["metadata"]);
        }
        if self.verdict.level >= Level::Request {
            event.request_object = request.map(prepare);
        }
        if self.verdict.level >= Level::RequestResponse {
            event.response_object = self.response.object().map(prepare);
        }
    }
}

/// What the path does not say of an object, it says itself.
fn complete(object_ref: &mut ObjectReference, metadata: &Value) {
    let ObjectReference {
        namespace,
        name,
        uid,
        resource_version,
        ..
    } = object_ref;
    for (field, key) in [
        (namespace, "namespace"),
        (name, "name"),
        (uid, "uid"),
        (resource_version, "resourceVersion"),
    ] {
        if field.is_empty() {
            metadata[key].as_str().unwrap_or_default().clone_into(field);
        }
    }
}

fn timestamp(clock: &Clock) -> String {
    apimachinery::time::format_micro(clock.now())
}

fn user_agent(context: &Context) -> String {
    let agent = context.headers.get(header::USER_AGENT);
    let agent = agent.map_or_else(String::new, |a| {
        String::from_utf8_lossy(a.as_bytes()).into_owned()
    });
    match agent
        .char_indices()
        .find(|(index, _)| *index >= MAX_USER_AGENT)
    {
        Some((end, _)) => format!("{}...TRUNCATED", &agent[..end]),
        None => agent,
    }
}

/// Whom proxies name, then who is connected.
fn source_ips(context: &Context) -> Vec<String> {
    let named = |name: &str| {
        let values = context.headers.get_all(name).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let parts = texts.flat_map(|text| text.split(','));
        parts
            .filter_map(|part| part.trim().parse().ok())
            .collect::<Vec<std::net::IpAddr>>()
    };
    let mut addresses = named("x-forwarded-for");
    for real in named("x-real-ip").into_iter().take(1) {
        if !addresses.contains(&real) {
            addresses.push(real);
        }
    }
    // A part of this process is at home.
    let remote = context
        .remote()
        .map_or(std::net::Ipv4Addr::LOCALHOST.into(), |a| a.ip());
    if addresses.last() != Some(&remote) {
        addresses.push(remote);
    }
    addresses.iter().map(ToString::to_string).collect()
}
