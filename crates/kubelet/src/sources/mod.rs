//! Where pods come from: the API server, and a directory of manifests. Both end in the same [`crate::pod_worker::PodWorkers`].

mod api;

pub use api::{PodUpdate, watch_pods};
