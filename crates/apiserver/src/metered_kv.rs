//! The store, timed: `etcd_request_duration_seconds`, as upstream's client of etcd counts it.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use base::metrics::{Counter, Histogram, Registry};
use bytes::Bytes;
use etcd::{
    Compare, Kv, KvError, LeaseId, Op, RangeRequest, RangeResponse, Revision, Txn, TxnResponse,
    WatchRequest, WatchStream,
};

use crate::encryption::resource_of;

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// What requests are told apart by.
const LABELS: &[&str] = &["group", "operation", "resource"];

/// Passes everything on, and takes the time.
pub struct MeteredKv {
    kv: Arc<dyn Kv>,
    seconds: Histogram,
    requests: Counter,
    errors: Counter,
}

impl MeteredKv {
    /// In front of `kv`.
    pub fn new(kv: Arc<dyn Kv>, registry: &Registry) -> Self {
        Self {
            kv,
            seconds: registry.histogram(
                "etcd_request_duration_seconds",
                "[ALPHA] Etcd request latency in seconds for each operation and object type.",
                LABELS,
                SECONDS,
            ),
            requests: registry.counter(
                "etcd_requests_total",
                "[ALPHA] Etcd request counts for each operation and object type.",
                LABELS,
            ),
            errors: registry.counter(
                "etcd_request_errors_total",
                "[ALPHA] Etcd failed request counts for each operation and object type.",
                LABELS,
            ),
        }
    }

    /// `key` says which resource a request is about; requests about none have no labels for it.
    async fn timed<T>(
        &self,
        operation: &str,
        key: Option<&Bytes>,
        call: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let start = Instant::now();
        let outcome = call.await;
        let elapsed = start.elapsed().as_secs_f64();
        let resource = key.and_then(|key| resource_of(key)).unwrap_or_default();
        let labels = [&*resource.group, operation, &*resource.resource];
        self.seconds.observe(&labels, elapsed);
        self.requests.increment(&labels);
        if outcome.is_err() {
            self.errors.increment(&labels);
        }
        outcome
    }
}

/// What a transaction does, in the words of upstream's client, and to which key.
fn operation_of(txn: &Txn) -> (&'static str, Option<Bytes>) {
    match txn.success.first() {
        Some(Op::Put { key, .. }) => {
            let new = matches!(
                txn.compare.first(),
                Some(Compare::ModRevision(_, Revision(0)))
            );
            (if new { "create" } else { "update" }, Some(key.clone()))
        }
        Some(Op::Delete(range)) => ("delete", Some(range.start.clone())),
        Some(Op::Range(request)) => ("get", Some(request.range.start.clone())),
        None => ("txn", None),
    }
}

#[async_trait]
impl Kv for MeteredKv {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, KvError> {
        let operation = if request.range.end.is_some() {
            "list"
        } else {
            "get"
        };
        let key = request.range.start.clone();
        self.timed(operation, Some(&key), self.kv.range(request))
            .await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, KvError> {
        let (operation, key) = operation_of(&txn);
        self.timed(operation, key.as_ref(), self.kv.txn(txn)).await
    }

    fn tells_progress(&self) -> bool {
        self.kv.tells_progress()
    }

    fn shares_values(&self, key: &[u8]) -> bool {
        self.kv.shares_values(key)
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError> {
        self.kv.watch(request).await
    }

    async fn revision(&self) -> Result<Revision, KvError> {
        self.timed("getCurrentResourceVersion", None, self.kv.revision())
            .await
    }

    async fn size_bytes(&self) -> Result<Option<u64>, KvError> {
        self.kv.size_bytes().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.timed("compact", None, self.kv.compact(revision)).await
    }

    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError> {
        self.timed("leaseGrant", None, self.kv.lease_grant(ttl_seconds))
            .await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError> {
        self.timed("leaseKeepAlive", None, self.kv.lease_keep_alive(lease))
            .await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.timed("leaseRevoke", None, self.kv.lease_revoke(lease))
            .await
    }
}
