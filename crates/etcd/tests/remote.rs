//! The client of an external etcd, where the contract suite does not reach: members that die and come back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use base::TaskGroup;
use etcd::{
    KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Remote, Revision, Txn, WatchRequest, remote,
    testing::EtcdProcess,
};

fn put(key: &str, value: &str) -> Txn {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    Txn {
        success: vec![Op::Put {
            key,
            value,
            lease: LeaseId::default(),
        }],
        ..Txn::default()
    }
}

async fn connect(etcd: &EtcdProcess, tasks: &TaskGroup) -> Arc<Remote> {
    Remote::connect(remote::Config::new([etcd.endpoint()]), tasks)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_after_etcd_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut etcd = EtcdProcess::start(dir.path());
    let tasks = TaskGroup::default();
    let kv = connect(&etcd, &tasks).await;
    let range = KeyRange::prefix("/a/");
    let request = WatchRequest {
        range,
        start: None,
        buffer: 1,
    };
    let mut watch = kv.watch(request).await.unwrap();
    let mut written = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            // Reads are tried again; a write whose fate is unknown is the caller's to repeat, and here it may.
            let txn = put(&format!("/a/{round}"), &number.to_string());
            written.push(kv.txn(txn).await.unwrap().revision);
        }
        etcd.restart();
        while kv
            .range(RangeRequest::new(KeyRange::key("x")))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    }
    let mut seen = Vec::new();
    while seen.len() < written.len() {
        let batch = tokio::time::timeout(Duration::from_secs(20), watch.recv()).await;
        let Ok(batch) = batch else {
            let there = kv.revision().await;
            panic!("no more comes, etcd is at {there:?}: seen {seen:?} of {written:?}");
        };
        let batch = batch.expect("the watch goes on").unwrap();
        seen.extend(batch.changes.iter().map(|change| change.revision));
    }
    assert_eq!(seen, written, "every revision once, in order");
    tasks.shutdown().await;
}

#[tokio::test]
async fn nobody_there_is_said_clearly() {
    let tasks = TaskGroup::default();
    let config = remote::Config::new(["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    let Err(KvError::Unavailable(message)) = Remote::connect(config, &tasks).await else {
        panic!("there is nobody to connect to");
    };
    assert!(message.contains("refused"), "{message}");
    tasks.shutdown().await;
}

#[tokio::test]
async fn compaction_under_a_watch_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = EtcdProcess::start(dir.path());
    let tasks = TaskGroup::default();
    let kv = connect(&etcd, &tasks).await;
    for number in 0..5 {
        kv.txn(put("a", &number.to_string())).await.unwrap();
    }
    kv.compact(Revision(5)).await.unwrap();
    let request = WatchRequest {
        range: KeyRange::key("a"),
        start: Some(Revision(2)),
        buffer: 1,
    };
    let mut watch = kv.watch(request).await.unwrap();
    let end = watch.recv().await.expect("it says why it ends");
    assert!(
        matches!(
            end,
            Err(KvError::Compacted {
                requested: Revision(2),
                compacted: Revision(5)
            })
        ),
        "{end:?}"
    );
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_client_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, pem: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (ca_file, certificate_file, key_file) = (
        write("ca.crt", ca.pem()),
        write("tls.crt", certificate.pem()),
        write("tls.key", key.serialize_pem()),
    );
    let data = dir.path().join("data");
    let etcd = EtcdProcess::start_tls(&data, &ca_file, &certificate_file, &key_file);

    let tasks = TaskGroup::default();
    let mut config = remote::Config::new([etcd.endpoint()]);
    config.tls.ca = Some(ca.pem().into_bytes());
    let stranger = Remote::connect(config.clone(), &tasks).await;
    assert!(stranger.is_err(), "etcd wants to know who we are");
    config.tls.identity = Some((
        certificate.pem().into_bytes(),
        key.serialize_pem().into_bytes(),
    ));
    let kv = Remote::connect(config, &tasks).await.unwrap();
    assert_eq!(kv.txn(put("a", "1")).await.unwrap().revision, Revision(2));
    tasks.shutdown().await;
}
