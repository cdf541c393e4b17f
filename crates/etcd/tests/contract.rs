//! The contract suite on each implementation of `Kv`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use base::{Clock, TaskGroup};
use etcd::{
    Embedded, Kv as _, Remote,
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

/// The server and the client together, with progress on request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_server_seen_through_our_client() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let (store, endpoint) = serve(dir.path(), &tasks).await;
    let clients = TaskGroup::default();
    let kv = Remote::connect(remote::Config::new([endpoint]), &clients)
        .await
        .unwrap();
    testing::suite(kv.clone()).await;
    let revision = kv.revision().await.unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
    // The server first: it must end though a client is there.
    tokio::time::timeout(Duration::from_secs(20), tasks.shutdown())
        .await
        .expect("the server ends");
    clients.shutdown().await;
}

async fn serve(dir: &Path, tasks: &TaskGroup) -> (Arc<Embedded>, String) {
    let store = Embedded::open(Config::new(dir), Clock::system(), tasks).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (served, group) = (store.clone(), tasks.clone());
    tasks.spawn("server", async move {
        etcd::serve(served, listener, &group).await.unwrap()
    });
    (store, endpoint)
}
