//! ImagePolicyWebhook: a server outside says whether a pod may run its images. Off by default.
//!
//! It is sent an `ImageReview` (`imagepolicy.k8s.io/v1alpha1`). Answers are remembered, yes and no for times of their own; whether pods
//! may run when it cannot be asked is for its configuration to say, and the audit log is told.

use std::{path::Path, sync::Arc, time::Duration};

use apimachinery::{Object, lookup, meta, status::Status};
use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admission, Dependencies, Operation, Plugin};
use crate::{
    authn::{
        cache::{self, Cache},
        webhook::post_with_pause,
    },
    webhook_client::{Call, WebhookClient, kubeconfig},
};

const AUDIT_PREFIX: &str = "imagepolicywebhook.image-policy.k8s.io/";
/// Annotations of pods that the webhook is shown.
const SHOWN: &str = ".image-policy.k8s.io/";
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    kube_config_file: String,
    #[serde(rename = "allowTTL")]
    allow_ttl: i64,
    #[serde(rename = "denyTTL")]
    deny_ttl: i64,
    retry_backoff: i64,
    default_allow: bool,
}

/// The bounds of a configured time, its unit, and what it is if not said.
struct Times {
    unit: Duration,
    least: Duration,
    most: Duration,
    otherwise: Duration,
}

const ALLOW_TTL: Times = Times {
    unit: Duration::from_secs(1),
    least: Duration::from_secs(1),
    most: Duration::from_secs(1800),
    otherwise: Duration::from_secs(300),
};
const DENY_TTL: Times = Times {
    otherwise: Duration::from_secs(30),
    ..ALLOW_TTL
};
const RETRY_BACKOFF: Times = Times {
    unit: Duration::from_millis(1),
    least: Duration::from_nanos(1),
    most: Duration::from_secs(300),
    otherwise: Duration::from_millis(500),
};

impl Times {
    /// Zero is the default, minus one is not at all.
    fn read(&self, given: i64) -> Result<Duration, String> {
        if given == -1 {
            return Ok(Duration::ZERO);
        }
        if given == 0 {
            return Ok(self.otherwise);
        }
        let time = u32::try_from(given)
            .ok()
            .and_then(|given| self.unit.checked_mul(given))
            .filter(|time| (self.least..=self.most).contains(time));
        time.ok_or_else(|| {
            format!(
                "valid value is between {:?} and {:?}, got {given}",
                self.least, self.most
            )
        })
    }
}

/// What the webhook said.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Verdict {
    allowed: bool,
    reason: String,
    audit_annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Review {
    #[serde(default)]
    status: Verdict,
}

pub(super) struct ImagePolicyWebhook {
    client: Arc<WebhookClient>,
    clock: Clock,
    allow_ttl: Duration,
    deny_ttl: Duration,
    retry_backoff: Duration,
    default_allow: bool,
    verdicts: Cache<Verdict>,
}

impl ImagePolicyWebhook {
    pub(super) fn new(
        dependencies: &Dependencies,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let given = configuration.ok_or("no config specified")?;
        let given = lookup::value(given, &["imagePolicy"]).cloned();
        let given: Configuration = serde_json::from_value(given.unwrap_or_else(|| json!({})))
            .map_err(|error| error.to_string())?;
        let target = kubeconfig::read(Path::new(&given.kube_config_file))
            .map_err(|error| error.to_string())?;
        let client = dependencies.webhooks.client(&target);
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            clock: dependencies.clock.clone(),
            allow_ttl: ALLOW_TTL.read(given.allow_ttl)?,
            deny_ttl: DENY_TTL.read(given.deny_ttl)?,
            retry_backoff: RETRY_BACKOFF.read(given.retry_backoff)?,
            default_allow: given.default_allow,
            verdicts: Cache::default(),
        })
    }

    async fn ask(&self, spec: &Value) -> Result<Verdict, String> {
        let review = json!({
            "kind": "ImageReview",
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": {},
            "spec": spec,
            "status": {"allowed": false},
        });
        let call = Call {
            max_answer_bytes: MAX_ANSWER_BYTES,
            ..Call::within(TIMEOUT)
        };
        let body = Bytes::from(review.to_string());
        let answer = post_with_pause(&self.client, body, call, &self.clock, self.retry_backoff);
        let answer = answer.await.map_err(|error| error.to_string())?;
        let review: Review = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        Ok(review.status)
    }

    /// The verdict, as it was a moment ago or as it is now; none if pods may run although it cannot be had.
    async fn verdict(&self, spec: &Value) -> Result<Option<Verdict>, String> {
        let key = cache::key([spec.to_string().as_bytes()]);
        if let Some(known) = self.verdicts.get(&key, self.clock.now()) {
            return Ok(Some(known));
        }
        match self.ask(spec).await {
            Ok(verdict) => {
                let ttl = if verdict.allowed {
                    self.allow_ttl
                } else {
                    self.deny_ttl
                };
                let now = self.clock.now();
                self.verdicts.put(key, verdict.clone(), now, ttl);
                Ok(Some(verdict))
            }
            Err(error) if self.default_allow => {
                tracing::warn!(error, "the image policy webhook failed open");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the webhook is asked: the images, and those annotations that are meant for it.
fn spec(pod: &Object, lists: &[&str], namespace: &str) -> Value {
    let images: Vec<Value> = lists
        .iter()
        .flat_map(|list| lookup::objects(pod, &["spec", list]))
        .map(|container| json!({"image": lookup::text(container, &["image"])}))
        .collect();
    let mut annotations = meta::annotations(pod).cloned().unwrap_or_default();
    annotations.retain(|key, _| key.contains(SHOWN));
    let mut spec = json!({"containers": images, "namespace": namespace});
    if !annotations.is_empty() {
        spec["annotations"] = Value::Object(annotations);
    }
    spec
}

#[async_trait]
impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        "ImagePolicyWebhook"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let lists: &[&str] = if admission.is("", "pods") {
            &["containers", "initContainers"]
        } else if admission.is_subresource("", "pods", "ephemeralcontainers") {
            &["ephemeralContainers"]
        } else {
            return Ok(());
        };
        let Some(pod) = admission.new_object() else {
            return Ok(());
        };
        let asked = self.verdict(&spec(pod, lists, admission.namespace())).await;
        let Some(verdict) = asked.map_err(|error| admission.forbidden(error))? else {
            let key = format!("{AUDIT_PREFIX}failed-open");
            admission.notes.annotate(key, "true");
            return Ok(());
        };
        for (key, value) in &verdict.audit_annotations {
            admission
                .notes
                .annotate(format!("{AUDIT_PREFIX}{key}"), value);
        }
        match (verdict.allowed, verdict.reason.as_str()) {
            (true, _) => Ok(()),
            (false, "") => {
                Err(admission.forbidden("one or more images rejected by webhook backend"))
            }
            (false, reason) => Err(admission.forbidden(format!(
                "image policy webhook backend denied one or more images: {reason}"
            ))),
        }
    }
}
