//! A cluster of two address families: pods have an address of each, Services are reached at both, and DNS knows both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::ensure;
use testing::{Cluster, Kubectl, Options, eventually};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox.test/busybox:1
    command: [sh, -c, 'mkdir /tmp/w && echo served > /tmp/w/index.html && exec httpd -f -p "[::]:8080" -h /tmp/w']
---
apiVersion: v1
kind: Pod
metadata: { name: client }
spec:
  terminationGracePeriodSeconds: 0
  containers: [ { name: c, image: "busybox.test/busybox:1", command: [ sleep, "1000" ] } ]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  ipFamilyPolicy: RequireDualStack
  selector: { app: web }
  ports: [ { port: 80, targetPort: 8080 } ]
"#;

#[test]
fn pods_and_services_have_addresses_of_both_families() {
    let arguments = [
        "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
        "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56",
    ];
    let cluster = Cluster::start(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .unwrap();
    let k = Kubectl::new(&cluster, "kubectl", "dual");
    k.apply(MANIFEST);
    k.wait_ready("pod/web");
    k.wait_ready("pod/client");
    let pod_ips = k.run("get pod web -o jsonpath='{.status.podIPs[*].ip}'");
    let pod_ips: Vec<&str> = pod_ips.split(' ').collect();
    assert_eq!(pod_ips.len(), 2, "{pod_ips:?}");
    assert!(pod_ips[0].starts_with("10.244.") && pod_ips[1].starts_with("fd00:10:244:"));
    let service_ips = k.run("get service web -o jsonpath='{.spec.clusterIPs[*]}'");
    let service_ips: Vec<&str> = service_ips.split(' ').collect();
    assert_eq!(service_ips.len(), 2, "{service_ips:?}");

    for (addresses, port) in [(&pod_ips, 8080), (&service_ips, 80)] {
        for address in addresses {
            let line = format!(
                r#"exec client -- sh -c 'printf "GET / HTTP/1.0\r\n\r\n" | nc -w 2 {address} {port}'"#
            );
            eventually(PATIENCE, || {
                let answer = k.attempt(&line)?;
                ensure!(answer.ends_with("served"), "{address}: {answer:?}");
                Ok(())
            });
        }
    }
    for (kind, address) in [("a", service_ips[0]), ("aaaa", service_ips[1])] {
        let line = format!(
            "exec client -- sh -c 'nslookup -type={kind} web.dual.svc.cluster.local || true'"
        );
        k.until(&line, address);
    }
    k.run("delete pods --all --timeout=60s");
}
