//! Writes: versions, revisions, compares, deletions, bounds.

use bytes::Bytes;

use super::subject::Subject;
use crate::{
    Compare, KeyRange, KvError, LeaseId, Op, OpResponse, RangeRequest, RangeResponse, Revision, Txn,
};

pub(super) async fn a_put_counts_versions(it: Subject) {
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

pub(super) async fn only_writes_take_revisions(it: Subject) {
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

pub(super) async fn compares_hold_as_in_etcd(it: Subject) {
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

pub(super) async fn a_failed_compare_answers_what_is_there(it: Subject) {
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

pub(super) async fn a_transaction_is_one_revision(it: Subject) {
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

pub(super) async fn a_key_is_written_once(it: Subject) {
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

pub(super) async fn empty_keys_are_refused(it: Subject) {
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

pub(super) async fn deletions_answer_what_was_there(it: Subject) {
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

pub(super) async fn large_requests_are_refused(it: Subject) {
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

pub(super) async fn counting_together_loses_nothing(it: Subject) {
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
