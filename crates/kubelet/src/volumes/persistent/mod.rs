//! PersistentVolumes: what a pod's claims are bound to, made on this node. One file a type, one row in [`PLUGINS`].
//!
//! [`claim`] says which volume it is and whether the pod may have it; the checks that follow are upstream's, in its order and words: the
//! type is known, the volume may be on this node, its mount options mean something, and one that only one pod may have is not another's.

mod claim;
mod host_path;
mod local;
mod mount_options;

use async_trait::async_trait;
use client::matches_any_node_term;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeSpec, Pod};

use super::{Failure, MountedVolume, Step, VolumeContext, VolumeError};
use crate::pod::uid;

pub use claim::{ClaimManager, ClaimedDisk};
pub(super) use claim::{ClaimedVolume, claim_name};

/// One type of PersistentVolume.
#[async_trait]
trait PersistentVolumePlugin: Send + Sync {
    /// Whether a volume is of this type.
    fn handles(&self, spec: &PersistentVolumeSpec) -> bool;

    /// Whether its `mountOptions` mean anything.
    fn takes_mount_options(&self) -> bool;

    /// Makes it a directory that containers can mount. Idempotent.
    async fn mount(
        &self,
        context: &VolumeContext<'_>,
        claimed: &ClaimedVolume,
    ) -> Result<MountedVolume, Failure>;

    /// Makes it a block device that containers can have.
    fn map(&self, claimed: &ClaimedVolume) -> Result<MountedVolume, Failure>;
}

/// All types that this node knows.
static PLUGINS: [&dyn PersistentVolumePlugin; 2] = [&host_path::HostPath, &local::Local];

/// Makes the volume that one of the pod's volumes claims.
pub(super) async fn set_up(
    context: &VolumeContext<'_>,
    volume: &str,
    claimed: &ClaimedVolume,
) -> Result<MountedVolume, Failure> {
    let spec = claimed.spec();
    let name = claimed.name();
    let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.handles(spec)) else {
        return Err(Failure::Unprocessed(format!(
            "failed to get Plugin from volumeSpec for volume {name:?} err=no volume plugin matched"
        )));
    };
    let failed = |step, why: &str| Failure::of(step, name, VolumeError::Invalid(why.to_owned()));
    if !may_be_on(&claimed.volume, context.node) {
        return Err(failed(Step::NodeAffinity, "no matching NodeSelectorTerms"));
    }
    let block = claimed.is_block();
    let options = spec.mount_options.as_deref().unwrap_or_default();
    if !block && !options.is_empty() && !plugin.takes_mount_options() {
        return Err(failed(
            Step::MountOptions,
            "mount options are not supported for this volume type",
        ));
    }
    if !context.claims.take(uid(context.pod), volume, claimed) {
        let why =
            "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
        return Err(failed(Step::SetUp, why));
    }
    if block {
        return plugin.map(claimed);
    }
    plugin.mount(context, claimed).await
}

/// Whether a volume's node affinity lets it be on a node. One without any may be anywhere.
fn may_be_on(volume: &PersistentVolume, node: Option<&Node>) -> bool {
    let required = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let Some(required) = required else {
        return true;
    };
    let Some(node) = node else {
        return false;
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    matches_any_node_term(&required.node_selector_terms, name, |key| {
        let labels = node.metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    })
}

/// Whether a container of the pod uses one of its volumes as a directory, and whether one uses it as a device.
fn uses(pod: &Pod, volume: &str) -> (bool, bool) {
    let spec = crate::pod::spec(pod);
    let mut used = (false, false);
    let containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    for container in containers {
        let mounts = container.volume_mounts.iter().flatten();
        used.0 |= mounts.into_iter().any(|mount| mount.name == volume);
        let devices = container.volume_devices.iter().flatten();
        used.1 |= devices.into_iter().any(|device| device.name == volume);
    }
    used
}
