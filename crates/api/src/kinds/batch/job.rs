//! `batch/v1` Job.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("batch", "v1", "jobs"),
    gvk: GroupVersionKind::new("batch", "v1", "Job"),
    singular: "job",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "batch", "v1", "Job",
    ))],
    storage: Some(Storage::plain("jobs")),
    strategy: &JobStrategy,
};

#[derive(Debug)]
struct JobStrategy;

impl Strategy for JobStrategy {}
