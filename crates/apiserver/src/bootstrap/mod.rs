//! What a new server makes for itself, and mends at each start: system namespaces, RBAC policy, priority classes, flow control, the
//! default service range, the API services.
//!
//! Runs once the caches have synced. Everything is written side by side, so that it costs the store a handful of syncs. What people have changed
//! stays: each sort of object is mended by its own rule, and every rule is upstream's.

mod api_services;
mod cluster_authentication;
mod flow_control;
mod kubernetes_service;
mod objects;
pub mod policy;
mod reconcile;

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use base::Clock;
use futures_util::{StreamExt as _, stream};

use crate::{
    authn::RequestHeaderConfig,
    reader::{ObjectReader, ObjectWriter},
};

pub(crate) use api_services::priority as api_service_priority;
pub use cluster_authentication::{Authorities, ClusterAuthentication};
pub(crate) use flow_control::mandatory_flow_control;
pub use kubernetes_service::KubernetesService;

/// So many writes are under way at once: enough to share the store's syncs.
const CONCURRENCY: usize = 64;
/// Writes that lost a race are tried again so often.
const ATTEMPTS: usize = 5;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// What differs between clusters.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--service-cluster-ip-range`: one range, or one of each family.
    pub service_ranges: Vec<String>,
    /// `--client-ca-file`, published for aggregated servers; empty publishes none.
    pub client_ca_pem: String,
    /// `--requestheader-client-ca-file`, likewise.
    pub request_header_ca_pem: String,
    /// `--requestheader-*`: what its clients may say, and how.
    pub request_header: RequestHeaderConfig,
}

/// Makes and mends the server's own objects.
pub struct Bootstrap {
    /// What is there.
    pub reader: Arc<dyn ObjectReader>,
    /// Makes what is not.
    pub writer: Arc<dyn ObjectWriter>,
    /// For dates and retries.
    pub clock: Clock,
    /// The cluster's settings.
    pub config: Config,
}

/// An object that could not be made or mended.
#[derive(Debug, thiserror::Error)]
#[error("bootstrap of {resource} {name:?}")]
pub struct BootstrapError {
    resource: GroupResource,
    name: String,
    #[source]
    source: Status,
}

/// An object that must be there, and how one that is there is mended: `None` leaves it alone.
struct Wanted {
    resource: GroupResource,
    object: Object,
    mend: fn(existing: &Object, wanted: &Object) -> Option<Object>,
}

impl Bootstrap {
    /// Makes and mends everything. Safe to run beside other servers doing the same.
    pub async fn run(&self) -> Result<(), BootstrapError> {
        // Roles and the rest live in these.
        self.ensure_all(objects::namespaces()).await?;
        let today = self.clock.now().strftime("%Y-%m-%d").to_string();
        let mut wanted: Vec<Wanted> = Vec::new();
        wanted.extend(reconcile::rbac_policy());
        wanted.extend(objects::priority_classes());
        wanted.extend(objects::config_maps(&self.config, &today));
        wanted.extend(objects::service_cidr(&self.config.service_ranges));
        wanted.extend(flow_control::objects());
        wanted.extend(api_services::objects());
        self.ensure_all(wanted).await
    }

    /// Makes and mends the objects of flow control alone, which are looked after as long as the server runs.
    pub async fn maintain_flow_control(&self) -> Result<(), BootstrapError> {
        self.ensure_all(flow_control::objects()).await?;
        for resource in &flow_control::RESOURCES {
            let abandoned = self.reader.list(resource, "");
            for object in abandoned.iter().filter(|o| flow_control::is_abandoned(o)) {
                let name = meta::name(object);
                match self.writer.delete(resource, "", name).await {
                    Err(source) if !source.is_not_found() => {
                        return Err(BootstrapError {
                            resource: resource.clone(),
                            name: name.to_owned(),
                            source,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Publishes the authorities of `config`, which may have changed since the start.
    async fn maintain_config_maps(&self, config: &Config) -> Result<(), BootstrapError> {
        let today = self.clock.now().strftime("%Y-%m-%d").to_string();
        self.ensure_all(objects::config_maps(config, &today)).await
    }

    async fn ensure_all(
        &self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<(), BootstrapError> {
        let mut outcomes = stream::iter(wanted)
            .map(|wanted| async move {
                self.ensure(&wanted).await.map_err(|source| BootstrapError {
                    resource: wanted.resource,
                    name: meta::name(&wanted.object).to_owned(),
                    source,
                })
            })
            .buffer_unordered(CONCURRENCY);
        // One that fails keeps none of the others from being made.
        let mut first = Ok(());
        while let Some(outcome) = outcomes.next().await {
            first = first.and(outcome);
        }
        first
    }

    async fn ensure(&self, wanted: &Wanted) -> Result<(), Status> {
        let Wanted {
            resource,
            object,
            mend,
        } = wanted;
        let (namespace, name) = (meta::namespace(object), meta::name(object));
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.clock.sleep_until(self.clock.now() + RETRY_DELAY).await;
            }
            let existing = match self.reader.get(resource, namespace, name) {
                Some(existing) if attempt == 0 => Some(existing),
                _ if attempt == 0 => None,
                _ => self.reader.get_fresh(resource, namespace, name).await?,
            };
            let outcome = match existing {
                None => {
                    self.writer
                        .create(resource, namespace, object.clone())
                        .await
                }
                Some(existing) => match mend(&existing, object) {
                    None => return Ok(()),
                    Some(mended) => self.writer.update(resource, namespace, mended).await,
                },
            };
            match outcome {
                Ok(_) => return Ok(()),
                // Another server was faster: look at what it made.
                Err(status) if status.is_already_exists() || status.is_conflict() => {
                    last = Some(status)
                }
                Err(status) => return Err(status),
            }
        }
        Err(last.unwrap_or_else(|| Status::internal("no attempt was made")))
    }
}

/// The rule for what is only made, never mended.
fn keep(_existing: &Object, _wanted: &Object) -> Option<Object> {
    None
}
