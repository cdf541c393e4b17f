//! `hostPath` as a PersistentVolume: a path of whichever node the pod is on. For tests and single nodes; owners and modes of what is
//! there are left alone, as upstream leaves them.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeSpec;

use super::{
    super::{Failure, MountedVolume, Step, VolumeContext, VolumeError, host_path::check},
    ClaimedVolume, PersistentVolumePlugin,
};

pub(super) struct HostPath;

#[async_trait]
impl PersistentVolumePlugin for HostPath {
    fn handles(&self, spec: &PersistentVolumeSpec) -> bool {
        spec.host_path.is_some()
    }

    fn takes_mount_options(&self) -> bool {
        false
    }

    async fn mount(
        &self,
        _context: &VolumeContext<'_>,
        claimed: &ClaimedVolume,
    ) -> Result<MountedVolume, Failure> {
        let source = claimed.spec().host_path.clone().unwrap_or_default();
        let path =
            check(&source).map_err(|error| Failure::of(Step::SetUp, claimed.name(), error))?;
        Ok(MountedVolume::at(path, claimed.read_only))
    }

    fn map(&self, claimed: &ClaimedVolume) -> Result<MountedVolume, Failure> {
        let why = "hostPath volumes have no block mode".to_owned();
        Err(Failure::of(
            Step::FindMapper,
            claimed.name(),
            VolumeError::Invalid(why),
        ))
    }
}
