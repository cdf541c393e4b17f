//! The CRI's `RuntimeService`, call by call: filters and shapes here, the work in the files named after what it is done to.

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use cri::{Code, ContainerEvents, CriError, Result, RuntimeService, v1::*};

use crate::runtime::{self, Runtime};

fn matches_labels(labels: &HashMap<String, String>, wanted: &HashMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn matches_id(id: &str, wanted: &str) -> bool {
    wanted.is_empty() || id.starts_with(wanted)
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: VersionRequest) -> Result<VersionResponse> {
        Ok(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "ironclad".to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn run_pod_sandbox(
        &self,
        request: RunPodSandboxRequest,
    ) -> Result<RunPodSandboxResponse> {
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("sandbox config must be given"))?;
        let pod_sandbox_id = self.run_sandbox(config, request.runtime_handler).await?;
        Ok(RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: StopPodSandboxRequest,
    ) -> Result<StopPodSandboxResponse> {
        if let Some(sandbox) = self.sandbox(&request.pod_sandbox_id) {
            self.stop_sandbox(&sandbox).await?;
        }
        Ok(StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: RemovePodSandboxRequest,
    ) -> Result<RemovePodSandboxResponse> {
        self.remove_sandbox(&request.pod_sandbox_id).await?;
        Ok(RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: PodSandboxStatusRequest,
    ) -> Result<PodSandboxStatusResponse> {
        let sandbox = self.require_sandbox(&request.pod_sandbox_id)?;
        let mut info = HashMap::new();
        if request.verbose {
            info.insert("pid".to_owned(), sandbox.pid().to_string());
        }
        let containers = self.containers_of(&sandbox.id);
        Ok(PodSandboxStatusResponse {
            status: Some(self.sandbox_status(&sandbox)),
            info,
            containers_statuses: containers
                .iter()
                .map(|c| self.container_status(c))
                .collect(),
            timestamp: self.now(),
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: ListPodSandboxRequest,
    ) -> Result<ListPodSandboxResponse> {
        let filter = request.filter.unwrap_or_default();
        let mut items: Vec<PodSandbox> = self
            .sandboxes()
            .iter()
            .map(|sandbox| self.sandbox_item(sandbox))
            .collect();
        items.retain(|item| {
            matches_id(&item.id, &filter.id)
                && filter.state.is_none_or(|wanted| wanted.state == item.state)
                && matches_labels(&item.labels, &filter.label_selector)
        });
        Ok(ListPodSandboxResponse { items })
    }

    async fn create_container(
        &self,
        request: CreateContainerRequest,
    ) -> Result<CreateContainerResponse> {
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("container config must be given"))?;
        let container_id = Runtime::create_container(self, &request.pod_sandbox_id, config).await?;
        Ok(CreateContainerResponse { container_id })
    }

    async fn start_container(
        &self,
        request: StartContainerRequest,
    ) -> Result<StartContainerResponse> {
        Runtime::start_container(self, &request.container_id).await?;
        Ok(StartContainerResponse {})
    }

    async fn stop_container(&self, request: StopContainerRequest) -> Result<StopContainerResponse> {
        Runtime::stop_container(self, &request.container_id, request.timeout).await?;
        Ok(StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: RemoveContainerRequest,
    ) -> Result<RemoveContainerResponse> {
        Runtime::remove_container(self, &request.container_id).await?;
        Ok(RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: ListContainersRequest,
    ) -> Result<ListContainersResponse> {
        let filter = request.filter.unwrap_or_default();
        let mut containers: Vec<Container> = self
            .containers()
            .iter()
            .map(|container| self.container_item(container))
            .collect();
        containers.retain(|item| {
            matches_id(&item.id, &filter.id)
                && matches_id(&item.pod_sandbox_id, &filter.pod_sandbox_id)
                && filter.state.is_none_or(|wanted| wanted.state == item.state)
                && matches_labels(&item.labels, &filter.label_selector)
        });
        Ok(ListContainersResponse { containers })
    }

    async fn container_status(
        &self,
        request: ContainerStatusRequest,
    ) -> Result<ContainerStatusResponse> {
        let container = self.require_container(&request.container_id)?;
        let mut info = HashMap::new();
        if request.verbose
            && let runtime::ContainerState::Running(started) = container.state()
        {
            info.insert("pid".to_owned(), started.pid.to_string());
        }
        Ok(ContainerStatusResponse {
            status: Some(Runtime::container_status(self, &container)),
            info,
        })
    }

    async fn update_container_resources(
        &self,
        request: UpdateContainerResourcesRequest,
    ) -> Result<UpdateContainerResourcesResponse> {
        if let Some(linux) = &request.linux {
            self.update_container(&request.container_id, linux).await?;
        }
        Ok(UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> Result<ReopenContainerLogResponse> {
        self.reopen_log(&request.container_id).await?;
        Ok(ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse> {
        self.exec_to_end(request).await
    }

    async fn container_stats(
        &self,
        request: ContainerStatsRequest,
    ) -> Result<ContainerStatsResponse> {
        let container = self.require_container(&request.container_id)?;
        Ok(ContainerStatsResponse {
            stats: Some(self.stats_of(&container).await),
        })
    }

    async fn list_container_stats(
        &self,
        request: ListContainerStatsRequest,
    ) -> Result<ListContainerStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let mut stats = Vec::new();
        for container in self.containers() {
            if container.is_running()
                && matches_id(&container.id, &filter.id)
                && matches_id(&container.record().sandbox_id, &filter.pod_sandbox_id)
                && matches_labels(&container.config.labels, &filter.label_selector)
            {
                stats.push(self.stats_of(&container).await);
            }
        }
        Ok(ListContainerStatsResponse { stats })
    }

    async fn pod_sandbox_stats(
        &self,
        request: PodSandboxStatsRequest,
    ) -> Result<PodSandboxStatsResponse> {
        let sandbox = self.require_sandbox(&request.pod_sandbox_id)?;
        Ok(PodSandboxStatsResponse {
            stats: Some(self.sandbox_stats(&sandbox).await?),
        })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let mut stats = Vec::new();
        for sandbox in self.sandboxes() {
            if sandbox.is_ready()
                && matches_id(&sandbox.id, &filter.id)
                && matches_labels(&sandbox.config.labels, &filter.label_selector)
            {
                stats.push(self.sandbox_stats(&sandbox).await?);
            }
        }
        Ok(ListPodSandboxStatsResponse { stats })
    }

    async fn update_runtime_config(
        &self,
        request: UpdateRuntimeConfigRequest,
    ) -> Result<UpdateRuntimeConfigResponse> {
        let network = request
            .runtime_config
            .and_then(|config| config.network_config);
        if let Some(network) = network.filter(|network| !network.pod_cidr.is_empty()) {
            self.0
                .config
                .network
                .set_pod_cidr(&network.pod_cidr)
                .await
                .map_err(|error| CriError::internal(error.to_string()).with_source(error))?;
        }
        Ok(UpdateRuntimeConfigResponse {})
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: UpdatePodSandboxResourcesRequest,
    ) -> Result<UpdatePodSandboxResourcesResponse> {
        // The kubelet has set the pod's cgroup; nothing of ours hangs on its limits.
        self.require_sandbox(&request.pod_sandbox_id)?;
        Ok(UpdatePodSandboxResourcesResponse {})
    }

    async fn status(&self, request: StatusRequest) -> Result<StatusResponse> {
        let condition = |kind: &str, status, reason: &str, message: String| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
        };
        let network = match self.0.config.network.status().await {
            Ok(()) => condition("NetworkReady", true, "", String::new()),
            Err(error) => condition(
                "NetworkReady",
                false,
                "NetworkPluginNotReady",
                error.to_string(),
            ),
        };
        let mut info = HashMap::new();
        if request.verbose {
            info.insert("root".to_owned(), self.0.config.root.display().to_string());
        }
        let handler = |name: &str| RuntimeHandler {
            name: name.to_owned(),
            features: Some(RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: Path::new("/proc/self/ns/user").exists(),
            }),
        };
        Ok(StatusResponse {
            status: Some(RuntimeStatus {
                conditions: vec![condition("RuntimeReady", true, "", String::new()), network],
            }),
            info,
            runtime_handlers: vec![handler(""), handler("ironclad")],
            features: Some(RuntimeFeatures {
                supplemental_groups_policy: true,
                ..RuntimeFeatures::default()
            }),
        })
    }

    async fn runtime_config(&self, _: RuntimeConfigRequest) -> Result<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration {
            cgroup_driver: CgroupDriver::Cgroupfs.into(),
        };
        Ok(RuntimeConfigResponse { linux: Some(linux) })
    }

    async fn container_events(&self) -> Result<ContainerEvents> {
        if self.0.tasks.token().is_cancelled() {
            return Err(CriError::new(Code::Unavailable, "the runtime is stopping"));
        }
        Ok(self.0.events.subscribe())
    }
}
