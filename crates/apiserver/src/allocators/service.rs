//! The hook of Services: address families, cluster addresses, node ports and the health check's node port.
//!
//! What a write takes is held by a [`Taken`]; when the write fails or its request is dropped, it is given back, and when an update stands, what the old
//! object had and the new one has not. Giving back goes through a list that the next write works off first, so that a port just freed can be
//! had at once; [`ServiceAllocator::run`] works it off when no write comes.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    meta,
    status::Status,
};
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    cidr::Family,
    cluster_ip::{AddressError, ClusterIpAllocator},
    families,
    node_port::{NodePortAllocator, PortError},
};
use crate::{
    lookup,
    registry::hooks::{Hook, NoReservation, Reservation},
};

/// Beyond so many waiting releases, the rest is left to repair.
const MAX_PENDING: usize = 16 * 1024;

/// Allocates for Services.
pub struct ServiceAllocator {
    /// By family; the first is the default one.
    addresses: Vec<ClusterIpAllocator>,
    ports: NodePortAllocator,
    releases: Arc<Releases>,
}

/// What is to be given back.
#[derive(Default)]
struct Releases {
    pending: Mutex<Resources>,
    wake: Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resources {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty()
    }

    /// All that a stored Service has.
    fn of(service: &Object) -> Self {
        let mut ports: BTreeSet<u16> = lookup::objects(service, &["spec", "ports"])
            .filter_map(|port| lookup::number(port, &["nodePort"]))
            .chain(lookup::number(service, &["spec", "healthCheckNodePort"]))
            .filter_map(|port| u16::try_from(port).ok())
            .collect();
        ports.remove(&0);
        Self {
            addresses: cluster_ips(service),
            ports: ports.into_iter().collect(),
        }
    }

    /// What is in `self` and not in `other`.
    fn without(self, other: &Self) -> Self {
        Self {
            addresses: self
                .addresses
                .into_iter()
                .filter(|address| !other.addresses.contains(address))
                .collect(),
            ports: self
                .ports
                .into_iter()
                .filter(|port| !other.ports.contains(port))
                .collect(),
        }
    }
}

impl Releases {
    fn add(&self, resources: Resources) {
        if resources.is_empty() {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.addresses.len() + pending.ports.len() < MAX_PENDING {
            pending.addresses.extend(resources.addresses);
            pending.ports.extend(resources.ports);
        }
        drop(pending);
        self.wake.notify_one();
    }

    fn take(&self) -> Resources {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one write has taken.
struct Taken {
    resources: Resources,
    /// What the old object had, to be given back once the write stands.
    superseded: Resources,
    /// None in a dry run: that takes nothing which could be given back.
    releases: Option<Arc<Releases>>,
}

impl Reservation for Taken {
    fn commit(mut self: Box<Self>) {
        self.resources = std::mem::take(&mut self.superseded);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(releases) = &self.releases {
            releases.add(std::mem::take(&mut self.resources));
        }
    }
}

impl ServiceAllocator {
    /// With one allocator for each address family, the default one first.
    pub fn new(addresses: Vec<ClusterIpAllocator>, ports: NodePortAllocator) -> Self {
        Self {
            addresses,
            ports,
            releases: Arc::default(),
        }
    }

    /// The addresses.
    pub fn addresses(&self) -> &[ClusterIpAllocator] {
        &self.addresses
    }

    /// The ports.
    pub fn ports(&self) -> &NodePortAllocator {
        &self.ports
    }

    /// Gives back what writes have left, until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        while cancel
            .run_until_cancelled(self.releases.wake.notified())
            .await
            .is_some()
        {
            self.release_pending().await;
        }
        self.release_pending().await;
    }

    async fn release_pending(&self) {
        let Resources { addresses, ports } = self.releases.take();
        for address in addresses {
            if let Some(allocator) = self.of_address(&address) {
                allocator.release(address).await;
            }
        }
        self.ports.release(&ports).await;
    }

    fn families(&self) -> Vec<Family> {
        let ranges = self.addresses.iter().map(ClusterIpAllocator::range);
        ranges.map(|range| range.family()).collect()
    }

    /// Who hands out addresses of this one's family.
    pub(super) fn of_address(&self, address: &IpAddr) -> Option<&ClusterIpAllocator> {
        self.of_family(Family::of(address))
    }

    fn of_family(&self, family: Family) -> Option<&ClusterIpAllocator> {
        self.addresses
            .iter()
            .find(|allocator| allocator.range().family() == family)
    }

    async fn allocate(
        &self,
        service: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
    ) -> Result<Box<dyn Reservation>, Status> {
        self.release_pending().await;
        let had = old.map(Resources::of).unwrap_or_default();
        let mut taken = Taken {
            resources: Resources::default(),
            superseded: Resources::default(),
            releases: (!dry_run).then(|| Arc::clone(&self.releases)),
        };
        if !is_external_name(service) {
            families::init(service, old, &self.families())
                .map_err(|errors| invalid(service, errors))?;
            let from = first_to_allocate(service, old);
            if let Some(from) = from.filter(|_| !is_headless(service)) {
                self.cluster_addresses(service, from, &mut taken, dry_run)
                    .await?;
            }
        }
        let updating = old.is_some();
        self.node_ports(service, &had, &mut taken, updating, dry_run)
            .await?;
        self.health_check_port(service, &had, &mut taken, dry_run)
            .await?;
        if dry_run {
            return Ok(Box::new(NoReservation));
        }
        taken.superseded = had.without(&Resources::of(service));
        Ok(Box::new(taken))
    }

    /// Takes an address for each family from the given one on.
    async fn cluster_addresses(
        &self,
        service: &mut Object,
        from: usize,
        taken: &mut Taken,
        dry_run: bool,
    ) -> Result<(), Status> {
        let (namespace, name) = (
            meta::namespace(service).to_owned(),
            meta::name(service).to_owned(),
        );
        let given = lookup::strings(service, &["spec", "clusterIPs"]);
        let families = lookup::strings(service, &["spec", "ipFamilies"]);
        let mut texts: Vec<String> = given.iter().take(from).cloned().collect();
        for (index, family) in families.iter().enumerate().skip(from) {
            let Some(allocator) = Family::parse(family).and_then(|family| self.of_family(family))
            else {
                continue;
            };
            let wanted = given
                .get(index)
                .and_then(|ip| api::names::parse_ip_sloppy(ip));
            let outcome = match wanted {
                Some(address) => allocator
                    .allocate(address, &namespace, &name, dry_run)
                    .await
                    .map(|()| address),
                None => allocator.allocate_next(&namespace, &name, dry_run).await,
            };
            match outcome {
                Ok(address) => {
                    taken.resources.addresses.push(address);
                    texts.push(address.to_string());
                }
                Err(error) => return Err(address_refusal(service, wanted, &given, &error)),
            }
        }
        if let Some(first) = texts.first() {
            lookup::set(service, &["spec", "clusterIP"], first.as_str());
            lookup::set(service, &["spec", "clusterIPs"], texts);
        }
        Ok(())
    }

    /// Ports of the same number under two protocols share a node port, unless the client says otherwise.
    async fn node_ports(
        &self,
        service: &mut Object,
        had: &Resources,
        taken: &mut Taken,
        updating: bool,
        dry_run: bool,
    ) -> Result<(), Status> {
        if !needs_node_ports(service) {
            return Ok(());
        }
        let automatic = lookup::text(service, &["spec", "type"]) == "NodePort"
            || lookup::flag(service, &["spec", "allocateLoadBalancerNodePorts"]).unwrap_or(true);
        let mut ports: Vec<(i64, u16)> = Vec::new();
        let mut protocols = Vec::new();
        for (index, port) in lookup::objects(service, &["spec", "ports"]).enumerate() {
            let given = lookup::number(port, &["nodePort"]).unwrap_or_default();
            let Ok(node_port) = u16::try_from(given) else {
                // A dry run does not look at the range.
                if dry_run {
                    return Ok(());
                }
                let error = PortError::NotInRange(self.ports.range());
                return Err(port_refusal(service, index, given, &error));
            };
            let number = lookup::number(port, &["port"]).unwrap_or_default();
            ports.push((number, node_port));
            protocols.push(lookup::text(port, &["protocol"]).to_owned());
        }
        let mut by_port: Vec<(i64, u16)> = Vec::with_capacity(ports.len());
        let mut own: BTreeSet<u16> = BTreeSet::new();
        let mut allocated = Vec::with_capacity(ports.len());
        for (index, (port, given)) in ports.iter().copied().enumerate() {
            if given == 0 && !automatic {
                allocated.push(0);
                continue;
            }
            let shared = by_port
                .iter()
                .find(|(number, _)| *number == port)
                .map(|(_, node_port)| *node_port);
            // A later port of the same number may have been given one.
            let later = || {
                ports[index..]
                    .iter()
                    .find(|(number, given)| *number == port && *given != 0)
                    .map(|(_, given)| *given)
            };
            // Of an update, ports of one number share nothing that was not asked for.
            let wanted = if given != 0 {
                Some(given)
            } else if updating {
                None
            } else {
                shared.or_else(later)
            };
            let node_port = match wanted {
                Some(wanted)
                    if shared == Some(wanted)
                        || updating && own.contains(&wanted)
                        || had.ports.contains(&wanted) && !own.contains(&wanted) =>
                {
                    wanted
                }
                Some(wanted) => match self.ports.allocate(wanted, dry_run).await {
                    Ok(()) if dry_run && own.contains(&wanted) => {
                        return Err(port_refusal(
                            service,
                            index,
                            wanted.into(),
                            &PortError::Allocated,
                        ));
                    }
                    Ok(()) => {
                        taken.resources.ports.push(wanted);
                        wanted
                    }
                    Err(error) => return Err(port_refusal(service, index, wanted.into(), &error)),
                },
                None if dry_run => {
                    let port = NodePortAllocator::guess(taken.resources.ports.iter().copied());
                    taken.resources.ports.push(port);
                    port
                }
                None => match self.ports.allocate_next().await {
                    Ok(port) => {
                        taken.resources.ports.push(port);
                        port
                    }
                    Err(error) => {
                        return Err(Status::internal(format!(
                            "failed to allocate a nodePort: {error}"
                        )));
                    }
                },
            };
            own.insert(node_port);
            let once_more = allocated.iter().zip(&protocols);
            if updating
                && once_more
                    .into_iter()
                    .any(|(port, protocol)| *port == node_port && *protocol == protocols[index])
            {
                return Err(Status::unclassified(format!(
                    "duplicate nodePort: {{{} {node_port}}}",
                    protocols[index]
                )));
            }
            by_port.push((port, node_port));
            allocated.push(node_port);
        }
        let entries = lookup::list_mut(service, &["spec"], "ports")
            .iter_mut()
            .filter_map(Value::as_object_mut);
        for (entry, node_port) in entries
            .zip(allocated)
            .filter(|(_, node_port)| *node_port != 0)
        {
            lookup::set(entry, &["nodePort"], node_port);
        }
        Ok(())
    }

    /// Where a load balancer asks whether this node has endpoints.
    async fn health_check_port(
        &self,
        service: &mut Object,
        had: &Resources,
        taken: &mut Taken,
        dry_run: bool,
    ) -> Result<(), Status> {
        let needed = lookup::text(service, &["spec", "type"]) == "LoadBalancer"
            && lookup::text(service, &["spec", "externalTrafficPolicy"]) == "Local";
        if !needed {
            return Ok(());
        }
        let given = lookup::number(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
        let Ok(given) = u16::try_from(given) else {
            // Validation refuses it.
            return Ok(());
        };
        if given != 0 && had.ports.contains(&given) {
            return Ok(());
        }
        let outcome = if given != 0 {
            self.ports.allocate(given, dry_run).await.map(|()| given)
        } else if dry_run {
            let ports = taken.resources.ports.iter().copied();
            Ok(NodePortAllocator::guess(ports))
        } else {
            self.ports.allocate_next().await
        };
        let port = outcome.map_err(|error| {
            Status::internal(format!(
                "failed to allocate requested HealthCheck NodePort {given}: {error}"
            ))
        })?;
        taken.resources.ports.push(port);
        lookup::set(service, &["spec", "healthCheckNodePort"], port);
        Ok(())
    }
}

#[async_trait]
impl Hook for ServiceAllocator {
    async fn begin_create(
        &self,
        object: &mut Object,
        dry_run: bool,
    ) -> Result<Box<dyn Reservation>, Status> {
        self.allocate(object, None, dry_run).await
    }

    async fn begin_update(
        &self,
        new: &mut Object,
        old: &Object,
        dry_run: bool,
    ) -> Result<Box<dyn Reservation>, Status> {
        self.allocate(new, Some(old), dry_run).await
    }

    async fn after_delete(&self, object: &Object) {
        self.releases.add(Resources::of(object));
        self.release_pending().await;
    }
}

/// The addresses in a Service that are addresses: not `None`.
pub(super) fn cluster_ips(service: &Object) -> Vec<IpAddr> {
    let many = lookup::strings(service, &["spec", "clusterIPs"]);
    let all = if many.is_empty() {
        vec![lookup::text(service, &["spec", "clusterIP"]).to_owned()]
    } else {
        many
    };
    all.iter()
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// The node ports in a Service.
pub(super) fn node_ports(service: &Object) -> Vec<u16> {
    Resources::of(service).ports
}

/// From which of its families on a Service needs addresses: all of them when it has none, the second when that has come. What else changes in
/// its addresses is validation's to refuse.
fn first_to_allocate(service: &Object, old: Option<&Object>) -> Option<usize> {
    let Some(old) = old.filter(|old| !is_external_name(old)) else {
        return Some(0);
    };
    let families = |service| lookup::list(service, &["spec", "ipFamilies"]).len();
    (!is_headless(old) && families(old) == 1 && families(service) == 2).then_some(1)
}

fn is_headless(service: &Object) -> bool {
    lookup::text(service, &["spec", "clusterIP"]) == "None"
}

fn is_external_name(service: &Object) -> bool {
    lookup::text(service, &["spec", "type"]) == "ExternalName"
}

fn needs_node_ports(service: &Object) -> bool {
    matches!(
        lookup::text(service, &["spec", "type"]),
        "NodePort" | "LoadBalancer"
    )
}

fn invalid(service: &Object, errors: ErrorList) -> Status {
    Status::invalid("", "Service", meta::name(service), &errors)
}

fn address_refusal(
    service: &Object,
    wanted: Option<IpAddr>,
    given: &[String],
    error: &AddressError,
) -> Status {
    let path = Path::new("spec").child("clusterIPs");
    let shown: Vec<String> = if given.is_empty() {
        vec![String::new()]
    } else {
        given.to_vec()
    };
    match (wanted, error) {
        (Some(address), _) => {
            let detail = format!("failed to allocate IP {address}: {error}");
            invalid(service, vec![FieldError::invalid(&path, shown, detail)])
        }
        (None, AddressError::Full) => {
            Status::internal(format!("failed to allocate a serviceIP: {error}"))
        }
        (None, _) => invalid(
            service,
            vec![FieldError::invalid(
                &path,
                shown,
                format!("failed to allocate IP: {error}"),
            )],
        ),
    }
}

fn port_refusal(service: &Object, index: usize, port: i64, error: &PortError) -> Status {
    let path = Path::new("spec")
        .child("ports")
        .index(index)
        .child("nodePort");
    match error {
        PortError::Store(message) => Status::internal(format!(
            "failed to allocate requested nodePort {port}: {message}"
        )),
        _ => invalid(
            service,
            vec![FieldError::invalid(&path, port, error.to_string())],
        ),
    }
}
