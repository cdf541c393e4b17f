//! csrsigning: what is approved for one of the built-in signers is signed by the cluster's authority
//! (`--cluster-signing-cert-file`, `--cluster-signing-key-file`).

use std::sync::Arc;

use async_trait::async_trait;
use client::{Informer, ObjectKey};
use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest};
use tracing::{error, warn};

use super::{
    add_condition, condition, has_certificate,
    recognize::{self, CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN},
    x509::{Authority, Request},
};
use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "certificatesigningrequest-signing-controller";

const SIGNERS: [&str; 4] = [KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY_UNKNOWN];
/// Nothing shorter is signed, whatever is asked for.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

struct Signer {
    ctx: ControllerContext,
    requests: Informer<CertificateSigningRequest>,
    authority: Authority,
    /// `--cluster-signing-duration`
    longest: SignedDuration,
}

pub(crate) fn start(ctx: ControllerContext) {
    let Some((certificate, key)) = &ctx.config.cluster_signing else {
        warn!(
            controller = NAME,
            "not started: there is no authority to sign with"
        );
        return;
    };
    let authority = match Authority::new(certificate, key) {
        Ok(authority) => authority,
        Err(why) => return error!(controller = NAME, why, "not started"),
    };
    let longest = SignedDuration::try_from(ctx.config.cluster_signing_duration);
    let controller = Arc::new(Signer {
        requests: ctx.informers.informer(),
        authority,
        longest: longest.unwrap_or(SignedDuration::MAX),
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
impl Reconciler for Signer {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.requests.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(request) = self.requests.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let waits = condition(&request, "Approved").is_some()
            && condition(&request, "Denied").is_none()
            && condition(&request, "Failed").is_none()
            && !has_certificate(&request);
        if !waits || !SIGNERS.contains(&request.spec.signer_name.as_str()) {
            return Ok(Next::OnEvent);
        }
        let parsed = Request::parse(&request.spec.request.0)
            .map_err(|why| Error::State(format!("unable to parse csr {key}: {why}")))?;
        let usages = request.spec.usages.clone().unwrap_or_default();
        let mut answer = (*request).clone();
        let now = self.ctx.clock.now();
        match recognize::judge(&request.spec.signer_name, &parsed, &usages) {
            // Upstream leaves what is not its own of the old sort alone; the others fail for good.
            Err(why) => add_condition(&mut answer, "Failed", "SignerValidationFailure", why, now),
            Ok(()) => {
                let lifetime = self.lifetime(request.spec.expiration_seconds);
                let pem = self
                    .authority
                    .sign(&parsed, &usages, lifetime, serial(), now)
                    .map_err(|why| Error::State(format!("error auto signing csr: {why}")))?;
                answer.status.get_or_insert_default().certificate =
                    Some(ByteString(pem.into_bytes()));
            }
        }
        let requests = self.ctx.client.api::<CertificateSigningRequest>("");
        requests.update_status(&answer).await?;
        Ok(Next::OnEvent)
    }
}

impl Signer {
    fn lifetime(&self, asked: Option<i32>) -> SignedDuration {
        let Some(seconds) = asked else {
            return self.longest;
        };
        SignedDuration::from_secs(seconds.into())
            .max(SHORTEST)
            .min(self.longest)
    }
}

fn serial() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}
