//! Objects that a new cluster holds besides what its API server makes for itself.

use std::{net::IpAddr, time::Duration};

use client::Client;

use super::manifest;

const MANIFEST: &str = include_str!("addons.yaml");
/// Between two tries: the namespace may not be there yet.
const RETRY: Duration = Duration::from_millis(200);
const TRIES: usize = 50;

/// Applies them: cluster DNS at `cluster_dns` leads to `address` on `node`.
pub(crate) async fn apply(
    client: &Client,
    node: &str,
    address: IpAddr,
    cluster_dns: IpAddr,
) -> anyhow::Result<()> {
    let manifest = MANIFEST
        .replace("NODE", node)
        .replace("FAMILY", if address.is_ipv4() { "IPv4" } else { "IPv6" })
        .replace("ADDRESS", &address.to_string())
        .replace("CLUSTER_DNS", &cluster_dns.to_string());
    let mut tries = 0;
    loop {
        match manifest::apply(client, &manifest).await {
            Ok(_) => return Ok(()),
            Err(error) if tries >= TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(RETRY).await;
    }
}
