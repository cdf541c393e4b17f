//! `downwardAPI`.

use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Volume};

use super::{
    MountedVolume, VolumeContext, VolumeError, VolumePlugin,
    atomic_writer::{File, Payload},
    files::{DEFAULT_MODE, write_payload},
};
use crate::env::{field_value, resource_field_value};

pub(super) struct DownwardApi;

/// The files of a list of items; shared with `projected`.
pub(super) fn items(
    context: &VolumeContext<'_>,
    payload: &mut Payload,
    items: &[DownwardAPIVolumeFile],
    default_mode: i32,
) -> Result<(), VolumeError> {
    for item in items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(context.pod, context.fields, &field.field_path)?,
            (None, Some(resource)) => {
                resource_field_value(context.pod, None, context.fields, resource)?
            }
            (None, None) => String::new(),
        };
        let mode = u32::try_from(item.mode.unwrap_or(default_mode)).unwrap_or(0o644);
        payload.insert(
            item.path.clone(),
            File {
                data: value.into_bytes(),
                mode,
                owner: None,
            },
        );
    }
    Ok(())
}

#[async_trait]
impl VolumePlugin for DownwardApi {
    fn name(&self) -> &'static str {
        "downward-api"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.downward_api.clone().unwrap_or_default();
        let mut payload = Payload::new();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        items(
            context,
            &mut payload,
            source.items.as_deref().unwrap_or_default(),
            mode,
        )?;
        write_payload(context, directory, &payload, true)
    }
}
