//! A stock etcdctl against our server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use base::{Clock, TaskGroup};
use etcd::{Embedded, embedded::Config};

/// Beside the etcd that the other tests use.
fn etcdctl() -> PathBuf {
    let named = std::env::var_os("IRONCLAD_TEST_ETCD").map(PathBuf::from);
    let named = named.and_then(|etcd| Some(etcd.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.clients");
    named
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain([clients])
        .map(|dir| dir.join("etcdctl"))
        .find(|candidate| candidate.is_file())
        .expect("this test needs etcdctl: beside IRONCLAD_TEST_ETCD, on PATH, or at .clients/etcdctl in the workspace")
}

fn command(endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(etcdctl());
    command
        .args(["--endpoints", endpoint])
        .args(args)
        .env_clear()
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run_with(endpoint: &str, args: &[&str], input: &str) -> String {
    let mut child = command(endpoint, args).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn talk(endpoint: &str) {
    let run = |args: &[&str]| run_with(endpoint, args, "");
    assert_eq!(run(&["put", "b", "1"]), "OK\n");
    run(&["put", "a", "2"]);
    run(&["put", "c", "0"]);
    assert_eq!(run(&["get", "a"]), "a\n2\n");
    assert_eq!(
        run(&["get", "", "--prefix", "--keys-only"]),
        "a\n\nb\n\nc\n\n"
    );
    let by_value = [
        "get",
        "",
        "--prefix",
        "--sort-by=VALUE",
        "--order=DESCEND",
        "--limit=2",
    ];
    assert_eq!(run(&by_value), "a\n2\nb\n1\n");
    assert_eq!(run(&["put", "b", "3", "--prev-kv"]), "OK\nb\n1\n");
    assert_eq!(run(&["get", "b", "--rev=4", "--print-value-only"]), "1\n");
    assert_eq!(run(&["del", "c", "--prev-kv"]), "1\nc\n0\n");

    let txn = "value(\"a\") = \"2\"\n\nput a 5\nget b\n\nget a\n\n";
    assert_eq!(run_with(endpoint, &["txn"], txn), "SUCCESS\n\nOK\n\nb\n3\n");
    assert_eq!(run_with(endpoint, &["txn"], txn), "FAILURE\n\na\n5\n");

    let granted = run(&["lease", "grant", "300"]);
    let lease = granted.split(' ').nth(1).unwrap();
    run(&["put", "leased", "1", "--lease", lease]);
    assert!(run(&["lease", "timetolive", lease, "--keys"]).contains("attached keys([leased])"));
    assert!(run(&["lease", "keep-alive", "--once", lease]).contains("keepalived with TTL(300)"));
    assert!(run(&["lease", "list"]).contains(lease));
    run(&["lease", "revoke", lease]);
    assert_eq!(run(&["get", "leased"]), "");

    let mut watch = command(endpoint, &["watch", "a", "--rev=2"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let seen: Vec<String> = (0..6).map(|_| next()).collect();
    assert_eq!(seen, ["PUT", "a", "2", "PUT", "a", "5"], "from history");
    run(&["del", "a"]);
    assert_eq!([next(), next()], ["DELETE", "a"], "and live");
    watch.kill().unwrap();
    watch.wait().unwrap();

    assert!(run(&["compaction", "6"]).contains("compacted revision 6"));
    let refused = command(endpoint, &["get", "a", "--rev=2"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains("required revision has been compacted"),
        "{text}"
    );

    let health = command(endpoint, &["endpoint", "health"]).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    assert!(run(&["endpoint", "status"]).contains("3.6.0+ironclad"));
    assert!(run(&["endpoint", "hashkv"]).contains(endpoint));
    assert!(run(&["member", "list"]).contains("ironclad"));
    assert_eq!(run(&["alarm", "list"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_etcdctl_talks_to_our_server() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::default();
    let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let group = tasks.clone();
    tasks.spawn("server", async move {
        etcd::serve(store, listener, &group).await.unwrap()
    });
    tokio::task::spawn_blocking(move || talk(&endpoint))
        .await
        .unwrap();
    tasks.shutdown().await;
}
