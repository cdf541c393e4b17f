//! What of a CertificateSigningRequest is the server's to say: who asks for it, and when its conditions were set.
//!
//! A client's own word for who asks is replaced. A request must be one that its own key has signed. Upstream does all this in the
//! resource's strategy and validation, which know the user, the time and X.509; ours are pure, and this is the last that
//! changes the object before them.

use apimachinery::{
    Object,
    field::{FieldError, Path},
    status::Status,
};
use async_trait::async_trait;
use base::Clock;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _, pem::SectionKind};
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509CertificationRequest};

use super::{Admission, Operation, Plugin};
use crate::{authn::reviews, lookup};

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";

pub(super) struct CertificateIdentity {
    pub(super) clock: Clock,
}

#[async_trait]
impl Plugin for CertificateIdentity {
    fn name(&self) -> &'static str {
        "CertificateIdentity"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let request = admission.request;
        if request.group_version.group != GROUP || request.resource != RESOURCE {
            return Ok(());
        }
        let user = reviews::to_value(admission.user);
        let Some(object) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        match (admission.operation, request.subresource.as_str()) {
            (Operation::Create, "") => set_identity(object, &user),
            (Operation::Update, "approval" | "status") => {
                let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                date_conditions(object, admission.old_object, &now);
            }
            _ => {}
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        let error = if admission.operation == Operation::Create && admission.is(GROUP, RESOURCE) {
            let request = lookup::text(object, &["spec", "request"]);
            judge_request(request).err().map(|detail| {
                FieldError::invalid(&Path::new("spec").child("request"), request, detail)
            })
        } else if admission.is_subresource(GROUP, RESOURCE, "status") {
            let certificate = lookup::text(object, &["status", "certificate"]);
            let path = Path::new("status").child("certificate");
            judge_certificate(certificate)
                .err()
                .map(|detail| FieldError::invalid(&path, "<certificate data>", detail))
        } else {
            None
        };
        match error {
            Some(error) => Err(Status::invalid_kind(
                admission.kind,
                admission.name(),
                &vec![error],
            )),
            None => Ok(()),
        }
    }
}

fn set_identity(request: &mut Object, user: &Value) {
    for field in ["username", "uid", "groups", "extra"] {
        match user.get(field) {
            Some(value) => lookup::set(request, &["spec", field], value.clone()),
            None => {
                lookup::map_mut(request, &["spec"]).remove(field);
            }
        }
    }
}

/// Times that are not given: now, but a condition that says the same as before keeps the time at which it began to.
fn date_conditions(request: &mut Object, old: Option<&Object>, now: &str) {
    let before: Vec<(&str, &str, &str)> = old
        .into_iter()
        .flat_map(|old| lookup::objects(old, &["status", "conditions"]))
        .map(|condition| {
            let text = |name| lookup::text(condition, &[name]);
            (text("type"), text("status"), text("lastTransitionTime"))
        })
        .collect();
    let conditions = request
        .get_mut("status")
        .and_then(|status| status.get_mut("conditions"))
        .and_then(Value::as_array_mut);
    for condition in conditions
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if lookup::text(condition, &["lastUpdateTime"]).is_empty() {
            condition.insert("lastUpdateTime".to_owned(), now.into());
        }
        if lookup::text(condition, &["lastTransitionTime"]).is_empty() {
            let text = |name| lookup::text(condition, &[name]);
            let (sort, status) = (text("type"), text("status"));
            let since = before
                .iter()
                .find(|(t, s, time)| *t == sort && *s == status && !time.is_empty())
                .map_or(now, |(_, _, time)| time);
            condition.insert("lastTransitionTime".to_owned(), since.into());
        }
    }
}

/// The last common name that a request (base64 of PEM) asks for.
pub(super) fn common_name(encoded: &str) -> Result<String, String> {
    let pem = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    let Ok((SectionKind::Csr, der)) = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem) else {
        return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    let (_, request) = X509CertificationRequest::from_der(&der)
        .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
    let names = request
        .certification_request_info
        .subject
        .iter_common_name();
    let name = names.filter_map(|name| name.as_str().ok()).last();
    Ok(name.unwrap_or_default().to_owned())
}

/// Whether it is a PKCS #10 request, signed by the key it is about.
fn judge_request(encoded: &str) -> Result<(), String> {
    let pem = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    let der = match <(SectionKind, Vec<u8>)>::from_pem_slice(&pem) {
        Ok((SectionKind::Csr, der)) => der,
        _ => return Err("PEM block type must be CERTIFICATE REQUEST".to_owned()),
    };
    let (rest, request) = X509CertificationRequest::from_der(&der)
        .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    request
        .verify_signature()
        .map_err(|error| format!("x509: the request's signature does not verify: {error}"))
}

/// Whether every block of a certificate chain is a certificate.
fn judge_certificate(encoded: &str) -> Result<(), String> {
    let pem = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let der = certificate.map_err(|error| format!("x509: malformed certificate: {error}"))?;
        X509Certificate::from_der(&der)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
    }
    Ok(())
}
