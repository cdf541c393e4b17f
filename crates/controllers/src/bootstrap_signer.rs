//! The bootstrap signer: signs `kube-public/cluster-info` with each bootstrap token that is for signing, so that who holds the token
//! can trust what an anonymous read of the ConfigMap says (`kubeadm join`). Off unless `--controllers` names it, as upstream.
//!
//! A signature is a JWS with HMAC-SHA256 over the key `kubeconfig`, its payload left out (RFC 7515, appendix F), in the key
//! `jws-kubeconfig-<token id>`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::{ApiError, Informer, InformerScope, Namespace, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use ring::hmac;
use serde_json::json;

use crate::{
    bootstrap_token::{self, BootstrapToken},
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "bootstrap-signer-controller";
const NAMESPACE: &str = "kube-public";
const CONFIG_MAP: &str = "cluster-info";
const CONTENT: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

struct BootstrapSigner {
    ctx: ControllerContext,
    config_maps: Informer<ConfigMap>,
    secrets: Informer<Secret>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let scope = InformerScope {
        namespace: Namespace::from(NAMESPACE),
        field_selector: Some(format!("metadata.name={CONFIG_MAP}")),
        ..InformerScope::default()
    };
    let controller = Arc::new(BootstrapSigner {
        config_maps: ctx.informers.scoped(scope),
        secrets: ctx.informers.scoped(bootstrap_token::scope()),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("bootstrap_signer_queue");
    queue_changes(&ctx, NAME, &controller.config_maps, &queue);
    let tokens_changed = queue.clone();
    on_events(&ctx, NAME, &controller.secrets, move |_| {
        tokens_changed.add(ObjectKey::new(NAMESPACE, CONFIG_MAP));
    });
    run_workers(&ctx, NAME, 1, &queue, controller);
}

#[async_trait]
impl Reconciler for BootstrapSigner {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.config_maps.has_synced().await;
        self.secrets.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(config_map) = self.config_maps.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let now = self.ctx.clock.now();
        let secrets = self.secrets.store().list();
        let tokens: Vec<BootstrapToken> = secrets
            .iter()
            .filter_map(|secret| BootstrapToken::read(secret))
            .filter(|token| token.signs && token.expires_at.is_none_or(|ends| ends > now))
            .collect();
        if let Some(signed) = signed(&config_map, &tokens) {
            let api = self.ctx.client.api::<ConfigMap>(NAMESPACE);
            ApiError::not_found_is_none(api.update(&signed).await)?;
        }
        Ok(until_one_ends(&tokens, now))
    }
}

/// A token that ends takes its signature with it.
fn until_one_ends(tokens: &[BootstrapToken], now: Timestamp) -> Next {
    let first = tokens.iter().filter_map(|token| token.expires_at).min();
    first.map_or(Next::OnEvent, |ends| {
        let left = Duration::try_from(ends.duration_since(now)).unwrap_or_default();
        Next::After(left)
    })
}

/// The ConfigMap with the signatures of these tokens and no others; none if it is so already, or there is nothing to sign.
fn signed(config_map: &ConfigMap, tokens: &[BootstrapToken]) -> Option<ConfigMap> {
    let data = config_map.data.as_ref()?;
    let content = data.get(CONTENT)?;
    let mut wanted: BTreeMap<String, String> = data
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for token in tokens {
        let key = format!("{SIGNATURE_PREFIX}{}", token.id);
        wanted.insert(key, detached_signature(content, token));
    }
    (wanted != *data).then(|| ConfigMap {
        data: Some(wanted),
        ..config_map.clone()
    })
}

fn detached_signature(content: &str, token: &BootstrapToken) -> String {
    let header = json!({"alg": "HS256", "kid": token.id}).to_string();
    let header = URL_SAFE_NO_PAD.encode(header);
    let payload = URL_SAFE_NO_PAD.encode(content);
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes());
    let signature = hmac::sign(&key, format!("{header}.{payload}").as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str) -> BootstrapToken {
        BootstrapToken {
            id: id.to_owned(),
            secret: "my-token-secret".to_owned(),
            signs: true,
            expires_at: None,
        }
    }

    fn cluster_info(data: &[(&str, &str)]) -> ConfigMap {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        ConfigMap {
            data: Some(data.iter().map(owned).collect()),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn a_signature_is_a_detached_jws() {
        let signature = detached_signature("foo", &token("abcdef"));
        let (header, rest) = signature.split_once("..").unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        assert_eq!(header, br#"{"alg":"HS256","kid":"abcdef"}"#);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"my-token-secret");
        let signed = format!(
            "{}.{}",
            signature.split('.').next().unwrap(),
            URL_SAFE_NO_PAD.encode("foo")
        );
        let tag = URL_SAFE_NO_PAD.decode(rest).unwrap();
        assert!(hmac::verify(&key, signed.as_bytes(), &tag).is_ok());
    }

    #[test]
    fn signatures_follow_the_tokens() {
        let unsigned = cluster_info(&[("kubeconfig", "foo"), ("other", "kept")]);
        let once = signed(&unsigned, &[token("one"), token("two")]).unwrap();
        let keys = |map: &ConfigMap| map.data.clone().unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(
            keys(&once),
            [
                "jws-kubeconfig-one",
                "jws-kubeconfig-two",
                "kubeconfig",
                "other"
            ]
        );
        assert_eq!(signed(&once, &[token("one"), token("two")]), None);
        let fewer = signed(&once, &[token("two")]).unwrap();
        assert_eq!(keys(&fewer), ["jws-kubeconfig-two", "kubeconfig", "other"]);
        assert_eq!(
            signed(&fewer, &[]).map(|map| keys(&map)),
            Some(keys(&unsigned))
        );
        let nothing = cluster_info(&[("other", "kept")]);
        assert_eq!(signed(&nothing, &[token("one")]), None, "nothing to sign");
    }
}
