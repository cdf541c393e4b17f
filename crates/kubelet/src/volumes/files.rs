//! What the four volume types made of files share: keys to paths, a tmpfs below, and the write.

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Pod, Secret};

use super::{
    MountedVolume, VolumeContext, VolumeError,
    atomic_writer::{File, Payload, write},
    empty_dir::mount_tmpfs,
};
use crate::pod::{namespace, spec};

/// Upstream's default of `defaultMode`.
pub(super) const DEFAULT_MODE: i32 = 0o644;

/// Content by key.
pub(super) type Data = Vec<(String, Vec<u8>)>;

/// The content of a config map.
pub(super) fn config_map_data(object: ConfigMap) -> Data {
    let text = object
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = object
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}

/// The content of a secret.
pub(super) fn secret_data(object: Secret) -> Data {
    object
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect()
}

/// The files of an object: all its keys, or those that `items` name.
pub(super) fn project(
    payload: &mut Payload,
    data: &Data,
    items: Option<&[KeyToPath]>,
    default_mode: i32,
    optional: bool,
) -> Result<(), VolumeError> {
    let file = |data: &[u8], mode: i32| File {
        data: data.to_vec(),
        mode: u32::try_from(mode).unwrap_or(0o644),
        owner: None,
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        payload.extend(
            data.iter()
                .map(|(key, data)| (key.clone(), file(data, default_mode))),
        );
        return Ok(());
    };
    for item in items {
        match data.iter().find(|(key, _)| *key == item.key) {
            Some((_, data)) => {
                payload.insert(
                    item.path.clone(),
                    file(data, item.mode.unwrap_or(default_mode)),
                );
            }
            None if optional => {}
            None => {
                return Err(VolumeError::Invalid(format!(
                    "references non-existent config key: {}",
                    item.key
                )));
            }
        }
    }
    Ok(())
}

/// The data of a config map that a volume names; none if it is optional and not there.
pub(super) async fn config_map(
    context: &VolumeContext<'_>,
    name: &str,
    optional: bool,
) -> Result<Option<Data>, VolumeError> {
    match context
        .objects
        .config_map(namespace(context.pod), name)
        .await?
    {
        Some(object) => Ok(Some(config_map_data(object))),
        None if optional => Ok(None),
        None => Err(crate::env::EnvError::NotFound {
            kind: "configmap",
            name: name.to_owned(),
        }
        .into()),
    }
}

/// Likewise of a secret.
pub(super) async fn secret(
    context: &VolumeContext<'_>,
    name: &str,
    optional: bool,
) -> Result<Option<Data>, VolumeError> {
    match context.objects.secret(namespace(context.pod), name).await? {
        Some(object) => Ok(Some(secret_data(object))),
        None if optional => Ok(None),
        None => Err(crate::env::EnvError::NotFound {
            kind: "secret",
            name: name.to_owned(),
        }
        .into()),
    }
}

/// The group that files of the pod belong to.
pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    spec(pod)
        .security_context
        .as_ref()?
        .fs_group
        .and_then(|group| u32::try_from(group).ok())
}

/// Writes the files; what is secret lies in memory alone.
pub(super) fn write_payload(
    context: &VolumeContext<'_>,
    directory: &Path,
    payload: &Payload,
    in_memory: bool,
) -> Result<MountedVolume, VolumeError> {
    fs::create_dir_all(directory).map_err(VolumeError::io(format!(
        "cannot make {}",
        directory.display()
    )))?;
    if in_memory {
        mount_tmpfs(directory, None)?;
    }
    let group = fs_group(context.pod);
    let payload: Payload = payload
        .iter()
        .map(|(path, file)| {
            // The group must be able to read what is given to it.
            let mode = if group.is_some() {
                file.mode | 0o440
            } else {
                file.mode
            };
            (
                path.clone(),
                File {
                    mode,
                    ..file.clone()
                },
            )
        })
        .collect();
    write(directory, &payload, group, context.now).map_err(VolumeError::io(format!(
        "cannot write to {}",
        directory.display()
    )))?;
    Ok(MountedVolume::at(directory.to_path_buf(), false))
}
