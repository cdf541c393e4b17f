//! The contract suite on each implementation of `Kv`.

use base::{Clock, TaskGroup};
use etcd::{Embedded, embedded::Config, testing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    // Small files, so that rotation and checkpoints happen in the middle of it.
    let config = Config { segment_bytes: 64 << 10, checkpoint_bytes: 256 << 10, ..Config::new(dir.path()) };
    let store = Embedded::open(config.clone(), Clock::system(), &tasks).unwrap();
    testing::suite(store.clone()).await;
    let (hash, revision) = (store.hash(None), store.status().revision);
    tasks.shutdown().await;

    let tasks = TaskGroup::default();
    let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
    assert_eq!((store.hash(None), store.status().revision), (hash, revision));
    tasks.shutdown().await;
}
