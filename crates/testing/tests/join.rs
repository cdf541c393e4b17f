//! A second machine joins with a token: it gets its certificates from the cluster, its pods reach those of the first machine and are
//! reached, Services and DNS answer there, and the API server speaks with its kubelet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::ensure;
use testing::{Access, Cluster, Image, NetworkNamespace, Options, Registry, Running, eventually};

/// What a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const ADDRESS: &str = "172.31.255.2";

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
    let machine = Machine::beside(&cluster);
    let _registry = Registry::serve(
        machine.netns.door().unwrap(),
        "127.0.0.1:5000".parse().unwrap(),
        "team/busybox",
        &Image::busybox().unwrap(),
        Access::Anonymous,
        None,
    )
    .unwrap();
    let token = cluster
        .ironclad(&["token", "create", "--server=https://172.31.255.1:6443"])
        .output()
        .unwrap();
    assert!(token.status.success(), "{token:?}");
    fs::write(machine.path("bootstrap.kubeconfig"), token.stdout).unwrap();
    fs::copy(
        cluster.data_dir().join("pki/ca.crt"),
        machine.path("ca.crt"),
    )
    .unwrap();

    let _kubelet = machine.start(
        "kubelet",
        &[
            "--bootstrap-kubeconfig=bootstrap.kubeconfig",
            "--kubeconfig=kubelet.kubeconfig",
            "--hostname-override=second",
            "--node-ip=172.31.255.2",
            "--cluster-dns=10.96.0.10",
            "--client-ca-file=ca.crt",
            "--authorization-mode=Webhook",
            "--rotate-certificates",
            "--eviction-hard=memory.available<1Mi",
            "--image-gc-high-threshold=100",
            "--rotate-server-certificates",
        ],
    );
    eventually(PATIENCE, || {
        ensure!(
            machine.path("kubelet.kubeconfig").exists(),
            "no certificate yet"
        );
        Ok(())
    });
    let _proxy = machine.start(
        "kube-proxy",
        &[
            "--kubeconfig=kubelet.kubeconfig",
            "--hostname-override=second",
            "--cluster-cidr=10.244.0.0/16",
        ],
    );
    eventually(PATIENCE, || {
        cluster.try_kubectl(&[
            "wait",
            "node/second",
            "--for=condition=Ready",
            "--timeout=1s",
        ])
    });

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
        .netns
        .command("curl")
        .args(["--silent", "--fail", "--max-time", "5", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "near\n");
    cluster.kubectl(&["delete", "pod", "near", "far", "--timeout=60s"]);
}

/// The second machine.
struct Machine {
    netns: NetworkNamespace,
    directory: tempfile::TempDir,
    binary: PathBuf,
}

impl Machine {
    fn beside(cluster: &Cluster) -> Self {
        Self {
            netns: cluster.netns().beside(ADDRESS).unwrap(),
            directory: tempfile::Builder::new()
                .prefix("ironclad-second-")
                .tempdir()
                .unwrap(),
            binary: std::env::var_os("IRONCLAD_BINARY").unwrap().into(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, component: &str, arguments: &[&str]) -> Running {
        let log = File::create(self.path(&format!("{component}.log"))).unwrap();
        let mut command = self.netns.command(&self.binary);
        command.arg(component);
        if component == "kubelet" {
            command.arg("--data-dir").arg(self.path("data"));
        }
        let child = command
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running::from(child)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["kubelet.log", "kube-proxy.log"] {
                let log = fs::read_to_string(self.path(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "{name}:\n{}",
                    lines[lines.len().saturating_sub(20)..].join("\n")
                );
            }
        }
        let down = self
            .netns
            .command(&self.binary)
            .args(["down", "--purge", "--data-dir"])
            .arg(self.path("data"))
            .arg("--kubeconfig")
            .arg(self.path("none"))
            .output();
        match down {
            Ok(output) if output.status.success() => {}
            other => eprintln!("ironclad down: {other:?}"),
        }
    }
}
