//! Whom the cluster believes, for components that were not told: the authorities of client certificates and of front proxies in ConfigMap
//! `kube-system/extension-apiserver-authentication`, which the API server keeps up to date and which is followed here.

use std::{collections::BTreeMap, sync::Arc};

use base::tls::TlsError;
use client::{InformerFactory, InformerScope};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::{
    authentication::Authentication,
    front_proxy::{FrontProxy, FrontProxyHeaders},
};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// What no flag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `--client-ca-file`
    pub client_authorities: bool,
    /// `--requestheader-client-ca-file`
    pub front_proxy: bool,
}

/// Tells `authentication` what is in the ConfigMap, now and whenever it changes. Returns when the informers end.
pub async fn follow_cluster_authentication(
    authentication: Arc<Authentication>,
    missing: Missing,
    informers: InformerFactory,
) {
    let informer = informers.scoped::<ConfigMap>(InformerScope {
        namespace: NAMESPACE.into(),
        field_selector: Some(format!("metadata.name={NAME}")),
        ..InformerScope::default()
    });
    let mut changes = informer.subscribe();
    let mut seen = BTreeMap::new();
    while changes.next().await.is_some() {
        let known = informer.store().get(NAMESPACE, NAME);
        let Some(data) = known.and_then(|object| object.data.clone()) else {
            continue;
        };
        if data == seen {
            continue;
        }
        // What cannot be used leaves in force what was in force before.
        if let Err(error) = take(&authentication, missing, &data) {
            tracing::error!(%error, "ConfigMap {NAMESPACE}/{NAME} cannot be used");
        }
        seen = data;
    }
}

fn take(
    authentication: &Authentication,
    missing: Missing,
    data: &BTreeMap<String, String>,
) -> Result<(), TlsError> {
    let bundle = |key: &str| data.get(key).filter(|bundle| !bundle.is_empty());
    let names = |key: &str| -> Vec<String> {
        let list = data.get(key).map(String::as_str).unwrap_or("[]");
        serde_json::from_str(list).unwrap_or_default()
    };
    if missing.client_authorities
        && let Some(bundle) = bundle("client-ca-file")
    {
        authentication.trust(bundle.as_bytes())?;
    }
    if missing.front_proxy
        && let Some(bundle) = bundle("requestheader-client-ca-file")
    {
        let headers = FrontProxyHeaders {
            username: names("requestheader-username-headers"),
            uid: names("requestheader-uid-headers"),
            group: names("requestheader-group-headers"),
            extra_prefixes: names("requestheader-extra-headers-prefix"),
        };
        let allowed = names("requestheader-allowed-names");
        authentication.trust_front_proxy(FrontProxy::new(bundle.as_bytes(), allowed, headers)?);
    }
    Ok(())
}
