//! A second machine joins with a token: it gets its certificates from the cluster, its pods reach those of the first machine and are
//! reached, Services and DNS answer there, and the API server speaks with its kubelet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::Ipv4Addr, time::Duration};

use anyhow::ensure;
use testing::{Access, Cluster, Image, Machine, Options, Registry, eventually};

/// What a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 2);

fn pod(name: &str, node: &str, image: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, labels: {{ app: {name} }} }}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: '{image}'
    command: [sh, -c, 'mkdir /tmp/w && echo {name} > /tmp/w/index.html && echo up && exec httpd -f -p 8080 -h /tmp/w']
---
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ selector: {{ app: {name} }}, ports: [ {{ port: 80, targetPort: 8080 }} ] }}
"
    )
}

#[test]
fn a_second_machine_joins_with_a_token() {
    let cluster = Cluster::start(Options::default()).unwrap();
    let first = cluster.kubectl(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]);
    let machine = Machine::beside(&cluster, ADDRESS).unwrap();
    let _registry = Registry::serve(
        machine.netns().door().unwrap(),
        "127.0.0.1:5000".parse().unwrap(),
        "team/busybox",
        &Image::busybox().unwrap(),
        Access::Anonymous,
        None,
    )
    .unwrap();
    let _node = machine
        .join(
            &cluster,
            "second",
            &["--node-ip=172.31.255.2", "--cluster-dns=10.96.0.10"],
            "10.244.0.0/16",
        )
        .unwrap();

    cluster.apply(&pod("near", &first, "busybox.test/busybox:1"));
    cluster.apply(&pod("far", "second", "127.0.0.1:5000/team/busybox:v1"));
    cluster.kubectl(&[
        "wait",
        "pod/near",
        "pod/far",
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
    // Its serving certificate is signed by the cluster: the API server trusts it.
    eventually(PATIENCE, || {
        ensure!(cluster.try_kubectl(&["logs", "far"])? == "up");
        Ok(())
    });
    let address = |pod: &str| {
        let path = "jsonpath={.status.podIP}";
        cluster.kubectl(&["get", "pod", pod, "-o", path])
    };
    let service = |name: &str| {
        let path = "jsonpath={.spec.clusterIP}";
        cluster.kubectl(&["get", "service", name, "-o", path])
    };
    for (from, to) in [("near", "far"), ("far", "near")] {
        // By hand: what Debian's static busybox has for this crashes in its C library's name lookup.
        for target in [
            format!("{} 8080", address(to)),
            format!("{} 80", service(to)),
        ] {
            let script = format!(r#"printf "GET / HTTP/1.0\r\n\r\n" | nc -w 2 {target}"#);
            eventually(PATIENCE, || {
                let answer = cluster.try_kubectl(&["exec", from, "--", "sh", "-c", &script])?;
                ensure!(answer.ends_with(to), "{from} asked {target}: {answer:?}");
                Ok(())
            });
        }
        let lookup = format!("nslookup -type=a {to}.default.svc.cluster.local || true");
        eventually(PATIENCE, || {
            let answer = cluster.try_kubectl(&["exec", from, "--", "sh", "-c", &lookup])?;
            ensure!(
                answer.contains(&service(to)),
                "{from} looked up {to}: {answer:?}"
            );
            Ok(())
        });
    }
    // The machine itself reaches pods of the other one, too.
    let url = format!("http://{}:8080/", address("near"));
    let curl = machine
        .netns()
        .command("curl")
        .args(["--silent", "--fail", "--max-time", "5", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "near\n");
    cluster.kubectl(&["delete", "pod", "near", "far", "--timeout=60s"]);
}
