//! `local`: a directory, a disk or a partition of this very node.
//!
//! It is mounted into the pod's directory, so that options and read-only access are this pod's own, and what is left behind by a kubelet
//! that was killed is found there and taken away. A device that holds a filesystem is mounted by its type (`fsType`, else ext4), in every
//! pod that claims it: the kernel shares the filesystem between those mounts. An empty device is never formatted.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Component, Path, PathBuf},
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeSpec, Pod};
use linux::mounts;
use rustix::fs::{Mode, OFlags, open};

use super::{
    super::{
        Failure, MountedVolume, Step, VolumeContext, VolumeError,
        files::fs_group,
        fs_group,
        tear_down::{is_mount_point, mount_points},
    },
    ClaimedVolume, PersistentVolumePlugin, mount_options,
};
use crate::{events::EventKind, paths::Paths, pod::uid};

/// Its name on the disk.
const NAME: &str = "local-volume";
const DEFAULT_FILESYSTEM: &str = "ext4";

pub(super) struct Local;

#[async_trait]
impl PersistentVolumePlugin for Local {
    fn handles(&self, spec: &PersistentVolumeSpec) -> bool {
        spec.local.is_some()
    }

    fn takes_mount_options(&self) -> bool {
        true
    }

    async fn mount(
        &self,
        context: &VolumeContext<'_>,
        claimed: &ClaimedVolume,
    ) -> Result<MountedVolume, Failure> {
        let name = claimed.name();
        let failed = |step| move |error| Failure::of(step, name, error);
        let source = source(claimed).map_err(failed(Step::NewMounter))?;
        let target = mounted_at(context.paths, uid(context.pod), name);
        let mounted = MountedVolume::at(target.clone(), claimed.read_only);
        let io = |error| VolumeError::io(format!("cannot mount {}", target.display()))(error);
        if target.exists() && is_mount_point(&target).map_err(|e| failed(Step::SetUp)(io(e)))? {
            return Ok(mounted);
        }
        let shared = is_elsewhere(context.paths, uid(context.pod), name)
            .map_err(|error| failed(Step::SetUp)(io(error)))?;
        if shared && let Source::Directory(path) = &source {
            warn_of_group(context, path, name);
        }
        // Large trees take long to be given to a group, and disks to be mounted.
        let (claimed, pod, place) = (claimed.clone(), Pod::clone(context.pod), target.clone());
        let made = tokio::task::spawn_blocking(move || {
            make(&source, &claimed, &place)?;
            if claimed.read_only || shared {
                return Ok(());
            }
            let owned = fs_group::apply(&pod, &place);
            if owned.is_err() {
                // Else the next attempt would take it for done.
                let _ = mounts::detach(place.as_path());
            }
            owned
        });
        match made.await {
            Ok(made) => made.map_err(failed(Step::SetUp))?,
            Err(error) => return Err(failed(Step::SetUp)(io(io::Error::other(error)))),
        }
        Ok(mounted)
    }

    fn map(&self, claimed: &ClaimedVolume) -> Result<MountedVolume, Failure> {
        let failed = |error| Failure::of(Step::SetUpDevice, claimed.name(), error);
        match source(claimed).map_err(failed)? {
            Source::Device(path) => Ok(MountedVolume::Device {
                path,
                read_only: claimed.read_only,
            }),
            Source::Directory(path) => Err(failed(VolumeError::Invalid(format!(
                "{} is not a block device",
                path.display()
            )))),
        }
    }
}

/// Where a pod has such a volume.
pub(super) fn mounted_at(paths: &Paths, pod_uid: &str, volume: &str) -> PathBuf {
    paths.volume(pod_uid, NAME, volume)
}

/// What `local.path` is.
enum Source {
    Directory(PathBuf),
    Device(PathBuf),
}

fn source(claimed: &ClaimedVolume) -> Result<Source, VolumeError> {
    let invalid = |why: String| VolumeError::Invalid(why);
    let path = claimed.spec().local.clone().unwrap_or_default().path;
    if path.is_empty() {
        return Err(invalid(
            "local volume source is nil or local path is not set".to_owned(),
        ));
    }
    let path = PathBuf::from(path);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(invalid(format!(
            "invalid path: {} must not contain '..'",
            path.display()
        )));
    }
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(Source::Directory(path)),
        Ok(found) if found.file_type().is_block_device() => Ok(Source::Device(path)),
        Ok(_) => Err(invalid(
            "only directory and block device are supported".to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(invalid(format!(
            "path {:?} does not exist",
            path.display().to_string()
        ))),
        Err(error) => Err(VolumeError::io(path.display())(error)),
    }
}

/// Mounts the source at `target`, whole or not at all.
fn make(source: &Source, claimed: &ClaimedVolume, target: &Path) -> Result<(), VolumeError> {
    let options = claimed.spec().mount_options.clone().unwrap_or_default();
    let mut options = mount_options::parse(&options);
    options.attributes.readonly |= claimed.read_only;
    let mount = match source {
        Source::Directory(path) => bind(path, options.attributes)
            .map_err(VolumeError::io(format!("cannot bind {}", path.display())))?,
        Source::Device(path) => {
            let local = claimed.spec().local.as_ref();
            let kind = local.and_then(|local| local.fs_type.as_deref());
            let kind = kind
                .filter(|kind| !kind.is_empty())
                .unwrap_or(DEFAULT_FILESYSTEM);
            let device = path.to_string_lossy();
            let mut own = vec![("source", Some(device.as_ref()))];
            if options.attributes.readonly {
                own.push(("ro", None));
            }
            own.extend(&options.filesystem);
            mounts::new_filesystem(kind, &own, options.attributes).map_err(|error| {
                VolumeError::Invalid(format!(
                    "local: failed to mount device {} at {} (fstype: {kind}), error {error}",
                    path.display(),
                    target.display()
                ))
            })?
        }
    };
    let attach = || -> io::Result<()> {
        fs::create_dir_all(target)?;
        let place = open(target, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        mounts::attach(mount.as_fd(), place.as_fd())
    };
    attach().map_err(VolumeError::io(format!(
        "cannot mount {}",
        target.display()
    )))
}

fn bind(path: &Path, attributes: mounts::Attributes) -> io::Result<OwnedFd> {
    let mount = mounts::clone_tree(path, false)?;
    mounts::set_attributes(mount.as_fd(), attributes, None, false)?;
    Ok(mount)
}

/// Whether another pod of this node has the volume.
fn is_elsewhere(paths: &Paths, own_uid: &str, volume: &str) -> io::Result<bool> {
    let (pods, own) = (paths.pods(), paths.pod(own_uid));
    let pods = fs::canonicalize(&pods).unwrap_or(pods);
    let own = fs::canonicalize(&own).unwrap_or(own);
    let tail = Path::new("volumes")
        .join(format!("kubernetes.io~{NAME}"))
        .join(volume);
    Ok(mount_points()?.iter().any(|point| {
        point.starts_with(&pods) && !point.starts_with(&own) && point.ends_with(&tail)
    }))
}

/// The owner of a volume is set for its first pod alone: the next one is told if it wanted another.
fn warn_of_group(context: &VolumeContext<'_>, path: &Path, volume: &str) {
    let Some(wanted) = fs_group(context.pod) else {
        return;
    };
    let Some(has) = fs::metadata(path).ok().map(|found| found.gid()) else {
        return;
    };
    if wanted != has {
        let message = format!(
            "The requested fsGroup is {wanted}, but the volume {volume} has GID {has}. The volume may not be shareable."
        );
        let events = context.events;
        events.pod(
            context.pod,
            EventKind::Warning,
            "AlreadyMountedVolume",
            message,
        );
    }
}
