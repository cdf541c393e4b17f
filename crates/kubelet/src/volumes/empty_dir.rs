//! `emptyDir`: a directory on the node's disk, or in memory.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use rustix::mount::{MountFlags, mount};

use super::{
    MountedVolume, VolumeContext, VolumeError, VolumePlugin, fs_group, tear_down::is_mount_point,
};
use crate::resources::amount;

pub(super) struct EmptyDir;

#[async_trait]
impl VolumePlugin for EmptyDir {
    fn name(&self) -> &'static str {
        "empty-dir"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.empty_dir.clone().unwrap_or_default();
        let what = || format!("cannot make {}", directory.display());
        let new = !directory.exists();
        fs::create_dir_all(directory).map_err(VolumeError::io(what()))?;
        match source.medium.as_deref().unwrap_or_default() {
            "" => {}
            "Memory" => {
                let size = source
                    .size_limit
                    .as_ref()
                    .map(|limit| amount("memory", limit))
                    .filter(|size| *size > 0);
                mount_tmpfs(directory, size)?;
            }
            medium if medium.starts_with("HugePages") => {
                return Err(VolumeError::Invalid(format!(
                    "medium {medium} is not supported by this node"
                )));
            }
            medium => {
                return Err(VolumeError::Invalid(format!(
                    "unknown storage medium {medium:?}"
                )));
            }
        }
        if new {
            // Whoever the containers run as may write.
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777))
                .map_err(VolumeError::io(what()))?;
            fs_group::apply(context.pod, directory)?;
        }
        Ok(MountedVolume::at(directory.to_path_buf(), false))
    }
}

/// Mounts a tmpfs there, unless one is mounted already.
pub(super) fn mount_tmpfs(directory: &Path, size_bytes: Option<i64>) -> Result<(), VolumeError> {
    let failed = || VolumeError::io(format!("cannot mount tmpfs on {}", directory.display()));
    if is_mount_point(directory).map_err(failed())? {
        return Ok(());
    }
    let options = match size_bytes {
        Some(size) => format!("mode=0777,size={size}"),
        None => "mode=0777".to_owned(),
    };
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount(
        "tmpfs",
        directory,
        "tmpfs",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .map_err(|error| failed()(error.into()))
}
