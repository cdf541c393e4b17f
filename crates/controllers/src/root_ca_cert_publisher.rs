//! The root CA publisher: every namespace has the ConfigMap `kube-root-ca.crt`, by which pods trust the API server.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Event, Informer, InformerScope, Object as _, ObjectKey};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tracing::warn;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
    service_account::is_active,
};

pub(crate) const NAME: &str = "root-ca-certificate-publisher-controller";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

struct Publisher {
    ctx: ControllerContext,
    root_ca: String,
    namespaces: Informer<Namespace>,
    config_maps: Informer<ConfigMap>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let Some(root_ca) = ctx.config.root_ca.clone() else {
        warn!(
            controller = NAME,
            "not started: there is no root CA to publish"
        );
        return;
    };
    let scope = InformerScope {
        field_selector: Some(format!("metadata.name={CONFIG_MAP}")),
        ..InformerScope::default()
    };
    let publisher = Arc::new(Publisher {
        root_ca,
        namespaces: ctx.informers.informer(),
        config_maps: ctx.informers.scoped(scope),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("root_ca_cert_publisher");
    queue_changes(&ctx, NAME, &publisher.namespaces, &queue);
    let changed = queue.clone();
    on_events(&ctx, NAME, &publisher.config_maps, move |event| {
        if let Event::Updated { new: map, .. } | Event::Deleted(map) = event {
            changed.add(ObjectKey::new("", map.namespace()));
        }
    });
    run_workers(&ctx, NAME, 1, &queue, publisher);
}

#[async_trait]
impl Reconciler for Publisher {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.namespaces.has_synced().await;
        self.config_maps.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(namespace) = self
            .namespaces
            .store()
            .get_key(key)
            .filter(|namespace| is_active(namespace))
        else {
            return Ok(Next::OnEvent);
        };
        let api = self.ctx.client.api::<ConfigMap>(namespace.name());
        let data = Some([("ca.crt".to_owned(), self.root_ca.clone())].into());
        let Some(existing) = self.config_maps.store().get(namespace.name(), CONFIG_MAP) else {
            let (key, text) = DESCRIPTION;
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(CONFIG_MAP.to_owned()),
                    namespace: Some(namespace.name().to_owned()),
                    annotations: Some([(key.to_owned(), text.to_owned())].into()),
                    ..ObjectMeta::default()
                },
                data,
                ..ConfigMap::default()
            };
            return match api.create(&map).await {
                Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => {
                    Err(error.into())
                }
                _ => Ok(Next::OnEvent),
            };
        };
        let (key, text) = DESCRIPTION;
        if existing.data != data || existing.annotation(key) != Some(text) {
            let mut map = (*existing).clone();
            map.data = data;
            map.metadata
                .annotations
                .get_or_insert_default()
                .insert(key.to_owned(), text.to_owned());
            api.update(&map).await?;
        }
        Ok(Next::OnEvent)
    }
}
