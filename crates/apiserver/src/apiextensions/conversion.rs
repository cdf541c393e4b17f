//! Conversion of custom objects between versions: by name alone, or by a webhook (`ConversionReview`).
//!
//! A webhook may change everything but an object's identity: kind, name, namespace and uid are checked, and of the metadata labels and
//! annotations alone are taken from its answer. Follows upstream's `webhookConverter`, whose errors users know.

use std::{sync::Arc, time::Duration};

use ::apiextensions::{Conversion, Definition, Version, prune};
use apimachinery::{Object, field::Path, gvk::GroupVersionKind, meta, status::Status};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    lookup,
    webhook_client::{Call, ClientConfig, WebhookClient, WebhookClients},
};

/// How long a webhook may take, as upstream.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The versions of ConversionReview that this server speaks.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// How the objects of a definition become objects of another of its versions.
#[derive(Debug)]
pub(super) enum Converter {
    /// They are the same but for their `apiVersion`.
    None,
    /// A webhook is asked.
    Webhook {
        client: Arc<WebhookClient>,
        /// `apiextensions.k8s.io/v1`
        review: String,
    },
    /// There is a webhook that cannot be asked.
    Broken(String),
}

impl Converter {
    pub(super) fn of(definition: &Definition, clients: &WebhookClients) -> Self {
        let Conversion::Webhook {
            client_config,
            review_versions,
        } = &definition.conversion
        else {
            return Self::None;
        };
        let review = review_versions.iter().find(|v| REVIEWS.contains(&&***v));
        let client = ClientConfig::from_object(client_config).and_then(|c| clients.client(&c));
        match (client, review) {
            (Ok(client), Some(review)) => Self::Webhook {
                client,
                review: format!("apiextensions.k8s.io/{review}"),
            },
            (Ok(_), None) => Self::Broken(
                "cannot find supported webhook version in conversionReviewVersions".to_owned(),
            ),
            (Err(error), _) => Self::Broken(error.to_string()),
        }
    }

    /// Whether it asks a webhook.
    pub(super) fn asks_webhook(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// These objects in a version, in their order. Those that are of it stay as they are.
    pub(super) async fn convert(
        &self,
        mut objects: Vec<Object>,
        to: &Version,
    ) -> Result<Vec<Object>, Status> {
        let api_version = to.gvk().group_version().to_string();
        let foreign: Vec<usize> = (0..objects.len())
            .filter(|at| meta::api_version(&objects[*at]) != api_version)
            .collect();
        let Some(first) = foreign.first().map(|at| kind_of(&objects[*at])) else {
            return Ok(objects);
        };
        let refused = |reason: String| {
            Status::unclassified(format!("conversion webhook for {first} {reason}"))
        };
        match self {
            Self::None => {
                for at in foreign {
                    rename(&mut objects[at], to);
                }
            }
            Self::Broken(error) => return Err(refused(format!("failed: {error}"))),
            Self::Webhook { client, review } => {
                let asked: Vec<&Object> = foreign.iter().map(|at| &objects[*at]).collect();
                let converted = ask(client, review, &api_version, &asked)
                    .await
                    .map_err(|error| refused(format!("failed: {error}")))?;
                if converted.len() != asked.len() {
                    let (got, wanted) = (converted.len(), asked.len());
                    return Err(refused(format!(
                        "returned {got} objects, expected {wanted}"
                    )));
                }
                for (index, (at, value)) in foreign.into_iter().zip(converted).enumerate() {
                    let converted = accept(&objects[at], value, to.gvk())
                        .map_err(|error| refused(format!("returned {}", error.at(index))))?;
                    objects[at] = converted;
                    prune::prune(&mut objects[at], &to.schema, None);
                    prune::prune_nulls(&mut objects[at], &to.schema);
                }
            }
        }
        Ok(objects)
    }
}

/// Conversion of strategy `None`: another `apiVersion`, and what the version's schema does not know is dropped.
pub(super) fn rename(object: &mut Object, to: &Version) {
    let api_version = to.gvk().group_version().to_string();
    if meta::api_version(object) != api_version {
        object.insert("apiVersion".to_owned(), api_version.into());
        prune::prune(object, &to.schema, None);
    }
}

/// As upstream prints it: `example.com/v1, Kind=Widget`.
fn kind_of(object: &Object) -> String {
    format!("{}, Kind={}", meta::api_version(object), meta::kind(object))
}

/// One question to a webhook, and the objects of its answer.
async fn ask(
    client: &WebhookClient,
    review: &str,
    desired: &str,
    objects: &[&Object],
) -> Result<Vec<Value>, String> {
    let uid = uuid::Uuid::new_v4().to_string();
    let question = json!({
        "kind": "ConversionReview", "apiVersion": review,
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
    });
    let call = Call {
        announce_timeout: true,
        ..Call::within(TIMEOUT)
    };
    let answer = client
        .post(Bytes::from(question.to_string()), call)
        .await
        .map_err(|error| error.to_string())?;
    let mut answer: Object = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let kind = kind_of(&answer);
    let Some(response) = answer.get_mut("response").and_then(Value::as_object_mut) else {
        return Err("no response provided".to_owned());
    };
    let wanted = format!("{review}, Kind=ConversionReview");
    if kind != wanted {
        return Err(format!("expected webhook response of {wanted}, got {kind}"));
    }
    let answered = lookup::text(response, &["uid"]);
    if answered != uid {
        return Err(format!("expected response.uid={uid:?}, got {answered:?}"));
    }
    let status = lookup::text(response, &["result", "status"]);
    if status != "Success" {
        let message = lookup::text(response, &["result", "message"]);
        return Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message.to_owned()
        });
    }
    match response.remove("convertedObjects") {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// What is wrong with an object that a webhook returned.
struct Refusal {
    /// `invalid object`, `invalid metadata`, …
    what: &'static str,
    why: String,
}

impl Refusal {
    fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }

    fn at(&self, index: usize) -> String {
        format!("{} at index {index}: {}", self.what, self.why)
    }
}

/// The converted object, if it is the one that was sent.
fn accept(
    original: &Object,
    converted: Value,
    wanted: &GroupVersionKind,
) -> Result<Object, Refusal> {
    const OBJECT: &str = "invalid converted object";
    let Value::Object(mut object) = converted else {
        return Err(Refusal::new(OBJECT, "expected an object"));
    };
    let (expected, received) = (
        wanted.group_version().to_string(),
        meta::api_version(&object),
    );
    if expected != received {
        let why = format!("invalid groupVersion (expected {expected}, received {received})");
        return Err(Refusal::new(OBJECT, why));
    }
    let (expected, received) = (meta::kind(original), meta::kind(&object));
    if expected != received {
        let why = format!("invalid kind (expected {expected}, received {received})");
        return Err(Refusal::new(OBJECT, why));
    }
    for (what, expected, received) in [
        ("name", meta::name(original), meta::name(&object)),
        (
            "namespace",
            meta::namespace(original),
            meta::namespace(&object),
        ),
        ("UID", meta::uid(original), meta::uid(&object)),
    ] {
        if expected != received {
            let why = format!("must have the same {what}: {expected} != {received}");
            return Err(Refusal::new("invalid object", why));
        }
    }
    let mut metadata = meta::metadata(original).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        metadata.remove(field);
        let Some(value) = meta::metadata(&object).and_then(|m| m.get(field)) else {
            continue;
        };
        let Some(map) = value.as_object() else {
            return Err(Refusal::new(
                "invalid metadata",
                format!("{field} is not a map"),
            ));
        };
        let path = Path::new("metadata").child(field);
        let errors = match field {
            "labels" => api::meta::validate_labels(Some(map), &path),
            _ => api::meta::validate_annotations(Some(map), &path),
        };
        if let Some(error) = errors.first() {
            return Err(Refusal::new("invalid metadata", error.to_string()));
        }
        metadata.insert(field.to_owned(), value.clone());
    }
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Ok(object)
}
