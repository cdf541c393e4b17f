//! Asking one webhook about one request.

use apimachinery::{Object, decode, managed_fields, status::Status};
use uuid::Uuid;

use super::{
    super::{Admission, Resources, matching::Invocation},
    hook::Hook,
    review::{Answer, AnswerError},
};
use crate::webhook_client::{Call, CallError, MAX_ANSWER_BYTES};

/// Why a webhook has not let a request through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It could not be asked, or answered nonsense: what that means is for its failure policy to say.
    Failed {
        /// What went wrong.
        reason: String,
        /// The code of its answer, or what such a failure counts as.
        code: u16,
    },
    /// It refuses.
    Denied(Status),
    /// What it wants cannot be done, whatever its policy.
    Internal(Status),
}

impl Refusal {
    /// `failed calling webhook "x": …`
    pub(super) fn failure(hook: &Hook, reason: &str) -> String {
        format!("failed calling webhook {:?}: {reason}", hook.name)
    }
}

/// Asks. The objects are in the invocation's version.
pub(super) async fn ask(
    hook: &Hook,
    mutating: bool,
    admission: &Admission<'_>,
    invocation: &Invocation,
    object: Option<&Object>,
    old_object: Option<&Object>,
) -> Result<Answer, Refusal> {
    if admission.dry_run && !hook.takes_dry_run {
        return Err(Refusal::Internal(Status::bad_request(format!(
            "admission webhook {:?} does not support dry run",
            hook.name
        ))));
    }
    let failed = |code: u16, reason: String| Err(Refusal::Failed { reason, code });
    let Some(version) = hook.review else {
        return failed(
            400,
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .to_owned(),
        );
    };
    let client = match hook.client() {
        Ok(client) => client,
        Err(error) => return failed(500, format!("could not get REST client: {error}")),
    };
    let uid = Uuid::new_v4().to_string();
    let question = version.question(&uid, admission, invocation, object, old_object);
    let call = Call {
        timeout: hook.timeout,
        announce_timeout: true,
        max_answer_bytes: MAX_ANSWER_BYTES,
    };
    let body = match client.post(question.into(), call).await {
        Ok(body) => body,
        Err(error) => {
            let code = match &error {
                CallError::Answered(status) => status.code,
                _ => 503,
            };
            return failed(code, format!("failed to call webhook: {error}"));
        }
    };
    let answer = match version.answer(&uid, mutating, &body) {
        Ok(answer) => answer,
        Err(AnswerError::Undecodable(reason)) => {
            return failed(503, format!("failed to call webhook: {reason}"));
        }
        Err(AnswerError::Invalid(reason)) => {
            return failed(503, format!("received invalid webhook response: {reason}"));
        }
    };
    for (key, value) in &answer.annotations {
        admission
            .notes
            .annotate(format!("{}/{key}", hook.name), value);
    }
    for warning in &answer.warnings {
        admission.notes.warn(warning);
    }
    if answer.allowed {
        return Ok(answer);
    }
    Err(Refusal::Denied(super::review::denial(
        &hook.name,
        answer.result,
    )))
}

/// An object in the version that a webhook wants to see.
pub(in super::super) async fn versioned(
    resources: &dyn Resources,
    object: Option<&Object>,
    admission: &Admission<'_>,
    invocation: &Invocation,
) -> Result<Option<Object>, Status> {
    let Some(object) = object else {
        return Ok(None);
    };
    let mut object = object.clone();
    managed_fields::spell_out(&mut object);
    if let Some(ty) = api::facts::type_of(admission.kind) {
        decode::hide(&mut object, ty);
    }
    if invocation.kind == *admission.kind {
        return Ok(Some(object));
    }
    let converted = resources.convert(object, &invocation.kind).await;
    converted.map(Some).map_err(Status::internal)
}
