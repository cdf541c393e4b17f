//! `up --nodes`: several nodes on one machine, each with its own network, mounts and processes. Their pods reach each other; they run
//! on when `up` ends, and die with their machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use anyhow::ensure;
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use testing::{Cluster, Options, eventually};

const PATIENCE: Duration = Duration::from_secs(90);

const PODS: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: busybox.test/busybox:1
        env: [ { name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } } ]
        command: [sh, -c, 'mkdir /tmp/w && echo $NODE > /tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w']
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [ { port: 80, targetPort: 8080 } ] }
";

#[test]
fn nodes_of_one_machine_are_machines_of_their_own() {
    let mut cluster = Cluster::start(Options {
        arguments: vec!["--nodes=2".to_owned(), "--node-name=one".to_owned()],
        ..Options::default()
    })
    .unwrap();
    cluster.apply(PODS);
    cluster.kubectl(&["rollout", "status", "daemonset/web", "--timeout=60s"]);

    // From each pod to the other, and through the Service to both.
    for (from, to) in [("one", "one-2"), ("one-2", "one")] {
        let pod = pod_on(&cluster, from, "{.items[0].metadata.name}");
        let address = pod_on(&cluster, to, "{.items[0].status.podIP}");
        let ask = |target: &str| {
            let script = format!(r#"printf "GET / HTTP/1.0\r\n\r\n" | nc -w 2 {target}"#);
            cluster.try_kubectl(&["exec", &pod, "--", "sh", "-c", &script])
        };
        eventually(PATIENCE, || {
            let answer = ask(&format!("{address} 8080"))?;
            ensure!(answer.ends_with(to), "{from} asked {to}: {answer:?}");
            Ok(())
        });
        let path = "jsonpath={.spec.clusterIP}";
        let service = cluster.kubectl(&["get", "service", "web", "-o", path]);
        for node in ["one", "one-2"] {
            eventually(PATIENCE, || {
                let answer = ask(&format!("{service} 80"))?;
                ensure!(answer.ends_with(node), "{from} asked the Service");
                Ok(())
            });
        }
    }

    // The nodes run on without `up`, and the next one finds them.
    let container = "{.items[0].status.containerStatuses[0].containerID}";
    let before = pod_on(&cluster, "one-2", container);
    let first = owner(&cluster);
    cluster.kill().unwrap();
    cluster.spawn().unwrap();
    assert_eq!(pod_on(&cluster, "one-2", container), before);
    assert_eq!(owner(&cluster), first);

    // One without power is switched on again, and runs its pods anew.
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    eventually(PATIENCE, || {
        let lock = File::open(lock(&cluster))?;
        flock(lock, FlockOperation::NonBlockingLockShared)?;
        anyhow::Ok(())
    });
    cluster.kill().unwrap();
    cluster.spawn().unwrap();
    // What its node says is what it said last, until it is there again.
    eventually(PATIENCE, || {
        ensure!(owner(&cluster) != first, "not switched on");
        Ok(())
    });
    let ready = "{.items[0].status.containerStatuses[0].ready}";
    eventually(PATIENCE, || {
        let now = pod_on(&cluster, "one-2", container);
        let ready = pod_on(&cluster, "one-2", ready);
        ensure!(now != before && ready == "true", "{now} {ready}");
        Ok(())
    });
}

fn pod_on(cluster: &Cluster, node: &str, path: &str) -> String {
    let selector = format!("--field-selector=spec.nodeName={node}");
    let output = format!("-o=jsonpath={path}");
    cluster.kubectl(&["get", "pods", &selector, &output])
}

/// The process that is the second node's machine.
fn owner(cluster: &Cluster) -> i32 {
    let text = fs::read_to_string(lock(cluster)).unwrap();
    text.trim().parse().unwrap()
}

/// Held as long as it runs.
fn lock(cluster: &Cluster) -> PathBuf {
    cluster.data_dir().join("nodes/2/ironclad.lock")
}
