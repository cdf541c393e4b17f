//! `hostPath`: a path of the node, with its type checked.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume};

use super::{MountedVolume, VolumeContext, VolumeError, VolumePlugin};

pub(super) struct HostPath;

#[async_trait]
impl VolumePlugin for HostPath {
    fn name(&self) -> &'static str {
        "host-path"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(
        &self,
        _context: &VolumeContext<'_>,
        volume: &Volume,
        _directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let source = volume.host_path.clone().unwrap_or_default();
        Ok(MountedVolume::at(check(&source)?, false))
    }
}

/// The path, once what is there is of the wanted type, or was made so.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = Path::new(&source.path);
    let wrong = |what: &str| {
        VolumeError::Invalid(format!(
            "hostPath type check failed: {} is not {what}",
            source.path
        ))
    };
    let kind = fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(test);
    let failed = || VolumeError::io(format!("cannot make {}", source.path));
    match source.type_.as_deref().unwrap_or_default() {
        "" => {}
        "DirectoryOrCreate" if kind.is_none() => {
            fs::create_dir_all(path).map_err(failed())?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed())?;
        }
        "FileOrCreate" if kind.is_none() => {
            fs::File::create_new(path)
                .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o644)))
                .map_err(failed())?;
        }
        "Directory" | "DirectoryOrCreate" if !is(fs::FileType::is_dir) => {
            return Err(wrong("a directory"));
        }
        "File" | "FileOrCreate" if !is(fs::FileType::is_file) => return Err(wrong("a file")),
        "Socket" if !is(|kind| kind.is_socket()) => return Err(wrong("a socket file")),
        "CharDevice" if !is(|kind| kind.is_char_device()) => {
            return Err(wrong("a character device"));
        }
        "BlockDevice" if !is(|kind| kind.is_block_device()) => {
            return Err(wrong("a block device"));
        }
        _ => {}
    }
    if source.type_.as_deref().unwrap_or_default().is_empty() && kind.is_none() {
        // As upstream's runtimes do: a bind mount of nothing makes a directory.
        fs::create_dir_all(path).map_err(failed())?;
    }
    Ok(path.to_path_buf())
}
