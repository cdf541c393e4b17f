//! The store, timed: `etcd_request_duration_seconds`, as upstream's client of etcd counts it.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use base::metrics::{Histogram, Registry};
use etcd::{
    Kv, KvError, LeaseId, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, WatchRequest,
    WatchStream,
};

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Passes everything on, and takes the time.
pub struct MeteredKv {
    kv: Arc<dyn Kv>,
    seconds: Histogram,
}

impl MeteredKv {
    /// In front of `kv`.
    pub fn new(kv: Arc<dyn Kv>, registry: &Registry) -> Self {
        let help = "Etcd request latency in seconds for each operation and object type.";
        let seconds = registry.histogram(
            "etcd_request_duration_seconds",
            help,
            &["operation"],
            SECONDS,
        );
        Self { kv, seconds }
    }

    async fn timed<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let start = Instant::now();
        let outcome = call.await;
        self.seconds
            .observe(&[operation], start.elapsed().as_secs_f64());
        outcome
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
        self.timed(operation, self.kv.range(request)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, KvError> {
        self.timed("txn", self.kv.txn(txn)).await
    }

    fn tells_progress(&self) -> bool {
        self.kv.tells_progress()
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError> {
        self.kv.watch(request).await
    }

    async fn revision(&self) -> Result<Revision, KvError> {
        self.timed("revision", self.kv.revision()).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.timed("compact", self.kv.compact(revision)).await
    }

    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError> {
        self.timed("leaseGrant", self.kv.lease_grant(ttl_seconds))
            .await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError> {
        self.timed("leaseKeepAlive", self.kv.lease_keep_alive(lease))
            .await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.timed("leaseRevoke", self.kv.lease_revoke(lease)).await
    }
}
