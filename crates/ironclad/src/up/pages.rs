//! What the components of a cluster say of themselves, at upstream's ports on loopback, as in kubeadm's clusters: health, metrics,
//! configuration. Whoever may look is known to the API server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use base::{
    metrics::Registry,
    tls::{ServingCertificate, TlsVersion},
};
use client::{Client, ClientMetrics, InformerFactory};
use component_base::{Authentication, Authorization, Guard, Listener, PathPatterns, Server};

use proxy::ProxyHealth;
use serde_json::json;

use super::cluster::Cluster;
use crate::components::{kube_proxy, serving_certificate};

/// How long the API server's answers are remembered, as upstream's components do.
const REMEMBERED: Duration = Duration::from_secs(10);
/// What everybody may see.
const ALWAYS_ALLOWED: [&str; 3] = ["/healthz", "/livez", "/readyz"];

impl Cluster {
    /// The same client, whose requests are counted.
    pub(super) fn metered(&self, client: Client, metrics: &Registry) -> Client {
        let host = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.server_address().port());
        client.with_metrics(ClientMetrics::new(metrics, &host.to_string()))
    }

    /// Serves kube-proxy's health and metrics, in plain HTTP.
    pub(super) fn serve_proxy_pages(
        &self,
        informers: &InformerFactory,
        metrics: &Registry,
        health: &ProxyHealth,
    ) {
        let pages = kube_proxy::Pages {
            metrics: metrics.clone(),
            health: health.clone(),
            configuration: json!({ "kind": "KubeProxyConfiguration", "mode": "nftables" }),
            clock: self.clock().clone(),
        };
        for (port, server) in [
            (
                kube_proxy::HEALTHZ_PORT,
                pages.healthz(informers, self.node_name()),
            ),
            (kube_proxy::METRICS_PORT, pages.metrics()),
        ] {
            let tasks = self.tasks().clone();
            self.tasks().spawn("pages", async move {
                let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
                match Listener::plain(address).await {
                    Ok(listener) => server.serve(listener, &tasks).await,
                    Err(error) => tracing::warn!(%error, "a component's pages are not served"),
                }
            });
        }
    }

    /// Serves a component's pages over TLS to those whom `client` may ask the API server about. A port that is taken is no reason not to start.
    pub(super) fn serve_pages(&self, port: u16, client: Client, server: Server) {
        let (tasks, clock) = (self.tasks().clone(), self.clock().clone());
        let authorities = self.authorities().to_owned();
        self.tasks().spawn("pages", async move {
            let listen = async {
                let certificate: Arc<ServingCertificate> = Arc::new(serving_certificate::own(
                    None,
                    "",
                    vec!["localhost".to_owned()],
                    vec![Ipv4Addr::LOCALHOST.into()],
                    &clock,
                )?);
                let authentication =
                    Authentication::new(Some(client.clone()), true, REMEMBERED, clock.clone());
                authentication.trust(authorities.as_bytes())?;
                let guard = Guard {
                    authentication: Arc::new(authentication),
                    authorization: Some(Authorization::new(client, REMEMBERED, REMEMBERED, clock)),
                    always_allowed: PathPatterns::new(&ALWAYS_ALLOWED.map(str::to_owned))?,
                };
                let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
                let listener = Listener::tls(address, &certificate, TlsVersion::default()).await?;
                anyhow::Ok((listener, guard))
            };
            match listen.await {
                Ok((listener, guard)) => server.guarded_by(guard).serve(listener, &tasks).await,
                Err(error) => tracing::warn!(port, %error, "a component's pages are not served"),
            }
        });
    }
}
