//! Encryption at rest: what a resource's objects are, encrypted, between the store and everything else.
//!
//! One place: [`EncryptedKv`] stands in front of the store, encrypts the values of every write and decrypts those of every read and watch, by the key under
//! which they stand. Values are framed as upstream frames them (`k8s:enc:aescbc:v1:key1:` and so on; the path of the key is authenticated with the
//! value), so that both read the other's.
//!
//! The first provider that a resource has encrypts; all of them decrypt. So keys are rotated by order: add the new one at the end, then move it to the front, then
//! write everything once, then take the old one away. A value that the first one did not write is *stale*, and written anew by the next write of
//! its object, even one that changes nothing.
//!
//! A value that cannot be decrypted is passed on as it is and fails where it is decoded: one damaged object harms nobody else.

mod ciphers;
pub mod configuration;
mod kms;
mod metrics;
mod reload;
mod transformer;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use apimachinery::gvk::GroupResource;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::TaskGroup;
use bytes::Bytes;
use etcd::{
    Change, KeyRange, KeyValue, Kv, KvError, LeaseId, Op, OpResponse, RangeRequest, RangeResponse,
    Revision, Txn, TxnResponse, WatchBatch, WatchRequest, WatchStream,
};
use tokio::sync::mpsc;

pub use configuration::{ConfigurationError, EncryptionConfiguration};
pub use metrics::Metrics;
pub use reload::Reload;
use transformer::Transformers;

use crate::{cacher::ROOT, health::Check};

/// The store, its values encrypted. Cheap to clone; clones share the configuration.
#[derive(Clone)]
pub struct EncryptedKv {
    kv: Arc<dyn Kv>,
    transformers: Arc<ArcSwap<Transformers>>,
    metrics: Metrics,
    tasks: TaskGroup,
}

impl std::fmt::Debug for EncryptedKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedKv").finish_non_exhaustive()
    }
}

impl EncryptedKv {
    /// In front of `kv`; the tasks of watches run in `tasks`.
    pub fn new(
        kv: Arc<dyn Kv>,
        configuration: &EncryptionConfiguration,
        tasks: TaskGroup,
        metrics: Metrics,
    ) -> Result<Self, ConfigurationError> {
        let transformers = Transformers::new(configuration, metrics.clone())?;
        Ok(Self {
            kv,
            transformers: Arc::new(ArcSwap::from_pointee(transformers)),
            metrics,
            tasks,
        })
    }

    /// Takes over another configuration. What is under way ends with the old one.
    pub fn reconfigure(
        &self,
        configuration: &EncryptionConfiguration,
    ) -> Result<(), ConfigurationError> {
        let transformers = Transformers::new(configuration, self.metrics.clone())?;
        self.transformers.store(Arc::new(transformers));
        Ok(())
    }

    /// Whether some of the keys are held by plugins.
    pub fn has_plugins(&self) -> bool {
        self.transformers.load().has_plugins()
    }

    /// Whether the value at `key` is there and was written by another provider than the one that writes now.
    pub async fn is_stale(&self, key: &Bytes) -> Result<bool, KvError> {
        let transformers = self.transformers.load_full();
        if !transformers.concerns(key) {
            return Ok(false);
        }
        let request = RangeRequest::new(KeyRange::key(key.clone()));
        let found = self.kv.range(request).await?;
        let value = found.kvs.first();
        Ok(value.is_some_and(|value| transformers.is_stale(key, &value.value)))
    }

    async fn encrypt(&self, ops: &mut [Op]) -> Result<(), KvError> {
        let transformers = self.transformers.load_full();
        for op in ops {
            if let Op::Put { key, value, .. } = op
                && transformers.concerns(key)
            {
                let encrypted = transformers.encrypt(key, value).await;
                *value = encrypted.map_err(|error| KvError::Failed {
                    operation: "encrypting",
                    message: format!("{}: {error}", String::from_utf8_lossy(key)),
                })?;
            }
        }
        Ok(())
    }
}

/// `kms-providers`: the plugins, whichever there are at the time, say that they are well.
#[async_trait]
impl Check for EncryptedKv {
    async fn check(&self) -> Result<(), String> {
        self.transformers.load_full().check_plugins().await
    }
}

async fn decrypt(transformers: &Transformers, value: &mut KeyValue) {
    if !transformers.concerns(&value.key) {
        return;
    }
    match transformers.decrypt(&value.key, &value.value).await {
        Ok(plain) => value.value = plain,
        Err(error) => {
            let key = String::from_utf8_lossy(&value.key);
            tracing::error!(%key, %error, "unable to transform key");
        }
    }
}

async fn decrypt_all(transformers: &Transformers, values: &mut [KeyValue]) {
    for value in values {
        decrypt(transformers, value).await;
    }
}

async fn decrypt_changes(transformers: &Transformers, changes: &mut [Change]) {
    for change in changes {
        for value in [&mut change.new, &mut change.old].into_iter().flatten() {
            decrypt(transformers, value).await;
        }
    }
}

#[async_trait]
impl Kv for EncryptedKv {
    fn tells_progress(&self) -> bool {
        self.kv.tells_progress()
    }

    fn shares_values(&self, key: &[u8]) -> bool {
        !self.transformers.load().concerns(key) && self.kv.shares_values(key)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, KvError> {
        let empty = request.keys_only || request.count_only;
        let mut response = self.kv.range(request).await?;
        if !empty {
            decrypt_all(&self.transformers.load_full(), &mut response.kvs).await;
        }
        Ok(response)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse, KvError> {
        self.encrypt(&mut txn.success).await?;
        self.encrypt(&mut txn.failure).await?;
        let mut response = self.kv.txn(txn).await?;
        let transformers = self.transformers.load_full();
        for answer in &mut response.responses {
            match answer {
                OpResponse::Put(Some(value)) => decrypt(&transformers, value).await,
                OpResponse::Put(None) => {}
                OpResponse::Delete(values) => decrypt_all(&transformers, values).await,
                OpResponse::Range(range) => decrypt_all(&transformers, &mut range.kvs).await,
            }
        }
        Ok(response)
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError> {
        let (sender, receiver) = mpsc::channel(request.buffer.max(1));
        let mut batches = self.kv.watch(request).await?;
        let current = Arc::clone(&self.transformers);
        self.tasks.spawn_cancellable("decrypted-watch", async move {
            while let Some(mut batch) = batches.recv().await {
                if let Ok(WatchBatch { changes, .. }) = &mut batch {
                    decrypt_changes(&current.load_full(), changes).await;
                }
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn revision(&self) -> Result<Revision, KvError> {
        self.kv.revision().await
    }

    async fn size_bytes(&self) -> Result<Option<u64>, KvError> {
        self.kv.size_bytes().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.kv.compact(revision).await
    }

    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError> {
        self.kv.lease_grant(ttl_seconds).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError> {
        self.kv.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.kv.lease_revoke(lease).await
    }
}

/// The resource whose object stands under a key: the built-in ones by the prefix that they are stored under, custom ones by `group/resource/`.
pub(crate) fn resource_of(key: &[u8]) -> Option<GroupResource> {
    static PREFIXES: OnceLock<HashMap<&'static str, GroupResource>> = OnceLock::new();
    let prefixes = PREFIXES.get_or_init(|| {
        let rows = api::kinds::TABLE.iter();
        rows.filter_map(|row| {
            let storage = row.storage.as_ref()?;
            Some((storage.prefix, row.gvr.group_resource()))
        })
        .collect()
    });
    let path = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?;
    let (first, rest) = path.split_once('/')?;
    if let Some(resource) = prefixes.get(first) {
        return Some(resource.clone());
    }
    let (second, _) = rest.split_once('/')?;
    let both = &path[..first.len() + 1 + second.len()];
    if let Some(resource) = prefixes.get(both) {
        return Some(resource.clone());
    }
    first.contains('.').then(|| GroupResource {
        group: first.to_owned().into(),
        resource: second.to_owned().into(),
    })
}

#[cfg(test)]
mod tests;
