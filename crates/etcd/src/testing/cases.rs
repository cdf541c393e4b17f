//! The contract of [`Kv`], as tests. Every case works under a prefix of its own and relative to the current revision, so that the
//! suite can run on a store that is in use; one case compacts.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Change, Compare, KeyRange, KeyValue, Kv, KvError, LeaseId, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchRequest, WatchStream,
};

/// The longest that anything in the suite may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Case = fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |subject| Box::pin($name(subject)))),*] };
}

const CASES: &[(&str, Case)] = cases![
    a_put_counts_versions,
    only_writes_take_revisions,
    compares_hold_as_in_etcd,
    a_failed_compare_answers_what_is_there,
    a_transaction_is_one_revision,
    a_key_is_written_once,
    empty_keys_are_refused,
    deletions_answer_what_was_there,
    ranges_are_cut_and_counted,
    the_past_can_be_read,
    large_requests_are_refused,
    counting_together_loses_nothing,
    a_lease_takes_its_keys_along,
    a_lease_follows_its_key,
    a_lease_expires,
    a_watch_delivers_what_comes,
    a_watch_delivers_whole_revisions,
    a_watch_starts_in_the_past,
    a_watch_starts_in_the_future,
    a_slow_watcher_loses_nothing,
    a_quiet_watch_makes_progress,
    compaction_forgets,
];

/// Runs every case, one after another.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn suite(kv: Arc<dyn Kv>) {
    for (name, case) in CASES {
        // Seen only if the test fails.
        println!("contract: {name}");
        let run = case(Subject {
            kv: kv.clone(),
            prefix: format!("/contract/{name}/"),
        });
        tokio::time::timeout(3 * PATIENCE, run)
            .await
            .unwrap_or_else(|_| panic!("{name} takes too long"));
    }
}

/// The store under test, and a case's corner of it.
#[derive(Clone)]
struct Subject {
    kv: Arc<dyn Kv>,
    prefix: String,
}

impl Subject {
    fn key(&self, name: &str) -> Bytes {
        format!("{}{name}", self.prefix).into()
    }

    fn all(&self) -> KeyRange {
        KeyRange::prefix(self.prefix.clone())
    }

    fn put_op(&self, name: &str, value: &str) -> Op {
        Op::Put {
            key: self.key(name),
            value: value.to_owned().into(),
            lease: LeaseId::default(),
        }
    }

    async fn txn(&self, compare: Vec<Compare>, success: Vec<Op>, failure: Vec<Op>) -> TxnResponse {
        self.kv
            .txn(Txn {
                compare,
                success,
                failure,
            })
            .await
            .expect("the transaction is run")
    }

    async fn put(&self, name: &str, value: &str) -> Revision {
        self.txn(vec![], vec![self.put_op(name, value)], vec![])
            .await
            .revision
    }

    async fn delete(&self, range: KeyRange) -> TxnResponse {
        self.txn(vec![], vec![Op::Delete(range)], vec![]).await
    }

    async fn range(&self, request: RangeRequest) -> RangeResponse {
        self.kv.range(request).await.expect("the range is read")
    }

    async fn get(&self, name: &str) -> Option<KeyValue> {
        self.range(RangeRequest::new(KeyRange::key(self.key(name))))
            .await
            .kvs
            .pop()
    }

    async fn names(&self, revision: Option<Revision>) -> Vec<String> {
        let response = self
            .range(RangeRequest {
                revision,
                ..RangeRequest::new(self.all())
            })
            .await;
        response.kvs.iter().map(|kv| self.name(&kv.key)).collect()
    }

    fn name(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(&key[self.prefix.len()..]).into_owned()
    }

    async fn revision(&self) -> Revision {
        self.kv.revision().await.expect("the revision is known")
    }

    async fn watch(&self, start: Option<Revision>, buffer: usize) -> Watched {
        let request = WatchRequest {
            range: self.all(),
            start,
            buffer,
        };
        let stream = self.kv.watch(request).await.expect("the watch is opened");
        Watched {
            stream,
            reached: Revision(0),
            pending: Vec::new(),
        }
    }
}

/// A watch whose batches are checked as they come.
struct Watched {
    stream: WatchStream,
    reached: Revision,
    pending: Vec<Change>,
}

impl Watched {
    async fn batch(&mut self) -> Result<Vec<Change>, KvError> {
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

    async fn next(&mut self) -> Change {
        while self.pending.is_empty() {
            self.pending = self.batch().await.expect("the watch goes on");
        }
        self.pending.remove(0)
    }

    async fn reach(&mut self, revision: Revision) -> Vec<Change> {
        let mut changes = Vec::new();
        while self.reached < revision {
            changes.extend(self.batch().await.expect("the watch goes on"));
        }
        changes
    }
}

async fn a_put_counts_versions(it: Subject) {
    let first = it.put("a", "1").await;
    let second = it.put("a", "2").await;
    let kv = it.get("a").await.expect("a is there");
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version),
        (first, second, 2)
    );
    assert_eq!(kv.value, "2");
    it.delete(KeyRange::key(it.key("a"))).await;
    assert_eq!(it.get("a").await, None);
    let again = it.put("a", "3").await;
    let kv = it.get("a").await.expect("a is there again");
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version),
        (again, again, 1)
    );
}

async fn only_writes_take_revisions(it: Subject) {
    let before = it.revision().await;
    assert_eq!(it.put("a", "1").await, Revision(before.0 + 1));
    assert_eq!(
        it.put("a", "1").await,
        Revision(before.0 + 2),
        "an equal value is a write too"
    );
    let nothing = it.delete(KeyRange::key(it.key("absent"))).await;
    assert_eq!(nothing.revision, Revision(before.0 + 2));
    it.txn(vec![], vec![Op::Range(RangeRequest::new(it.all()))], vec![])
        .await;
    it.txn(vec![], vec![], vec![]).await;
    assert_eq!(it.revision().await, Revision(before.0 + 2));
    let all = it.range(RangeRequest::new(it.all())).await;
    assert_eq!(all.revision, Revision(before.0 + 2));
}

async fn compares_hold_as_in_etcd(it: Subject) {
    let (here, absent) = (it.key("here"), it.key("absent"));
    let created = it.put("here", "1").await;
    let modified = it.put("here", "2").await;
    let cases = [
        (Compare::ModRevision(here.clone(), modified), true),
        (Compare::ModRevision(here.clone(), created), false),
        (Compare::ModRevision(here.clone(), Revision(0)), false),
        (Compare::ModRevision(absent.clone(), Revision(0)), true),
        (Compare::ModRevision(absent.clone(), modified), false),
        (Compare::CreateRevision(here.clone(), created), true),
        (Compare::CreateRevision(here.clone(), modified), false),
        (Compare::CreateRevision(absent.clone(), Revision(0)), true),
        (Compare::Version(here.clone(), 2), true),
        (Compare::Version(here.clone(), 1), false),
        (Compare::Version(absent.clone(), 0), true),
        (Compare::Value(here.clone(), "2".into()), true),
        (Compare::Value(here.clone(), "1".into()), false),
        (Compare::Value(absent.clone(), "".into()), false),
    ];
    for (compare, holds) in cases {
        let told = format!("{compare:?}");
        assert_eq!(
            it.txn(vec![compare], vec![], vec![]).await.succeeded,
            holds,
            "{told}"
        );
    }
    let both = vec![
        Compare::ModRevision(here.clone(), modified),
        Compare::ModRevision(absent.clone(), modified),
    ];
    assert!(
        !it.txn(both, vec![], vec![]).await.succeeded,
        "all must hold"
    );
    it.delete(KeyRange::key(here.clone())).await;
    let gone = vec![
        Compare::ModRevision(here.clone(), Revision(0)),
        Compare::CreateRevision(here.clone(), Revision(0)),
        Compare::Version(here, 0),
    ];
    assert!(
        it.txn(gone, vec![], vec![]).await.succeeded,
        "a deleted key is absent"
    );
}

async fn a_failed_compare_answers_what_is_there(it: Subject) {
    let revision = it.put("a", "1").await;
    let read = Op::Range(RangeRequest::new(KeyRange::key(it.key("a"))));
    let stale = Compare::ModRevision(it.key("a"), Revision(revision.0 - 1));
    let answer = it
        .txn(vec![stale], vec![it.put_op("a", "2")], vec![read])
        .await;
    assert!(!answer.succeeded);
    let [OpResponse::Range(range)] = &answer.responses[..] else {
        panic!("not the failure branch: {answer:?}")
    };
    assert_eq!(range.kvs[0].value, "1");
    assert_eq!(range.kvs[0].mod_revision, revision);
    assert_eq!(answer.revision, revision, "nothing was written");
}

async fn a_transaction_is_one_revision(it: Subject) {
    it.put("b", "old").await;
    let read = || Op::Range(RangeRequest::new(it.all()));
    let ops = vec![
        read(),
        it.put_op("a", "1"),
        it.put_op("c", "1"),
        Op::Delete(KeyRange::key(it.key("b"))),
        read(),
    ];
    let answer = it.txn(vec![], ops, vec![]).await;
    let [
        OpResponse::Range(before),
        OpResponse::Put(None),
        OpResponse::Put(None),
        OpResponse::Delete(removed),
        OpResponse::Range(after),
    ] = &answer.responses[..]
    else {
        panic!("unexpected answers: {answer:?}")
    };
    let names = |range: &RangeResponse| -> Vec<String> {
        range.kvs.iter().map(|kv| it.name(&kv.key)).collect()
    };
    assert_eq!(names(before), ["b"]);
    assert_eq!(removed[0].value, "old");
    assert_eq!(names(after), ["a", "c"], "reads see the writes before them");
    for name in ["a", "c"] {
        assert_eq!(
            it.get(name).await.expect("it is there").mod_revision,
            answer.revision
        );
    }
    let over = it.txn(vec![], vec![it.put_op("a", "2")], vec![]).await;
    let [OpResponse::Put(Some(old))] = &over.responses[..] else {
        panic!("a put answers what was there: {over:?}")
    };
    assert_eq!(
        (old.value.as_ref(), old.mod_revision),
        (&b"1"[..], answer.revision)
    );
}

async fn a_key_is_written_once(it: Subject) {
    let before = it.revision().await;
    let twice = vec![it.put_op("a", "1"), it.put_op("a", "2")];
    let both = vec![it.put_op("a", "1"), Op::Delete(it.all())];
    for success in [twice, both] {
        let refused = it
            .kv
            .txn(Txn {
                success,
                ..Txn::default()
            })
            .await;
        assert!(matches!(refused, Err(KvError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(it.revision().await, before);
    assert_eq!(it.get("a").await, None);
}

async fn empty_keys_are_refused(it: Subject) {
    let read = it
        .kv
        .range(RangeRequest::new(KeyRange::key(Bytes::new())))
        .await;
    assert!(matches!(read, Err(KvError::Invalid(_))), "{read:?}");
    let op = Op::Put {
        key: Bytes::new(),
        value: "1".into(),
        lease: LeaseId::default(),
    };
    let put = it
        .kv
        .txn(Txn {
            success: vec![op],
            ..Txn::default()
        })
        .await;
    assert!(matches!(put, Err(KvError::Invalid(_))), "{put:?}");
}

async fn deletions_answer_what_was_there(it: Subject) {
    for name in ["a", "b", "b/1", "b0", "c"] {
        it.put(name, name).await;
    }
    let removed = it.delete(KeyRange::prefix(it.key("b/"))).await;
    let [OpResponse::Delete(kvs)] = &removed.responses[..] else {
        panic!("{removed:?}")
    };
    assert_eq!(kvs.len(), 1);
    assert_eq!(kvs[0].value, "b/1");
    assert_eq!(it.names(None).await, ["a", "b", "b0", "c"]);
    let half = KeyRange {
        start: it.key("b"),
        end: Some(it.key("c")),
    };
    it.delete(half).await;
    assert_eq!(
        it.names(None).await,
        ["a", "c"],
        "the end is not in the range"
    );
    let upside_down = KeyRange {
        start: it.key("z"),
        end: Some(it.key("a")),
    };
    assert_eq!(it.range(RangeRequest::new(upside_down)).await.count, 0);
}

async fn ranges_are_cut_and_counted(it: Subject) {
    for name in ["c", "a", "e", "b", "d"] {
        it.put(name, "value").await;
    }
    let all = it.range(RangeRequest::new(it.all())).await;
    assert_eq!((all.kvs.len(), all.more, all.count), (5, false, 5));
    assert!(all.kvs.is_sorted_by_key(|kv| kv.key.clone()), "keys ascend");
    let cut = it
        .range(RangeRequest {
            limit: 2,
            ..RangeRequest::new(it.all())
        })
        .await;
    assert_eq!((cut.kvs.len(), cut.more, cut.count), (2, true, 5));
    let exact = it
        .range(RangeRequest {
            limit: 5,
            ..RangeRequest::new(it.all())
        })
        .await;
    assert_eq!((exact.kvs.len(), exact.more), (5, false));
    let keys = it
        .range(RangeRequest {
            keys_only: true,
            ..RangeRequest::new(it.all())
        })
        .await;
    assert!(keys.kvs.iter().all(|kv| kv.value.is_empty()) && keys.kvs.len() == 5);
    let count = it
        .range(RangeRequest {
            count_only: true,
            ..RangeRequest::new(it.all())
        })
        .await;
    assert_eq!((count.kvs.len(), count.count), (0, 5));
}

async fn the_past_can_be_read(it: Subject) {
    let first = it.put("a", "1").await;
    let second = it.put("b", "1").await;
    let third = it.delete(KeyRange::key(it.key("a"))).await.revision;
    assert_eq!(it.names(Some(first)).await, ["a"]);
    assert_eq!(it.names(Some(second)).await, ["a", "b"]);
    assert_eq!(it.names(Some(third)).await, ["b"]);
    let past = it
        .range(RangeRequest {
            revision: Some(first),
            ..RangeRequest::new(it.all())
        })
        .await;
    assert_eq!(
        past.revision, third,
        "the answer tells the current revision"
    );
    let future = Some(Revision(third.0 + 1000));
    let refused = it
        .kv
        .range(RangeRequest {
            revision: future,
            ..RangeRequest::new(it.all())
        })
        .await;
    assert!(
        matches!(refused, Err(KvError::FutureRevision { .. })),
        "{refused:?}"
    );
}

async fn large_requests_are_refused(it: Subject) {
    let value = "x".repeat(8 << 20);
    let op = it.put_op("large", &value);
    let refused = it
        .kv
        .txn(Txn {
            success: vec![op],
            ..Txn::default()
        })
        .await;
    assert!(
        matches!(refused, Err(KvError::TooLarge { .. })),
        "not refused for its size"
    );
    let value = "x".repeat(1 << 20);
    it.put("mebibyte", &value).await;
    assert_eq!(
        it.get("mebibyte").await.expect("it is there").value.len(),
        1 << 20
    );
}

async fn counting_together_loses_nothing(it: Subject) {
    const TASKS: usize = 8;
    const EACH: usize = 25;
    it.put("counter", "0").await;
    let count_up = async |it: &Subject| {
        for _ in 0..EACH {
            loop {
                let kv = it.get("counter").await.expect("the counter is there");
                let text = std::str::from_utf8(&kv.value).expect("it is a number");
                let next = text.parse::<usize>().expect("it is a number") + 1;
                let same = Compare::ModRevision(it.key("counter"), kv.mod_revision);
                let put = it.put_op("counter", &next.to_string());
                if it.txn(vec![same], vec![put], vec![]).await.succeeded {
                    break;
                }
            }
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| count_up(&it)).collect();
    futures_util::future::join_all(tasks).await;
    let kv = it.get("counter").await.expect("the counter is there");
    assert_eq!(kv.value, (TASKS * EACH).to_string());
    assert_eq!(kv.version as usize, TASKS * EACH + 1);
}

async fn put_leased(it: &Subject, name: &str, lease: LeaseId) -> Result<TxnResponse, KvError> {
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

async fn a_lease_takes_its_keys_along(it: Subject) {
    let lease = it.kv.lease_grant(600).await.expect("a lease is granted");
    let other = it.kv.lease_grant(600).await.expect("another one");
    assert_ne!(lease, other);
    put_leased(&it, "a", lease).await.expect("a is put");
    put_leased(&it, "b", lease).await.expect("b is put");
    it.put("c", "free").await;
    assert_eq!(it.get("a").await.expect("a is there").lease, lease);
    assert_eq!(
        it.kv.lease_keep_alive(lease).await.expect("it is renewed"),
        600
    );
    let before = it.revision().await;
    let mut watch = it.watch(Some(Revision(before.0 + 1)), 16).await;
    it.kv.lease_revoke(lease).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["c"]);
    let gone = watch.reach(Revision(before.0 + 1)).await;
    assert_eq!(gone.len(), 2, "all keys go in one revision");
    assert!(gone.iter().all(|change| change.new.is_none()));
    assert_eq!(it.revision().await, Revision(before.0 + 1));
    let missing = |result: &KvError| matches!(result, KvError::LeaseNotFound(_));
    assert!(
        it.kv
            .lease_revoke(lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    assert!(
        it.kv
            .lease_keep_alive(lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    assert!(
        put_leased(&it, "d", lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    it.kv
        .lease_revoke(other)
        .await
        .expect("a lease without keys is revoked");
    assert_eq!(
        it.revision().await,
        Revision(before.0 + 1),
        "which is no revision"
    );
}

async fn a_lease_follows_its_key(it: Subject) {
    let first = it.kv.lease_grant(600).await.expect("a lease is granted");
    let second = it.kv.lease_grant(600).await.expect("another one");
    put_leased(&it, "moved", first).await.expect("it is put");
    put_leased(&it, "moved", second).await.expect("it is put");
    put_leased(&it, "freed", first).await.expect("it is put");
    it.put("freed", "free").await;
    it.kv.lease_revoke(first).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["freed", "moved"]);
    it.kv.lease_revoke(second).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["freed"]);
}

async fn a_lease_expires(it: Subject) {
    let lease = it.kv.lease_grant(2).await.expect("a lease is granted");
    put_leased(&it, "a", lease).await.expect("it is put");
    let mut watch = it.watch(None, 16).await;
    let gone = watch.next().await;
    assert_eq!((it.name(&gone.key).as_str(), gone.new), ("a", None));
    assert_eq!(gone.old.expect("it was there").lease, lease);
    let late = it.kv.lease_keep_alive(lease).await;
    assert!(matches!(late, Err(KvError::LeaseNotFound(_))), "{late:?}");
}

async fn a_watch_delivers_what_comes(it: Subject) {
    it.put("a", "before").await;
    let mut watch = it.watch(None, 16).await;
    let put = it.put("a", "1").await;
    it.kv
        .txn(Txn {
            success: vec![other_key("watched/elsewhere")],
            ..Txn::default()
        })
        .await
        .expect("written");
    let deleted = it.delete(KeyRange::key(it.key("a"))).await.revision;
    let change = watch.next().await;
    assert_eq!((change.revision, it.name(&change.key).as_str()), (put, "a"));
    assert_eq!(change.new.expect("it was put").value, "1");
    assert_eq!(change.old.expect("it was there").value, "before");
    let change = watch.next().await;
    assert_eq!((change.revision, change.new), (deleted, None));
    assert_eq!(change.old.expect("it was there").value, "1");
}

fn other_key(name: &'static str) -> Op {
    Op::Put {
        key: Bytes::from_static(name.as_bytes()),
        value: "1".into(),
        lease: LeaseId::default(),
    }
}

async fn a_watch_delivers_whole_revisions(it: Subject) {
    let mut live = it.watch(None, 4).await;
    // Large enough that etcd must send a revision in fragments.
    let value = "x".repeat(20 << 10);
    let names: Vec<String> = (0..60).rev().map(|number| format!("{number:02}")).collect();
    let ops: Vec<Op> = names.iter().map(|name| it.put_op(name, &value)).collect();
    let first = it.txn(vec![], ops, vec![]).await.revision;
    let second = it.delete(it.all()).await.revision;
    let mut late = it.watch(Some(first), 4).await;
    for watch in [&mut live, &mut late] {
        let mut batches = Vec::new();
        while batches.len() < 2 {
            let changes = watch.batch().await.expect("the watch goes on");
            if !changes.is_empty() {
                batches.push(changes);
            }
        }
        assert_eq!((batches[0].len(), batches[0][0].revision), (60, first));
        let order: Vec<String> = batches[0]
            .iter()
            .map(|change| it.name(&change.key))
            .collect();
        assert_eq!(order, names, "changes come in the order they were made");
        assert_eq!((batches[1].len(), batches[1][0].revision), (60, second));
        assert!(
            batches[1]
                .iter()
                .all(|change| change.old.is_some() && change.new.is_none())
        );
    }
}

async fn a_watch_starts_in_the_past(it: Subject) {
    let first = it.put("a", "1").await;
    it.put("a", "2").await;
    it.put("a", "3").await;
    let mut watch = it.watch(Some(first), 16).await;
    let mut values = Vec::new();
    for _ in 0..3 {
        values.push(watch.next().await.new.expect("it was put").value);
    }
    assert_eq!(values, ["1", "2", "3"]);
    it.put("a", "4").await;
    assert_eq!(
        watch.next().await.new.expect("it was put").value,
        "4",
        "and goes on"
    );
}

async fn a_watch_starts_in_the_future(it: Subject) {
    let now = it.put("a", "1").await;
    let mut watch = it.watch(Some(Revision(now.0 + 3)), 16).await;
    for value in ["2", "3", "4"] {
        it.put("a", value).await;
    }
    let change = watch.next().await;
    assert_eq!(
        (change.revision, change.new.expect("it was put").value),
        (Revision(now.0 + 3), "4".into())
    );
}

async fn a_slow_watcher_loses_nothing(it: Subject) {
    const WRITES: usize = 1000;
    let mut slow = it.watch(None, 1).await;
    let mut last = Revision(0);
    for number in 0..WRITES {
        last = it.put("a", &number.to_string()).await;
    }
    let changes = slow.reach(last).await;
    assert_eq!(changes.len(), WRITES);
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(
            change.new.as_ref().expect("it was put").value,
            number.to_string()
        );
    }
}

async fn a_quiet_watch_makes_progress(it: Subject) {
    it.put("a", "1").await;
    let mut watch = it.watch(None, 16).await;
    let mut elsewhere = Revision(0);
    for _ in 0..10 {
        let txn = Txn {
            success: vec![other_key("elsewhere")],
            ..Txn::default()
        };
        elsewhere = it.kv.txn(txn).await.expect("written").revision;
    }
    assert_eq!(it.revision().await, elsewhere);
    assert!(
        watch.reach(elsewhere).await.is_empty(),
        "nothing of interest, but told so"
    );
}

async fn compaction_forgets(it: Subject) {
    let first = it.put("a", "1").await;
    it.put("gone", "1").await;
    let second = it.put("a", "2").await;
    let third = it.delete(KeyRange::key(it.key("gone"))).await.revision;
    it.put("a", "3").await;
    it.kv.compact(third).await.expect("it is compacted");
    assert_eq!(it.get("a").await.expect("a is there").value, "3");
    assert_eq!(
        it.names(Some(third)).await,
        ["a"],
        "the revision itself stays readable"
    );
    let at = |revision| RangeRequest {
        revision: Some(revision),
        ..RangeRequest::new(it.all())
    };
    for revision in [first, second] {
        let refused = it.kv.range(at(revision)).await;
        assert!(
            matches!(refused, Err(KvError::Compacted { .. })),
            "{refused:?}"
        );
    }
    let repeated = it.kv.compact(third).await;
    assert!(
        matches!(repeated, Err(KvError::Compacted { .. })),
        "{repeated:?}"
    );
    let future = it.kv.compact(Revision(third.0 + 1000)).await;
    assert!(
        matches!(future, Err(KvError::FutureRevision { .. })),
        "{future:?}"
    );

    let request = WatchRequest {
        range: it.all(),
        start: Some(first),
        buffer: 16,
    };
    let refused = match it.kv.watch(request).await {
        Err(error) => error,
        Ok(stream) => {
            let mut watch = Watched {
                stream,
                reached: Revision(0),
                pending: Vec::new(),
            };
            loop {
                match watch.batch().await {
                    Ok(changes) => {
                        assert!(changes.is_empty(), "forgotten changes came: {changes:?}")
                    }
                    Err(error) => break error,
                }
            }
        }
    };
    assert!(matches!(refused, KvError::Compacted { .. }), "{refused:?}");
    let mut watch = it.watch(Some(Revision(third.0 + 1)), 16).await;
    assert_eq!(watch.next().await.new.expect("it was put").value, "3");
}
