//! The token cleaner: deletes bootstrap tokens that have expired. Off unless `--controllers` names it, as upstream.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{Api, ApiError, DeleteOptionsExt as _, Informer, Object as _, ObjectKey};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::DeleteOptions};

use crate::{
    bootstrap_token::{self, NAMESPACE, expires_at},
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "token-cleaner-controller";

struct TokenCleaner {
    ctx: ControllerContext,
    secrets: Informer<Secret>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(TokenCleaner {
        secrets: ctx.informers.scoped(bootstrap_token::scope()),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("token_cleaner");
    queue_changes(&ctx, NAME, &controller.secrets, &queue);
    run_workers(&ctx, NAME, 1, &queue, controller);
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
