//! The two services of the CRI as traits, one method a call, with the same messages.
//!
//! Left out are the calls that only make sense over a wire (`Exec`, `Attach`, `PortForward` answer a URL: see [`crate::Streaming`]).
//! Every call may be cancelled by dropping it; what it began is then finished or undone by the runtime, never left half.

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{error::Result, v1::*};

/// Changes of containers and sandboxes, in the order in which the runtime saw them. It ends when the receiver was too slow for its
/// bound or the runtime stops: subscribe anew, then list.
pub type ContainerEvents = mpsc::Receiver<ContainerEventResponse>;

/// Sandboxes and containers.
#[async_trait]
pub trait RuntimeService: Send + Sync {
    /// Name and version of the runtime.
    async fn version(&self, request: VersionRequest) -> Result<VersionResponse>;

    /// Makes a sandbox with its network, ready when the call returns. All or nothing.
    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest)
    -> Result<RunPodSandboxResponse>;

    /// Kills what still runs in the sandbox and gives its network back. Idempotent; a sandbox that is not there is no error.
    async fn stop_pod_sandbox(
        &self,
        request: StopPodSandboxRequest,
    ) -> Result<StopPodSandboxResponse>;

    /// Removes the sandbox and its containers, by force. Idempotent; a sandbox that is not there is no error.
    async fn remove_pod_sandbox(
        &self,
        request: RemovePodSandboxRequest,
    ) -> Result<RemovePodSandboxResponse>;

    /// State of one sandbox; `NotFound` if it is not there.
    async fn pod_sandbox_status(
        &self,
        request: PodSandboxStatusRequest,
    ) -> Result<PodSandboxStatusResponse>;

    /// Sandboxes that match the filter.
    async fn list_pod_sandbox(
        &self,
        request: ListPodSandboxRequest,
    ) -> Result<ListPodSandboxResponse>;

    /// Makes a container in a ready sandbox; its image must be there.
    async fn create_container(
        &self,
        request: CreateContainerRequest,
    ) -> Result<CreateContainerResponse>;

    /// Starts a created container: its process runs when the call returns.
    async fn start_container(
        &self,
        request: StartContainerRequest,
    ) -> Result<StartContainerResponse>;

    /// Sends the stop signal, waits `timeout` seconds, then kills. Idempotent; a container that is not there is no error.
    async fn stop_container(&self, request: StopContainerRequest) -> Result<StopContainerResponse>;

    /// Removes a container, by force. Idempotent; a container that is not there is no error.
    async fn remove_container(
        &self,
        request: RemoveContainerRequest,
    ) -> Result<RemoveContainerResponse>;

    /// Containers that match the filter.
    async fn list_containers(
        &self,
        request: ListContainersRequest,
    ) -> Result<ListContainersResponse>;

    /// State of one container; `NotFound` if it is not there.
    async fn container_status(
        &self,
        request: ContainerStatusRequest,
    ) -> Result<ContainerStatusResponse>;

    /// Changes limits of a created or running container.
    async fn update_container_resources(
        &self,
        request: UpdateContainerResourcesRequest,
    ) -> Result<UpdateContainerResourcesResponse>;

    /// Opens the log file anew, after the kubelet has renamed it.
    async fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> Result<ReopenContainerLogResponse>;

    /// Runs a command to its end; `DeadlineExceeded` after `timeout` seconds (0: none), the process is killed then. Output is bounded to 16 MiB each.
    async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse>;

    /// Use of resources by one container.
    async fn container_stats(
        &self,
        request: ContainerStatsRequest,
    ) -> Result<ContainerStatsResponse>;

    /// The same for all that match.
    async fn list_container_stats(
        &self,
        request: ListContainerStatsRequest,
    ) -> Result<ListContainerStatsResponse>;

    /// Use of resources by one pod.
    async fn pod_sandbox_stats(
        &self,
        request: PodSandboxStatsRequest,
    ) -> Result<PodSandboxStatsResponse>;

    /// The same for all that match.
    async fn list_pod_sandbox_stats(
        &self,
        request: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse>;

    /// Hands over what the kubelet learnt later: the pod CIDR.
    async fn update_runtime_config(
        &self,
        request: UpdateRuntimeConfigRequest,
    ) -> Result<UpdateRuntimeConfigResponse>;

    /// Tells that the pod's own limits have changed; the kubelet has set its cgroup already.
    async fn update_pod_sandbox_resources(
        &self,
        request: UpdatePodSandboxResourcesRequest,
    ) -> Result<UpdatePodSandboxResourcesResponse>;

    /// Conditions RuntimeReady and NetworkReady, and features.
    async fn status(&self, request: StatusRequest) -> Result<StatusResponse>;

    /// What the kubelet must do alike: the cgroup driver.
    async fn runtime_config(&self, request: RuntimeConfigRequest) -> Result<RuntimeConfigResponse>;

    /// Subscribes to changes from now on. Bounded; see [`ContainerEvents`].
    async fn container_events(&self) -> Result<ContainerEvents>;
}

/// Images.
#[async_trait]
pub trait ImageService: Send + Sync {
    /// Images that match the filter.
    async fn list_images(&self, request: ListImagesRequest) -> Result<ListImagesResponse>;

    /// One image; none (and no error) if it is not there.
    async fn image_status(&self, request: ImageStatusRequest) -> Result<ImageStatusResponse>;

    /// Fetches an image, verifies it, and answers its id.
    async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse>;

    /// Removes an image with all its names. Idempotent.
    async fn remove_image(&self, request: RemoveImageRequest) -> Result<RemoveImageResponse>;

    /// Use of the disk by images and by containers.
    async fn image_fs_info(&self, request: ImageFsInfoRequest) -> Result<ImageFsInfoResponse>;
}
