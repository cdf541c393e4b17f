//! The token cleaner: deletes bootstrap tokens that have expired. Off unless `--controllers` names it, as upstream.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Informer, InformerScope, Namespace, Object as _,
    ObjectKey,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::DeleteOptions};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "token-cleaner-controller";
const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

struct TokenCleaner {
    ctx: ControllerContext,
    secrets: Informer<Secret>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let scope = InformerScope {
        namespace: Namespace::from(NAMESPACE),
        field_selector: Some(format!("type={TYPE}")),
        ..InformerScope::default()
    };
    let controller = Arc::new(TokenCleaner {
        secrets: ctx.informers.scoped(scope),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("token_cleaner");
    queue_changes(&ctx, NAME, &controller.secrets, &queue);
    run_workers(&ctx, NAME, 1, &queue, controller);
}

/// When a token ends, if it does. A date that cannot be read has passed.
fn expires_at(secret: &Secret) -> Option<Timestamp> {
    let written = &secret.data.as_ref()?.get("expiration")?.0;
    let parsed = std::str::from_utf8(written)
        .ok()
        .and_then(|text| text.parse().ok());
    Some(parsed.unwrap_or(Timestamp::MIN))
}

#[async_trait]
impl Reconciler for TokenCleaner {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.secrets.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let secret = self.secrets.store().get_key(key);
        let Some((secret, ends)) = secret.and_then(|s| expires_at(&s).map(|ends| (s, ends))) else {
            return Ok(Next::OnEvent);
        };
        let now = self.ctx.clock.now();
        if ends > now {
            let wait = Duration::try_from(ends.duration_since(now)).unwrap_or_default();
            return Ok(Next::After(wait));
        }
        let api: Api<Secret> = self.ctx.client.api(NAMESPACE);
        let options = DeleteOptions::default().with_uid(secret.uid());
        match api.delete(secret.name(), &options).await {
            // Another one of that name.
            Err(error) if error.is_conflict() => {}
            deleted => drop(ApiError::not_found_is_none(deleted)?),
        }
        Ok(Next::OnEvent)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn when_a_token_ends() {
        let secret = |expiration: Option<&str>| Secret {
            data: expiration.map(|text| {
                [(
                    "expiration".to_owned(),
                    ByteString(text.as_bytes().to_vec()),
                )]
                .into()
            }),
            ..Secret::default()
        };
        let at = "2026-01-01T00:00:00Z";
        assert_eq!(expires_at(&secret(Some(at))), Some(at.parse().unwrap()));
        assert_eq!(expires_at(&secret(Some("soon"))), Some(Timestamp::MIN));
        assert_eq!(expires_at(&secret(None)), None);
    }
}
