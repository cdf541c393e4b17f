//! `configMap`.

use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{
    MountedVolume, VolumeContext, VolumeError, VolumePlugin,
    atomic_writer::Payload,
    files::{DEFAULT_MODE, config_map, project, write_payload},
};

pub(super) struct ConfigMapVolume;

#[async_trait]
impl VolumePlugin for ConfigMapVolume {
    fn name(&self) -> &'static str {
        "configmap"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.config_map.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        let data = config_map(context, &source.name, optional)
            .await?
            .unwrap_or_default();
        let mut payload = Payload::new();
        project(
            &mut payload,
            &data,
            source.items.as_deref(),
            source.default_mode.unwrap_or(DEFAULT_MODE),
            optional,
        )?;
        write_payload(context, directory, &payload, false)
    }
}
