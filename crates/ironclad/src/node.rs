//! What a node stands on, in whichever process it runs: the pod network, and the container runtime upon it.

use std::{ffi::OsString, sync::Arc};

use anyhow::Context as _;
use base::{Clock, TaskGroup};
use network::{Bridge, BridgeConfig, Cidr, PodNetwork};
use runtime::Runtime;

use crate::up::place::{BRIDGE, Place};

/// Opens both at a place.
pub(crate) async fn open(
    place: &Place,
    cluster_cidrs: Vec<Cidr>,
    clock: &Clock,
    tasks: &TaskGroup,
) -> anyhow::Result<(Arc<Bridge>, Runtime)> {
    let network = Bridge::open(BridgeConfig {
        bridge: BRIDGE.to_owned(),
        directory: place.file("network"),
        mtu: None,
        cluster_cidrs,
    });
    let network = Arc::new(network.await.context("setting up the pod network")?);
    let config = runtime::Config {
        root: place.file("runtime"),
        state: place.state_dir(),
        cgroup_root: place.cgroup_root(),
        shim_command: shim_command()?,
        network: Arc::clone(&network) as Arc<dyn PodNetwork>,
        clock: clock.clone(),
    };
    let runtime = Runtime::new(config, tasks.clone())
        .await
        .context("opening the container runtime")?;
    Ok((network, runtime))
}

/// This very program, as a shim. The link is resolved now: a binary that is replaced while it runs still finds itself.
fn shim_command() -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    Ok(vec![program.into_os_string(), "shim".into()])
}
