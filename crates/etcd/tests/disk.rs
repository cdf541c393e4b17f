//! Disks that refuse: a failing fsync, a full disk (injected, and a real small tmpfs). A refused write is not there, nothing
//! acknowledged is lost, and the store says clearly that it has failed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use base::{Clock, TaskGroup};
use bytes::Bytes;
use etcd::{
    Embedded, KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Revision, Txn, TxnResponse,
    WatchRequest,
    embedded::Config,
    testing::{Fault, FaultyDisk},
};

async fn put(kv: &dyn Kv, key: &str, value: &[u8]) -> Result<TxnResponse, KvError> {
    let (key, value) = (key.to_owned().into(), Bytes::copy_from_slice(value));
    let op = Op::Put {
        key,
        value,
        lease: LeaseId::default(),
    };
    kv.txn(Txn {
        success: vec![op],
        ..Txn::default()
    })
    .await
}

async fn count(kv: &dyn Kv) -> u64 {
    kv.range(RangeRequest::new(KeyRange::prefix("k")))
        .await
        .unwrap()
        .count
}

fn open(dir: &Path, disk: &FaultyDisk) -> (Arc<Embedded>, TaskGroup) {
    let tasks = TaskGroup::default();
    let config = Config {
        disk: Arc::new(disk.clone()),
        ..Config::new(dir)
    };
    (
        Embedded::open(config, Clock::system(), &tasks).unwrap(),
        tasks,
    )
}

/// A store that fails by `fault` at its fourth write: what it says then, and what is there after a restart.
async fn fails_for_good(fault: Fault) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (store, tasks) = open(dir.path(), &disk);
    for number in 0..3 {
        put(&*store, &format!("k{number}"), b"kept").await.unwrap();
    }
    let range = KeyRange::prefix("k");
    let mut watch = store
        .watch(WatchRequest {
            range,
            start: None,
            buffer: 8,
        })
        .await
        .unwrap();
    assert!(watch.recv().await.unwrap().unwrap().changes.is_empty());

    disk.set(fault);
    let refused = put(&*store, "k3", b"refused").await;
    assert!(
        matches!(refused, Err(KvError::Failed { .. })),
        "{refused:?}"
    );
    disk.set(Fault::None);
    let later = put(&*store, "k4", b"refused too").await;
    assert!(
        matches!(later, Err(KvError::Failed { .. })),
        "a failed disk is not trusted again"
    );
    assert!(store.lease_grant(10).await.is_err());
    assert!(store.compact(Revision(2)).await.is_err());
    assert!(matches!(
        store.status().failure,
        Some(KvError::Failed { .. })
    ));
    assert_eq!(count(&*store).await, 3, "reads go on, and do not see it");
    assert_eq!(store.revision().await.unwrap(), Revision(4));
    assert!(watch.try_recv().is_err(), "watchers do not see it");
    let hash = store.hash(None);
    drop(store);
    tasks.shutdown().await;

    let (store, tasks) = open(dir.path(), &disk);
    assert_eq!(
        (store.hash(None), store.revision().await.unwrap()),
        (hash, Revision(4))
    );
    assert_eq!(
        put(&*store, "k3", b"now").await.unwrap().revision,
        Revision(5)
    );
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_failing_fsync() {
    fails_for_good(Fault::Sync).await;
}

#[tokio::test]
async fn a_full_disk_wherever_it_cuts() {
    for room in [0, 1, 23, 24, 25, 40] {
        fails_for_good(Fault::Full(room)).await;
    }
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_made_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let tasks = TaskGroup::default();
    let config = Config {
        disk: Arc::new(disk.clone()),
        segment_bytes: 4 << 10,
        checkpoint_bytes: 16 << 10,
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config.clone(), Clock::system(), &tasks).unwrap();
    disk.set(Fault::Create);
    for number in 0..200 {
        put(&*store, &format!("k{number}"), &[7; 500])
            .await
            .unwrap();
    }
    disk.set(Fault::None);
    let mut number = 200;
    while store.status().checkpoint_bytes == 0 {
        put(&*store, &format!("k{number}"), &[7; 500])
            .await
            .unwrap();
        number += 1;
        assert!(number < 10_000, "checkpoints are tried again");
    }
    let hash = store.hash(None);
    drop(store);
    tasks.shutdown().await;
    let tasks = TaskGroup::default();
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    assert_eq!((store.hash(None), count(&*store).await), (hash, number));
    tasks.shutdown().await;
}

/// A file system that is unmounted with the test.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &std::ffi::CStr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, Some(options))
            .expect("this test needs root, to mount a small tmpfs");
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full() {
    let tmpfs = Tmpfs::mount(c"size=1m");
    let dir = tmpfs.0.path().join("data");
    let disk = FaultyDisk::new();
    let (store, tasks) = open(&dir, &disk);
    let mut kept = 0;
    let refused = loop {
        match put(&*store, &format!("k{kept}"), &[7; 10_000]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    let KvError::Failed { message, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(message.contains("No space left"), "{message}");
    assert!(kept > 50, "{kept}");
    assert_eq!(count(&*store).await, kept);
    drop(store);
    tasks.shutdown().await;

    let (store, tasks) = open(&dir, &disk);
    assert_eq!(
        count(&*store).await,
        kept,
        "all that was acknowledged, and no more"
    );
    assert_eq!(
        store.revision().await.unwrap(),
        Revision(kept.cast_signed() + 1)
    );
    tasks.shutdown().await;
}
