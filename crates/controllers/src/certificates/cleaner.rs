//! csrcleaner: requests go when nobody can want them any more.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{DeleteOptionsExt as _, Informer, Object as _, ObjectKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::certificates::v1::CertificateSigningRequest,
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use super::{condition, has_certificate, x509};
use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "certificatesigningrequest-cleaner-controller";

/// After a decision, and after the certificate was given.
const SETTLED: SignedDuration = SignedDuration::from_hours(1);
/// Without one.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

struct Cleaner {
    ctx: ControllerContext,
    requests: Informer<CertificateSigningRequest>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(Cleaner {
        requests: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("certificate_cleaner");
    queue_changes(&ctx, NAME, &controller.requests, &queue);
    run_workers(&ctx, NAME, 1, &queue, controller);
}

/// When a request is over.
fn ends_at(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let decided = ["Approved", "Denied", "Failed"]
        .into_iter()
        .filter_map(|sort| {
            let decision = condition(request, sort)?;
            // An approval without a certificate is still waited for.
            let counts = sort != "Approved" || has_certificate(request);
            Some((decision, counts))
        })
        .collect::<Vec<_>>();
    let settled = decided
        .iter()
        .filter(|(_, counts)| *counts)
        .filter_map(|(decision, _)| decision.last_update_time.as_ref())
        .map(|time| time.0 + SETTLED);
    let created = request.metadata.creation_timestamp.as_ref()?.0;
    let pending = decided.is_empty().then(|| created + PENDING);
    let expired = request
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref())
        .and_then(|certificate| x509::not_after(&certificate.0));
    settled.chain(pending).chain(expired).min()
}

#[async_trait]
impl Reconciler for Cleaner {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.requests.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let now = self.ctx.clock.now();
        let Some(request) = self.requests.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let Some(end) = ends_at(&request) else {
            return Ok(Next::OnEvent);
        };
        if now < end {
            let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
            return Ok(Next::After(left + Duration::from_secs(1)));
        }
        let requests = self.ctx.client.api::<CertificateSigningRequest>("");
        let options = DeleteOptions::default().with_uid(request.uid());
        match requests.delete(request.name(), &options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.into()),
            _ => Ok(Next::OnEvent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_end_by_what_became_of_them() {
        let request = |status: serde_json::Value| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"request": "", "signerName": "s"}, "status": status,
            }))
            .unwrap()
        };
        let decided = |sort: &str| json!({"type": sort, "status": "True", "lastUpdateTime": "2026-01-01T02:00:00Z"});
        for (status, expected) in [
            (json!({}), Some("2026-01-02T00:00:00Z")),
            (
                json!({"conditions": [decided("Denied")]}),
                Some("2026-01-01T03:00:00Z"),
            ),
            (json!({"conditions": [decided("Approved")]}), None),
            (
                json!({"conditions": [decided("Approved")], "certificate": "eA=="}),
                Some("2026-01-01T03:00:00Z"),
            ),
        ] {
            let expected = expected.map(|time| time.parse::<Timestamp>().unwrap());
            assert_eq!(ends_at(&request(status.clone())), expected, "{status}");
        }
    }
}
