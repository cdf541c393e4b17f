//! The end of a definition: its objects are deleted, as anybody would delete them, then it may go itself.
//!
//! Follows upstream's finalizing controller.

use std::{sync::Arc, time::Duration};

use api::kinds::apiextensions::custom_resource_definition::CLEANUP_FINALIZER as FINALIZER;
use apimachinery::{Object, meta, status::Status};
use base::Clock;
use etcd::Kv;

use super::{
    DEFINITIONS,
    conditions::{self, Condition, ESTABLISHED, TERMINATING},
    controller::group_resource,
};
use crate::{
    cacher::Cacher,
    reader::{ObjectReader as _, ObjectWriter as _},
    registry::{Registry, ServerWriter},
};

/// How many deletes run at once.
const WORKERS: usize = 16;
/// How long is waited for finalizers of objects before it is said that they hold things up, as upstream.
const PATIENCE: Duration = Duration::from_secs(60);

/// The clean-up behind one definition.
pub(super) struct Cleanup {
    pub(super) name: String,
    /// The objects, if they were ever served.
    pub(super) objects: Option<Arc<Cacher>>,
    pub(super) registry: Arc<Registry>,
    pub(super) writer: Arc<ServerWriter>,
    pub(super) kv: Arc<dyn Kv>,
    pub(super) clock: Clock,
}

impl Cleanup {
    /// Deletes all objects and lets go of the definition. An error: to be done again.
    pub(super) async fn run(self) -> Result<(), Status> {
        let Some(definition) = self.definition().await? else {
            return Ok(());
        };
        let condition = if conditions::is_true(&definition, ESTABLISHED) {
            let message = "CustomResource deletion is in progress";
            self.say(
                &Condition::new(TERMINATING, true, "InstanceDeletionInProgress", message),
                false,
            )
            .await?;
            match self.delete_all(&definition).await {
                Ok(()) => Condition::new(
                    TERMINATING,
                    false,
                    "InstanceDeletionCompleted",
                    "removed all instances",
                ),
                Err((condition, status)) => {
                    self.say(&condition, false).await?;
                    return Err(status);
                }
            }
        } else {
            Condition::new(
                TERMINATING,
                false,
                "NeverEstablished",
                "resource was never established",
            )
        };
        self.say(&condition, true).await?;
        match self.writer.delete(&DEFINITIONS, "", &self.name).await {
            Err(status) if !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }

    async fn definition(&self) -> Result<Option<Object>, Status> {
        let found = self
            .registry
            .get_fresh(&DEFINITIONS, "", &self.name)
            .await?
            .filter(|found| meta::has_finalizer(found, FINALIZER));
        Ok(found.map(|found| Object::clone(&found)))
    }

    /// Writes a condition, and takes the finalizer off if this is the end.
    async fn say(&self, condition: &Condition, end: bool) -> Result<(), Status> {
        loop {
            let Some(mut definition) = self.definition().await? else {
                return Ok(());
            };
            condition.set(&mut definition, &crate::registry::seconds(self.clock.now()));
            if end {
                meta::remove_finalizer(&mut definition, FINALIZER);
            }
            match self
                .writer
                .update_status(&DEFINITIONS, "", definition)
                .await
            {
                Err(status) if status.is_conflict() => {}
                Err(status) if status.is_not_found() => return Ok(()),
                other => return other.map(drop),
            }
        }
    }

    async fn delete_all(&self, definition: &Object) -> Result<(), (Condition, Status)> {
        let Some(objects) = &self.objects else {
            return Ok(());
        };
        let failed = |reason, message: &str, status: Status| {
            let message = format!("{message}: {status}");
            (Condition::new(TERMINATING, true, reason, message), status)
        };
        let resource = group_resource(definition);
        // What was written before the definition began to go is in the cache by then.
        if let Err(error) = self.registry.hub().wait_fresh(self.kv.as_ref()).await {
            let status = Status::internal(error);
            return Err(failed(
                "InstanceDeletionFailed",
                "could not list instances",
                status,
            ));
        }
        let mut changes = objects.subscribe();
        let snapshot = objects.snapshot();
        let all: Vec<_> = snapshot.iter("", None).cloned().collect();
        for batch in all.chunks(WORKERS) {
            let deletes = batch.iter().map(|object| {
                let (namespace, name) = object.namespace_and_name();
                self.writer.delete(&resource, namespace, name)
            });
            for result in futures_util::future::join_all(deletes).await {
                match result {
                    Err(status) if !status.is_not_found() => {
                        let message = "could not issue all deletes";
                        return Err(failed("InstanceDeletionFailed", message, status));
                    }
                    _ => {}
                }
            }
        }
        let empty = async {
            while objects.snapshot().count() > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, empty).await.is_err() {
            let status = Status::timeout("timed out waiting for the condition", 0);
            let message = "could not confirm zero CustomResources remaining";
            return Err(failed("InstanceDeletionCheck", message, status));
        }
        Ok(())
    }
}
