//! The ServiceCIDR controller: a range of service addresses stays until no address of it would be left without a range.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{ApiError, Informer, Object as _, ObjectKey, Patch};
use jiff::SignedDuration;
use k8s_openapi::{
    api::networking::v1::{IPAddress, ServiceCIDR},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::json;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
/// So long after its deletion allocators may still give out addresses of a range.
const GRACE: Duration = Duration::from_secs(10);

struct ServiceCidrs {
    ctx: ControllerContext,
    ranges: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(ServiceCidrs {
        ranges: ctx.informers.informer(),
        addresses: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("servicecidrs");
    queue_changes(&ctx, NAME, &controller.ranges, &queue);
    // Any change may set free a range that is to go; there are few of them.
    let (ranges, changed) = (controller.ranges.store().clone(), queue.clone());
    let look_again = move || {
        for range in ranges
            .list()
            .iter()
            .filter(|range| range.is_being_deleted())
        {
            changed.add(range.key());
        }
    };
    let again = look_again.clone();
    on_events(&ctx, NAME, &controller.addresses, move |_| look_again());
    on_events(&ctx, NAME, &controller.ranges, move |_| again());
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

/// A range of addresses: its first one and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        Some(Self {
            address: address.parse().ok()?,
            length: length.parse().ok()?,
        })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(u32::from(own)), u128::from(u32::from(other)), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (u128::from(own), u128::from(other), 128),
            _ => return false,
        };
        let host_bits = u32::saturating_sub(width, self.length.into());
        (own ^ other).checked_shr(host_bits).unwrap_or_default() == 0
    }
}

fn prefixes(range: &ServiceCIDR) -> impl Iterator<Item = Prefix> {
    let texts = range
        .spec
        .iter()
        .flat_map(|spec| spec.cidrs.iter().flatten());
    texts.filter_map(|text| Prefix::parse(text))
}

/// Whether a range can go: all of it is part of others, or none of its addresses is in use that no other range has.
fn can_go(range: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>]) -> bool {
    let others = || {
        let others = all.iter().filter(|other| other.name() != range.name());
        others.flat_map(|other| prefixes(other))
    };
    let within = |prefix: Prefix| {
        others().any(|other| other.length <= prefix.length && other.contains(prefix.address))
    };
    if prefixes(range).all(within) {
        return true;
    }
    let orphan = |address: &Arc<IPAddress>| {
        let Ok(ip) = address.name().parse::<IpAddr>() else {
            return false;
        };
        address.label(MANAGED_BY) == Some(ALLOCATOR)
            && prefixes(range).any(|prefix| prefix.contains(ip))
            && !others().any(|prefix| prefix.contains(ip))
    };
    !addresses.iter().any(orphan)
}

#[async_trait]
impl Reconciler for ServiceCidrs {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.ranges.has_synced().await;
        self.addresses.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(range) = self.ranges.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let finalizers = range.metadata.finalizers.as_deref().unwrap_or_default();
        let protected = finalizers.iter().any(|known| known == FINALIZER);
        let Some(deleted) = &range.metadata.deletion_timestamp else {
            if !protected {
                let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
                self.patch(&range, patch).await?;
            }
            self.set_ready(&range, "True", "", "Kubernetes Service CIDR is ready")
                .await?;
            return Ok(Next::OnEvent);
        };
        if !can_go(
            &range,
            &self.ranges.store().list(),
            &self.addresses.store().list(),
        ) {
            let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            self.set_ready(&range, "False", "Terminating", message)
                .await?;
            return Ok(Next::OnEvent);
        }
        let since = self.ctx.clock.now().duration_since(deleted.0);
        let left = SignedDuration::try_from(GRACE).unwrap_or_default() - since;
        if left.is_positive() {
            return Ok(Next::After(left.unsigned_abs()));
        }
        if protected {
            let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
            self.patch(&range, patch).await?;
        }
        Ok(Next::OnEvent)
    }
}

impl ServiceCidrs {
    async fn patch(&self, range: &ServiceCIDR, patch: serde_json::Value) -> Result<(), Error> {
        let api = self.ctx.client.api::<ServiceCIDR>("");
        let patched = api.patch(range.name(), &Patch::Strategic(patch)).await;
        Ok(ApiError::not_found_is_none(patched).map(drop)?)
    }

    async fn set_ready(
        &self,
        range: &ServiceCIDR,
        value: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let status = range.status.as_ref();
        let mut known = status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let same = known.any(|known| {
            known.type_ == "Ready"
                && known.status == value
                && known.reason == reason
                && known.message == message
        });
        if same {
            return Ok(());
        }
        let condition = json!({
            "type": "Ready", "status": value, "reason": reason, "message": message,
            "lastTransitionTime": Time(self.ctx.clock.now()),
        });
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let api = self.ctx.client.api::<ServiceCIDR>("");
        let patched = api.patch_status(range.name(), &patch).await;
        Ok(ApiError::not_found_is_none(patched).map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str, cidrs: &[&str]) -> Arc<ServiceCIDR> {
        let object = json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn address(ip: &str) -> Arc<IPAddress> {
        let object = json!({
            "metadata": {"name": ip, "labels": {MANAGED_BY: ALLOCATOR}},
            "spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "ns"}},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn when_a_range_can_go() {
        let small = range("small", &["10.1.0.0/24"]);
        let (large, other) = (
            range("large", &["10.0.0.0/8"]),
            range("other", &["10.2.0.0/16"]),
        );
        let used = [address("10.1.0.7"), address("fd00::1")];
        let alone = [small.clone(), other.clone()];
        assert!(
            !can_go(&small, &alone, &used),
            "an address would be left alone"
        );
        assert!(can_go(&small, &[small.clone(), large, other], &used));
        assert!(can_go(&small, &alone, &used[1..]));
        let dual = range("dual", &["10.1.0.0/24", "fd00::/112"]);
        assert!(
            !can_go(&dual, &[dual.clone(), small], &used),
            "the IPv6 address would be"
        );
    }
}
