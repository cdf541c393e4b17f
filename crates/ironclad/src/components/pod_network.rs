//! Joins the built-in pod network of this node with those of the others: their Node objects say where they are and which pods they have.

use std::{net::IpAddr, sync::Arc, time::Duration};

use base::Clock;
use client::{InformerFactory, Store};
use k8s_openapi::api::core::v1::Node;
use network::{Bridge, Peer};
use tracing::warn;

/// After a failure, and in case something else has changed the kernel's routes.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks when nothing happens.
const RESYNC: Duration = Duration::from_secs(300);

/// Follows the nodes, for the one at `own`, until its task ends.
pub(crate) async fn follow_nodes(
    network: Arc<Bridge>,
    informers: InformerFactory,
    own: IpAddr,
    clock: Clock,
) {
    let nodes = informers.informer::<Node>();
    let mut events = nodes.subscribe();
    nodes.has_synced().await;
    loop {
        let wait = match network.set_peers(own, &peers(nodes.store())).await {
            Ok(()) => RESYNC,
            Err(error) => {
                warn!(%error, "joining the pod networks of other nodes failed");
                RETRY
            }
        };
        let until = clock.now().checked_add(wait).unwrap_or_default();
        tokio::select! {
            event = events.next() => if event.is_none() { return },
            () = clock.sleep_until(until) => {}
        }
    }
}

/// All nodes that have addresses and pods, in the order of their names.
fn peers(nodes: &Store<Node>) -> Vec<Peer> {
    let mut nodes = nodes.list();
    nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let peer = |node: &Arc<Node>| {
        let addresses: Vec<IpAddr> = node
            .status
            .iter()
            .flat_map(|status| status.addresses.iter().flatten())
            .filter(|address| address.type_ == "InternalIP")
            .filter_map(|address| address.address.parse().ok())
            .collect();
        let spec = node.spec.as_ref()?;
        let pod_cidrs = match &spec.pod_cidrs {
            Some(cidrs) => cidrs.clone(),
            None => spec.pod_cidr.iter().cloned().collect(),
        };
        let pod_cidrs: Vec<_> = pod_cidrs
            .iter()
            .filter_map(|cidr| cidr.parse().ok())
            .collect();
        (!addresses.is_empty() && !pod_cidrs.is_empty()).then_some(Peer {
            addresses,
            pod_cidrs,
        })
    };
    nodes.iter().filter_map(peer).collect()
}
