//! The APIServices of custom resources: made when a group and version begins to be served, deleted when it ends.
//!
//! Follows upstream's `crdregistration` and `autoregister` controllers: what bears our label is ours, made again if somebody deletes it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use apimachinery::{Object, meta, status::Status};
use etcd::Revision;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::API_SERVICES;
use crate::{
    cacher::{EventType, Predicate, Step, Watcher, WatcherOptions},
    reader::{ObjectReader as _, ObjectWriter as _},
    registry::{Registry, ServerWriter},
};

const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Custom resources come after everything else, as upstream.
pub(crate) const GROUP_PRIORITY: i64 = 1000;
/// All versions of a group alike: their names tell their order.
pub(crate) const VERSION_PRIORITY: i64 = 100;
/// How long until a write is tried again that failed.
const RETRY: Duration = Duration::from_millis(500);

/// Group and version.
type Name = (String, String);

/// Keeps the APIServices of custom resources in line with what is served.
pub(crate) struct Registration {
    registry: Arc<Registry>,
    writer: ServerWriter,
    /// Those that are there, and ours.
    registered: BTreeSet<Name>,
}

impl Registration {
    /// Nothing happens before [`Registration::run`].
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            writer: ServerWriter(Arc::clone(&registry)),
            registry,
            registered: BTreeSet::new(),
        }
    }

    /// Until cancelled.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let running = async {
            while self.registry.hub().wait_for(Revision(1)).await.is_err() {}
            loop {
                self.follow().await;
                tokio::time::sleep(RETRY).await;
            }
        };
        let _ = cancel.run_until_cancelled(running).await;
    }

    async fn follow(&mut self) {
        let endpoint = self.registry.endpoint_of(&API_SERVICES);
        let Some(cacher) = endpoint.and_then(|endpoint| endpoint.cacher.clone()) else {
            return;
        };
        let services = self.registry.list(&API_SERVICES, "");
        self.registered = services.iter().filter_map(|s| ours(s)).collect();
        let from_now = WatcherOptions {
            after: Some(cacher.snapshot().revision),
            ..WatcherOptions::default()
        };
        let Ok(mut watcher) = Watcher::start(cacher, Predicate::default(), from_now) else {
            return;
        };
        let mut served = self.registry.served_changes();
        loop {
            if let Err(error) = self.reconcile().await {
                tracing::warn!(%error, "an APIService could not be written");
                return;
            }
            tokio::select! {
                changed = served.changed() => if changed.is_err() { return },
                step = watcher.next() => match step {
                    Some(Step::Event(EventType::Deleted, object)) => {
                        if let Some(name) = ours(&object.parse()) {
                            self.registered.remove(&name);
                        }
                    }
                    Some(Step::Event(..) | Step::Bookmark { .. }) => {}
                    Some(Step::Failed(_)) | None => return,
                },
            }
        }
    }

    async fn reconcile(&mut self) -> Result<(), Status> {
        let rows = self.registry.served();
        let wanted: BTreeSet<Name> = rows
            .iter()
            .filter(|row| row.is_custom())
            .map(|row| (row.gvr.group.to_string(), row.gvr.version.to_string()))
            .collect();
        let missing: Vec<Name> = wanted.difference(&self.registered).cloned().collect();
        for name in missing {
            match self
                .writer
                .create(&API_SERVICES, "", api_service(&name))
                .await
            {
                Err(status) if !status.is_already_exists() => return Err(status),
                // One of the user's own stands for the group: so be it.
                _ => self.registered.insert(name),
            };
        }
        let gone: Vec<Name> = self.registered.difference(&wanted).cloned().collect();
        for (group, version) in gone {
            let name = format!("{version}.{group}");
            let found = self.registry.get(&API_SERVICES, "", &name);
            if found.is_some_and(|found| ours(&found).is_some()) {
                match self.writer.delete(&API_SERVICES, "", &name).await {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => {}
                }
            }
            self.registered.remove(&(group, version));
        }
        Ok(())
    }
}

/// The group and version of an APIService that was made here for a custom resource.
fn ours(object: &Object) -> Option<Name> {
    (meta::label(object, LABEL) == Some("true")).then(|| {
        let spec = |field| crate::lookup::text(object, &["spec", field]).to_owned();
        (spec("group"), spec("version"))
    })
}

fn api_service((group, version): &Name) -> Object {
    let object = json!({
        "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": format!("{version}.{group}"), "labels": {LABEL: "true"}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": GROUP_PRIORITY, "versionPriority": VERSION_PRIORITY,
        },
    });
    object.as_object().cloned().unwrap_or_default()
}
