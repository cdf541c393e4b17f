//! Images of containers: there already, pulled now, or not to be had; with upstream's reasons and messages.

mod credentials;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use cri::{ImageService, v1};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use tokio::sync::Semaphore;

pub use credentials::Keyring;

use crate::{
    events::{EventKind, PodEvents},
    pod::{ContainerKind, uid},
    pod_worker::Backoff,
};

/// Back-off between pulls.
const INITIAL_BACK_OFF: SignedDuration = SignedDuration::from_secs(10);
const MAX_BACK_OFF: SignedDuration = SignedDuration::from_secs(300);

/// Why an image is not to be had: the waiting state's reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, `InvalidImageName`, `ImageInspectError`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// When it is worth another try.
    pub retry_after: Option<Duration>,
}

/// An image that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresentImage {
    /// Its id.
    pub id: String,
    /// Its user: a number, or a name.
    pub user: (Option<i64>, String),
}

/// Makes sure that images are there.
pub struct ImageManager {
    images: Arc<dyn ImageService>,
    clock: Clock,
    events: PodEvents,
    parallel: Semaphore,
    /// By pod uid and image; entries go with their pods.
    failures: Mutex<HashMap<String, Failures>>,
}

struct Failures {
    backoff: Backoff,
    /// By image: when the pull failed, and how.
    last: HashMap<String, (jiff::Timestamp, String)>,
}

impl ImageManager {
    /// Pulls at most `parallel` images at a time.
    pub fn new(
        images: Arc<dyn ImageService>,
        clock: Clock,
        events: PodEvents,
        parallel: usize,
    ) -> Self {
        Self {
            images,
            clock,
            events,
            parallel: Semaphore::new(parallel.max(1)),
            failures: Mutex::default(),
        }
    }

    /// Forgets the failures of a pod.
    pub fn forget(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container's image: found, or pulled as its policy says.
    pub async fn ensure(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        secrets: &[Secret],
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<PresentImage, ImageError> {
        let asked = container.image.as_deref().unwrap_or_default();
        let emit = |event, reason: &str, message: String| {
            self.events
                .container(pod, kind, &container.name, event, reason, message);
        };
        let image = with_default_tag(asked).map_err(|why| {
            let message = format!("Failed to apply default image tag {asked:?}: couldn't parse image name {asked:?}: {why}");
            emit(EventKind::Warning, "InspectFailed", message.clone());
            ImageError { reason: "InvalidImageName", message, retry_after: None }
        })?;
        let spec = v1::ImageSpec {
            image: image.clone(),
            user_specified_image: asked.to_owned(),
            ..Default::default()
        };
        let present = self.status(&spec).await.map_err(|error| {
            let message = format!("Failed to inspect image {image:?}: {error}");
            emit(EventKind::Warning, "InspectFailed", message.clone());
            ImageError {
                reason: "ImageInspectError",
                message,
                retry_after: None,
            }
        })?;
        match (pull_policy(container, &image), present) {
            ("Never", None) => {
                let message =
                    format!("Container image {asked:?} is not present with pull policy of Never");
                emit(EventKind::Warning, "ErrImageNeverPull", message.clone());
                Err(ImageError {
                    reason: "ErrImageNeverPull",
                    message,
                    retry_after: None,
                })
            }
            ("Never" | "IfNotPresent", Some(present)) => {
                let message = format!(
                    "Container image {asked:?} already present on machine and can be accessed by the pod"
                );
                emit(EventKind::Normal, "Pulled", message);
                Ok(present)
            }
            _ => self.pull(pod, &emit, asked, spec, secrets, sandbox).await,
        }
    }

    async fn status(&self, spec: &v1::ImageSpec) -> Result<Option<PresentImage>, cri::CriError> {
        let request = v1::ImageStatusRequest {
            image: Some(spec.clone()),
            verbose: false,
        };
        Ok(self
            .images
            .image_status(request)
            .await?
            .image
            .map(|image| PresentImage {
                id: image.id,
                user: (image.uid.map(|uid| uid.value), image.username),
            }))
    }

    async fn pull(
        &self,
        pod: &Pod,
        emit: &(dyn Fn(EventKind, &str, String) + Send + Sync),
        asked: &str,
        spec: v1::ImageSpec,
        secrets: &[Secret],
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<PresentImage, ImageError> {
        if let Some(error) = self.back_off(pod, &spec.image) {
            emit(
                EventKind::Normal,
                "BackOff",
                format!("Back-off pulling image {asked:?}"),
            );
            return Err(error);
        }
        emit(
            EventKind::Normal,
            "Pulling",
            format!("Pulling image {asked:?}"),
        );
        let asked_at = self.clock.now();
        let permit = self.parallel.acquire().await;
        let begun_at = self.clock.now();
        let mut outcome = Err(cri::CriError::internal("no credentials to try"));
        for auth in Keyring::of(secrets).lookup(&spec.image) {
            let request = v1::PullImageRequest {
                image: Some(spec.clone()),
                auth,
                sandbox_config: sandbox.cloned(),
            };
            outcome = self.images.pull_image(request).await;
            if outcome.is_ok() {
                break;
            }
        }
        drop(permit);
        let ended_at = self.clock.now();
        match outcome {
            Ok(_) => {
                self.lock().remove(uid(pod));
                let seconds = |from| format!("{:.3}s", ended_at.duration_since(from).as_secs_f64());
                let present = self.status(&spec).await.ok().flatten().unwrap_or_default();
                let size = self.size(&spec).await;
                emit(
                    EventKind::Normal,
                    "Pulled",
                    format!(
                        "Successfully pulled image {asked:?} in {} ({} including waiting). Image size: {size} bytes.",
                        seconds(begun_at),
                        seconds(asked_at),
                    ),
                );
                Ok(present)
            }
            Err(error) => {
                let message = format!("Failed to pull image {asked:?}: {error}");
                emit(EventKind::Warning, "Failed", message.clone());
                emit(
                    EventKind::Warning,
                    "Failed",
                    "Error: ErrImagePull".to_owned(),
                );
                let text = error.to_string();
                let mut failures = self.lock();
                let of_pod = failures
                    .entry(uid(pod).to_owned())
                    .or_insert_with(|| Failures {
                        backoff: Backoff::new(INITIAL_BACK_OFF, MAX_BACK_OFF),
                        last: HashMap::new(),
                    });
                of_pod.backoff.next(&spec.image, ended_at, ended_at);
                of_pod
                    .last
                    .insert(spec.image.clone(), (ended_at, text.clone()));
                Err(ImageError {
                    reason: "ErrImagePull",
                    message: text,
                    retry_after: Some(Duration::from_secs(10)),
                })
            }
        }
    }

    async fn size(&self, spec: &v1::ImageSpec) -> u64 {
        let request = v1::ImageStatusRequest {
            image: Some(spec.clone()),
            verbose: false,
        };
        self.images
            .image_status(request)
            .await
            .ok()
            .and_then(|answer| answer.image)
            .map_or(0, |image| image.size)
    }

    fn back_off(&self, pod: &Pod, image: &str) -> Option<ImageError> {
        let failures = self.lock();
        let of_pod = failures.get(uid(pod))?;
        let (failed_at, why) = of_pod.last.get(image)?;
        let now = self.clock.now();
        let until = of_pod.backoff.waits_until(image, *failed_at, now)?;
        Some(ImageError {
            reason: "ImagePullBackOff",
            message: format!("Back-off pulling image {image:?}: ErrImagePull: {why}"),
            retry_after: Duration::try_from(until.duration_since(now)).ok(),
        })
    }
}

/// The policy of a container, with upstream's default: a tag that moves is pulled each time.
fn pull_policy<'a>(container: &'a Container, image: &str) -> &'a str {
    match container.image_pull_policy.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ if image.ends_with(":latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// An image without tag and digest means `latest`.
fn with_default_tag(image: &str) -> Result<String, &'static str> {
    if image.is_empty() {
        return Err("invalid reference format");
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = image.split(['@']).next().unwrap_or(image);
    if name.chars().any(|c| c.is_whitespace()) || name.ends_with('/') || name.ends_with(':') {
        return Err("invalid reference format");
    }
    let path = name
        .split_once('/')
        .filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    let repository = path
        .map_or(name, |(_, rest)| rest)
        .split(':')
        .next()
        .unwrap_or_default();
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if last.contains(':') || image.contains('@') {
        Ok(image.to_owned())
    } else {
        Ok(format!("{image}:latest"))
    }
}
