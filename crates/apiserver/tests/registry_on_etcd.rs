//! What `registry` tests, on a real etcd: the same server, stateless over it. With an etcd that gives no progress notices, too.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

#[path = "registry.rs"]
mod cases;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;

use cases::{CONFIG_MAPS, config_map, start};

#[tokio::test]
async fn an_etcd_that_dies_is_missed_and_welcome_back() {
    let mut cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.next().await.1["metadata"]["name"], "a");
    cluster.etcd.as_mut().unwrap().stop();

    let (status, answer) = cluster.get(&path).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("Timeout: store unavailable: "),
        "{message}"
    );
    let created = cluster.json(Method::POST, CONFIG_MAPS, Some(config_map("b", "1")));
    assert_eq!(created.await.0, StatusCode::GATEWAY_TIMEOUT);
    let elsewhere = "/api/v1/namespaces/elsewhere/configmaps";
    let created = cluster.json(Method::POST, elsewhere, Some(config_map("b", "1")));
    let code = created.await.0;
    assert_eq!(
        code,
        StatusCode::GATEWAY_TIMEOUT,
        "nobody knows that there is no such namespace"
    );
    assert_eq!(
        cluster.get("/readyz").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let cached = cluster.get(&format!("{path}?resourceVersion=0")).await;
    assert_eq!(
        cached.1["data"],
        json!({"k": "1"}),
        "the cache still answers"
    );

    cluster.etcd.as_mut().unwrap().restart();
    cluster.until_ready().await;
    assert_eq!(cluster.get(&path).await.0, StatusCode::OK);
    cluster.create(CONFIG_MAPS, config_map("c", "1")).await;
    let seen = async { while watch.next().await.1["metadata"]["name"] != "c" {} };
    seen.await;
    cluster.stop().await;
}

/// What writers of [`an_etcd_that_dies_under_load_loses_nothing_acknowledged`] have heard.
#[derive(Default)]
struct Answers {
    acknowledged: RefCell<BTreeSet<String>>,
    refused: Cell<usize>,
    enough: Cell<bool>,
}

#[tokio::test]
async fn an_etcd_that_dies_under_load_loses_nothing_acknowledged() {
    const WRITERS: usize = 8;
    const DEATHS: usize = 2;
    /// What is written before and after each death.
    const ROUND: usize = 60;
    let mut cluster = start().await;
    let mut etcd = cluster.etcd.take().unwrap();
    let shared = &cluster;
    let mut watch = shared.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    let answers = &Answers::default();
    let acknowledged = || answers.acknowledged.borrow().len();

    let writer = |writer: usize| async move {
        for number in 0.. {
            if answers.enough.get() {
                break;
            }
            let name = format!("w{writer}-{number}");
            let object = config_map(&name, "1");
            let (status, answer) = shared.json(Method::POST, CONFIG_MAPS, Some(object)).await;
            match status {
                StatusCode::CREATED => {
                    answers.acknowledged.borrow_mut().insert(name);
                }
                StatusCode::GATEWAY_TIMEOUT => answers.refused.set(answers.refused.get() + 1),
                other => panic!("{other}: {answer}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let deaths = async {
        for _ in 0..DEATHS {
            let wanted = acknowledged() + ROUND;
            while acknowledged() < wanted {
                tokio::task::yield_now().await;
            }
            let ended = tokio::task::spawn_blocking(move || {
                etcd.terminate();
                etcd
            });
            etcd = ended.await.unwrap();
            let wanted = answers.refused.get() + WRITERS;
            while answers.refused.get() < wanted {
                tokio::task::yield_now().await;
            }
            let restarted = tokio::task::spawn_blocking(move || {
                etcd.restart();
                etcd
            });
            etcd = restarted.await.unwrap();
        }
        let wanted = acknowledged() + ROUND;
        while acknowledged() < wanted {
            tokio::task::yield_now().await;
        }
        answers.enough.set(true);
        etcd
    };
    let (_, _etcd) = tokio::join!(join_all((0..WRITERS).map(writer)), deaths);
    shared.create(CONFIG_MAPS, config_map("last", "1")).await;
    let (mut seen, mut revision) = (BTreeSet::new(), 0);
    while !seen.contains("last") {
        let (kind, object) = watch.next().await;
        let next = object["metadata"]["resourceVersion"].as_str().unwrap();
        let next: u64 = next.parse().unwrap();
        assert!(
            kind == "ADDED" && next > revision,
            "{kind} {next} after {revision}"
        );
        revision = next;
        seen.insert(object["metadata"]["name"].as_str().unwrap().to_owned());
    }

    let (status, list) = shared.get(CONFIG_MAPS).await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let items = list["items"].as_array().unwrap();
    let stored: BTreeSet<String> = items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let acknowledged = answers.acknowledged.take();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let wrong: Vec<_> = seen.symmetric_difference(&stored).collect();
    assert!(wrong.is_empty(), "watched or stored, not both: {wrong:?}");
    cluster.stop().await;
}
