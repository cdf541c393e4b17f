//! A CertificateSigningRequest says who asks for it. It is not the client who says so: what it writes there is replaced.
//!
//! Upstream does it in the resource's strategy, which knows the user; ours are pure, and this is the last that changes the object before them.

use apimachinery::status::Status;
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{authn::reviews, lookup};

pub(super) struct CertificateIdentity;

#[async_trait]
impl Plugin for CertificateIdentity {
    fn name(&self) -> &'static str {
        "CertificateIdentity"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("certificates.k8s.io", "certificatesigningrequests") {
            return Ok(());
        }
        let user = reviews::to_value(admission.user);
        let Some(request) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        for field in ["username", "uid", "groups", "extra"] {
            match user.get(field) {
                Some(value) => lookup::set(request, &["spec", field], value.clone()),
                None => {
                    lookup::map_mut(request, &["spec"]).remove(field);
                }
            }
        }
        Ok(())
    }
}
