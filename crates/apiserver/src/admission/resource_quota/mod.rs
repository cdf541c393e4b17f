//! ResourceQuota: what a namespace may use, counted before an object comes into being.
//!
//! [`api::quota`] knows what an object uses and which quotas it falls under, [`check`] decides; both are pure. This file takes what was
//! granted by writing `status.used` with the optimistic concurrency of any update: two requests never share what is left. Within this
//! server, requests of one namespace take their turns, so that they do not fight over the same status. The status as a whole is the
//! controller's (`controllers/src/resource_quota`).

mod check;
mod limited;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;

use self::limited::Limited;
use super::{Admission, Dependencies, Operation, Plugin};
use crate::reader::{ObjectReader, ObjectWriter};

const QUOTAS: GroupResource = GroupResource::new("", "resourcequotas");
/// How often a status that changed underneath is tried again.
const ATTEMPTS: usize = 4;

/// The quotas of a namespace as this server wrote them last: they reach the cache a moment later.
type Written = HashMap<String, Arc<Object>>;

pub(super) struct ResourceQuota {
    reader: Arc<dyn ObjectReader>,
    writer: Arc<dyn ObjectWriter>,
    limited: Limited,
    /// One turn at a time in each namespace that has quotas; forgotten when nobody waits.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Written>>>>,
}

impl ResourceQuota {
    pub(super) fn new(
        dependencies: &Dependencies,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        Ok(Self {
            reader: Arc::clone(&dependencies.reader),
            writer: Arc::clone(&dependencies.writer),
            limited: Limited::read(configuration)?,
            turns: Mutex::default(),
        })
    }

    fn turn(&self, namespace: &str) -> Arc<tokio::sync::Mutex<Written>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(namespace.to_owned()).or_default();
        Arc::clone(turn)
    }

    /// A namespace without quotas needs no turns.
    fn forget(&self, namespace: &str) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns
            .get(namespace)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(namespace);
        }
    }

    /// The quotas of a namespace, the newer of what is in the cache and what was written here.
    fn quotas(&self, namespace: &str, written: &mut Written) -> Vec<Arc<Object>> {
        let cached = self.reader.list(&QUOTAS, namespace);
        written.retain(|name, own| {
            let now = cached.iter().find(|quota| meta::name(quota) == name);
            now.is_some_and(|now| version(now) < version(own) && meta::uid(now) == meta::uid(own))
        });
        let newest = |quota: Arc<Object>| match written.get(meta::name(&quota)) {
            Some(own) => Arc::clone(own),
            None => quota,
        };
        cached.into_iter().map(newest).collect()
    }

    async fn take(&self, admission: &Admission<'_>, written: &mut Written) -> Result<(), Status> {
        let namespace = &admission.request.namespace;
        let mut failed: Option<(Vec<String>, Status)> = None;
        for _ in 0..ATTEMPTS {
            let mut quotas = self.quotas(namespace, written);
            if let Some((names, _)) = &failed {
                // What was written already stays granted.
                quotas.retain(|quota| names.iter().any(|name| name == meta::name(quota)));
            }
            let grants = check::check(&quotas, &self.limited, admission)?;
            if admission.dry_run || grants.is_empty() {
                return Ok(());
            }
            let mut refused = Vec::new();
            let mut last = None;
            for grant in grants {
                let name = meta::name(&grant).to_owned();
                match self.writer.update_status(&QUOTAS, namespace, grant).await {
                    Ok(stored) => {
                        written.insert(name, stored);
                    }
                    Err(status) => {
                        written.remove(&name);
                        refused.push(name);
                        last = Some(status);
                    }
                }
            }
            let Some(status) = last else { return Ok(()) };
            // What the cache has is too old: wait until it has all.
            for name in &refused {
                self.reader.get_fresh(&QUOTAS, namespace, name).await?;
            }
            failed = Some((refused, status));
        }
        failed.map_or(Ok(()), |(_, status)| Err(status))
    }
}

fn version(object: &Object) -> u64 {
    meta::resource_version(object).parse().unwrap_or(0)
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let namespace = &admission.request.namespace;
        if namespace.is_empty() || admission.request.resource == "namespaces" {
            return Ok(());
        }
        if check::evaluator(admission).is_none() {
            return Ok(());
        }
        if self.reader.list(&QUOTAS, namespace).is_empty() {
            self.forget(namespace);
            if self.limited.is_empty() {
                return Ok(());
            }
        }
        let turn = self.turn(namespace);
        let mut written = turn.lock().await;
        self.take(admission, &mut written).await
    }
}
