//! The store under test with a case's corner of it, and a watch that is checked as it goes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Change, Compare, KeyRange, KeyValue, Kv, KvError, LeaseId, Op, RangeRequest, RangeResponse,
    Revision, Txn, TxnResponse, WatchRequest, WatchStream,
};

/// The longest that anything in the suite may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The store under test, and a case's corner of it.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) kv: Arc<dyn Kv>,
    pub(super) prefix: String,
}

impl Subject {
    pub(super) fn key(&self, name: &str) -> Bytes {
        format!("{}{name}", self.prefix).into()
    }

    pub(super) fn all(&self) -> KeyRange {
        KeyRange::prefix(self.prefix.clone())
    }

    pub(super) fn put_op(&self, name: &str, value: &str) -> Op {
        Op::Put {
            key: self.key(name),
            value: value.to_owned().into(),
            lease: LeaseId::default(),
        }
    }

    pub(super) async fn txn(
        &self,
        compare: Vec<Compare>,
        success: Vec<Op>,
        failure: Vec<Op>,
    ) -> TxnResponse {
        self.kv
            .txn(Txn {
                compare,
                success,
                failure,
            })
            .await
            .expect("the transaction is run")
    }

    pub(super) async fn put(&self, name: &str, value: &str) -> Revision {
        self.txn(vec![], vec![self.put_op(name, value)], vec![])
            .await
            .revision
    }

    pub(super) async fn delete(&self, range: KeyRange) -> TxnResponse {
        self.txn(vec![], vec![Op::Delete(range)], vec![]).await
    }

    pub(super) async fn range(&self, request: RangeRequest) -> RangeResponse {
        self.kv.range(request).await.expect("the range is read")
    }

    pub(super) async fn get(&self, name: &str) -> Option<KeyValue> {
        self.range(RangeRequest::new(KeyRange::key(self.key(name))))
            .await
            .kvs
            .pop()
    }

    pub(super) async fn names(&self, revision: Option<Revision>) -> Vec<String> {
        let response = self
            .range(RangeRequest {
                revision,
                ..RangeRequest::new(self.all())
            })
            .await;
        response.kvs.iter().map(|kv| self.name(&kv.key)).collect()
    }

    pub(super) fn name(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(&key[self.prefix.len()..]).into_owned()
    }

    pub(super) async fn revision(&self) -> Revision {
        self.kv.revision().await.expect("the revision is known")
    }

    pub(super) async fn watch(&self, start: Option<Revision>, buffer: usize) -> Watched {
        let request = WatchRequest {
            range: self.all(),
            start,
            buffer,
        };
        let stream = self.kv.watch(request).await.expect("the watch is opened");
        Watched::new(stream)
    }
}

/// A watch whose batches are checked as they come.
pub(super) struct Watched {
    stream: WatchStream,
    reached: Revision,
    pending: Vec<Change>,
}

impl Watched {
    pub(super) fn new(stream: WatchStream) -> Self {
        Self {
            stream,
            reached: Revision(0),
            pending: Vec::new(),
        }
    }

    pub(super) async fn batch(&mut self) -> Result<Vec<Change>, KvError> {
        let item = tokio::time::timeout(PATIENCE, self.stream.recv()).await;
        let batch = item
            .expect("the watch delivers in time")
            .expect("the watch does not end")?;
        if batch.changes.is_empty() {
            assert!(batch.revision >= self.reached, "progress does not go back");
        } else {
            assert!(
                batch.revision > self.reached,
                "batches ascend and come once"
            );
        }
        for change in &batch.changes {
            assert_eq!(change.revision, batch.revision, "a batch is one revision");
            if let Some(new) = &change.new {
                assert_eq!((&new.key, new.mod_revision), (&change.key, change.revision));
            }
        }
        self.reached = batch.revision;
        Ok(batch.changes)
    }

    pub(super) async fn next(&mut self) -> Change {
        while self.pending.is_empty() {
            self.pending = self.batch().await.expect("the watch goes on");
        }
        self.pending.remove(0)
    }

    pub(super) async fn reach(&mut self, revision: Revision) -> Vec<Change> {
        let mut changes = Vec::new();
        while self.reached < revision {
            changes.extend(self.batch().await.expect("the watch goes on"));
        }
        changes
    }
}

pub(super) async fn put_leased(
    it: &Subject,
    name: &str,
    lease: LeaseId,
) -> Result<TxnResponse, KvError> {
    let op = Op::Put {
        key: it.key(name),
        value: "leased".into(),
        lease,
    };
    it.kv
        .txn(Txn {
            success: vec![op],
            ..Txn::default()
        })
        .await
}
