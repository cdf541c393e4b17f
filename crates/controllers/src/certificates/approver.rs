//! csrapproving: client certificates of kubelets are approved where the asker may have them: its own (`selfnodeclient`), or a first one
//! (`nodeclient`, which bootstrap tokens may).

use std::sync::Arc;

use async_trait::async_trait;
use client::{Informer, ObjectKey};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::CertificateSigningRequest,
};

use super::{add_condition, condition, has_certificate, recognize, x509::Request};
use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "certificatesigningrequest-approving-controller";

/// What the asker must be allowed to `create`, and what is said then; the narrower first.
const RULES: [(&str, &str); 2] = [
    (
        "selfnodeclient",
        "Auto approving self kubelet client certificate after SubjectAccessReview.",
    ),
    (
        "nodeclient",
        "Auto approving kubelet client certificate after SubjectAccessReview.",
    ),
];

struct Approver {
    ctx: ControllerContext,
    requests: Informer<CertificateSigningRequest>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(Approver {
        requests: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("certificate");
    queue_changes(&ctx, NAME, &controller.requests, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

#[async_trait]
impl Reconciler for Approver {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.requests.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(request) = self.requests.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let settled = has_certificate(&request)
            || condition(&request, "Approved").is_some()
            || condition(&request, "Denied").is_some();
        if settled || request.spec.signer_name != recognize::KUBELET_CLIENT {
            return Ok(Next::OnEvent);
        }
        let parsed = Request::parse(&request.spec.request.0)
            .map_err(|why| Error::State(format!("unable to parse csr {key}: {why}")))?;
        let usages = request.spec.usages.clone().unwrap_or_default();
        if recognize::kubelet_client(&parsed, &usages).is_err() {
            return Ok(Next::OnEvent);
        }
        let is_own = request.spec.username.as_deref() == Some(parsed.common_name.as_str());
        for (permission, message) in RULES {
            if permission == "selfnodeclient" && !is_own {
                continue;
            }
            if self.may(&request, permission).await? {
                let mut approved = (*request).clone();
                let now = self.ctx.clock.now();
                let message = message.to_owned();
                add_condition(&mut approved, "Approved", "AutoApproved", message, now);
                let requests = self.ctx.client.api::<CertificateSigningRequest>("");
                requests.update_subresource("approval", &approved).await?;
                return Ok(Next::OnEvent);
            }
        }
        Err(Error::State(format!(
            "recognized csr {key} but subject access review was not approved"
        )))
    }
}

impl Approver {
    async fn may(
        &self,
        request: &CertificateSigningRequest,
        permission: &str,
    ) -> Result<bool, Error> {
        let text = |text: &str| Some(text.to_owned());
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                uid: request.spec.uid.clone(),
                groups: request.spec.groups.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: text("certificates.k8s.io"),
                    resource: text("certificatesigningrequests"),
                    verb: text("create"),
                    subresource: text(permission),
                    version: text("*"),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews = self.ctx.client.api::<SubjectAccessReview>("");
        let answer = reviews.create(&review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
