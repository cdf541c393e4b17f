//! Cluster addresses: an address belongs to who creates its `IPAddress` object. Where there are addresses, ServiceCIDRs say (KEP-1880).

use std::{net::IpAddr, sync::Arc};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use serde_json::{Value, json};

use super::cidr::Cidr;
use crate::{
    lookup,
    reader::{ObjectReader, ObjectWriter},
};

/// The objects that stand for addresses.
pub(super) const IP_ADDRESSES: GroupResource =
    GroupResource::new("networking.k8s.io", "ipaddresses");
const SERVICE_CIDRS: GroupResource = GroupResource::new("networking.k8s.io", "servicecidrs");
/// Marks those that are made here.
pub(super) const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "ipallocator.k8s.io";

/// Why an address was not handed out.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Somebody has it.
    #[error("provided IP is already allocated")]
    Allocated,
    /// It is of no range that is ready.
    #[error("the provided network does not match the current range")]
    Mismatched,
    /// The same, as dry runs are told.
    #[error(
        "the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
    )]
    NotInRange {
        /// The address.
        address: IpAddr,
        /// The range.
        range: Cidr,
    },
    /// All are taken.
    #[error("range is full")]
    Full,
    /// The store refused.
    #[error("{0}")]
    Store(Status),
}

/// Hands out the addresses of one family.
#[derive(Clone)]
pub struct ClusterIpAllocator {
    range: Cidr,
    reader: Arc<dyn ObjectReader>,
    writer: Arc<dyn ObjectWriter>,
}

impl ClusterIpAllocator {
    /// Of the family of `range`, which the server was started with: it holds until there is a ServiceCIDR of the family.
    pub fn new(range: Cidr, reader: Arc<dyn ObjectReader>, writer: Arc<dyn ObjectWriter>) -> Self {
        Self {
            range,
            reader,
            writer,
        }
    }

    /// The range that the server was started with.
    pub fn range(&self) -> Cidr {
        self.range
    }

    /// Where addresses are handed out at present, the server's own range first: in the ServiceCIDRs that neither go nor are said to be not ready.
    pub fn ranges(&self) -> Vec<Cidr> {
        let objects = self.reader.list(&SERVICE_CIDRS, "");
        let of_family = |object: &Object| -> Vec<Cidr> {
            let texts = lookup::strings(object, &["spec", "cidrs"]);
            let ranges = texts.iter().filter_map(|text| text.parse().ok());
            ranges
                .filter(|range: &Cidr| range.family() == self.range.family())
                .collect()
        };
        if objects.iter().all(|object| of_family(object).is_empty()) {
            return vec![self.range];
        }
        let mut ranges: Vec<Cidr> = Vec::new();
        let ready = objects.iter().filter(|object| is_ready(object));
        for range in ready.flat_map(|object| of_family(object)) {
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        ranges.sort_by_key(|range| *range != self.range);
        ranges
    }

    /// Whether an address is handed out at present.
    pub fn serves(&self, address: &IpAddr) -> bool {
        self.ranges().iter().any(|range| range.contains(address))
    }

    /// Takes this address for a Service. A dry run looks at the ranges alone: who has the address may be another by the time it matters.
    pub async fn allocate(
        &self,
        address: IpAddr,
        namespace: &str,
        service: &str,
        dry_run: bool,
    ) -> Result<(), AddressError> {
        match (self.serves(&address), dry_run) {
            (true, true) => Ok(()),
            (true, false) => self.take(address, namespace, service).await,
            (false, true) => Err(AddressError::NotInRange {
                address,
                range: self.range,
            }),
            (false, false) => Err(AddressError::Mismatched),
        }
    }

    async fn take(
        &self,
        address: IpAddr,
        namespace: &str,
        service: &str,
    ) -> Result<(), AddressError> {
        match self
            .writer
            .create(&IP_ADDRESSES, "", object(&address, namespace, service))
            .await
        {
            Ok(_) => Ok(()),
            Err(status) if status.is_already_exists() => Err(AddressError::Allocated),
            Err(status) => Err(AddressError::Store(status)),
        }
    }

    /// Takes a free address of the first range that has one: of its upper part from a random place on, and when that is full, of the lower.
    pub async fn allocate_next(
        &self,
        namespace: &str,
        service: &str,
        dry_run: bool,
    ) -> Result<IpAddr, AddressError> {
        for range in self.ranges() {
            let (size, lower) = (range.size(), range.static_part());
            for (start, length) in [(lower, size - lower), (0, lower)] {
                if length == 0 {
                    continue;
                }
                let offset = random() % length;
                // Of a huge range not everything is tried: the objects there are fit into memory.
                for step in 0..length.min(MAX_TRIES) {
                    let address = range.nth(start + (offset + step) % length);
                    if self
                        .reader
                        .get(&IP_ADDRESSES, "", &address.to_string())
                        .is_some()
                    {
                        continue;
                    }
                    if dry_run {
                        return Ok(address);
                    }
                    match self.take(address, namespace, service).await {
                        Ok(()) => return Ok(address),
                        Err(AddressError::Allocated) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Err(AddressError::Full)
    }

    /// Gives an address back. One that is not taken is none's.
    pub async fn release(&self, address: IpAddr) {
        match self
            .writer
            .delete(&IP_ADDRESSES, "", &address.to_string())
            .await
        {
            Ok(()) => {}
            Err(status) if status.is_not_found() => {}
            // Repair finds it.
            Err(error) => {
                tracing::warn!(%address, %error, "a cluster address could not be given back")
            }
        }
    }
}

const MAX_TRIES: u128 = 1 << 20;

/// Nobody has to say that a ServiceCIDR is ready: addresses are had without controllers, too.
fn is_ready(service_cidr: &Object) -> bool {
    let said = lookup::objects(service_cidr, &["status", "conditions"])
        .find(|condition| lookup::text(condition, &["type"]) == "Ready");
    !meta::is_deleting(service_cidr)
        && said.is_none_or(|condition| lookup::text(condition, &["status"]) == "True")
}

fn random() -> u128 {
    uuid::Uuid::new_v4().as_u128() >> 64
}

pub(super) fn object(address: &IpAddr, namespace: &str, service: &str) -> Object {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {
            "name": address.to_string(),
            "labels": {"ipaddress.kubernetes.io/ip-family": family, MANAGED_BY: MANAGER},
        },
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": service}},
    });
    match object {
        Value::Object(object) => object,
        _ => unreachable!("written as an object above"),
    }
}
