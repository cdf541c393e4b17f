//! The controllers of CertificateSigningRequests: one approves what kubelets may have without being asked, one signs what is approved, one
//! clears away what is over.

mod approver;
mod cleaner;
mod recognize;
mod signer;
mod x509;

use jiff::Timestamp;
use k8s_openapi::{
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

pub(crate) use approver::{NAME as APPROVER, start as start_approver};
pub(crate) use cleaner::{NAME as CLEANER, start as start_cleaner};
pub(crate) use signer::{NAME as SIGNER, start as start_signer};

fn condition<'a>(
    request: &'a CertificateSigningRequest,
    sort: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == sort && condition.status == "True")
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    let certificate = request
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

/// Adds a condition that holds from now on.
fn add_condition(
    request: &mut CertificateSigningRequest,
    sort: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let conditions = &mut request.status.get_or_insert_default().conditions;
    conditions
        .get_or_insert_default()
        .push(CertificateSigningRequestCondition {
            type_: sort.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        });
}
