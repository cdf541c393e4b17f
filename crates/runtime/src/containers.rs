//! Containers: creating, starting, stopping, removing, and what they report.

use std::{collections::BTreeMap, fs, io, os::unix::fs::chown, sync::Arc, time::Duration};

use cri::{
    Code, CriError,
    v1::{
        self, Container as ContainerItem, ContainerConfig, ContainerEventType, ContainerResources,
        ContainerStatus, ContainerUser, LinuxContainerUser,
    },
};
use linux::{
    cgroup::{Cgroup, DeviceRule},
    process::Signal,
};
use tokio::time::timeout;

use crate::{
    container_spec::{self, SpecInput},
    images::{Reference, UnpackedImage},
    records::{ContainerRecord, Started},
    runtime::{Container, ContainerState, Runtime, Sandbox, internal, make_parent, new_id},
    sandboxes::{cgroup_parent, id_map},
    shim::{
        protocol::{Reply, Request},
        spec::{ExitRecord, RootfsSpec, StartRequest},
    },
    shim_client::ShimError,
};

/// For a killed container to be gone.
const DEATH_PATIENCE: Duration = Duration::from_secs(30);
/// Exit code of a container that could not be started, as containerd's.
const START_ERROR: i32 = 128;

impl Runtime {
    pub(crate) async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, CriError> {
        let sandbox = self.require_sandbox(sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(CriError::precondition(format!(
                "sandbox container {:?} is not running",
                sandbox.id
            )));
        }
        let metadata = config
            .metadata
            .clone()
            .ok_or_else(|| CriError::invalid("container config must include metadata"))?;
        let taken = self
            .containers_of(&sandbox.id)
            .iter()
            .any(|other| other.config.metadata.as_ref() == Some(&metadata));
        if taken {
            return Err(CriError::new(
                Code::AlreadyExists,
                format!(
                    "failed to reserve container name \"{}_{}\": name is reserved",
                    metadata.name, metadata.attempt
                ),
            ));
        }
        let image_name = config
            .image
            .as_ref()
            .map_or("", |image| image.image.as_str());
        let image = self.images().find(image_name).ok_or_else(|| {
            CriError::not_found(format!("failed to get image {image_name:?}: not found"))
        })?;
        let image = self
            .images()
            .unpack(&image.id)
            .await
            .map_err(internal(format!("failed to prepare image {image_name:?}")))?;
        let image_volumes = self.image_volumes(&config).await?;
        let id = new_id()?;
        let dir = self.container_dir(&id);
        let cgroup = match cgroup_parent(&sandbox.config) {
            Some(parent) => self.cgroup(parent).and_then(|parent| parent.child(&id)),
            None => self
                .own_cgroup(&sandbox.id)
                .and_then(|parent| parent.child(&id)),
        }
        .map_err(internal("find the container's cgroup"))?;
        let log_path = (!config.log_path.is_empty() && !sandbox.config.log_directory.is_empty())
            .then(|| std::path::Path::new(&sandbox.config.log_directory).join(&config.log_path));
        let record = ContainerRecord {
            sandbox_id: sandbox.id.clone(),
            image_id: image.record.id.clone(),
            image_ref: image_reference(image_name, &image.record),
            // As long as the container is there, no layer that it sees is removed.
            lower: std::iter::once(&image)
                .chain(image_volumes.values())
                .flat_map(|image| image.lower.iter().cloned())
                .collect(),
            stop_signal: container_spec::stop_signal(&config, &image.config),
            log_path,
            cgroup: cgroup.path().to_owned(),
            created_at: self.now(),
            started: None,
            failure: None,
        };
        let input = SpecInput {
            config: &config,
            image: &image,
            image_volumes: &image_volumes,
            sandbox: &sandbox,
            dir: &dir,
            cgroup: &cgroup,
            hierarchy: &self.0.hierarchy,
        };
        let spec = container_spec::build(&input)?;
        let root = id_map(&sandbox.config)?.map(|map| map.host);
        let own = |files: &RootfsSpec| match root {
            Some(_) => [&files.upper, &files.work]
                .into_iter()
                .try_for_each(|directory| chown(directory, root, root)),
            None => Ok(()),
        };
        let made = || -> io::Result<()> {
            dir.create()?;
            for directory in ["upper", "work", "rootfs"] {
                fs::create_dir(dir.path(directory))?;
            }
            // The root directory of a container belongs to its root.
            own(&spec.rootfs)?;
            for volume in spec.mounts.iter().filter_map(|mount| mount.image.as_ref()) {
                let files = &volume.files;
                for directory in [&files.upper, &files.work, &files.target] {
                    fs::create_dir_all(directory)?;
                }
                own(files)?;
            }
            fs::write(dir.path("spec.json"), serde_json::to_vec(&spec)?)?;
            dir.save_config(&config)?;
            dir.save(&record)
        };
        if let Err(error) = made() {
            let _ = dir.remove();
            return Err(internal("make the container's directory")(error));
        }
        let container = Arc::new(Container::new(id.clone(), config, dir, record));
        self.insert_container(container);
        self.announce(&sandbox, &id, ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    /// The images that a container mounts, unpacked.
    async fn image_volumes(
        &self,
        config: &ContainerConfig,
    ) -> Result<BTreeMap<String, UnpackedImage>, CriError> {
        let mut volumes = BTreeMap::new();
        for name in config.mounts.iter().filter_map(container_spec::image_of) {
            let image = self.images().find(name).ok_or_else(|| {
                CriError::not_found(format!("failed to get image volume {name:?}: not found"))
            })?;
            let unpacked = self
                .images()
                .unpack(&image.id)
                .await
                .map_err(internal(format!("failed to prepare image volume {name:?}")))?;
            volumes.insert(name.to_owned(), unpacked);
        }
        Ok(volumes)
    }

    pub(crate) async fn start_container(&self, id: &str) -> Result<(), CriError> {
        let container = self.require_container(id)?;
        let sandbox = self.require_sandbox(&container.record().sandbox_id)?;
        let _busy = container.busy.lock().await;
        if container.state() != ContainerState::Created {
            return Err(CriError::precondition(format!(
                "container {:?} is not in created state",
                container.id
            )));
        }
        let Err(error) = self.try_start(&sandbox, &container).await else {
            return Ok(());
        };
        let message = error.message().to_owned();
        let exit = ExitRecord {
            exit_code: START_ERROR,
            signal: None,
            oom_killed: false,
            finished_at: self.now(),
        };
        let recorded = container
            .update(|record| record.failure = Some(message.clone()))
            .and_then(|()| container.dir.save_exit(&exit));
        if let Err(error) = recorded {
            tracing::error!(container = %container.id, %error, "failed to record a container");
        }
        self.ended(&sandbox, &container, None, exit);
        Err(error)
    }

    async fn try_start(
        &self,
        sandbox: &Arc<Sandbox>,
        container: &Arc<Container>,
    ) -> Result<(), CriError> {
        let record = container.record();
        let cgroup = self
            .cgroup(&record.cgroup)
            .map_err(internal("find the cgroup"))?;
        prepare_cgroup(&cgroup, container)
            .map_err(internal("failed to create the container's cgroup"))?;
        if let Some(log) = &record.log_path {
            make_parent(log).map_err(internal("make the log's directory"))?;
        }
        let pid = container_spec::pid_mode(&container.config);
        let request = StartRequest {
            id: container.id.clone(),
            spec_path: container.dir.path("spec.json"),
            log_path: record.log_path.clone(),
            exit_path: container.dir.exit_path(),
            pid,
            tty: container.config.tty,
            stdin: container.config.stdin,
            stdin_once: container.config.stdin_once,
            oom_file: cgroup.oom_file(),
            procs_file: cgroup.procs_files().into_iter().next(),
        };
        let started = sandbox
            .shim
            .call(&Request::Start(Box::new(request)), &[])
            .await;
        match started {
            Ok((
                Reply::Started {
                    pid,
                    user,
                    started_at,
                },
                _,
            )) => {
                let started = Started {
                    pid,
                    at: started_at,
                    user,
                };
                container
                    .update(|record| record.started = Some(started.clone()))
                    .map_err(internal("record the container"))?;
                if container.advance(ContainerState::Running(started)) {
                    let kind = ContainerEventType::ContainerStartedEvent;
                    self.announce(sandbox, &container.id, kind);
                }
                Ok(())
            }
            Ok(_) => Err(CriError::internal("the shim gave a strange answer")),
            Err(error) => {
                let _ = remove_cgroup(cgroup).await;
                Err(CriError::new(
                    Code::Unknown,
                    format!("failed to start container {:?}: {error}", container.id),
                ))
            }
        }
    }

    pub(crate) async fn stop_container(&self, id: &str, grace_s: i64) -> Result<(), CriError> {
        let Some(container) = self.container(id) else {
            return Ok(());
        };
        if !container.is_running() {
            return Ok(());
        }
        let record = container.record();
        let sandbox = self.require_sandbox(&record.sandbox_id)?;
        let grace = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
        if !grace.is_zero() {
            self.signal(&sandbox, &container, record.stop_signal, false)
                .await?;
            if timeout(grace, container.ended()).await.is_ok() {
                return Ok(());
            }
        }
        self.kill_container(&sandbox, &container).await
    }

    async fn signal(
        &self,
        sandbox: &Sandbox,
        container: &Container,
        signal: i32,
        all: bool,
    ) -> Result<(), CriError> {
        let request = Request::Kill {
            id: container.id.clone(),
            signal,
            all,
        };
        match sandbox.shim.call(&request, &[]).await {
            // Whatever ran has died with its shim; the monitor says so.
            Ok(_) | Err(ShimError::Gone(_)) => Ok(()),
            Err(error) => Err(CriError::internal(format!(
                "failed to signal container {:?}: {error}",
                container.id
            ))),
        }
    }

    async fn kill_container(
        &self,
        sandbox: &Sandbox,
        container: &Container,
    ) -> Result<(), CriError> {
        self.signal(sandbox, container, Signal::KILL.as_raw(), true)
            .await?;
        timeout(DEATH_PATIENCE, container.ended())
            .await
            .map_err(|_| {
                CriError::deadline(format!(
                    "an error occurs during waiting for container {:?} to be killed",
                    container.id
                ))
            })
    }

    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        let Some(container) = self.container(id) else {
            return Ok(());
        };
        self.remove_container_by_force(&container).await
    }

    pub(crate) async fn remove_container_by_force(
        &self,
        container: &Arc<Container>,
    ) -> Result<(), CriError> {
        let _busy = container.busy.lock().await;
        let record = container.record();
        let sandbox = self.sandbox(&record.sandbox_id);
        if let Some(sandbox) = &sandbox {
            if container.is_running() {
                self.kill_container(sandbox, container).await?;
            }
            let _ = sandbox
                .shim
                .call(
                    &Request::Forget {
                        id: container.id.clone(),
                    },
                    &[],
                )
                .await;
        }
        let cgroup = self
            .cgroup(&record.cgroup)
            .map_err(internal("find the cgroup"))?;
        remove_cgroup(cgroup)
            .await
            .map_err(internal("remove the container's cgroup"))?;
        let dir = container.dir.clone();
        tokio::task::spawn_blocking(move || dir.remove())
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(internal("remove the container's directory"))?;
        self.forget_container(&container.id);
        if let Some(sandbox) = &sandbox {
            self.announce(
                sandbox,
                &container.id,
                ContainerEventType::ContainerDeletedEvent,
            );
        }
        Ok(())
    }

    pub(crate) async fn update_container(
        &self,
        id: &str,
        resources: &v1::LinuxContainerResources,
    ) -> Result<(), CriError> {
        let container = self.require_container(id)?;
        let _busy = container.busy.lock().await;
        let cgroup = self
            .cgroup(&container.record().cgroup)
            .map_err(internal("find the container's cgroup"))?;
        match container.state() {
            ContainerState::Running(_) => cgroup
                .apply(&container_spec::resources(resources))
                .map_err(internal("failed to update resources"))?,
            ContainerState::Created => {}
            ContainerState::Exited(..) => {
                return Err(CriError::precondition(format!(
                    "container {:?} has exited",
                    container.id
                )));
            }
        }
        container
            .dir
            .save_config(&merged(&container, resources))
            .map_err(internal("record the container"))
    }

    pub(crate) async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        let container = self.require_container(id)?;
        if !container.is_running() {
            return Err(CriError::precondition("container is not running"));
        }
        let sandbox = self.require_sandbox(&container.record().sandbox_id)?;
        let request = Request::ReopenLog {
            id: container.id.clone(),
        };
        sandbox
            .shim
            .call(&request, &[])
            .await
            .map(drop)
            .map_err(|error| CriError::internal(format!("failed to reopen container log: {error}")))
    }

    pub(crate) fn container_status(&self, container: &Container) -> ContainerStatus {
        let record = container.record();
        let config = &container.config;
        let mut status = ContainerStatus {
            id: container.id.clone(),
            metadata: config.metadata.clone(),
            created_at: record.created_at,
            image: config.image.clone(),
            image_ref: record.image_ref.clone(),
            image_id: record.image_id.to_string(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: record
                .log_path
                .map(|p| p.display().to_string())
                .unwrap_or_default(),
            resources: config
                .linux
                .as_ref()
                .and_then(|linux| linux.resources.clone())
                .map(|linux| ContainerResources { linux: Some(linux) }),
            stop_signal: config.stop_signal,
            ..ContainerStatus::default()
        };
        let (state, started, exit) = match container.state() {
            ContainerState::Created => (v1::ContainerState::ContainerCreated, None, None),
            ContainerState::Running(started) => {
                (v1::ContainerState::ContainerRunning, Some(started), None)
            }
            ContainerState::Exited(started, exit) => {
                (v1::ContainerState::ContainerExited, started, Some(exit))
            }
        };
        status.state = state.into();
        if let Some(started) = started {
            status.started_at = started.at;
            status.user = Some(ContainerUser {
                linux: Some(LinuxContainerUser {
                    uid: started.user.uid.into(),
                    gid: started.user.gid.into(),
                    supplemental_groups: started.user.groups.iter().map(|g| (*g).into()).collect(),
                }),
            });
        }
        if let Some(exit) = exit {
            status.finished_at = exit.finished_at;
            status.exit_code = exit.exit_code;
            status.reason = match (&record.failure, exit) {
                (Some(_), _) => "StartError",
                (
                    None,
                    ExitRecord {
                        oom_killed: true, ..
                    },
                ) => "OOMKilled",
                (None, ExitRecord { exit_code: 0, .. }) => "Completed",
                (None, _) => "Error",
            }
            .to_owned();
            status.message = record.failure.unwrap_or_default();
        }
        status
    }

    pub(crate) fn container_item(&self, container: &Container) -> ContainerItem {
        let status = self.container_status(container);
        ContainerItem {
            id: status.id,
            pod_sandbox_id: container.record().sandbox_id,
            metadata: status.metadata,
            image: status.image,
            image_ref: status.image_ref,
            state: status.state,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
            image_id: status.image_id,
        }
    }
}

fn prepare_cgroup(cgroup: &Cgroup, container: &Container) -> io::Result<()> {
    cgroup.create()?;
    let linux = container.config.linux.clone().unwrap_or_default();
    if let Some(resources) = &linux.resources {
        cgroup.apply(&container_spec::resources(resources))?;
    }
    let privileged = linux
        .security_context
        .is_some_and(|context| context.privileged);
    let rules = if privileged {
        vec![DeviceRule::ALL]
    } else {
        container_spec::device_rules(&container.config)?
    };
    match cgroup.restrict_devices(&rules) {
        // A node nested in a container may not have the controller; it then has no devices to protect either.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        result => result,
    }
}

async fn remove_cgroup(cgroup: Cgroup) -> io::Result<()> {
    tokio::task::spawn_blocking(move || {
        cgroup.kill()?;
        cgroup.remove()
    })
    .await
    .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What `imageRef` says: the name with the digest that it was pulled by, else the id.
fn image_reference(name: &str, record: &crate::images::ImageRecord) -> String {
    let repository = Reference::parse(name)
        .map(|reference| reference.name())
        .ok();
    let same = |digest: &&String| {
        repository
            .as_deref()
            .is_some_and(|name| digest.split('@').next() == Some(name))
    };
    let found = record.digests.iter().find(same).or(record.digests.first());
    found.cloned().unwrap_or_else(|| record.id.to_string())
}

/// The configuration with changed limits: zero and empty leave a value as it was.
fn merged(container: &Container, change: &v1::LinuxContainerResources) -> ContainerConfig {
    let mut config = container.config.clone();
    let linux = config.linux.get_or_insert_default();
    let old = linux.resources.get_or_insert_default();
    let number = |old: &mut i64, new: i64| {
        if new != 0 {
            *old = new;
        }
    };
    number(&mut old.cpu_period, change.cpu_period);
    number(&mut old.cpu_quota, change.cpu_quota);
    number(&mut old.cpu_shares, change.cpu_shares);
    number(&mut old.memory_limit_in_bytes, change.memory_limit_in_bytes);
    number(
        &mut old.memory_swap_limit_in_bytes,
        change.memory_swap_limit_in_bytes,
    );
    for (old, new) in [
        (&mut old.cpuset_cpus, &change.cpuset_cpus),
        (&mut old.cpuset_mems, &change.cpuset_mems),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    old.unified.extend(change.unified.clone());
    config
}
