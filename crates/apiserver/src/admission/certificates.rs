//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: a signer's requests are approved and signed by those who may,
//! and nobody gets a certificate of `system:masters`.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupVersion, meta, status::Status};
use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::{Admission, Operation, Plugin};
use crate::{
    authz::{Attributes, Authorizer, Decision},
    lookup,
    request_info::RequestInfo,
    user::MASTERS,
};

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";

/// Whether the user may `verb` (`approve`, `sign`) for the signer: by its name, or by `domain/*`.
async fn may(
    authorizer: &dyn Authorizer,
    admission: &Admission<'_>,
    verb: &str,
    signer: &str,
) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let request = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            group_version: GroupVersion::new(GROUP, "*"),
            resource: "signers".to_owned(),
            name,
            ..RequestInfo::default()
        };
        let attributes = Attributes {
            user: admission.user,
            request: &request,
        };
        if authorizer.authorize(attributes).await.0 == Decision::Allow {
            return true;
        }
    }
    false
}

fn signer(request: &Object) -> &str {
    lookup::text(request, &["spec", "signerName"])
}

pub(super) struct CertificateApproval {
    authorizer: Arc<dyn Authorizer>,
}

impl CertificateApproval {
    pub(super) fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }
}

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is_subresource(GROUP, RESOURCE, "approval") {
            return Ok(());
        }
        // What is stored says which signer, not what the client sends.
        let Some(old) = admission.old_object else {
            return Ok(());
        };
        if may(&*self.authorizer, admission, "approve", signer(old)).await {
            return Ok(());
        }
        let reason = format!(
            "user not permitted to approve requests with signerName {:?}",
            signer(old)
        );
        Err(admission.forbidden(reason))
    }
}

pub(super) struct CertificateSigning {
    authorizer: Arc<dyn Authorizer>,
}

impl CertificateSigning {
    pub(super) fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is_subresource(GROUP, RESOURCE, "status") {
            return Ok(());
        }
        let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
            return Ok(());
        };
        let is_changed = |field| match field {
            "certificate" => {
                lookup::text(old, &["status", field]) != lookup::text(new, &["status", field])
            }
            _ => lookup::list(old, &["status", field]) != lookup::list(new, &["status", field]),
        };
        if !is_changed("certificate") && !is_changed("conditions") {
            return Ok(());
        }
        if may(&*self.authorizer, admission, "sign", signer(old)).await {
            return Ok(());
        }
        let reason = format!(
            "user not permitted to sign requests with signerName {:?}",
            signer(old)
        );
        Err(admission.forbidden(reason))
    }
}

pub(super) struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is(GROUP, RESOURCE) {
            return Ok(());
        }
        let Some(request) = admission.new_object() else {
            return Ok(());
        };
        if signer(request) != "kubernetes.io/kube-apiserver-client" {
            return Ok(());
        }
        let organizations = organizations(request).map_err(|reason| {
            admission.forbidden(format!(
                "unable to parse {:?}: {reason}",
                meta::name(request)
            ))
        })?;
        if organizations
            .iter()
            .any(|organization| organization == MASTERS)
        {
            let reason = format!(
                "use of kubernetes.io/kube-apiserver-client signer with {MASTERS} group is not allowed"
            );
            return Err(admission.forbidden(reason));
        }
        Ok(())
    }
}

/// The organizations of the subject that a certificate is asked for.
fn organizations(request: &Object) -> Result<Vec<String>, String> {
    let pem = BASE64_STANDARD
        .decode(lookup::text(request, &["spec", "request"]))
        .map_err(|error| error.to_string())?;
    let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(&pem)
        .map_err(|error| error.to_string())?;
    let (_, request) =
        X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
    let subject = &request.certification_request_info.subject;
    Ok(subject
        .iter_organization()
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect())
}
