//! A container's configuration.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use cri::v1::{
    ContainerConfig, ContainerMetadata, Device, ImageSpec, KeyValue, LinuxContainerConfig, Mount,
    Signal, UserNamespace,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use thiserror::Error;

use super::{container_security, sandbox::pod_labels, verify_run_as_non_root};
use crate::{
    config::KubeletConfig,
    env::expand,
    observed::label,
    paths::{Paths, container_log_name},
    pod::{ContainerKind, container_hash, name, namespace, spec, uid},
    resources::container_resources,
};

/// Why a container's configuration cannot be made: `CreateContainerConfigError`.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The environment.
    #[error(transparent)]
    Env(#[from] crate::env::EnvError),
    /// `runAsNonRoot`.
    #[error("{0}")]
    Security(String),
    /// A mount.
    #[error("{0}")]
    Mount(String),
    /// The disk.
    #[error("cannot prepare {path}: {source}")]
    Io {
        /// What was to be made.
        path: String,
        /// Why it was not.
        source: io::Error,
    },
}

/// What a container's configuration needs beside the pod.
pub struct ContainerInputs<'a> {
    /// The kubelet's configuration.
    pub config: &'a KubeletConfig,
    /// Directories.
    pub paths: &'a Paths,
    /// Which list it is in.
    pub kind: ContainerKind,
    /// How often it was restarted before.
    pub restart_count: u32,
    /// The image's id.
    pub image_ref: String,
    /// The image's user: a number, or a name.
    pub image_user: (Option<i64>, String),
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its volumes.
    pub mounts: Vec<Mount>,
    /// Its block volumes.
    pub devices: Vec<Device>,
    /// The container whose processes an ephemeral container is to see.
    pub target: Option<String>,
    /// The node's memory, for the OOM score.
    pub node_memory_bytes: i64,
    /// The pod's user namespace, if not the node's.
    pub users: Option<UserNamespace>,
}

/// The configuration of a container; makes its log directory and its termination message file.
pub fn container_config(
    pod: &Pod,
    container: &Container,
    inputs: ContainerInputs<'_>,
) -> Result<ContainerConfig, ConfigError> {
    let image_user = (inputs.image_user.0, inputs.image_user.1.as_str());
    verify_run_as_non_root(pod, container, image_user).map_err(ConfigError::Security)?;
    let value = |name: &str| inputs.env.get(name).cloned();
    let words = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter()
            .flatten()
            .map(|word| expand(word, value))
            .collect()
    };
    let log = inputs
        .paths
        .container_log(pod, &container.name, inputs.restart_count);
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).map_err(io_error(directory))?;
    }
    let mut mounts = inputs.mounts;
    mounts.extend(termination_message_mount(
        pod,
        container,
        inputs.paths,
        inputs.restart_count,
    )?);
    if let Some(users) = &inputs.users {
        // Files on the node belong to the same ids as in the pod.
        for mount in &mut mounts {
            mount.uid_mappings.clone_from(&users.uids);
            mount.gid_mappings.clone_from(&users.gids);
        }
    }
    let mut labels = pod_labels(pod);
    labels.insert(label::CONTAINER_NAME.to_owned(), container.name.clone());
    let image = container.image.clone().unwrap_or_default();
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: container.name.clone(),
            attempt: inputs.restart_count,
        }),
        image: Some(ImageSpec {
            image: inputs.image_ref,
            user_specified_image: image,
            ..ImageSpec::default()
        }),
        command: words(&container.command),
        args: words(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts,
        devices: inputs.devices,
        labels,
        annotations: annotations(pod, container, inputs.restart_count),
        log_path: container_log_name(&container.name, inputs.restart_count),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        stop_signal: stop_signal(container) as i32,
        linux: Some(LinuxContainerConfig {
            resources: Some(container_resources(
                inputs.config,
                pod,
                container,
                inputs.node_memory_bytes,
            )),
            security_context: Some(container_security(
                pod,
                container,
                inputs.kind,
                inputs.target.as_deref(),
                image_user,
                inputs.config.seccomp_default,
                inputs.users,
            )),
        }),
        envs: inputs
            .env
            .into_iter()
            .map(|(key, value)| KeyValue {
                key,
                value: value.into_bytes(),
            })
            .collect(),
        ..ContainerConfig::default()
    })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ConfigError {
    let path = path.display().to_string();
    move |source| ConfigError::Io { path, source }
}

fn stop_signal(container: &Container) -> Signal {
    container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.stop_signal.as_deref())
        .and_then(|name| {
            Signal::from_str_name(&format!(
                "SIGNAL_{}",
                name.replace(
                    ['+', '-'],
                    if name.contains('+') { "PLUS" } else { "MINUS" }
                )
            ))
        })
        .unwrap_or(Signal::RuntimeDefault)
}

fn annotations(pod: &Pod, container: &Container, restart_count: u32) -> HashMap<String, String> {
    let mut annotations = HashMap::from([
        (
            label::CONTAINER_HASH.to_owned(),
            format!("{:x}", container_hash(container)),
        ),
        (label::RESTART_COUNT.to_owned(), restart_count.to_string()),
        (
            label::TERMINATION_MESSAGE_PATH.to_owned(),
            container
                .termination_message_path
                .clone()
                .unwrap_or_default(),
        ),
        (
            label::TERMINATION_MESSAGE_POLICY.to_owned(),
            container
                .termination_message_policy
                .clone()
                .unwrap_or_else(|| "File".to_owned()),
        ),
    ]);
    if let Some(seconds) = spec(pod).termination_grace_period_seconds {
        annotations.insert(label::POD_GRACE_PERIOD.to_owned(), seconds.to_string());
    }
    if let Some(seconds) = pod.metadata.deletion_grace_period_seconds {
        annotations.insert(
            label::POD_DELETION_GRACE_PERIOD.to_owned(),
            seconds.to_string(),
        );
    }
    let pre_stop = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(json) = pre_stop.and_then(|handler| serde_json::to_string(handler).ok()) {
        annotations.insert(label::PRE_STOP_HANDLER.to_owned(), json);
    }
    annotations
}

/// A file that the container may write its last words into, one for each run.
fn termination_message_mount(
    pod: &Pod,
    container: &Container,
    paths: &Paths,
    restart_count: u32,
) -> Result<Option<Mount>, ConfigError> {
    let Some(path) = container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
    else {
        return Ok(None);
    };
    let directory = paths.container(uid(pod), &container.name);
    fs::create_dir_all(&directory).map_err(io_error(&directory))?;
    let hash =
        crate::pod::fnv1a(format!("{}/{}/{restart_count}", namespace(pod), name(pod)).as_bytes());
    let file = directory.join(format!("{hash:08x}"));
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o666)
        .custom_flags(libc_nofollow())
        .open(&file)
        // Whoever the container runs as must be able to write it; the umask is not asked.
        .and_then(|opened| opened.set_permissions(fs::Permissions::from_mode(0o666)))
        .map_err(io_error(&file))?;
    Ok(Some(Mount {
        container_path: path.to_owned(),
        host_path: file.to_string_lossy().into_owned(),
        ..Mount::default()
    }))
}

/// `O_NOFOLLOW`, so that nothing is opened through a link that a container could have planted.
fn libc_nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}
