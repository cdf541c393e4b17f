//! How fast the embedded store is. Run it by hand, in release mode:
//! `cargo test --release -p etcd --test throughput -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use base::{Clock, TaskGroup};
use etcd::{Embedded, KeyRange, Kv, LeaseId, Op, RangeRequest, Txn, embedded::Config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput() {
    const TIME: Duration = Duration::from_secs(3);
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
    for writers in [1, 16, 256, 2048] {
        let end = Instant::now() + TIME;
        let write = |writer: usize| {
            let store = store.clone();
            async move {
                let mut written = 0_u64;
                while Instant::now() < end {
                    let key = format!("/registry/pods/default/pod-{writer}-{}", written % 100);
                    let value = vec![b'x'; 1000].into();
                    let op = Op::Put {
                        key: key.into(),
                        value,
                        lease: LeaseId::default(),
                    };
                    store
                        .txn(Txn {
                            success: vec![op],
                            ..Txn::default()
                        })
                        .await
                        .unwrap();
                    written += 1;
                }
                written
            }
        };
        let all = futures_util::future::join_all((0..writers).map(write)).await;
        let rate = all.iter().sum::<u64>() as f64 / TIME.as_secs_f64();
        println!("{writers} writers of 1 kB: {rate:.0} txn/s");
        store
            .compact(store.revision().await.unwrap())
            .await
            .unwrap();
    }
    let start = Instant::now();
    let all = store
        .range(RangeRequest::new(KeyRange::prefix("/registry/")))
        .await
        .unwrap();
    println!("a range of {} keys: {:?}", all.count, start.elapsed());
    println!("{:?}", store.status());
    tasks.shutdown().await;
}
