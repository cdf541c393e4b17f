//! Where pods come from: the API server, and a directory of manifests. Both end in the same [`crate::pod_worker::PodWorkers`].

mod api;
mod file;
mod mirror;

pub use api::{PodUpdate, Source, watch_pods};
pub use file::{ManifestError, parse_manifest, watch_manifests};
pub use mirror::MirrorPods;
