//! Finds what crashes have left: addresses and ports that no Service has, and Services whose address or port is not marked as taken.
//!
//! Runs once at start, before the server writes, and every few minutes after. Servers may do it side by side: everything is a create, a delete or a
//! compare-and-swap of what was seen.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta};
use base::Clock;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    ServiceAllocator,
    cluster_ip::{IP_ADDRESSES, MANAGED_BY, MANAGER},
    service::{cluster_ips, node_ports},
};
use crate::{lookup, reader::ObjectReader};

const SERVICES: GroupResource = GroupResource::new("", "services");
const INTERVAL: Duration = Duration::from_secs(180);
/// An address may be younger than its Service; so long it is not called lost.
const GRACE: Duration = Duration::from_secs(60);

/// The repair loop.
pub struct Repair {
    /// What it repairs.
    pub allocator: Arc<ServiceAllocator>,
    /// Where Services and addresses are.
    pub reader: Arc<dyn ObjectReader>,
    /// For the interval and the grace.
    pub clock: Clock,
}

impl Repair {
    /// Repairs now and every few minutes, until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        loop {
            self.once().await;
            let next = self.clock.sleep_until(self.clock.now() + INTERVAL);
            if cancel.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Repairs now.
    pub async fn once(&self) {
        self.ports().await;
        self.addresses().await;
    }

    async fn ports(&self) {
        let allocator = self.allocator.ports();
        // The bitmap first: a port taken while the Services are listed changes its revision, and this repair is off.
        let stored = match allocator.load().await {
            Ok(stored) => stored,
            Err(error) => return tracing::warn!(%error, "node ports could not be repaired"),
        };
        let services = self.reader.list(&SERVICES, "");
        let ports = services.iter().flat_map(|service| node_ports(service));
        match allocator.replace(&stored, ports).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("node ports changed while they were repaired"),
            Err(error) => tracing::warn!(%error, "node ports could not be repaired"),
        }
    }

    async fn addresses(&self) {
        let services = self.reader.list(&SERVICES, "");
        let mut used: HashSet<IpAddr> = HashSet::new();
        for service in &services {
            let (namespace, name) = (meta::namespace(service), meta::name(service));
            for address in cluster_ips(service) {
                used.insert(address);
                if self
                    .reader
                    .get(&IP_ADDRESSES, "", &address.to_string())
                    .is_some()
                {
                    continue;
                }
                let allocators = self.allocator.addresses().iter();
                for allocator in allocators.filter(|allocator| allocator.serves(&address)) {
                    if let Err(error) = allocator.allocate(address, namespace, name, false).await {
                        tracing::warn!(%address, service = %format_args!("{namespace}/{name}"), %error, "a Service's address could not be marked as taken");
                    }
                }
            }
        }
        for object in self.reader.list(&IP_ADDRESSES, "") {
            let Some(address) = self.lost(&object, &used) else {
                continue;
            };
            if let Some(allocator) = self.allocator.of_address(&address) {
                tracing::info!(%address, "giving back an address that no Service has");
                allocator.release(address).await;
            }
        }
    }

    /// The address, if it is ours, not just taken, and nobody's.
    fn lost(&self, object: &Object, used: &HashSet<IpAddr>) -> Option<IpAddr> {
        let address: IpAddr = meta::name(object).parse().ok()?;
        let created: Timestamp = lookup::text(object, &["metadata", "creationTimestamp"])
            .parse()
            .ok()?;
        let ours = meta::label(object, MANAGED_BY) == Some(MANAGER);
        (ours && created + GRACE < self.clock.now() && !used.contains(&address)).then_some(address)
    }
}
