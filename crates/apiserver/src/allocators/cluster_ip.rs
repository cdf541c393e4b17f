//! Cluster addresses: an address belongs to who creates its `IPAddress` object.

use std::{net::IpAddr, sync::Arc};

use apimachinery::{Object, gvk::GroupResource, status::Status};
use serde_json::{Value, json};

use super::cidr::Cidr;
use crate::reader::{ObjectReader, ObjectWriter};

/// The objects that stand for addresses.
pub(super) const IP_ADDRESSES: GroupResource =
    GroupResource::new("networking.k8s.io", "ipaddresses");
/// Marks those that are made here.
pub(super) const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "ipallocator.k8s.io";

/// Why an address was not handed out.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Somebody has it.
    #[error("provided IP is already allocated")]
    Allocated,
    /// It is not of this range.
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

/// Hands out the addresses of one range.
#[derive(Clone)]
pub struct ClusterIpAllocator {
    range: Cidr,
    reader: Arc<dyn ObjectReader>,
    writer: Arc<dyn ObjectWriter>,
}

impl ClusterIpAllocator {
    /// Of `range`.
    pub fn new(range: Cidr, reader: Arc<dyn ObjectReader>, writer: Arc<dyn ObjectWriter>) -> Self {
        Self {
            range,
            reader,
            writer,
        }
    }

    /// The range.
    pub fn range(&self) -> Cidr {
        self.range
    }

    /// Takes this address for a Service. A dry run looks at the range alone: who has the address may be another by the time it matters.
    pub async fn allocate(
        &self,
        address: IpAddr,
        namespace: &str,
        service: &str,
        dry_run: bool,
    ) -> Result<(), AddressError> {
        if !self.range.contains(&address) {
            return Err(AddressError::NotInRange {
                address,
                range: self.range,
            });
        }
        if dry_run {
            return Ok(());
        }
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

    /// Takes a free address: of the upper part from a random place on, and when that is full, of the lower.
    pub async fn allocate_next(
        &self,
        namespace: &str,
        service: &str,
        dry_run: bool,
    ) -> Result<IpAddr, AddressError> {
        let (size, lower) = (self.range.size(), self.range.static_part());
        for (start, length) in [(lower, size - lower), (0, lower)] {
            if length == 0 {
                continue;
            }
            let offset = random() % length;
            // Of a huge range not everything is tried: the objects there are fit into memory.
            for step in 0..length.min(MAX_TRIES) {
                let address = self.range.nth(start + (offset + step) % length);
                if self
                    .reader
                    .get(&IP_ADDRESSES, "", &address.to_string())
                    .is_some()
                {
                    continue;
                }
                match self.allocate(address, namespace, service, dry_run).await {
                    Ok(()) => return Ok(address),
                    Err(AddressError::Allocated) => {}
                    Err(error) => return Err(error),
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
