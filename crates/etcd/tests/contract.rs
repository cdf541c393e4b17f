//! The contract suite on each implementation of `Kv`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Clock, TaskGroup};
use etcd::{
    Embedded, Remote,
    embedded::Config,
    remote,
    testing::{self, EtcdProcess},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    // Small files, so that rotation and checkpoints happen in the middle of it.
    let config = Config {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        ..Config::new(dir.path())
    };
    let store = Embedded::open(config.clone(), Clock::system(), &tasks).unwrap();
    testing::suite(store.clone()).await;
    let (hash, revision) = (store.hash(None), store.status().revision);
    tasks.shutdown().await;

    let tasks = TaskGroup::default();
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    assert_eq!(
        (store.hash(None), store.status().revision),
        (hash, revision)
    );
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = EtcdProcess::start(dir.path());
    let tasks = TaskGroup::default();
    // The first endpoint is nobody's: every request has to find the second.
    let config = remote::Config::new(["http://127.0.0.1:1".to_owned(), etcd.endpoint()]);
    let kv = Remote::connect(config, &tasks).await.unwrap();
    testing::suite(kv).await;
    tasks.shutdown().await;
}
