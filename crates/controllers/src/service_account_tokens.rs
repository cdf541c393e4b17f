//! The token controller: fills in the tokens of Secrets of type `kubernetes.io/service-account-token`, and deletes those whose account is gone.
//!
//! Such tokens do not end; they are good as long as the Secret is. Nobody makes the Secrets but users: pods get bound tokens.

use std::sync::Arc;

use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Event, Informer, InformerScope, Object as _, ObjectKey,
    Workqueue,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};

use crate::{
    config::SignToken,
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "serviceaccount-token-controller";
/// The type of the Secrets.
pub(crate) const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation with the account's name.
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// The annotation with the account's uid.
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const ACCOUNT_INDEX: &str = "token-account";

struct ServiceAccountTokens {
    ctx: ControllerContext,
    accounts: Informer<ServiceAccount>,
    secrets: Informer<Secret>,
    sign: SignToken,
}

/// Of all Secrets those with tokens: the others are nobody's business here.
pub(crate) fn token_secrets() -> InformerScope {
    InformerScope {
        field_selector: Some(format!("type={TYPE}")),
        ..InformerScope::default()
    }
}

pub(crate) fn start(ctx: ControllerContext) {
    let Some(sign) = ctx.config.sign_token.clone() else {
        tracing::info!(controller = NAME, "no key to sign tokens with");
        return;
    };
    let controller = Arc::new(ServiceAccountTokens {
        accounts: ctx.informers.informer(),
        secrets: ctx.informers.scoped(token_secrets()),
        sign,
        ctx: ctx.clone(),
    });
    controller.secrets.add_index(ACCOUNT_INDEX, by_account);
    let queue: Workqueue<ObjectKey> = ctx.queue("serviceaccount_tokens_service");
    queue_changes(&ctx, NAME, &controller.secrets, &queue);
    let (secrets, changed) = (controller.secrets.store().clone(), queue.clone());
    on_events(&ctx, NAME, &controller.accounts, move |event| {
        // An account that comes may be waited for; one that goes takes its tokens along.
        if let Event::Added(account) | Event::Deleted(account) = event {
            for secret in secrets.by_index(ACCOUNT_INDEX, &account.key().to_string()) {
                changed.add(secret.key());
            }
        }
    });
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.service_account_token,
        &queue,
        controller,
    );
}

fn by_account(secret: &Secret) -> Vec<String> {
    let name = secret.annotation(ACCOUNT_NAME);
    let key = name.map(|name| ObjectKey::new(secret.namespace(), name).to_string());
    key.into_iter().collect()
}

#[async_trait]
impl Reconciler for ServiceAccountTokens {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.accounts.has_synced().await;
        self.secrets.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(secret) = self.secrets.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let named = secret
            .annotation(ACCOUNT_NAME)
            .filter(|name| !name.is_empty());
        let Some(name) = named.filter(|_| !secret.is_being_deleted()) else {
            return Ok(Next::OnEvent);
        };
        match self.account(&secret, name).await? {
            None => self.delete(&secret).await?,
            Some(account) => self.fill(&secret, &account).await?,
        }
        Ok(Next::OnEvent)
    }
}

impl ServiceAccountTokens {
    fn api(&self, namespace: &str) -> Api<Secret> {
        self.ctx.client.api(namespace)
    }

    /// The account that a Secret is for, by name and, where the Secret says so, uid. The server is asked before one counts as gone.
    async fn account(
        &self,
        secret: &Secret,
        name: &str,
    ) -> Result<Option<Arc<ServiceAccount>>, Error> {
        let uid = secret.annotation(ACCOUNT_UID).unwrap_or_default();
        let is_meant = |account: &Arc<ServiceAccount>| uid.is_empty() || account.uid() == uid;
        let known = self.accounts.store().get(secret.namespace(), name);
        if let Some(account) = known.filter(is_meant) {
            return Ok(Some(account));
        }
        let accounts = self.ctx.client.api::<ServiceAccount>(secret.namespace());
        let live = accounts.get_opt(name).await?.map(Arc::new);
        Ok(live.filter(is_meant))
    }

    async fn delete(&self, secret: &Secret) -> Result<(), Error> {
        let options = DeleteOptions::default().with_uid(secret.uid());
        let api = self.api(secret.namespace());
        match api.delete(secret.name(), &options).await {
            // Another one of that name.
            Err(error) if error.is_conflict() => Ok(()),
            deleted => Ok(ApiError::not_found_is_none(deleted).map(drop)?),
        }
    }

    async fn fill(&self, known: &Secret, account: &ServiceAccount) -> Result<(), Error> {
        let ca = self.ctx.config.root_ca.as_deref();
        if filled(known, account, ca, |_| Ok(String::new()))?.is_none() {
            return Ok(());
        }
        let api = self.api(known.namespace());
        let Some(live) = api.get_opt(known.name()).await? else {
            return Ok(());
        };
        if live.resource_version() != known.resource_version() {
            // Its event calls us.
            return Ok(());
        }
        if let Some(filled) = filled(&live, account, ca, |claims| (self.sign)(claims))? {
            match api.update(&filled).await {
                Err(error) if error.is_conflict() => {}
                updated => drop(ApiError::not_found_is_none(updated)?),
            }
        }
        Ok(())
    }
}

/// The Secret as it should be, if it is not: with the authority, its namespace and the account's token.
fn filled(
    secret: &Secret,
    account: &ServiceAccount,
    ca: Option<&str>,
    sign: impl FnOnce(&Value) -> Result<String, String>,
) -> Result<Option<Secret>, Error> {
    let mut filled = secret.clone();
    let data = filled.data.get_or_insert_default();
    let before = data.clone();
    if let Some(ca) = ca.filter(|ca| !ca.is_empty()) {
        data.insert("ca.crt".to_owned(), ByteString(ca.as_bytes().to_vec()));
    }
    let is_empty = |name: &str| before.get(name).is_none_or(|value| value.0.is_empty());
    if is_empty("namespace") {
        let namespace = secret.namespace().as_bytes().to_vec();
        data.insert("namespace".to_owned(), ByteString(namespace));
    }
    if is_empty("token") {
        let token = sign(&claims(secret, account)).map_err(Error::State)?;
        data.insert("token".to_owned(), ByteString(token.into_bytes()));
    }
    if *data == before {
        return Ok(None);
    }
    let annotations = filled.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_NAME.to_owned(), account.name().to_owned());
    annotations.insert(ACCOUNT_UID.to_owned(), account.uid().to_owned());
    Ok(Some(filled))
}

/// What the token says: the older form, without an end.
fn claims(secret: &Secret, account: &ServiceAccount) -> Value {
    let (namespace, name) = (account.namespace(), account.name());
    json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret.name(),
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": account.uid(),
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_filled_once() {
        let account: ServiceAccount = serde_json::from_value(
            json!({"metadata": {"name": "robot", "namespace": "ns", "uid": "u"}}),
        )
        .unwrap();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "t", "namespace": "ns"}})).unwrap();
        let sign = |claims: &Value| Ok(claims["sub"].as_str().unwrap().to_owned());
        let full = filled(&secret, &account, Some("CA"), sign)
            .unwrap()
            .unwrap();
        let text =
            |name: &str| String::from_utf8(full.data.as_ref().unwrap()[name].0.clone()).unwrap();
        assert_eq!(text("token"), "system:serviceaccount:ns:robot");
        assert_eq!(
            (text("namespace").as_str(), text("ca.crt").as_str()),
            ("ns", "CA")
        );
        assert_eq!(full.annotation(ACCOUNT_UID), Some("u"));
        assert!(filled(&full, &account, Some("CA"), sign).unwrap().is_none());
        // Another authority: the token stays.
        let never = |_: &Value| Err("signed again".to_owned());
        assert!(
            filled(&full, &account, Some("CA 2"), never)
                .unwrap()
                .is_some()
        );
    }
}
