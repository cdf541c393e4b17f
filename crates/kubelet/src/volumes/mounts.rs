//! What a container sees of its pod's volumes.

use std::collections::{BTreeMap, HashMap};

use cri::v1::{ImageSpec, Mount, MountPropagation};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{MountedVolume, subpath};
use crate::{env::expand, paths::Paths, pod::uid};

/// What mounts are made from.
pub struct VolumeMounts<'a> {
    /// Directories.
    pub paths: &'a Paths,
    /// The pod's volumes, as they were set up.
    pub volumes: &'a HashMap<String, MountedVolume>,
    /// The container's environment, for `subPathExpr`.
    pub env: &'a BTreeMap<String, String>,
}

/// The mounts of a container, in the order of its spec. The error is a message for an event.
pub fn container_mounts(
    pod: &Pod,
    container: &Container,
    from: &VolumeMounts<'_>,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = from.volumes.get(&mount.name).ok_or_else(|| {
            format!(
                "cannot find volume {:?} to mount into container {:?}",
                mount.name, container.name
            )
        })?;
        mounts.push(one(pod, container, index, mount, volume, from)?);
    }
    Ok(mounts)
}

fn one(
    pod: &Pod,
    container: &Container,
    index: usize,
    mount: &VolumeMount,
    volume: &MountedVolume,
    from: &VolumeMounts<'_>,
) -> Result<Mount, String> {
    let subpath = subpath_of(mount, from.env)?;
    let (path, only_read) = match volume {
        MountedVolume::Image { reference } => {
            return Ok(Mount {
                container_path: mount.mount_path.clone(),
                image: Some(ImageSpec {
                    image: reference.clone(),
                    ..ImageSpec::default()
                }),
                image_sub_path: subpath.unwrap_or_default(),
                readonly: true,
                ..Mount::default()
            });
        }
        MountedVolume::Path { path, read_only } => {
            (path, *read_only || mount.read_only == Some(true))
        }
        MountedVolume::Device { .. } => {
            return Err(format!(
                "volume {:?} is a block device and cannot be mounted into container {:?}",
                mount.name, container.name
            ));
        }
    };
    let host_path = match subpath {
        None => path.clone(),
        Some(subpath) => {
            let target = from
                .paths
                .subpaths(uid(pod))
                .join(&mount.name)
                .join(&container.name)
                .join(index.to_string());
            subpath::bind(path, &subpath, &target).map_err(|error| {
                format!(
                    "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                    mount.name, container.name
                )
            })?
        }
    };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    let container_path = if mount.mount_path.starts_with('/') {
        mount.mount_path.clone()
    } else {
        format!("/{}", mount.mount_path)
    };
    Ok(Mount {
        container_path,
        host_path: host_path.to_string_lossy().into_owned(),
        readonly: only_read,
        recursive_read_only: mount.read_only == Some(true)
            && matches!(
                mount.recursive_read_only.as_deref(),
                Some("Enabled" | "IfPossible")
            ),
        propagation: propagation as i32,
        ..Mount::default()
    })
}

fn subpath_of(
    mount: &VolumeMount,
    env: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    if let Some(expression) = mount
        .sub_path_expr
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        let expanded = expand(expression, |name| env.get(name).cloned());
        if expanded.contains("$(") {
            return Err(format!("missing value for {expression:?}"));
        }
        return Ok(Some(expanded));
    }
    Ok(mount.sub_path.clone().filter(|path| !path.is_empty()))
}
