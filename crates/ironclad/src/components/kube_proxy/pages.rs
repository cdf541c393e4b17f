//! What kube-proxy serves of itself, in plain HTTP: health on one port, metrics on another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use base::{Clock, TaskGroup, metrics::Registry};
use client::{Informer, InformerFactory, InformerScope, Object as _};
use component_base::{Checks, Listener, Page, Server, full, ok};
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::Node;
use proxy::ProxyHealth;
use serde_json::Value;

use super::{
    NAME,
    file::{Configuration, Endpoint, NOWHERE},
};
use crate::components::serving;

/// A node with this taint is about to be removed by the cluster's autoscaler.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What the pages show.
pub(crate) struct Pages {
    /// Where the proxy counts.
    pub(crate) metrics: Registry,
    /// How it is.
    pub(crate) health: ProxyHealth,
    /// What it was told.
    pub(crate) configuration: Value,
    /// Time.
    pub(crate) clock: Clock,
}

impl Pages {
    /// `/healthz`, which load balancers ask whether the node takes connections, and `/livez`, which asks of the proxy alone.
    pub(crate) fn healthz(&self, informers: &InformerFactory, node_name: &str) -> Server {
        let nodes = informers.scoped::<Node>(InformerScope {
            field_selector: Some(format!("metadata.name={node_name}")),
            ..InformerScope::default()
        });
        let total = |name, help| self.metrics.counter(name, help, &["code"]);
        let healthz = total(
            "kubeproxy_proxy_healthz_total",
            "Cumulative proxy healthz HTTP status",
        );
        let livez = total(
            "kubeproxy_proxy_livez_total",
            "Cumulative proxy livez HTTP status",
        );
        let (health, name) = (self.health.clone(), node_name.to_owned());
        let asked: Page = Box::new(move || {
            let report = health.report(Some(is_eligible(&nodes, &name)));
            healthz.increment(&[code(report.0).as_str()]);
            answer(report)
        });
        let health = self.health.clone();
        let alive: Page = Box::new(move || {
            let report = health.report(None);
            livez.increment(&[code(report.0).as_str()]);
            answer(report)
        });
        serving::server(NAME, &self.metrics, &self.clock)
            .with_only_pages()
            .with_page("/healthz", asked)
            .with_page("/livez", alive)
    }

    /// `/metrics`, `/proxyMode` and what all components have.
    pub(crate) fn metrics(&self) -> Server {
        serving::server(NAME, &self.metrics, &self.clock)
            .with_checks("healthz", Checks::new(Vec::new()))
            .with_configuration("kubeproxy.config.k8s.io", self.configuration.clone())
            .with_page(
                "/proxyMode",
                Box::new(|| component_base::text(StatusCode::OK, "nftables")),
            )
    }
}

fn is_eligible(nodes: &Informer<Node>, name: &str) -> bool {
    nodes.store().get("", name).is_some_and(|node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let mut taints = taints.into_iter().flatten();
        !node.is_being_deleted() && !taints.any(|taint| taint.key == TO_BE_DELETED)
    })
}

fn code(well: bool) -> StatusCode {
    match well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn answer((well, document): (bool, Value)) -> Response<component_base::Body> {
    let mut response = ok("application/json", full(document.to_string()));
    *response.status_mut() = code(well);
    response
}

/// Where an endpoint is to be served: nowhere if nothing is said but that.
pub(super) fn bind_address(
    configuration: &Configuration,
    endpoint: Endpoint,
) -> anyhow::Result<Option<SocketAddr>> {
    let told = (endpoint.address)(configuration);
    if told == NOWHERE {
        return Ok(None);
    }
    if told.is_empty() {
        let six = configuration.bind_address.contains(':');
        let ip: IpAddr = match (endpoint.on_loopback, six) {
            (true, false) => Ipv4Addr::LOCALHOST.into(),
            (true, true) => Ipv6Addr::LOCALHOST.into(),
            (false, false) => Ipv4Addr::UNSPECIFIED.into(),
            (false, true) => Ipv6Addr::UNSPECIFIED.into(),
        };
        return Ok(Some(SocketAddr::new(ip, endpoint.port)));
    }
    if let Ok(ip) = told.parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(ip, endpoint.port)));
    }
    let whole = match told.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => told.to_owned(),
    };
    let address = whole
        .parse()
        .with_context(|| format!("{told:?} is not an address and a port"))?;
    Ok(Some(address))
}

/// Serves; an address that cannot be is an error only if it is to be one.
pub(super) async fn serve(
    server: Server,
    address: SocketAddr,
    hard_fail: bool,
    tasks: &TaskGroup,
) -> anyhow::Result<()> {
    let listener = match Listener::plain(address).await {
        Ok(listener) => listener,
        Err(error) if hard_fail => return Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "not served");
            return Ok(());
        }
    };
    let connections = tasks.clone();
    tasks.spawn("pages", async move {
        server.serve(listener, &connections).await;
    });
    Ok(())
}
