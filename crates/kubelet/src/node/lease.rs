//! The node's lease in `kube-node-lease`: the cheap heartbeat.

use std::time::Duration;

use base::Clock;
use client::{ApiError, Client, Kind as _};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tracing::warn;

const NAMESPACE: &str = "kube-node-lease";
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease, four times in its duration, until dropped.
pub(super) async fn renew(client: Client, node_name: String, duration_seconds: i32, clock: Clock) {
    let period = Duration::from_secs(u64::try_from(duration_seconds).unwrap_or(40).max(4)) / 4;
    let mut held: Option<Lease> = None;
    loop {
        match once(&client, &node_name, duration_seconds, &clock, held.take()).await {
            Ok(lease) => {
                held = Some(lease);
                tokio::time::sleep(period).await;
            }
            Err(error) => {
                // It is read anew before the next try.
                warn!(%error, "cannot renew the node's lease");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn once(
    client: &Client,
    node_name: &str,
    duration_seconds: i32,
    clock: &Clock,
    held: Option<Lease>,
) -> Result<Lease, ApiError> {
    let api = client.api::<Lease>(NAMESPACE);
    let known = match held {
        Some(lease) => Some(lease),
        None => api.get_opt(node_name).await?,
    };
    let spec = LeaseSpec {
        holder_identity: Some(node_name.to_owned()),
        lease_duration_seconds: Some(duration_seconds),
        renew_time: Some(MicroTime(clock.now())),
        ..LeaseSpec::default()
    };
    match known {
        Some(mut lease) => {
            lease.spec = Some(LeaseSpec { ..spec });
            api.update(&lease).await
        }
        None => {
            let owner = client
                .api::<Node>("")
                .get_opt(node_name)
                .await?
                .map(|node| node.owner_reference());
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(node_name.to_owned()),
                    namespace: Some(NAMESPACE.to_owned()),
                    // The lease goes with its node.
                    owner_references: owner.map(|owner| vec![owner]),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            api.create(&lease).await
        }
    }
}
