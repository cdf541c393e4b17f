//! `image`: the content of an image, read-only (KEP-4639). The runtime mounts it; the pod worker pulls it.

use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{MountedVolume, VolumeContext, VolumeError, VolumePlugin};

pub(super) struct ImageVolume;

#[async_trait]
impl VolumePlugin for ImageVolume {
    fn name(&self) -> &'static str {
        "image"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.image.is_some()
    }

    async fn set_up(
        &self,
        _context: &VolumeContext<'_>,
        volume: &Volume,
        _directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.image.clone().unwrap_or_default();
        match source.reference.filter(|reference| !reference.is_empty()) {
            Some(reference) => Ok(MountedVolume::Image { reference }),
            None => Err(VolumeError::Invalid(
                "image volume without a reference".to_owned(),
            )),
        }
    }
}
