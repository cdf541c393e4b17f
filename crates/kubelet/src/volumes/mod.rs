//! Volumes: one file a type, one row in [`PLUGINS`].
//!
//! Setting up is idempotent and repeated at every sync, so that files of config maps, secrets, tokens and the downward API follow
//! their sources. Everything of a pod lies under `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>`. What a pod claims rather
//! than holds is in [`persistent`].

mod atomic_writer;
mod config_map;
mod devices;
mod downward_api;
mod empty_dir;
mod failure;
mod files;
mod fs_group;
mod host_path;
mod image;
mod mounts;
mod persistent;
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
use k8s_openapi::api::core::v1::{Node, Pod, Volume};
use thiserror::Error;

pub use devices::container_devices;
pub use failure::{Failure, PodVolumeError, Step};
pub use mounts::{VolumeMounts, container_mounts};
pub use persistent::{ClaimManager, ClaimedDisk};
#[cfg(test)]
pub(crate) use tear_down::unmount_below;
pub use tear_down::{tear_down_pod, tear_down_subpaths};
pub use token::{Token, TokenManager, TokenSource};

use crate::{
    env::{EnvError, FieldContext, ObjectSource},
    events::PodEvents,
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
    /// What claims are bound to.
    pub claims: &'a ClaimManager,
    /// This node, once it is known.
    pub node: Option<&'a Node>,
    /// Where oddities are told.
    pub events: &'a PodEvents,
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
    Path {
        /// Where it is.
        path: PathBuf,
        /// No container may write to it, whatever its mounts say.
        read_only: bool,
    },
    /// A block device of the node.
    Device {
        /// Where it is.
        path: PathBuf,
        /// No container may write to it.
        read_only: bool,
    },
    /// An image, which the runtime mounts.
    Image {
        /// Reference.
        reference: String,
    },
}

impl MountedVolume {
    /// A path of the node.
    pub fn at(path: impl Into<PathBuf>, read_only: bool) -> Self {
        Self::Path {
            path: path.into(),
            read_only,
        }
    }
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

/// Sets up all volumes of a pod: each is tried, whatever becomes of the others.
pub async fn set_up_pod(
    context: &VolumeContext<'_>,
) -> Result<HashMap<String, MountedVolume>, PodVolumeError> {
    let mut mounted = HashMap::new();
    let mut failures = Vec::new();
    for volume in spec(context.pod).volumes.iter().flatten() {
        let made = match persistent::claim_name(context.pod, volume) {
            Some(claim) => set_up_claimed(context, volume, &claim).await,
            None => set_up_own(context, volume).await,
        };
        match made {
            Ok(made) => {
                mounted.insert(volume.name.clone(), made);
            }
            Err(failure) => failures.push((volume.name.clone(), failure)),
        }
    }
    if failures.is_empty() {
        Ok(mounted)
    } else {
        Err(PodVolumeError(failures))
    }
}

async fn set_up_claimed(
    context: &VolumeContext<'_>,
    volume: &Volume,
    claim: &str,
) -> Result<MountedVolume, Failure> {
    let claimed = context.claims.resolve(context.pod, volume, claim).await;
    let claimed = claimed.map_err(Failure::Unprocessed)?;
    persistent::set_up(context, &volume.name, &claimed).await
}

async fn set_up_own(
    context: &VolumeContext<'_>,
    volume: &Volume,
) -> Result<MountedVolume, Failure> {
    let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.handles(volume)) else {
        return Err(Failure::Unprocessed(format!(
            "failed to get Plugin from volumeSpec for volume {:?} err=no volume plugin matched",
            volume.name
        )));
    };
    let directory = context
        .paths
        .volume(uid(context.pod), plugin.name(), &volume.name);
    let made = plugin.set_up(context, volume, &directory).await;
    made.map_err(|error| Failure::of(Step::SetUp, &volume.name, error))
}
