//! What a cache's watchers are woken by, and what its snapshots select.

use std::time::Duration;

use etcd::LeaseId;

use super::*;

const PODS: &str = "pods";

fn pods() -> Arc<Cacher> {
    let resource = api::kinds::by_kind(&apimachinery::gvk::GroupVersionKind::new("", "v1", "Pod"));
    let strategy = StrategyRef::Fixed(resource.unwrap().strategy);
    let cacher = Hub::new().add(PODS, Ingest::of(&strategy));
    cacher.load(&[], Revision(1));
    cacher
}

fn put(name: &str, node: &str, revision: i64) -> Change {
    let key = Bytes::from(format!("{ROOT}{PODS}/d/{name}"));
    let value = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"d","labels":{{"app":"{name}"}}}},"spec":{{"nodeName":"{node}"}}}}"#
    );
    Change {
        revision: Revision(revision),
        new: Some(KeyValue {
            key: key.clone(),
            value: value.into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId(0),
        }),
        key,
        old: None,
    }
}

fn gone(name: &str, revision: i64) -> Change {
    Change {
        new: None,
        ..put(name, "", revision)
    }
}

fn selecting(labels: &str, fields: &str) -> Predicate {
    Predicate {
        labels: apimachinery::labels::Selector::parse(labels).unwrap(),
        fields: apimachinery::fields::Selector::parse(fields).unwrap(),
        ..Predicate::default()
    }
}

#[test]
fn selections_are_what_matches() {
    let cacher = pods();
    let empty = cacher.snapshot();
    for number in 0..500 {
        let (name, node) = (format!("p{number}"), format!("n{}", number % 7));
        cacher.apply(&[&put(&name, &node, number + 2)]);
    }
    let before = cacher.snapshot();
    let expected = selected_as_matches(&before);
    // One comes to a node, one leaves its node, one changes where it is, one goes.
    for (number, (name, node)) in [("p500", "n1"), ("p1", "n10"), ("p8", "n1")]
        .into_iter()
        .enumerate()
    {
        cacher.apply(&[&put(name, node, 502 + number as i64)]);
    }
    cacher.apply(&[&gone("p15", 505)]);
    assert_eq!(selected_as_matches(&before), expected);
    assert_eq!(
        selected_as_matches(&cacher.snapshot_at(Revision(501)).unwrap()),
        expected
    );
    assert_eq!(selected_as_matches(&empty), [0; 9]);
    assert_ne!(selected_as_matches(&cacher.snapshot()), expected);

    let of_node = selecting("", "spec.nodeName=n1");
    assert_eq!(before.select(&of_node, None).count(), 72);
    assert_eq!(cacher.snapshot().select(&of_node, None).count(), 71);
}

/// Selects in many ways, page by page as well, and compares with what matches of everything. How much each way selected.
fn selected_as_matches(snapshot: &Snapshot) -> [usize; 9] {
    [
        ("", ""),
        ("app=p3", ""),
        ("app in (p3,p4)", ""),
        ("app!=p3", "spec.nodeName=n1"),
        ("", "spec.nodeName=n1,metadata.name=p8"),
        ("", "spec.nodeName!=n1"),
        ("", "spec.nodeName="),
        ("app=p3", "spec.nodeName=n4"),
        ("", "metadata.name=p9"),
    ]
    .map(|(labels, fields)| {
        let counts = ["", "d", "e"].map(|namespace| {
            let predicate = Predicate {
                namespace: namespace.to_owned(),
                ..selecting(labels, fields)
            };
            let key = |object: &Arc<CachedObject>| object.key.clone();
            let all = snapshot.iter(namespace, None);
            let expected: Vec<Bytes> = all
                .filter(|object| predicate.matches(object))
                .map(key)
                .collect();
            let mut paged: Vec<Bytes> = Vec::new();
            loop {
                let after = paged.last().cloned();
                let page = snapshot.select(&predicate, after.as_deref()).take(7);
                paged.extend(page.map(key));
                if paged.last() == after.as_ref() {
                    break;
                }
            }
            assert_eq!(paged, expected, "{labels} {fields} in {namespace:?}");
            let selected: Vec<Bytes> = snapshot.select(&predicate, None).map(key).collect();
            assert_eq!(selected, expected, "{labels} {fields} in {namespace:?}");
            selected.len()
        });
        assert_eq!(counts, [counts[0], counts[0], 0]);
        counts[0]
    })
}

#[test]
fn what_follows_a_page_is_counted() {
    let cacher = pods();
    for number in 0..20 {
        let mut change = put(&format!("p{number:02}"), "n", number + 2);
        if number % 4 == 0 {
            let key = Bytes::from(format!("{ROOT}{PODS}/a/p{number:02}"));
            change.key = key.clone();
            change.new.as_mut().unwrap().key = key;
        }
        cacher.apply(&[&change]);
    }
    let snapshot = cacher.snapshot();
    cacher.apply(&[&gone("p01", 22)]);
    let later = cacher.snapshot();
    for (snapshot, namespace, length) in [
        (&snapshot, "", 3),
        (&later, "", 3),
        (&snapshot, "d", 3),
        (&snapshot, "", 7),
        // A page that nobody was given begins in the middle.
        (&later, "d", 4),
        (&snapshot, "a", 1),
    ] {
        let all: Vec<_> = snapshot.iter(namespace, None).collect();
        let mut after = None;
        let mut seen = 0;
        for page in all.chunks(length) {
            let last = &page.last().unwrap().key;
            let left = cacher.count_remaining(snapshot, namespace, after, page.len(), last);
            seen += page.len();
            assert_eq!(left, all.len() - seen, "{namespace:?} after {seen}");
            after = Some(last.as_ref());
        }
    }
}

#[test]
fn a_writer_says_what_an_object_is_selected_by() {
    let cacher = pods();
    let change = put("p", "n1", 2);
    let value = change.new.as_ref().unwrap().value.clone();
    cacher.foresee(&serde_json::from_slice(&value).unwrap(), &value);
    cacher.apply(&[&change]);
    assert!(
        cacher.foreseen.take(&value).is_none(),
        "it has been made use of"
    );
    let of_node = selecting("app=p", "spec.nodeName=n1");
    assert_eq!(cacher.snapshot().select(&of_node, None).count(), 1);
}

#[tokio::test]
async fn a_watcher_of_one_node_sleeps_through_the_others_and_does_not_fall_behind() {
    let cacher = pods();
    let options = WatcherOptions {
        after: Some(Revision(1)),
        ..WatcherOptions::default()
    };
    let predicate = selecting("", "spec.nodeName=n1");
    let mut watcher = Watcher::start(Arc::clone(&cacher), predicate, options).unwrap();
    // Far more than the ring holds, and nothing for this watcher.
    let busy = async {
        for number in 0..3 * ring::MAX_EVENTS as i64 {
            cacher.apply(&[&put("other", "n2", number + 2)]);
            tokio::task::yield_now().await;
        }
        cacher.apply(&[&put("mine", "n1", 1_000_000)]);
        std::future::pending::<()>().await;
    };
    let step = tokio::select! {
        () = busy => None,
        step = watcher.next() => step,
    };
    match step {
        Some(Step::Event(EventType::Added, object)) => {
            assert_eq!(object.namespace_and_name(), ("d", "mine"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_from_where_the_cache_has_not_come_yet_shows_only_what_comes_after() {
    let cacher = pods();
    let options = WatcherOptions {
        after: Some(Revision(3)),
        ..WatcherOptions::default()
    };
    let mut watcher = Watcher::start(Arc::clone(&cacher), Predicate::default(), options).unwrap();
    for (name, revision) in [("before", 2), ("there", 3), ("after", 4)] {
        cacher.apply(&[&put(name, "n", revision)]);
    }
    let Some(Step::Event(EventType::Added, object)) = watcher.try_next() else {
        panic!("what came after is shown");
    };
    assert_eq!(object.namespace_and_name(), ("d", "after"));
    assert!(watcher.try_next().is_none());
}

#[tokio::test]
async fn only_those_are_woken_whom_an_event_concerns() {
    let cacher = pods();
    let node = |node: &str| selecting("", &format!("spec.nodeName={node}"));
    let namespace = |namespace: &str| Predicate {
        namespace: namespace.to_owned(),
        ..Predicate::default()
    };
    let name = |name: &str| Predicate {
        name: name.to_owned(),
        ..Predicate::default()
    };
    let predicates = [
        node("n1"),
        node("n2"),
        namespace("d"),
        namespace("e"),
        name("a"),
        name("b"),
        Predicate::default(),
    ];
    let mut wakers = predicates.map(|predicate| cacher.wakers.subscribe(&predicate));
    let mut woken = |change: Change| -> Vec<bool> {
        cacher.apply(&[&change]);
        let changed = |waker: &mut watch::Receiver<u64>| waker.has_changed().unwrap();
        let woken = wakers.iter_mut().map(changed).collect();
        wakers.iter_mut().for_each(watch::Receiver::mark_unchanged);
        woken
    };
    // The ring is short still, so that everyone is woken now and then; later events are what counts.
    for revision in 2..100 {
        woken(put("x", "n3", revision));
    }
    assert_eq!(
        woken(put("a", "n1", 100)),
        [true, false, true, false, true, false, true]
    );
    // It moves: those who saw it leave are to know.
    assert_eq!(
        woken(put("a", "n2", 101)),
        [true, true, true, false, true, false, true]
    );
}

#[tokio::test]
async fn a_watcher_that_nobody_polls_falls_out_of_the_ring() {
    let cacher = pods();
    let options = WatcherOptions {
        after: Some(Revision(1)),
        ..WatcherOptions::default()
    };
    let mut watcher = Watcher::start(Arc::clone(&cacher), Predicate::default(), options).unwrap();
    for number in 0..=ring::MAX_EVENTS as i64 {
        cacher.apply(&[&put("a", "n", number + 2)]);
    }
    let step = tokio::time::timeout(Duration::from_secs(1), watcher.next()).await;
    assert!(matches!(step, Ok(Some(Step::Failed(status))) if status.code == 410));
}

#[tokio::test(start_paused = true)]
async fn old_history_goes_and_takes_no_watcher_along() {
    let cacher = pods();
    let after = |revision| WatcherOptions {
        after: Some(Revision(revision)),
        ..WatcherOptions::default()
    };
    let start = |predicate, options| Watcher::start(Arc::clone(&cacher), predicate, options);
    let mut watcher = start(selecting("", "spec.nodeName=n1"), after(1)).unwrap();
    let events = 4 * ring::MIN_EVENTS as i64;
    for number in 0..events {
        cacher.apply(&[&put("other", "n2", number + 2)]);
    }
    let minutes_of_nothing = async {
        for _ in 0..11 {
            cacher.age(Instant::now());
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert_eq!(cacher.read().ring.len(), ring::MIN_EVENTS);
        cacher.apply(&[&put("mine", "n1", 1_000_000)]);
        std::future::pending::<()>().await;
    };
    let step = tokio::select! {
        () = minutes_of_nothing => None,
        step = watcher.next() => step,
    };
    assert!(
        matches!(step, Some(Step::Event(EventType::Added, _))),
        "{step:?}"
    );
    // What is left is complete, and nothing else is said to be.
    let oldest = cacher.oldest();
    assert_eq!(oldest, Revision(events - ring::MIN_EVENTS as i64 + 1));
    assert!(start(Predicate::default(), after(oldest.0)).is_ok());
    assert!(start(Predicate::default(), after(oldest.0 - 1)).is_err());
}

/// An idle watch of everything; the second at which it ended.
async fn end_of_watch(
    cacher: &Arc<Cacher>,
    until: Option<Duration>,
    ends_with_server: Option<f64>,
) -> u64 {
    let start = tokio::time::Instant::now();
    let options = WatcherOptions {
        after: Some(Revision(1)),
        until: until.map(|until| start + until),
        ends_with_server,
        ..WatcherOptions::default()
    };
    let mut watcher = Watcher::start(Arc::clone(cacher), Predicate::default(), options).unwrap();
    assert!(watcher.next().await.is_none());
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn watches_end_at_their_time_or_one_after_the_other_with_the_server() {
    let hub = Hub::new();
    let cacher = hub.add(PODS, Ingest::default());
    cacher.load(&[], Revision(1));
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        hub.end_watches(Duration::from_secs(20));
    };
    let seconds = Duration::from_secs;
    let ends = tokio::join!(
        end_of_watch(&cacher, Some(seconds(5)), Some(0.0)),
        end_of_watch(&cacher, None, Some(0.0)),
        end_of_watch(&cacher, Some(seconds(3600)), Some(0.5)),
        end_of_watch(&cacher, None, Some(1.0)),
        end_of_watch(&cacher, Some(seconds(40)), None),
        stopping,
    );
    assert_eq!(ends, (5, 10, 20, 30, 40, ()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_gets_its_last_bookmark_shortly_before_its_end() {
    let cacher = pods();
    for (life, bookmarks) in [(1, vec![]), (10, vec![8]), (100, vec![60, 98])] {
        let start = tokio::time::Instant::now();
        let options = WatcherOptions {
            after: Some(Revision(1)),
            bookmarks: true,
            until: Some(start + Duration::from_secs(life)),
            ..WatcherOptions::default()
        };
        let mut watcher =
            Watcher::start(Arc::clone(&cacher), Predicate::default(), options).unwrap();
        let mut seen = Vec::new();
        while let Some(step) = watcher.next().await {
            assert!(matches!(step, Step::Bookmark { .. }), "{step:?}");
            seen.push(start.elapsed().as_secs());
        }
        assert_eq!(seen, bookmarks);
        assert_eq!(start.elapsed().as_secs(), life);
    }
}

#[tokio::test(start_paused = true)]
async fn watches_end_with_their_cache() {
    let cacher = pods();
    let ending = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        cacher.end();
    };
    let ends = tokio::join!(end_of_watch(&cacher, None, None), ending);
    assert_eq!(ends, (10, ()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_time_is_over_ends_however_much_there_is_to_tell() {
    let cacher = pods();
    let options = WatcherOptions {
        after: Some(Revision(1)),
        until: Some(tokio::time::Instant::now() + Duration::from_secs(5)),
        ..WatcherOptions::default()
    };
    let mut watcher = Watcher::start(Arc::clone(&cacher), Predicate::default(), options).unwrap();
    cacher.apply(&[&put("a", "n", 2), &put("b", "n", 3)]);
    assert!(matches!(watcher.next().await, Some(Step::Event(..))));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(watcher.next().await.is_none());
}
