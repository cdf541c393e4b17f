//! What the server asks of the kubelet.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use base::metrics::Registry;
use cri::{CriError, ImageService, RuntimeService, Streaming};
use k8s_openapi::api::core::v1::Pod;

use crate::{
    config::KubeletConfig, kubelet::Kubelet, observed::ObservedContainer, volumes::ClaimedDisk,
};

/// The kubelet behind its server.
#[async_trait]
pub trait Host: Send + Sync {
    /// Its configuration.
    fn config(&self) -> &KubeletConfig;

    /// Where the machine's logs are, for `/logs/`.
    fn system_logs(&self) -> PathBuf {
        PathBuf::from("/var/log")
    }

    /// All pods with their newest statuses.
    fn pods(&self) -> Vec<Pod>;

    /// One of them.
    fn pod(&self, namespace: &str, name: &str) -> Option<Pod>;

    /// The newest run of a container, or the one before it, with the path of its log.
    async fn container(
        &self,
        pod: &Pod,
        name: &str,
        previous: bool,
    ) -> Result<Option<ObservedContainer>, CriError>;

    /// The id of a pod's ready sandbox.
    async fn sandbox_id(&self, pod: &Pod) -> Result<Option<String>, CriError>;

    /// The runtime.
    fn runtime(&self) -> &Arc<dyn RuntimeService>;

    /// Its images.
    fn images(&self) -> &Arc<dyn ImageService>;

    /// Its streams.
    fn streaming(&self) -> &Arc<dyn Streaming>;

    /// Its metrics, to which the server adds its own.
    fn metrics(&self) -> Registry {
        Registry::new()
    }

    /// The metrics of its probes.
    fn probe_metrics(&self) -> Registry {
        Registry::new()
    }

    /// The disks that pods of this node claim.
    fn claimed_disks(&self) -> Vec<ClaimedDisk> {
        Vec::new()
    }

    /// Whether the kubelet does its work.
    async fn healthz(&self) -> Result<(), CriError>;
}

#[async_trait]
impl Host for Kubelet {
    fn config(&self) -> &KubeletConfig {
        self.config()
    }

    fn pods(&self) -> Vec<Pod> {
        self.pods()
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        self.pod_by_name(namespace, name)
    }

    async fn container(
        &self,
        pod: &Pod,
        name: &str,
        previous: bool,
    ) -> Result<Option<ObservedContainer>, CriError> {
        self.container(pod, name, previous).await
    }

    async fn sandbox_id(&self, pod: &Pod) -> Result<Option<String>, CriError> {
        self.sandbox_id(pod).await
    }

    fn runtime(&self) -> &Arc<dyn RuntimeService> {
        self.runtime()
    }

    fn images(&self) -> &Arc<dyn ImageService> {
        self.images()
    }

    fn streaming(&self) -> &Arc<dyn Streaming> {
        self.streaming()
    }

    fn metrics(&self) -> Registry {
        self.metrics().clone()
    }

    fn probe_metrics(&self) -> Registry {
        self.probe_metrics().clone()
    }

    fn claimed_disks(&self) -> Vec<ClaimedDisk> {
        self.claimed_disks()
    }

    async fn healthz(&self) -> Result<(), CriError> {
        self.healthz().await
    }
}
