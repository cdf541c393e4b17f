//! Decisions that somebody else makes: mode `Webhook`, by flags or by an `AuthorizationConfiguration`.
//!
//! The webhook is sent a SubjectAccessReview and answers with its status. Where match conditions are given, it is asked only about what they
//! select. Answers are remembered, yes and no for times of their own; a webhook that cannot be reached, or lies (allows and denies at
//! once), has no opinion, or denies where its failure policy says so.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, fields, labels};
use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Attributes, Authorizer, Decision, MatchConditions, rbac::Resolved};
use crate::{
    authn::{
        cache::{self, Cache},
        webhook::{ReviewVersion, post},
    },
    lookup,
    request_info::RequestInfo,
    user::UserInfo,
    webhook_client::{Call, WebhookClient},
};

/// Reviews longer than this are not remembered: who asks chooses their length.
const MAX_REMEMBERED_BYTES: usize = 10_000;
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a webhook is asked about, and what its silence means.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// In logs and metrics.
    pub name: String,
    /// Which version of SubjectAccessReview it speaks.
    pub version: ReviewVersion,
    /// How long a yes is remembered; not at all if zero.
    pub authorized_ttl: Duration,
    /// How long anything else is remembered.
    pub unauthorized_ttl: Duration,
    /// How long a call may take.
    pub timeout: Duration,
    /// What it counts as when the webhook cannot be asked: `Deny` or `NoOpinion`.
    pub on_failure: Decision,
}

/// Asks a webhook.
pub struct Webhook {
    client: Arc<WebhookClient>,
    settings: WebhookSettings,
    conditions: Option<MatchConditions>,
    clock: Clock,
    answers: Cache<(Decision, String)>,
}

impl Webhook {
    /// Asks by `client`, about everything unless there are conditions.
    pub fn new(
        client: Arc<WebhookClient>,
        settings: WebhookSettings,
        conditions: Option<MatchConditions>,
        clock: Clock,
    ) -> Self {
        Self {
            client,
            settings,
            conditions,
            clock,
            answers: Cache::default(),
        }
    }

    fn failed(&self, error: &str) -> (Decision, String) {
        let webhook = self.settings.name.as_str();
        tracing::warn!(webhook, error, "an authorization webhook failed");
        (self.settings.on_failure, String::new())
    }

    async fn ask(&self, spec: &str) -> Result<(Decision, String), String> {
        let version = self.settings.version.name();
        let review = format!(
            r#"{{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/{version}","metadata":{{}},"spec":{spec},"status":{{"allowed":false}}}}"#
        );
        let call = Call {
            max_answer_bytes: MAX_ANSWER_BYTES,
            ..Call::within(self.settings.timeout)
        };
        let answer = post(&self.client, Bytes::from(review), call, &self.clock)
            .await
            .map_err(|error| error.to_string())?;
        let answer: Object = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let flag = |name| lookup::flag(&answer, &["status", name]) == Some(true);
        let decision = match (flag("allowed"), flag("denied")) {
            (true, true) => {
                return Err(
                    "webhook subject access review returned both allow and deny response"
                        .to_owned(),
                );
            }
            (true, false) => Decision::Allow,
            (false, true) => Decision::Deny,
            (false, false) => Decision::NoOpinion,
        };
        Ok((
            decision,
            lookup::text(&answer, &["status", "reason"]).to_owned(),
        ))
    }
}

#[async_trait]
impl Authorizer for Webhook {
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> Resolved {
        Resolved::unlisted("webhook authorizer does not support user rule resolution")
    }

    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        if let Some(conditions) = &self.conditions {
            match conditions.hold(&review_spec(attributes, ReviewVersion::V1)) {
                Ok(true) => {}
                Ok(false) => return (Decision::NoOpinion, String::new()),
                Err(error) => return self.failed(&error),
            }
        }
        let spec = review_spec(attributes, self.settings.version).to_string();
        let now = self.clock.now();
        let key = cache::key([spec.as_bytes()]);
        if let Some(answer) = self.answers.get(&key, now) {
            return answer;
        }
        match self.ask(&spec).await {
            Ok(answer) => {
                let ttl = match answer.0 {
                    Decision::Allow => self.settings.authorized_ttl,
                    Decision::Deny | Decision::NoOpinion => self.settings.unauthorized_ttl,
                };
                if !ttl.is_zero() && spec.len() < MAX_REMEMBERED_BYTES {
                    self.answers.put(key, answer.clone(), self.clock.now(), ttl);
                }
                answer
            }
            Err(error) => self.failed(&error),
        }
    }
}

/// The `spec` of the SubjectAccessReview that a request amounts to.
pub(crate) fn review_spec(attributes: Attributes<'_>, version: ReviewVersion) -> Value {
    let Attributes { user, request } = attributes;
    let UserInfo {
        name,
        uid,
        groups,
        extra,
    } = user;
    let mut spec = json!({});
    if request.is_resource {
        spec["resourceAttributes"] = resource_attributes(request);
    } else {
        spec["nonResourceAttributes"] = json!({"path": request.path, "verb": request.verb});
    }
    let mut set = |field: &str, value: Value| spec[field] = value;
    if !name.is_empty() {
        set("user", name.as_str().into());
    }
    if !groups.is_empty() {
        // It was a misnomer until v1.
        let field = match version {
            ReviewVersion::V1Beta1 => "group",
            ReviewVersion::V1 => "groups",
        };
        set(field, groups.clone().into());
    }
    if !extra.is_empty() {
        set("extra", json!(extra));
    }
    if !uid.is_empty() {
        set("uid", uid.as_str().into());
    }
    spec
}

fn resource_attributes(request: &RequestInfo) -> Value {
    let mut attributes = json!({});
    for (field, value) in [
        ("namespace", request.namespace.as_str()),
        ("verb", &request.verb),
        ("group", &request.group_version.group),
        ("version", &request.group_version.version),
        ("resource", &request.resource),
        ("subresource", &request.subresource),
        ("name", &request.name),
    ] {
        if !value.is_empty() {
            attributes[field] = value.into();
        }
    }
    // A selector that cannot be read narrows nothing.
    let fields = field_requirements(&request.field_selector);
    if !fields.is_empty() {
        attributes["fieldSelector"] = json!({"requirements": fields});
    }
    let labels = label_requirements(&request.label_selector);
    if !labels.is_empty() {
        attributes["labelSelector"] = json!({"requirements": labels});
    }
    attributes
}

fn field_requirements(text: &str) -> Vec<Value> {
    let Ok(selector) = fields::Selector::parse(text) else {
        return Vec::new();
    };
    let requirements = selector.requirements.iter();
    requirements
        .map(|one| {
            let operator = if one.equal { "In" } else { "NotIn" };
            json!({"key": one.field, "operator": operator, "values": [one.value]})
        })
        .collect()
}

fn label_requirements(text: &str) -> Vec<Value> {
    use labels::Operator;
    let Ok(selector) = labels::Selector::parse(text) else {
        return Vec::new();
    };
    let requirements = selector.requirements().iter();
    requirements
        .filter_map(|one| {
            let operator = match one.operator {
                Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
                Operator::NotIn | Operator::NotEquals => "NotIn",
                Operator::Exists => return Some(json!({"key": one.key, "operator": "Exists"})),
                Operator::DoesNotExist => {
                    return Some(json!({"key": one.key, "operator": "DoesNotExist"}));
                }
                // The API has no word for these.
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            Some(json!({"key": one.key, "operator": operator, "values": one.values}))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{
        memory_reader::MemoryReader,
        webhook_client::{
            ClientConfig, Credentials, Target, Trust, WebhookClients, test_server::TestServer,
        },
    };
    use apimachinery::gvk::GroupVersion;
    use base::TaskGroup;
    use http::StatusCode;
    use tokio_util::sync::CancellationToken;

    fn user(name: &str) -> UserInfo {
        UserInfo {
            name: name.to_owned(),
            groups: vec!["g".to_owned()],
            ..UserInfo::default()
        }
    }

    fn list_pods() -> RequestInfo {
        RequestInfo {
            is_resource: true,
            verb: "list".to_owned(),
            group_version: GroupVersion::new("", "v1"),
            namespace: "d".to_owned(),
            resource: "pods".to_owned(),
            field_selector: "spec.nodeName=n1,metadata.name!=x".to_owned(),
            label_selector: "a in (y,x),b,!c".to_owned(),
            ..RequestInfo::default()
        }
    }

    #[test]
    fn a_request_is_told_with_its_selectors() {
        let (user, request) = (user("alice"), list_pods());
        let attributes = Attributes {
            user: &user,
            request: &request,
        };
        let expected = json!({
            "user": "alice", "groups": ["g"],
            "resourceAttributes": {
                "namespace": "d", "verb": "list", "version": "v1", "resource": "pods",
                "fieldSelector": {"requirements": [
                    {"key": "metadata.name", "operator": "NotIn", "values": ["x"]},
                    {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                ]},
                "labelSelector": {"requirements": [
                    {"key": "a", "operator": "In", "values": ["x", "y"]},
                    {"key": "b", "operator": "Exists"},
                    {"key": "c", "operator": "DoesNotExist"},
                ]},
            },
        });
        assert_eq!(review_spec(attributes, ReviewVersion::V1), expected);
        let older = review_spec(attributes, ReviewVersion::V1Beta1);
        assert_eq!(
            (&older["group"], older.get("groups")),
            (&json!(["g"]), None)
        );
        let path = RequestInfo {
            path: "/metrics".to_owned(),
            verb: "get".to_owned(),
            ..RequestInfo::default()
        };
        let attributes = Attributes {
            user: &user,
            request: &path,
        };
        let spec = review_spec(attributes, ReviewVersion::V1);
        let expected = json!({"path": "/metrics", "verb": "get"});
        assert_eq!(spec["nonResourceAttributes"], expected);
    }

    #[tokio::test]
    async fn answers_are_remembered_and_failures_count_as_configured() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let server = TestServer::start(&["localhost"], move |called| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let status = match called.json()["spec"]["user"].as_str().unwrap() {
                    "alice" => json!({"allowed": true}),
                    "mallory" => json!({"denied": true, "reason": "not you"}),
                    "liar" => json!({"allowed": true, "denied": true}),
                    "broken" => return (StatusCode::BAD_REQUEST, Bytes::new()),
                    _ => json!({"allowed": false, "reason": "who?"}),
                };
                (
                    StatusCode::OK,
                    Bytes::from(json!({"status": status}).to_string()),
                )
            })
        })
        .await;
        let tasks = TaskGroup::new(&CancellationToken::new());
        let clients = WebhookClients::new(Arc::new(MemoryReader::default()), tasks);
        let config = ClientConfig {
            target: Target::Url(format!("https://localhost:{}/", server.address.port())),
            trust: Trust::Authorities(server.authority.clone().into()),
            server_name: None,
            credentials: Credentials::default(),
        };
        let settings = WebhookSettings {
            name: "test".to_owned(),
            version: ReviewVersion::V1,
            authorized_ttl: Duration::from_secs(300),
            unauthorized_ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            on_failure: Decision::Deny,
        };
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let client = clients.client(&config).unwrap();
        let webhook = Webhook::new(client, settings, None, clock.clone());
        let ask = async |name: &str| {
            let (user, request) = (user(name), list_pods());
            let attributes = Attributes {
                user: &user,
                request: &request,
            };
            webhook.authorize(attributes).await
        };
        let no = |reason: &str| (Decision::NoOpinion, reason.to_owned());
        for round in 0..2 {
            assert_eq!(ask("alice").await, (Decision::Allow, String::new()));
            assert_eq!(ask("mallory").await, (Decision::Deny, "not you".to_owned()));
            assert_eq!(ask("bob").await, no("who?"));
            assert_eq!(calls.load(Ordering::Relaxed), 3, "round {round}");
        }
        clock.advance(Duration::from_secs(31));
        ask("alice").await;
        ask("bob").await;
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        assert_eq!(ask("liar").await.0, Decision::Deny);
        assert_eq!(ask("broken").await.0, Decision::Deny);
        ask("broken").await;
        assert_eq!(calls.load(Ordering::Relaxed), 7);
    }
}
