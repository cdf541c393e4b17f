//! The shell: waits for Services and EndpointSlices to change, renders, applies the difference.
//!
//! Changes that come together are written together: after the first one the proxy looks at everything that has arrived by the time it
//! gets to run. A failed write is tried again with the whole table, with back-off.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use base::{Clock, metrics::Registry};
use client::{Backoff, Event, InformerFactory, Store};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use linux::{
    conntrack::{Conntrack, ConntrackError},
    nftables::{Changes, Family, Nftables, NftablesError, Table},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    conntrack::{changed_udp_ports, forget_stale_flows},
    health::ProxyHealth,
    metrics::{Change, Metrics},
    render::{NodeFacts, TABLE, render},
    service_map::{ForwardedPort, forwarded_ports},
};

/// Even when nothing is heard, the rules are computed anew after this long.
const RESYNC: Duration = Duration::from_secs(15 * 60);

/// What the proxy is told, under upstream's names.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name, for `internalTrafficPolicy: Local` and its like.
    pub node_name: String,
    /// CIDRs of the cluster's pods, with their prefix lengths (`clusterCIDR`).
    pub cluster_cidrs: Vec<(IpAddr, u8)>,
    /// CIDRs of the node's addresses that have node ports; all of them if none is given (`nodePortAddresses`).
    pub node_port_addresses: Vec<(IpAddr, u8)>,
}

/// What the proxy stands on.
pub struct Dependencies {
    /// Its eyes.
    pub informers: InformerFactory,
    /// Time.
    pub clock: Clock,
    /// Where it counts.
    pub metrics: Registry,
    /// Told how it goes.
    pub health: ProxyHealth,
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No way to nftables.
    #[error(transparent)]
    Nftables(#[from] NftablesError),
    /// No way to the connection table.
    #[error(transparent)]
    Conntrack(#[from] ConntrackError),
}

/// Forwards until `cancel`led, in the caller's network namespace. The rules stay.
pub async fn run(
    config: Config,
    deps: Dependencies,
    cancel: CancellationToken,
) -> Result<(), ProxyError> {
    let services = deps.informers.informer::<Service>();
    let slices = deps.informers.informer::<EndpointSlice>();
    let (mut service_events, mut slice_events) = (services.subscribe(), slices.subscribe());
    let mut families = [
        FamilyState::new(Family::Ip)?,
        FamilyState::new(Family::Ip6)?,
    ];
    let facts = NodeFacts {
        cluster_cidrs: config.cluster_cidrs,
        node_port_addresses: config.node_port_addresses,
    };
    let mut metrics = Metrics::new(&deps.metrics, deps.clock.now());
    let mut backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(30));

    // Rules made of half the truth would cut connections off that the rules of before the restart still serve.
    let synced = async { tokio::join!(services.has_synced(), slices.has_synced()) };
    if cancel.run_until_cancelled(synced).await.is_none() {
        return Ok(());
    }
    loop {
        let wait = match sync(
            &mut families,
            (&metrics, &deps),
            &config.node_name,
            &facts,
            services.store(),
            slices.store(),
        )
        .await
        {
            Ok(()) => {
                metrics.all_synced();
                backoff.reset();
                RESYNC
            }
            Err(error) => {
                let wait = backoff.next_delay();
                warn!(%error, ?wait, "writing the rules failed");
                wait
            }
        };
        let now = deps.clock.now();
        let deadline = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let open = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            event = service_events.next() => event.inspect(|_| {
                deps.health.queued();
                metrics.changed(Change::Service, None, deps.clock.now());
            }).is_some(),
            event = slice_events.next() => event.inspect(|event| {
                deps.health.queued();
                let slice = event.object().filter(|_| !matches!(event, Event::Deleted(_)));
                metrics.changed(Change::Endpoints, slice.map(Arc::as_ref), deps.clock.now());
            }).is_some(),
            () = deps.clock.sleep_until(deadline) => true,
        };
        if !open {
            return Ok(());
        }
    }
}

/// Removes all rules of the proxy.
pub async fn remove_rules() -> Result<(), ProxyError> {
    let nftables = Nftables::open()?;
    for family in [Family::Ip, Family::Ip6] {
        nftables.remove(family, TABLE).await?;
    }
    Ok(())
}

/// What is in the kernel for one address family.
struct FamilyState {
    family: Family,
    nftables: Nftables,
    conntrack: Conntrack,
    /// `None` until it has been written, and after a write that failed.
    table: Option<Table>,
    ports: Vec<ForwardedPort>,
}

impl FamilyState {
    fn new(family: Family) -> Result<Self, ProxyError> {
        Ok(Self {
            family,
            nftables: Nftables::open()?,
            conntrack: Conntrack::open()?,
            table: None,
            ports: Vec::new(),
        })
    }

    async fn write(
        &mut self,
        ports: Vec<ForwardedPort>,
        facts: &NodeFacts,
    ) -> Result<(), ProxyError> {
        let wanted = render(self.family, &ports, facts);
        let changes = Changes::between(self.table.as_ref(), &wanted);
        if let Err(error) = self.nftables.apply(&wanted, &changes).await {
            self.table = None;
            return Err(error.into());
        }
        self.table = Some(wanted);
        let stale = changed_udp_ports(&self.ports, &ports);
        debug!(family = ?self.family, ports = ports.len(), "rules written");
        self.ports = ports;
        forget_stale_flows(&self.conntrack, self.family == Family::Ip, &stale).await?;
        Ok(())
    }
}

async fn sync(
    families: &mut [FamilyState; 2],
    (metrics, deps): (&Metrics, &Dependencies),
    node: &str,
    facts: &NodeFacts,
    services: &Store<Service>,
    slices: &Store<EndpointSlice>,
) -> Result<(), ProxyError> {
    let (services, slices) = (services.list(), slices.list());
    for (index, state) in families.iter_mut().enumerate() {
        let started = Instant::now();
        let ipv4 = state.family == Family::Ip;
        let ports = forwarded_ports(
            services.iter().map(Arc::as_ref),
            slices.iter().map(Arc::as_ref),
            node,
            ipv4,
        );
        if state.table.is_none() || ports != state.ports {
            let written = state.write(ports, facts).await;
            metrics.synced(index, started.elapsed(), written.is_ok(), deps.clock.now());
            written?;
        } else {
            metrics.synced(index, started.elapsed(), true, deps.clock.now());
        }
        deps.health.updated(index);
    }
    Ok(())
}
