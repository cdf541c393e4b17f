//! `fsGroup`: a volume belongs to the pod's group.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::Path,
};

use k8s_openapi::api::core::v1::Pod;

use super::{VolumeError, files::fs_group};
use crate::pod::spec;

/// Gives the volume to the pod's group, if it has one: group may read and write, new files inherit it. Links are never followed.
pub(super) fn apply(pod: &Pod, directory: &Path) -> Result<(), VolumeError> {
    let Some(group) = fs_group(pod) else {
        return Ok(());
    };
    let failed = || VolumeError::io(format!("cannot set the group of {}", directory.display()));
    let policy = spec(pod)
        .security_context
        .as_ref()
        .and_then(|context| context.fs_group_change_policy.as_deref());
    let root = fs::symlink_metadata(directory).map_err(failed())?;
    let root_is_right = root.gid() == group && root.mode() & 0o2070 == 0o2070;
    if policy == Some("OnRootMismatch") && root_is_right {
        return Ok(());
    }
    own(directory, group).map_err(failed())
}

fn own(path: &Path, group: u32) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let extra = if metadata.is_dir() { 0o2070 } else { 0o060 };
    fs::set_permissions(
        path,
        fs::Permissions::from_mode((metadata.mode() | extra) & 0o7777),
    )?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), group)?;
        }
    }
    Ok(())
}
