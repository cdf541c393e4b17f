//! `AdmissionReview` of `admission.k8s.io/v1` and `v1beta1`: the question and the answer. They differ in what is checked of the answer:
//! v1 wants its uid and its version back, and patch and patchType together.

use std::collections::BTreeMap;

use apimachinery::{Object, decode, gvk::GroupVersion, status::Status};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::super::{Admission, admission_request, matching::Invocation};

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";

/// A version of reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReviewVersion {
    V1,
    V1Beta1,
}

/// An answer that has been checked.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// A JSON patch; empty if there is none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) result: Option<Status>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl ReviewVersion {
    pub(super) fn parse(version: &str) -> Option<Self> {
        match version {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// The question, as JSON. The objects are in the invocation's version.
    pub(super) fn question(
        self,
        uid: &str,
        admission: &Admission<'_>,
        invocation: &Invocation,
        object: Option<&Object>,
        old_object: Option<&Object>,
    ) -> Vec<u8> {
        let mut request = admission_request::of(admission, invocation);
        request.insert("uid".to_owned(), uid.into());
        request.insert("object".to_owned(), json!(object));
        request.insert("oldObject".to_owned(), json!(old_object));
        json!({
            "kind": KIND,
            "apiVersion": format!("{GROUP}/{}", self.name()),
            "request": request,
        })
        .to_string()
        .into_bytes()
    }

    /// Checks an answer. The error says what is wrong with it.
    pub(super) fn answer(
        self,
        uid: &str,
        mutating: bool,
        body: &[u8],
    ) -> Result<Answer, AnswerError> {
        let (version, kind) = decode::version_kind(body)
            .map_err(|error| AnswerError::Undecodable(error.to_string()))?;
        let known = matches!(
            version.as_str(),
            "admission.k8s.io/v1" | "admission.k8s.io/v1beta1" | ""
        );
        if !known || !matches!(kind.as_str(), KIND | "") {
            return Err(AnswerError::Undecodable(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\""
            )));
        }
        let review: Review = serde_json::from_slice(body)
            .map_err(|error| AnswerError::Undecodable(error.to_string()))?;
        let Some(response) = review.response else {
            return invalid("webhook response was absent");
        };
        if self == Self::V1 {
            if response.uid != uid {
                return invalid(format!(
                    "expected response.uid={uid:?}, got {:?}",
                    response.uid
                ));
            }
            if version != format!("{GROUP}/v1") || kind != KIND {
                let got = GroupVersion::parse(&version).unwrap_or_default();
                return invalid(format!(
                    "expected webhook response of {GROUP}/v1, Kind={KIND}, got {}/{}, Kind={kind}",
                    got.group, got.version
                ));
            }
        }
        let patch = match response.patch.as_deref() {
            None | Some("") => Vec::new(),
            Some(text) => STANDARD
                .decode(text)
                .map_err(|error| AnswerError::Undecodable(error.to_string()))?,
        };
        let (patch, patch_type) = self.patch(mutating, patch, response.patch_type)?;
        Ok(Answer {
            allowed: response.allowed,
            patch,
            patch_type,
            result: response.status,
            warnings: response.warnings.unwrap_or_default(),
            annotations: response.audit_annotations.unwrap_or_default(),
        })
    }

    fn patch(
        self,
        mutating: bool,
        patch: Vec<u8>,
        patch_type: Option<String>,
    ) -> Result<(Vec<u8>, String), AnswerError> {
        match (self, mutating) {
            (Self::V1, true) => match patch_type {
                None if !patch.is_empty() => {
                    invalid("webhook returned response.patch but not response.patchType")
                }
                Some(_) if patch.is_empty() => {
                    invalid("webhook returned response.patchType but not response.patch")
                }
                Some(empty) if empty.is_empty() => invalid(format!(
                    "webhook returned invalid response.patchType of {empty:?}"
                )),
                patch_type => Ok((patch, patch_type.unwrap_or_default())),
            },
            (Self::V1, false) if !patch.is_empty() => {
                invalid("validating webhook may not return response.patch")
            }
            (Self::V1, false) if patch_type.is_some() => {
                invalid("validating webhook may not return response.patchType")
            }
            (Self::V1Beta1, true) => Ok((patch, "JSONPatch".to_owned())),
            (_, false) => Ok((Vec::new(), String::new())),
        }
    }
}

/// What makes an answer useless.
#[derive(Debug)]
pub(super) enum AnswerError {
    /// It is no review.
    Undecodable(String),
    /// It is not the review that was asked for.
    Invalid(String),
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, AnswerError> {
    Err(AnswerError::Invalid(reason.into()))
}

#[derive(Deserialize)]
struct Review {
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// The refusal of a webhook as the client sees it: what the webhook said, and who it was.
pub(super) fn denial(webhook: &str, result: Option<Status>) -> Status {
    let mut status = result.unwrap_or_else(|| Status::failure(0, "", ""));
    let denied = format!("admission webhook {webhook:?} denied the request");
    if status.code < 400 {
        status.code = 400;
    }
    if matches!(status.status.as_str(), "" | "Success") {
        "Failure".clone_into(&mut status.status);
    }
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    "Status".clone_into(&mut status.kind);
    "v1".clone_into(&mut status.api_version);
    status
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn verify(mutating: bool, review: Value) -> Result<Answer, String> {
        let body = review.to_string();
        ReviewVersion::V1
            .answer("u", mutating, body.as_bytes())
            .map_err(|error| match error {
                AnswerError::Undecodable(reason) | AnswerError::Invalid(reason) => reason,
            })
    }

    #[test]
    fn an_answer_is_checked_as_upstream_checks_it() {
        let review = |response: Value| json!({"kind": KIND, "apiVersion": "admission.k8s.io/v1", "response": response});
        assert!(
            verify(true, review(json!({"uid": "u", "allowed": true})))
                .unwrap()
                .allowed
        );
        let cases = [
            (
                true,
                json!({"kind": KIND, "apiVersion": "admission.k8s.io/v1"}),
                "webhook response was absent",
            ),
            (
                true,
                review(json!({"uid": "x"})),
                "expected response.uid=\"u\", got \"x\"",
            ),
            (
                true,
                json!({"response": {"uid": "u"}}),
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
            ),
            (
                true,
                review(json!({"uid": "u", "patch": "W10="})),
                "webhook returned response.patch but not response.patchType",
            ),
            (
                true,
                review(json!({"uid": "u", "patchType": "JSONPatch"})),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                false,
                review(json!({"uid": "u", "patch": "W10="})),
                "validating webhook may not return response.patch",
            ),
            (
                false,
                review(json!({"uid": "u", "patchType": "JSONPatch"})),
                "validating webhook may not return response.patchType",
            ),
        ];
        for (mutating, review, expected) in cases {
            assert_eq!(verify(mutating, review).unwrap_err(), expected);
        }
        assert!(verify(true, json!([])).is_err());
        assert!(
            verify(
                true,
                review(json!({"uid": "u", "patch": "!", "patchType": "JSONPatch"}))
            )
            .is_err()
        );
    }

    #[test]
    fn a_denial_keeps_what_the_webhook_said() {
        let said = |status: Value| denial("w", serde_json::from_value(status).unwrap());
        let plain = denial("w", None);
        assert_eq!(
            (plain.code, plain.message.as_str()),
            (
                400,
                "admission webhook \"w\" denied the request without explanation"
            )
        );
        let status = said(json!({"code": 402, "reason": "PaymentRequired", "status": "Success"}));
        assert_eq!((status.code, status.status.as_str()), (402, "Failure"));
        assert_eq!(
            status.message,
            "admission webhook \"w\" denied the request: PaymentRequired"
        );
        assert_eq!(
            said(json!({"message": "no"})).message,
            "admission webhook \"w\" denied the request: no"
        );
    }
}
