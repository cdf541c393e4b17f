//! Volumes: one file a type, one row in [`PLUGINS`].
//!
//! Setting up is idempotent and repeated at every sync, so that files of config maps, secrets, tokens and the downward API follow
//! their sources. Everything of a pod lies under `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>`.

mod atomic_writer;
mod config_map;
mod downward_api;
mod empty_dir;
mod files;
mod fs_group;
mod host_path;
mod image;
mod mounts;
mod projected;
mod secret;
mod subpath;
mod tear_down;
mod token;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use thiserror::Error;

pub use mounts::{VolumeMounts, container_mounts};
pub use tear_down::{tear_down_pod, tear_down_subpaths};
pub use token::{Token, TokenManager, TokenSource};

use crate::{
    env::{EnvError, FieldContext, ObjectSource},
    paths::Paths,
    pod::{spec, uid},
};

/// Why a volume is not there: `FailedMount`.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// An object is missing or cannot be read.
    #[error(transparent)]
    Object(#[from] EnvError),
    /// The disk or the kernel.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The volume itself makes no sense, or is of a type this node does not have.
    #[error("{0}")]
    Invalid(String),
    /// A token could not be had.
    #[error("failed to fetch token: {0}")]
    Token(String),
}

impl VolumeError {
    fn io(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }
}

/// What setting up needs beside the volume.
pub struct VolumeContext<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Directories.
    pub paths: &'a Paths,
    /// Config maps and secrets.
    pub objects: &'a dyn ObjectSource,
    /// Tokens of service accounts.
    pub tokens: &'a dyn TokenSource,
    /// The downward API's other half.
    pub fields: &'a FieldContext,
    /// Now.
    pub now: Timestamp,
}

/// One type of volume.
#[async_trait]
pub trait VolumePlugin: Send + Sync {
    /// Its name on the disk: `empty-dir`.
    fn name(&self) -> &'static str;

    /// Whether a volume is of this type.
    fn handles(&self, volume: &Volume) -> bool;

    /// Makes the volume in `directory`, or brings it up to date; answers what is to be mounted.
    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError>;
}

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountedVolume {
    /// A path of the node.
    Path(PathBuf),
    /// An image, which the runtime mounts.
    Image {
        /// Reference.
        reference: String,
    },
}

/// All types, in the order in which they are asked.
pub static PLUGINS: [&dyn VolumePlugin; 7] = [
    &empty_dir::EmptyDir,
    &host_path::HostPath,
    &config_map::ConfigMapVolume,
    &secret::SecretVolume,
    &projected::Projected,
    &downward_api::DownwardApi,
    &image::ImageVolume,
];

/// Sets up all volumes of a pod.
pub async fn set_up_pod(
    context: &VolumeContext<'_>,
) -> Result<HashMap<String, MountedVolume>, PodVolumeError> {
    let mut mounted = HashMap::new();
    for volume in spec(context.pod).volumes.iter().flatten() {
        let failed = |source| PodVolumeError {
            volume: volume.name.clone(),
            source,
        };
        let plugin = PLUGINS
            .iter()
            .find(|plugin| plugin.handles(volume))
            .ok_or_else(|| failed(VolumeError::Invalid("no volume plugin matched".to_owned())))?;
        let directory = context
            .paths
            .volume(uid(context.pod), plugin.name(), &volume.name);
        mounted.insert(
            volume.name.clone(),
            plugin
                .set_up(context, volume, &directory)
                .await
                .map_err(failed)?,
        );
    }
    Ok(mounted)
}

/// A volume of a pod that could not be set up; worded as the event `FailedMount` is.
#[derive(Debug, Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
pub struct PodVolumeError {
    /// The volume's name in the pod.
    pub volume: String,
    /// Why.
    pub source: VolumeError,
}
