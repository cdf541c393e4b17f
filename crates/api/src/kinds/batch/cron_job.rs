//! `batch/v1` CronJob.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("batch", "v1", "cronjobs"),
    gvk: GroupVersionKind::new("batch", "v1", "CronJob"),
    singular: "cronjob",
    scope: Scope::Namespaced,
    short_names: &["cj"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "batch", "v1", "CronJob",
    ))],
    storage: Some(Storage::plain("cronjobs")),
    strategy: &CronJobStrategy,
};

#[derive(Debug)]
struct CronJobStrategy;

impl Strategy for CronJobStrategy {}
