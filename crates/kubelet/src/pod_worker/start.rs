//! Makes sandboxes and starts containers.

use std::{collections::HashMap, fs, time::Duration};

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, Secret, VolumeMount};

use super::WorkerContext;
use crate::{
    container::{
        ConfigError, ContainerInputs, SandboxInputs, container_config, hosts_file, pod_dns,
        pod_hostname, sandbox_config,
    },
    env::{EnvContext, container_env},
    events::EventKind,
    observed::{ContainerState, ObservedPod},
    pod::{ContainerKind, ephemeral_containers, uid},
    userns::own_users,
    volumes::{MountedVolume, VolumeMounts, container_devices, container_mounts},
};

/// Why a container does not run: the waiting state's reason and message.
#[derive(Clone, Debug)]
pub(super) struct StartError {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// When it is worth another try; none for the usual pace.
    pub(super) retry_after: Option<Duration>,
}

impl StartError {
    fn new(reason: &'static str, message: impl ToString) -> Self {
        Self {
            reason,
            message: message.to_string(),
            retry_after: None,
        }
    }
}

impl WorkerContext {
    /// The sandbox's configuration of a try; the error is a message.
    pub(super) fn sandbox_config(
        &self,
        pod: &Pod,
        attempt: u32,
    ) -> Result<v1::PodSandboxConfig, String> {
        let (hostname, _) = pod_hostname(pod, &self.config.cluster_domain)?;
        let dns = pod_dns(
            pod,
            &self.resolver,
            &self.config.cluster_dns,
            &self.config.cluster_domain,
        );
        let inputs = SandboxInputs {
            config: &self.config,
            paths: &self.paths,
            attempt,
            hostname,
            dns,
            users: self.users.of(pod)?,
        };
        Ok(sandbox_config(pod, &inputs))
    }

    /// Makes a sandbox; the error is a message, already recorded as an event.
    pub(super) async fn create_sandbox(&self, pod: &Pod, attempt: u32) -> Result<(), String> {
        let failed = |message: String| {
            let text = format!("Failed to create pod sandbox: {message}");
            self.events.pod(
                pod,
                EventKind::Warning,
                "FailedCreatePodSandBox",
                text.clone(),
            );
            text
        };
        let runtime_handler = crate::pod::spec(pod)
            .runtime_class_name
            .clone()
            .unwrap_or_default();
        if own_users(pod) {
            let able = self.require_user_namespaces(&runtime_handler).await;
            able.map_err(failed)?;
        }
        let config = self.sandbox_config(pod, attempt).map_err(failed)?;
        fs::create_dir_all(&config.log_directory).map_err(|error| failed(error.to_string()))?;
        let request = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler,
        };
        self.runtime
            .run_pod_sandbox(request)
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    /// Whether the runtime's handler can give a pod users of its own; the error is a message.
    async fn require_user_namespaces(&self, handler: &str) -> Result<(), String> {
        let who = match handler {
            "" => "runtime".to_owned(),
            handler => format!("RuntimeClass handler {handler:?}"),
        };
        let unable =
            format!("can't set `spec.hostUsers: false`, {who} does not support user namespaces");
        let status = self.runtime.status(v1::StatusRequest::default()).await;
        let status = status.map_err(|error| format!("{unable}: {error}"))?;
        let able = status
            .runtime_handlers
            .into_iter()
            .find(|known| known.name == handler)
            .and_then(|known| known.features)
            .is_some_and(|features| features.user_namespaces);
        if able { Ok(()) } else { Err(unable) }
    }

    /// Pulls, creates and starts one container, and runs its postStart hook.
    pub(super) async fn start_container(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        observed: &ObservedPod,
        volumes: &HashMap<String, MountedVolume>,
    ) -> Result<(), StartError> {
        let emit = |event, reason: &str, message: String| {
            self.events
                .container(pod, kind, &container.name, event, reason, message);
        };
        let sandbox = observed.ready_sandbox().ok_or_else(|| {
            StartError::new("CreateContainerError", "the pod's sandbox is not ready")
        })?;
        let sandbox_config = self
            .sandbox_config(pod, sandbox.attempt)
            .map_err(|message| StartError::new("CreateContainerConfigError", message))?;
        let secrets = self.objects.pull_secrets(pod).await;
        let image = self
            .images
            .ensure(pod, kind, container, &secrets, Some(&sandbox_config))
            .await
            .map_err(|error| StartError {
                reason: error.reason,
                message: error.message,
                retry_after: error.retry_after,
            })?;
        let volumes = &self
            .image_volumes(pod, kind, container, volumes, &secrets, &sandbox_config)
            .await?;
        let restart_count = observed
            .container(&container.name)
            .map_or(0, |run| run.restart_count + 1);
        let config = self
            .config_of(
                pod,
                kind,
                container,
                observed,
                volumes,
                image,
                restart_count,
            )
            .await
            .map_err(|error| {
                emit(EventKind::Warning, "Failed", format!("Error: {error}"));
                StartError::new("CreateContainerConfigError", error)
            })?;
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let created = self
            .runtime
            .create_container(request)
            .await
            .map_err(|error| {
                emit(EventKind::Warning, "Failed", format!("Error: {error}"));
                StartError::new("CreateContainerError", error.message())
            })?;
        emit(EventKind::Normal, "Created", "Container created".to_owned());
        if kind != ContainerKind::Ephemeral {
            let resources = container.resources.clone().unwrap_or_default();
            self.allocation
                .set_actuated(pod, &container.name, &resources);
        }
        let request = v1::StartContainerRequest {
            container_id: created.container_id.clone(),
        };
        self.runtime
            .start_container(request)
            .await
            .map_err(|error| {
                emit(EventKind::Warning, "Failed", format!("Error: {error}"));
                StartError::new("RunContainerError", error.message())
            })?;
        emit(EventKind::Normal, "Started", "Container started".to_owned());
        self.post_start(pod, kind, container, observed, &created.container_id)
            .await
    }

    /// The volumes of a container, with its image volumes pulled and named by the ids of their images.
    async fn image_volumes(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        volumes: &HashMap<String, MountedVolume>,
        secrets: &[Secret],
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<HashMap<String, MountedVolume>, StartError> {
        let mut volumes = volumes.clone();
        let sources = crate::pod::spec(pod).volumes.iter().flatten();
        for (volume, source) in sources.filter_map(|v| Some((v, v.image.as_ref()?))) {
            let mounted = |mount: &VolumeMount| mount.name == volume.name;
            if !container.volume_mounts.iter().flatten().any(mounted) {
                continue;
            }
            // Pulled as the image of a container would be.
            let asked = Container {
                name: container.name.clone(),
                image: source.reference.clone(),
                image_pull_policy: source.pull_policy.clone(),
                ..Container::default()
            };
            let image = self
                .images
                .ensure(pod, kind, &asked, secrets, Some(sandbox))
                .await
                .map_err(|error| StartError {
                    reason: error.reason,
                    message: error.message,
                    retry_after: error.retry_after,
                })?;
            let mounted = MountedVolume::Image {
                reference: image.id,
            };
            volumes.insert(volume.name.clone(), mounted);
        }
        Ok(volumes)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call, whose parts are all named things"
    )]
    async fn config_of(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        observed: &ObservedPod,
        volumes: &HashMap<String, MountedVolume>,
        image: crate::images::PresentImage,
        restart_count: u32,
    ) -> Result<v1::ContainerConfig, ConfigError> {
        let services: Vec<_> = self
            .services
            .iter()
            .flat_map(|informer| informer.store().list())
            .map(|service| (*service).clone())
            .collect();
        let env = container_env(
            &EnvContext {
                pod,
                fields: self.fields(pod, observed),
                services: &services,
                objects: &self.objects,
                volumes,
            },
            container,
        )
        .await?;
        let from = VolumeMounts {
            paths: &self.paths,
            volumes,
            env: &env,
        };
        let mut mounts = container_mounts(pod, container, &from).map_err(ConfigError::Mount)?;
        mounts.extend(self.hosts_mount(pod, container, observed)?);
        let devices = container_devices(container, volumes).map_err(ConfigError::Mount)?;
        let target = ephemeral_containers(pod)
            .iter()
            .find(|ephemeral| kind == ContainerKind::Ephemeral && ephemeral.name == container.name)
            .and_then(|ephemeral| ephemeral.target_container_name.as_deref())
            .and_then(|name| observed.container(name))
            .filter(|target| target.state == ContainerState::Running)
            .map(|target| target.id.clone());
        container_config(
            pod,
            container,
            ContainerInputs {
                config: &self.config,
                paths: &self.paths,
                kind,
                restart_count,
                image_ref: image.id,
                image_user: image.user,
                env,
                mounts,
                devices,
                target,
                node_memory_bytes: self.node.memory_bytes,
                users: self.users.of(pod).map_err(ConfigError::Security)?,
            },
        )
    }

    /// `/etc/hosts`, unless the container mounts its own.
    fn hosts_mount(
        &self,
        pod: &Pod,
        container: &Container,
        observed: &ObservedPod,
    ) -> Result<Option<v1::Mount>, ConfigError> {
        let own = container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.mount_path == "/etc/hosts");
        let ips = self.pod_ips(pod, observed);
        if own || (ips.is_empty() && !crate::pod::host_network(pod)) {
            return Ok(None);
        }
        let (hostname, domain) =
            pod_hostname(pod, &self.config.cluster_domain).map_err(ConfigError::Mount)?;
        let node = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let path = self.paths.etc_hosts(uid(pod));
        let text = hosts_file(pod, &ips, &hostname, &domain, &node);
        fs::create_dir_all(self.paths.pod(uid(pod)))
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| ConfigError::Io {
                path: path.display().to_string(),
                source,
            })?;
        Ok(Some(v1::Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: path.to_string_lossy().into_owned(),
            ..v1::Mount::default()
        }))
    }

    async fn post_start(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        observed: &ObservedPod,
        id: &str,
    ) -> Result<(), StartError> {
        let Some(hook) = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.post_start.as_ref())
        else {
            return Ok(());
        };
        let ips = self.pod_ips(pod, observed);
        let ip = ips.first().map(String::as_str);
        let Err(why) = self.hooks.run(hook, container, id, ip).await else {
            return Ok(());
        };
        let message = format!("PostStartHook failed: {why}");
        self.events.container(
            pod,
            kind,
            &container.name,
            EventKind::Warning,
            "FailedPostStartHook",
            message.clone(),
        );
        let run = crate::observed::ObservedContainer {
            id: id.to_owned(),
            name: container.name.clone(),
            state: ContainerState::Running,
            ..Default::default()
        };
        let grace = crate::pod::grace_period_seconds(pod);
        let _ = self
            .kill_container(pod, observed, &run, grace, "FailedPostStartHook".to_owned())
            .await;
        Err(StartError::new("PostStartHookError", message))
    }
}
