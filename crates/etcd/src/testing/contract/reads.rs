//! Reads: ranges, the past, and what is forgotten.

use super::subject::{Subject, Watched};
use crate::{KeyRange, KvError, RangeRequest, Revision, WatchRequest};

pub(super) async fn ranges_are_cut_and_counted(it: Subject) {
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

pub(super) async fn the_past_can_be_read(it: Subject) {
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

pub(super) async fn compaction_forgets(it: Subject) {
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
            let mut watch = Watched::new(stream);
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
