//! A runtime in memory, for tests of what stands on CRI: containers are rows of a table, and an image's name says how they behave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use base::Clock;
use cri::{ContainerEvents, CriError, ImageService, Result, RuntimeService, v1::*};
use tokio::sync::mpsc;

/// Image of containers that run until they are stopped.
pub(crate) const RUNS: &str = "example.com/runs:1";
/// Image of containers that end at once with success.
pub(crate) const SUCCEEDS: &str = "example.com/succeeds:1";
/// Image of containers that end at once with 1.
pub(crate) const FAILS: &str = "example.com/fails:1";
/// Image that no registry has.
pub(crate) const MISSING: &str = "example.com/missing:1";

#[derive(Clone)]
pub(crate) struct FakeSandbox {
    pub(crate) config: PodSandboxConfig,
    pub(crate) ready: bool,
    created_at: i64,
}

#[derive(Clone)]
pub(crate) struct FakeContainer {
    pub(crate) sandbox: String,
    pub(crate) config: ContainerConfig,
    pub(crate) state: ContainerState,
    pub(crate) exit_code: i32,
    times: [i64; 3],
}

#[derive(Default)]
pub(crate) struct State {
    next: u32,
    pub(crate) sandboxes: BTreeMap<String, FakeSandbox>,
    pub(crate) containers: BTreeMap<String, FakeContainer>,
    subscribers: Vec<mpsc::Sender<ContainerEventResponse>>,
    /// What was called, as `start web`, in order.
    pub(crate) calls: Vec<String>,
    /// How often the containers were looked at.
    pub(crate) looks: usize,
    /// How often an image was pulled.
    pub(crate) pulls: usize,
}

/// The runtime. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct FakeRuntime {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl FakeRuntime {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).unwrap()
    }

    /// Ends the newest running container of that name.
    pub(crate) fn exit(&self, name: &str, code: i32) {
        let now = self.now();
        let mut state = self.state();
        let found = state.containers.iter_mut().rev().find(|(_, container)| {
            container.state == ContainerState::ContainerRunning
                && container.config.metadata.as_ref().unwrap().name == name
        });
        let (id, container) = found.expect("a running container of that name");
        container.state = ContainerState::ContainerExited;
        container.exit_code = code;
        container.times[2] = now;
        let id = id.clone();
        Self::publish(&mut state, &id);
    }

    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.state();
        let running = state
            .containers
            .values()
            .filter(|c| c.state == ContainerState::ContainerRunning);
        running
            .map(|c| c.config.metadata.as_ref().unwrap().name.clone())
            .collect()
    }

    fn publish(state: &mut State, container_id: &str) {
        let sandbox = &state.containers[container_id].sandbox;
        let Some(sandbox) = state.sandboxes.get(sandbox) else {
            return;
        };
        let event = ContainerEventResponse {
            container_id: container_id.to_owned(),
            pod_sandbox_status: Some(PodSandboxStatus {
                metadata: sandbox.config.metadata.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        state
            .subscribers
            .retain(|subscriber| subscriber.try_send(event.clone()).is_ok());
    }
}

fn name(container: &FakeContainer) -> &str {
    &container.config.metadata.as_ref().unwrap().name
}

fn selected(
    labels: &std::collections::HashMap<String, String>,
    selector: &std::collections::HashMap<String, String>,
) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    async fn version(&self, _: VersionRequest) -> Result<VersionResponse> {
        Ok(VersionResponse {
            runtime_name: "fake".to_owned(),
            runtime_version: "1".to_owned(),
            ..Default::default()
        })
    }

    async fn run_pod_sandbox(
        &self,
        request: RunPodSandboxRequest,
    ) -> Result<RunPodSandboxResponse> {
        let created_at = self.now();
        let mut state = self.state();
        state.next += 1;
        let id = format!("sandbox-{:04}", state.next);
        let config = request.config.unwrap();
        state.calls.push(format!(
            "sandbox {}",
            config.metadata.as_ref().unwrap().attempt
        ));
        state.sandboxes.insert(
            id.clone(),
            FakeSandbox {
                config,
                ready: true,
                created_at,
            },
        );
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: StopPodSandboxRequest,
    ) -> Result<StopPodSandboxResponse> {
        let now = self.now();
        let mut state = self.state();
        if let Some(sandbox) = state.sandboxes.get_mut(&request.pod_sandbox_id) {
            sandbox.ready = false;
        }
        for container in state
            .containers
            .values_mut()
            .filter(|c| c.sandbox == request.pod_sandbox_id)
        {
            if container.state == ContainerState::ContainerRunning {
                container.state = ContainerState::ContainerExited;
                container.exit_code = 137;
                container.times[2] = now;
            }
        }
        state.calls.push("stop sandbox".to_owned());
        Ok(StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: RemovePodSandboxRequest,
    ) -> Result<RemovePodSandboxResponse> {
        self.state().sandboxes.remove(&request.pod_sandbox_id);
        Ok(RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: PodSandboxStatusRequest,
    ) -> Result<PodSandboxStatusResponse> {
        let state = self.state();
        let id = request.pod_sandbox_id;
        let sandbox = state
            .sandboxes
            .get(&id)
            .ok_or_else(|| CriError::not_found(id.clone()))?;
        let network = PodSandboxNetworkStatus {
            ip: "10.0.0.1".to_owned(),
            ..Default::default()
        };
        let status = PodSandboxStatus {
            id,
            metadata: sandbox.config.metadata.clone(),
            state: i32::from(!sandbox.ready),
            created_at: sandbox.created_at,
            network: Some(network),
            ..Default::default()
        };
        Ok(PodSandboxStatusResponse {
            status: Some(status),
            ..Default::default()
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: ListPodSandboxRequest,
    ) -> Result<ListPodSandboxResponse> {
        let selector = request.filter.unwrap_or_default().label_selector;
        let state = self.state();
        let found = state
            .sandboxes
            .iter()
            .filter(|(_, sandbox)| selected(&sandbox.config.labels, &selector));
        let items = found
            .map(|(id, sandbox)| PodSandbox {
                id: id.clone(),
                metadata: sandbox.config.metadata.clone(),
                state: i32::from(!sandbox.ready),
                created_at: sandbox.created_at,
                labels: sandbox.config.labels.clone(),
                ..Default::default()
            })
            .collect();
        Ok(ListPodSandboxResponse { items })
    }

    async fn create_container(
        &self,
        request: CreateContainerRequest,
    ) -> Result<CreateContainerResponse> {
        let now = self.now();
        let mut state = self.state();
        state.next += 1;
        let id = format!("container-{:04}", state.next);
        let container = FakeContainer {
            sandbox: request.pod_sandbox_id,
            config: request.config.unwrap(),
            state: ContainerState::ContainerCreated,
            exit_code: 0,
            // Two made at the same moment of a manual clock are still one after the other.
            times: [now + i64::from(state.next), 0, 0],
        };
        state.containers.insert(id.clone(), container);
        Ok(CreateContainerResponse { container_id: id })
    }

    async fn start_container(
        &self,
        request: StartContainerRequest,
    ) -> Result<StartContainerResponse> {
        let now = self.now();
        let mut state = self.state();
        let id = request.container_id;
        let container = state
            .containers
            .get_mut(&id)
            .ok_or_else(|| CriError::not_found(id.clone()))?;
        container.times[1] = now;
        container.state = ContainerState::ContainerRunning;
        let image = container
            .config
            .image
            .clone()
            .unwrap_or_default()
            .user_specified_image;
        if let Some(code) = [SUCCEEDS, FAILS].iter().position(|ending| *ending == image) {
            container.state = ContainerState::ContainerExited;
            container.exit_code = i32::try_from(code).unwrap();
            container.times[2] = now;
        }
        let call = format!("start {}", name(container));
        state.calls.push(call);
        Self::publish(&mut state, &id);
        Ok(StartContainerResponse {})
    }

    async fn stop_container(&self, request: StopContainerRequest) -> Result<StopContainerResponse> {
        let now = self.now();
        let mut state = self.state();
        let Some(container) = state.containers.get_mut(&request.container_id) else {
            return Ok(StopContainerResponse {});
        };
        if container.state == ContainerState::ContainerRunning {
            container.state = ContainerState::ContainerExited;
            container.exit_code = 143;
            container.times[2] = now;
        }
        let call = format!("stop {} {}", name(container), request.timeout);
        state.calls.push(call);
        Self::publish(&mut state, &request.container_id);
        Ok(StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: RemoveContainerRequest,
    ) -> Result<RemoveContainerResponse> {
        self.state().containers.remove(&request.container_id);
        Ok(RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: ListContainersRequest,
    ) -> Result<ListContainersResponse> {
        let selector = request.filter.unwrap_or_default().label_selector;
        let mut state = self.state();
        state.looks += 1;
        let found = state
            .containers
            .iter()
            .filter(|(_, container)| selected(&container.config.labels, &selector));
        let containers = found
            .map(|(id, container)| Container {
                id: id.clone(),
                pod_sandbox_id: container.sandbox.clone(),
                metadata: container.config.metadata.clone(),
                state: container.state as i32,
                created_at: container.times[0],
                labels: container.config.labels.clone(),
                image_id: container.config.image.clone().unwrap_or_default().image,
                ..Default::default()
            })
            .collect();
        Ok(ListContainersResponse { containers })
    }

    async fn container_status(
        &self,
        request: ContainerStatusRequest,
    ) -> Result<ContainerStatusResponse> {
        let state = self.state();
        let id = request.container_id;
        let container = state
            .containers
            .get(&id)
            .ok_or_else(|| CriError::not_found(id.clone()))?;
        let status = ContainerStatus {
            id,
            metadata: container.config.metadata.clone(),
            state: container.state as i32,
            created_at: container.times[0],
            started_at: container.times[1],
            finished_at: container.times[2],
            exit_code: container.exit_code,
            image: container.config.image.clone(),
            image_id: "sha256:1".to_owned(),
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            mounts: container.config.mounts.clone(),
            ..Default::default()
        };
        Ok(ContainerStatusResponse {
            status: Some(status),
            ..Default::default()
        })
    }

    async fn update_container_resources(
        &self,
        _: UpdateContainerResourcesRequest,
    ) -> Result<UpdateContainerResourcesResponse> {
        Ok(UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> Result<ReopenContainerLogResponse> {
        self.state()
            .calls
            .push(format!("reopen {}", request.container_id));
        Ok(ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse> {
        self.state()
            .calls
            .push(format!("exec {}", request.cmd.join(" ")));
        let exit_code = i32::from(
            request
                .cmd
                .first()
                .is_some_and(|command| command == "false"),
        );
        Ok(ExecSyncResponse {
            exit_code,
            ..Default::default()
        })
    }

    async fn container_stats(&self, _: ContainerStatsRequest) -> Result<ContainerStatsResponse> {
        Ok(ContainerStatsResponse::default())
    }

    async fn list_container_stats(
        &self,
        _: ListContainerStatsRequest,
    ) -> Result<ListContainerStatsResponse> {
        Ok(ListContainerStatsResponse::default())
    }

    async fn pod_sandbox_stats(
        &self,
        _: PodSandboxStatsRequest,
    ) -> Result<PodSandboxStatsResponse> {
        Ok(PodSandboxStatsResponse::default())
    }

    async fn list_pod_sandbox_stats(
        &self,
        _: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse> {
        Ok(ListPodSandboxStatsResponse::default())
    }

    async fn update_runtime_config(
        &self,
        _: UpdateRuntimeConfigRequest,
    ) -> Result<UpdateRuntimeConfigResponse> {
        Ok(UpdateRuntimeConfigResponse {})
    }

    async fn update_pod_sandbox_resources(
        &self,
        _: UpdatePodSandboxResourcesRequest,
    ) -> Result<UpdatePodSandboxResourcesResponse> {
        Ok(UpdatePodSandboxResourcesResponse {})
    }

    async fn status(&self, _: StatusRequest) -> Result<StatusResponse> {
        let conditions = ["RuntimeReady", "NetworkReady"].map(|type_| RuntimeCondition {
            r#type: type_.to_owned(),
            status: true,
            ..Default::default()
        });
        let status = RuntimeStatus {
            conditions: conditions.to_vec(),
        };
        Ok(StatusResponse {
            status: Some(status),
            ..Default::default()
        })
    }

    async fn runtime_config(&self, _: RuntimeConfigRequest) -> Result<RuntimeConfigResponse> {
        Ok(RuntimeConfigResponse::default())
    }

    async fn container_events(&self) -> Result<ContainerEvents> {
        let (sender, receiver) = mpsc::channel(256);
        self.state().subscribers.push(sender);
        Ok(receiver)
    }
}

#[async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(&self, _: ListImagesRequest) -> Result<ListImagesResponse> {
        Ok(ListImagesResponse::default())
    }

    async fn image_status(&self, request: ImageStatusRequest) -> Result<ImageStatusResponse> {
        let spec = request.image.unwrap_or_default();
        let image = (spec.image != MISSING).then(|| Image {
            id: "sha256:1".to_owned(),
            ..Default::default()
        });
        Ok(ImageStatusResponse {
            image,
            ..Default::default()
        })
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse> {
        self.state().pulls += 1;
        Err(CriError::not_found(format!(
            "{}: not found",
            request.image.unwrap_or_default().image
        )))
    }

    async fn remove_image(&self, _: RemoveImageRequest) -> Result<RemoveImageResponse> {
        Ok(RemoveImageResponse {})
    }

    async fn image_fs_info(&self, _: ImageFsInfoRequest) -> Result<ImageFsInfoResponse> {
        Ok(ImageFsInfoResponse::default())
    }
}

#[async_trait]
impl cri::Streaming for FakeRuntime {
    async fn exec(&self, _: ExecRequest) -> Result<cri::ExecSession> {
        Err(CriError::precondition("no streams here"))
    }

    async fn attach(&self, _: AttachRequest) -> Result<cri::ExecSession> {
        Err(CriError::precondition("no streams here"))
    }

    async fn port_forward(&self, _: &str, _: u16) -> Result<cri::BoxDuplex> {
        Err(CriError::precondition("no streams here"))
    }
}
