//! What only the embedded store has: one directory for one process, snapshots, leases by an injected clock, group commit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    time::Duration,
};

use base::{Clock, TaskGroup};
use etcd::{
    Embedded, KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Revision, Txn, TxnResponse,
    WatchRequest,
    embedded::{Config, Disk, DiskFile, FileSystem, OpenError},
    testing::FaultyDisk,
};

async fn put(kv: &dyn Kv, key: &str, value: &str, lease: LeaseId) -> Result<TxnResponse, KvError> {
    let op = Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
    };
    kv.txn(Txn {
        success: vec![op],
        ..Txn::default()
    })
    .await
}

async fn keys(kv: &dyn Kv) -> Vec<String> {
    let kvs = kv
        .range(RangeRequest::new(KeyRange::prefix("")))
        .await
        .unwrap()
        .kvs;
    kvs.iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect()
}

const NO_LEASE: LeaseId = LeaseId(0);

#[tokio::test]
async fn one_directory_serves_one() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
    let Err(error) = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks) else {
        panic!("opened twice");
    };
    let text = error.to_string();
    assert!(matches!(error, OpenError::Locked { .. }), "{text}");
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    tasks.shutdown().await;
    assert!(matches!(
        put(&*store, "a", "1", NO_LEASE).await,
        Err(KvError::Unavailable(_))
    ));
    let tasks = TaskGroup::default();
    Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).expect("it is free again");
    tasks.shutdown().await;
}

#[tokio::test]
async fn leases_end_by_the_clock_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), clock.clone(), &tasks).unwrap();
    let (short, long) = (
        store.lease_grant(10).await.unwrap(),
        store.lease_grant(60).await.unwrap(),
    );
    put(&*store, "a/short", "1", short).await.unwrap();
    put(&*store, "a/long", "1", long).await.unwrap();
    clock.advance(Duration::from_secs(9));
    assert_eq!(store.lease_keep_alive(short).await.unwrap(), 10);
    clock.advance(Duration::from_secs(9));
    assert_eq!(store.lease_time_to_live(short).unwrap().1, 1);
    assert_eq!(keys(&*store).await, ["a/long", "a/short"]);
    drop(store);
    tasks.shutdown().await;

    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), clock.clone(), &tasks).unwrap();
    let (granted, left, held) = store.lease_time_to_live(short).unwrap();
    assert_eq!(
        (granted, left, held),
        (10, 10, vec!["a/short".into()]),
        "all its time again"
    );
    let range = KeyRange::prefix("a/");
    let mut watch = store
        .watch(WatchRequest {
            range,
            start: None,
            buffer: 4,
        })
        .await
        .unwrap();
    assert!(watch.recv().await.unwrap().unwrap().changes.is_empty());
    clock.advance(Duration::from_secs(10));
    let batch = watch.recv().await.unwrap().unwrap();
    assert_eq!(
        (batch.changes[0].key.as_ref(), &batch.changes[0].new),
        (&b"a/short"[..], &None)
    );
    assert_eq!(keys(&*store).await, ["a/long"]);
    assert_eq!(store.leases(), [long]);
    assert!(matches!(
        store.lease_keep_alive(short).await,
        Err(KvError::LeaseNotFound(_))
    ));
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_under_writes_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (data, snapshot, copy) = (
        dir.path().join("data"),
        dir.path().join("snapshot.db"),
        dir.path().join("copy"),
    );
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(&data), Clock::system(), &tasks).unwrap();
    let lease = store.lease_grant(600).await.unwrap();
    put(&*store, "leased", "1", lease).await.unwrap();
    for number in 0..500 {
        put(
            &*store,
            &format!("k{}", number % 50),
            &"x".repeat(2000),
            NO_LEASE,
        )
        .await
        .unwrap();
    }
    let writer = store.clone();
    tasks.spawn_cancellable("writer", async move {
        for number in 0.. {
            put(&*writer, &format!("k{}", number % 60), "later", NO_LEASE)
                .await
                .unwrap();
        }
    });
    let revision = store.snapshot(&snapshot).await.unwrap();
    let hash = store.hash(Some(revision));
    assert_eq!(
        Embedded::restore(&snapshot, &copy, &Clock::system()).unwrap(),
        revision
    );
    let error = Embedded::restore(&snapshot, &copy, &Clock::system()).unwrap_err();
    assert!(matches!(error, OpenError::NotEmpty { .. }), "{error}");
    tasks.shutdown().await;

    let tasks = TaskGroup::default();
    let restored = Embedded::open(Config::new(&copy), Clock::system(), &tasks).unwrap();
    assert_eq!(
        (restored.revision().await.unwrap(), restored.hash(None)),
        (revision, hash)
    );
    assert_eq!(restored.leases(), [lease]);
    let range = KeyRange::prefix("");
    let request = WatchRequest {
        range,
        start: Some(Revision(2)),
        buffer: 4,
    };
    let mut watch = restored.watch(request).await.unwrap();
    assert_eq!(
        watch.recv().await.unwrap().unwrap().revision,
        Revision(2),
        "with its history"
    );
    assert_eq!(
        put(&*restored, "a", "1", lease).await.unwrap().revision.0,
        revision.0 + 1
    );
    tasks.shutdown().await;

    let mut bytes = std::fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let damaged = Embedded::restore(&snapshot, &dir.path().join("other"), &Clock::system());
    assert!(
        matches!(damaged, Err(OpenError::Damaged { .. })),
        "{damaged:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let tasks = TaskGroup::default();
    let config = Config {
        disk: Arc::new(disk.clone()),
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    let before = disk.syncs();
    let writes = (0..2000).map(|number| {
        let store = store.clone();
        async move {
            put(&*store, &format!("k{number}"), "1", NO_LEASE)
                .await
                .unwrap()
        }
    });
    futures_util::future::join_all(writes).await;
    let syncs = disk.syncs() - before;
    assert!(
        syncs < 500,
        "{syncs} syncs for 2000 writes that came together"
    );
    tasks.shutdown().await;
}

#[tokio::test]
async fn compaction_gives_back_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let config = Config {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    for number in 0..2000 {
        put(
            &*store,
            &format!("k{}", number % 10),
            &"x".repeat(1000),
            NO_LEASE,
        )
        .await
        .unwrap();
    }
    let revision = store.revision().await.unwrap();
    store.compact(revision).await.unwrap();
    let patience = tokio::time::timeout(Duration::from_secs(20), async {
        // Maintenance has no event to wait for; every write looks after it.
        loop {
            put(&*store, "k0", "x", NO_LEASE).await.unwrap();
            let status = store.status();
            if status.size < 20_000 && status.log_bytes + status.checkpoint_bytes < 100_000 {
                break;
            }
        }
    });
    patience
        .await
        .unwrap_or_else(|_| panic!("nothing was given back: {:?}", store.status()));
    tasks.shutdown().await;
}

/// A disk whose log syncs meet the test at a barrier, twice.
#[derive(Clone)]
struct Gated(Arc<Barrier>);

struct GatedFile(Box<dyn DiskFile>, Arc<Barrier>);

impl Disk for Gated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        FileSystem.create(path)
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(
            FileSystem.append(path)?,
            self.0.clone(),
        )))
    }
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        FileSystem.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FileSystem.sync_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        FileSystem.list(dir)
    }
}

impl DiskFile for GatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.wait();
        self.1.wait();
        self.0.sync()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_neither_wait_for_the_disk_nor_run_ahead_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Barrier::new(2));
    let tasks = TaskGroup::default();
    let config = Config {
        disk: Arc::new(Gated(gate.clone())),
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    let writing = store.clone();
    let (done, written) = tokio::sync::oneshot::channel();
    tasks.spawn("writer", async move {
        let _ = done.send(put(&*writing, "a", "1", NO_LEASE).await);
    });
    let wait = |gate: Arc<Barrier>| tokio::task::spawn_blocking(move || gate.wait());
    wait(gate.clone()).await.unwrap();
    // The write is in memory and in the file, and its sync is under way.
    assert!(keys(&*store).await.is_empty());
    assert_eq!(store.revision().await.unwrap(), Revision(1));
    wait(gate).await.unwrap();
    assert_eq!(written.await.unwrap().unwrap().revision, Revision(2));
    assert_eq!(keys(&*store).await, ["a"]);
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_range_is_of_one_revision() {
    const KEYS: usize = 5000;
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
    let key = |number: usize| format!("k{number:04}");
    let writes = (0..KEYS).map(|number| {
        let store = store.clone();
        async move { put(&*store, &key(number), "0", NO_LEASE).await }
    });
    futures_util::future::join_all(writes)
        .await
        .into_iter()
        .for_each(|put| drop(put.unwrap()));
    // Every transaction writes its number to the first and the last key, and history goes as fast as it comes.
    let writer = store.clone();
    tasks.spawn_cancellable("writer", async move {
        for number in 1_u32.. {
            let ops = [key(0), key(KEYS - 1)].map(|key| Op::Put {
                key: key.into(),
                value: number.to_string().into(),
                lease: NO_LEASE,
            });
            let txn = Txn {
                success: ops.into(),
                ..Txn::default()
            };
            let revision = writer.txn(txn).await.unwrap().revision;
            writer.compact(revision).await.unwrap();
        }
    });
    for _ in 0..50 {
        let request = RangeRequest::new(KeyRange::prefix("k"));
        let all = store.range(request).await.unwrap();
        assert_eq!(
            (all.kvs.len(), all.count, all.more),
            (KEYS, KEYS as u64, false)
        );
        assert_eq!(all.kvs[0].value, all.kvs[KEYS - 1].value);
        assert!(all.kvs.is_sorted_by_key(|kv| kv.key.clone()));
        let cut = RangeRequest {
            limit: 2000,
            ..RangeRequest::new(KeyRange::prefix("k"))
        };
        let cut = store.range(cut).await.unwrap();
        assert_eq!(
            (cut.kvs.len(), cut.count, cut.more),
            (2000, KEYS as u64, true)
        );
    }
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_watcher_that_outsleeps_the_history_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
    let range = KeyRange::prefix("k");
    let request = WatchRequest {
        range,
        start: None,
        buffer: 1,
    };
    let mut watch = store.watch(request).await.unwrap();
    for number in 0..2000 {
        put(&*store, "k", &number.to_string(), NO_LEASE)
            .await
            .unwrap();
    }
    let revision = store.revision().await.unwrap();
    store.compact(revision).await.unwrap();
    let mut reached = Revision(1);
    let end = loop {
        match watch.recv().await.expect("it says why it ends") {
            Ok(batch) => {
                assert!(
                    batch.changes.is_empty() || batch.revision.0 == reached.0 + 1,
                    "no gaps"
                );
                reached = batch.revision;
            }
            Err(error) => break error,
        }
    };
    let gone = KvError::Compacted {
        requested: Revision(reached.0 + 1),
        compacted: revision,
    };
    assert_eq!(end.to_string(), gone.to_string());
    assert!(
        reached < Revision(revision.0 - 1000),
        "it had been held back: {reached}"
    );
    tasks.shutdown().await;
}

#[tokio::test]
async fn history_is_bounded_even_when_nobody_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let config = Config {
        history_bytes: 100_000,
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config.clone(), Clock::system(), &tasks).unwrap();
    let value = "x".repeat(1000);
    for _ in 0..1000 {
        put(&*store, "a", &value, NO_LEASE).await.unwrap();
    }
    // What is forgotten is freed by another thread; the next writes are behind it.
    let freed = async {
        while store.status().size > 120_000 {
            put(&*store, "b", "", NO_LEASE).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed)
        .await
        .expect("the history is cut");
    let status = store.status();
    assert!(status.compacted > Revision(0));
    let watch = WatchRequest {
        range: KeyRange::prefix(""),
        start: Some(Revision(2)),
        buffer: 1,
    };
    assert!(matches!(
        store.watch(watch).await,
        Err(KvError::Compacted { .. })
    ));
    assert!(keys(&*store).await.contains(&"a".to_owned()));
    tasks.shutdown().await;

    let tasks = TaskGroup::default();
    let again = Embedded::open(config, Clock::system(), &tasks).unwrap();
    assert_eq!(again.status().revision, status.revision);
    assert!(again.status().compacted >= status.compacted);
    tasks.shutdown().await;
}

#[tokio::test]
async fn so_is_the_number_of_its_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let config = Config {
        history_revisions: 100,
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    for number in 0..1000 {
        put(&*store, &number.to_string(), "", NO_LEASE)
            .await
            .unwrap();
    }
    assert!(store.status().compacted > Revision(400));
    assert_eq!(keys(&*store).await.len(), 1000);
    tasks.shutdown().await;
}
