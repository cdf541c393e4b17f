//! `/containerLogs/NAMESPACE/POD/CONTAINER`: the log of a container's newest run, or of the one before it.

mod cri_line;
mod exit;
mod options;
mod reader;
mod tail;
mod watch;

use futures_util::stream;
use http::Response;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{
    body::{self, Body, Refusal},
    query::Query,
    router::Router,
};
use crate::{
    observed::{ContainerState, ObservedContainer},
    pod::find_container,
};

use options::LogOptions;
use reader::LogReader;

/// Streams the log; ends when the container has ended, or at the end of the file without `follow`.
pub(super) async fn serve(
    router: &Router,
    namespace: &str,
    pod_name: &str,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let options = LogOptions::parse(query, jiff::Timestamp::now())?;
    let pod = router
        .host
        .pod(namespace, pod_name)
        .ok_or_else(|| Refusal::not_found(format!("pod {pod_name:?} does not exist\n")))?;
    if find_container(&pod, container).is_none() {
        let message = format!("container {container:?} not found in pod {pod_name:?}\n");
        return Err(Refusal::not_found(message));
    }
    let run = router
        .host
        .container(&pod, container, options.previous)
        .await
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let run = run.ok_or_else(|| no_log(&pod, pod_name, container, options.previous))?;
    let reader = open(router, &run, options)
        .await
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let chunks = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await.transpose()?;
        Some((chunk, reader))
    });
    Ok(body::ok("text/plain", body::stream(chunks)))
}

async fn open(
    router: &Router,
    run: &ObservedContainer,
    options: LogOptions,
) -> std::io::Result<LogReader> {
    let lives = matches!(run.state, ContainerState::Created | ContainerState::Running);
    let follow = options.follow && lives;
    let ended = follow.then(|| exit::ended(router.host.runtime().clone(), run.id.clone()));
    LogReader::open(run.log_path.as_ref(), options, ended).await
}

/// Why there is no log yet, in upstream's words.
fn no_log(pod: &Pod, pod_name: &str, container: &str, previous: bool) -> Refusal {
    if previous {
        let message =
            format!("previous terminated container {container:?} in pod {pod_name:?} not found");
        return Refusal::bad_request(message);
    }
    let status = status_of(pod, container);
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
    let message = match (
        status,
        waiting.and_then(|waiting| waiting.reason.as_deref()),
    ) {
        (None, _) => format!("container {container:?} in pod {pod_name:?} is not available"),
        (_, Some("ErrImagePull")) => format!(
            "container {container:?} in pod {pod_name:?} is waiting to start: image can't be pulled"
        ),
        (_, Some("ImagePullBackOff")) => format!(
            "container {container:?} in pod {pod_name:?} is waiting to start: trying and failing to pull image"
        ),
        (_, Some(reason)) => {
            format!("container {container:?} in pod {pod_name:?} is waiting to start: {reason}")
        }
        (_, None) => {
            format!("container {container:?} in pod {pod_name:?} is waiting to start - no logs yet")
        }
    };
    Refusal::bad_request(message)
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .flat_map(|statuses| statuses.iter().flatten())
    .find(|status| status.name == container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_a_log_says_why() {
        let pod = |reason: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "status": {"containerStatuses": [{
                    "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": reason}},
                }]},
            }))
            .unwrap()
        };
        for (reason, expected) in [
            (
                "ContainerCreating",
                "container \"c\" in pod \"p\" is waiting to start: ContainerCreating",
            ),
            (
                "ErrImagePull",
                "container \"c\" in pod \"p\" is waiting to start: image can't be pulled",
            ),
            (
                "ImagePullBackOff",
                "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image",
            ),
        ] {
            assert_eq!(no_log(&pod(reason), "p", "c", false).message, expected);
        }
        let previous = no_log(&pod("x"), "p", "c", true);
        assert_eq!(
            previous.message,
            "previous terminated container \"c\" in pod \"p\" not found"
        );
        assert_eq!(
            no_log(&pod("x"), "p", "d", false).message,
            "container \"d\" in pod \"p\" is not available"
        );
    }
}
