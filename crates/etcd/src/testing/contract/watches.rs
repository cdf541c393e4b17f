//! Watches: what comes, in order, whole and once.

use bytes::Bytes;

use super::subject::Subject;
use crate::{KeyRange, LeaseId, Op, Revision, Txn};

pub(super) async fn a_watch_delivers_what_comes(it: Subject) {
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

pub(super) async fn a_live_watch_shares_values_where_it_says_so(it: Subject) {
    let mut watch = it.watch(None, 16).await;
    let op = it.put_op("a", "shared");
    let Op::Put { key, value, .. } = op.clone() else {
        panic!("a put is a put")
    };
    it.txn(vec![], vec![op], vec![]).await;
    let seen = watch.next().await.new.expect("it was put").value;
    assert_eq!(seen, value);
    if it.kv.shares_values(&key) {
        assert_eq!(seen.as_ptr(), value.as_ptr());
    }
}

fn other_key(name: &'static str) -> Op {
    Op::Put {
        key: Bytes::from_static(name.as_bytes()),
        value: "1".into(),
        lease: LeaseId::default(),
    }
}

pub(super) async fn a_watch_delivers_whole_revisions(it: Subject) {
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

pub(super) async fn a_watch_starts_in_the_past(it: Subject) {
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

pub(super) async fn a_watch_starts_in_the_future(it: Subject) {
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

pub(super) async fn a_slow_watcher_loses_nothing(it: Subject) {
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

pub(super) async fn a_quiet_watch_makes_progress(it: Subject) {
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
