//! `secret`.

use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{
    MountedVolume, VolumeContext, VolumeError, VolumePlugin,
    atomic_writer::Payload,
    files::{DEFAULT_MODE, project, secret, write_payload},
};

pub(super) struct SecretVolume;

#[async_trait]
impl VolumePlugin for SecretVolume {
    fn name(&self) -> &'static str {
        "secret"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.secret.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        let name = source.secret_name.unwrap_or_default();
        let data = secret(context, &name, optional).await?.unwrap_or_default();
        let mut payload = Payload::new();
        project(
            &mut payload,
            &data,
            source.items.as_deref(),
            source.default_mode.unwrap_or(DEFAULT_MODE),
            optional,
        )?;
        write_payload(context, directory, &payload, true)
    }
}
