//! Waits until a container has ended, on the runtime's events.

use std::{sync::Arc, time::Duration};

use cri::{
    RuntimeService,
    v1::{ContainerEventType, ContainerState, ContainerStatusRequest},
};

/// After a broken subscription, or with a runtime that has no events.
const RETRY: Duration = Duration::from_secs(1);

/// Returns when the container runs no more, or is gone.
pub(super) async fn ended(runtime: Arc<dyn RuntimeService>, container_id: String) {
    loop {
        // Subscribed first: what happens between the two is in the events.
        let events = runtime.container_events().await;
        let request = ContainerStatusRequest {
            container_id: container_id.clone(),
            ..Default::default()
        };
        match runtime.container_status(request).await {
            Ok(answer) => {
                let lives = answer.status.is_some_and(|status| {
                    matches!(
                        status.state(),
                        ContainerState::ContainerCreated | ContainerState::ContainerRunning
                    )
                });
                if !lives {
                    return;
                }
            }
            Err(error) if error.is_not_found() => return,
            Err(error) => tracing::debug!(%error, "cannot look at a container"),
        }
        if let Ok(mut events) = events {
            while let Some(event) = events.recv().await {
                let is_end = matches!(
                    event.container_event_type(),
                    ContainerEventType::ContainerStoppedEvent
                        | ContainerEventType::ContainerDeletedEvent
                );
                if is_end && event.container_id == container_id {
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
