//! The runtime's services with a watch in the hand: how often the kubelet calls them, how long they take and how often they fail, under
//! upstream's names (`kubelet_runtime_operations_*`). The longest bucket is twelve minutes, as there.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use base::metrics::{Counter, Histogram, Registry};
use cri::{ContainerEvents, ImageService, Result, RuntimeService, v1::*};

/// Five milliseconds, and fourteen times two and a half as much.
const SECONDS: &[f64] = &[
    0.005,
    0.0125,
    0.03125,
    0.078125,
    0.1953125,
    0.48828125,
    1.220703125,
    3.0517578125,
    7.62939453125,
    19.073486328125,
    47.6837158203125,
    119.20928955078125,
    298.0232238769531,
    745.0580596923828,
];

/// What is known of all calls, by operation.
#[derive(Clone)]
pub(crate) struct Operations {
    calls: Counter,
    errors: Counter,
    seconds: Histogram,
}

impl Operations {
    pub(crate) fn new(registry: &Registry) -> Self {
        let by_operation = &["operation_type"];
        Self {
            calls: registry.counter(
                "kubelet_runtime_operations_total",
                "[ALPHA] Cumulative number of runtime operations by operation type.",
                by_operation,
            ),
            errors: registry.counter(
                "kubelet_runtime_operations_errors_total",
                "[ALPHA] Cumulative number of runtime operation errors by operation type.",
                by_operation,
            ),
            seconds: registry.histogram(
                "kubelet_runtime_operations_duration_seconds",
                "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
                by_operation,
                SECONDS,
            ),
        }
    }

    /// The same service, with every call of it counted.
    pub(crate) fn of_runtime(&self, service: Arc<dyn RuntimeService>) -> Arc<dyn RuntimeService> {
        Arc::new(Instrumented {
            service,
            operations: self.clone(),
        })
    }

    /// The same.
    pub(crate) fn of_images(&self, service: Arc<dyn ImageService>) -> Arc<dyn ImageService> {
        Arc::new(Instrumented {
            service,
            operations: self.clone(),
        })
    }

    async fn timed<T>(&self, operation: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        let outcome = call.await;
        self.seconds
            .observe(&[operation], start.elapsed().as_secs_f64());
        self.calls.increment(&[operation]);
        if outcome.is_err() {
            self.errors.increment(&[operation]);
        }
        outcome
    }
}

struct Instrumented<S: ?Sized> {
    service: Arc<S>,
    operations: Operations,
}

/// An implementation that passes every call on; `more` is what has no request.
macro_rules! instrumented {
    ($service:ident { $($method:ident($request:ty) -> $response:ty: $operation:literal,)* } $($more:tt)*) => {
        #[async_trait]
        impl $service for Instrumented<dyn $service> {
            $(
                async fn $method(&self, request: $request) -> Result<$response> {
                    self.operations.timed($operation, self.service.$method(request)).await
                }
            )*
            $($more)*
        }
    };
}

instrumented! {
    RuntimeService {
        version(VersionRequest) -> VersionResponse: "version",
        run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse: "run_podsandbox",
        stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse: "stop_podsandbox",
        remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse: "remove_podsandbox",
        pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse: "podsandbox_status",
        list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse: "list_podsandbox",
        create_container(CreateContainerRequest) -> CreateContainerResponse: "create_container",
        start_container(StartContainerRequest) -> StartContainerResponse: "start_container",
        stop_container(StopContainerRequest) -> StopContainerResponse: "stop_container",
        remove_container(RemoveContainerRequest) -> RemoveContainerResponse: "remove_container",
        list_containers(ListContainersRequest) -> ListContainersResponse: "list_containers",
        container_status(ContainerStatusRequest) -> ContainerStatusResponse: "container_status",
        update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse: "update_container",
        reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse: "reopen_container_log",
        exec_sync(ExecSyncRequest) -> ExecSyncResponse: "exec_sync",
        container_stats(ContainerStatsRequest) -> ContainerStatsResponse: "container_stats",
        list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse: "list_container_stats",
        pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse: "podsandbox_stats",
        list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse: "list_podsandbox_stats",
        update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse: "update_runtime_config",
        update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse: "update_podsandbox_resources",
        status(StatusRequest) -> StatusResponse: "status",
        runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse: "runtime_config",
    }

    async fn container_events(&self) -> Result<ContainerEvents> {
        self.operations.timed("get_container_events", self.service.container_events()).await
    }
}

instrumented! {
    ImageService {
        list_images(ListImagesRequest) -> ListImagesResponse: "list_images",
        image_status(ImageStatusRequest) -> ImageStatusResponse: "image_status",
        pull_image(PullImageRequest) -> PullImageResponse: "pull_image",
        remove_image(RemoveImageRequest) -> RemoveImageResponse: "remove_image",
        image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse: "image_fs_info",
    }
}
