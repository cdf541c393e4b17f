//! A cluster in parts: each component a process of its own, called by its upstream name, with upstream's flags and an identity of its
//! own; nothing but the API between them. Its pods' image comes from a registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::ensure;
use bootstrap::{Identity, KubeconfigParams, Pki, PkiConfig};
use testing::{Access, Families, Image, NetworkNamespace, Registry, Running, eventually};

/// What a start or a rollout may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The address of the machine in its network.
const ADDRESS: &str = "172.31.255.1";

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: 127.0.0.1:5000/team/busybox:v1
        command: [sh, -c, 'mkdir /tmp/w && hostname > /tmp/w/index.html && echo up && exec httpd -f -p 8080 -h /tmp/w']
        readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [ { port: 80, targetPort: 8080 } ]
";

#[test]
fn every_component_runs_alone_under_its_upstream_name() {
    let machine = Machine::new();
    let registry = Registry::serve(
        machine.netns.door().unwrap(),
        "127.0.0.1:5000".parse().unwrap(),
        "team/busybox",
        &Image::busybox().unwrap(),
        Access::Anonymous,
        None,
    )
    .unwrap();
    let _api_server = machine.start(
        "kube-apiserver",
        &[
            "--advertise-address=172.31.255.1",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--client-ca-file=pki/ca.crt",
            "--tls-cert-file=pki/apiserver.crt",
            "--tls-private-key-file=pki/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=pki/sa.pub",
            "--service-account-signing-key-file=pki/sa.key",
            "--kubelet-certificate-authority=pki/ca.crt",
            "--kubelet-client-certificate=pki/apiserver-kubelet-client.crt",
            "--kubelet-client-key=pki/apiserver-kubelet-client.key",
        ],
    );
    eventually(PATIENCE, || {
        ensure!(machine.kubectl(&["get", "--raw=/readyz"])? == "ok");
        Ok(())
    });
    let _others = [
        machine.start(
            "kube-controller-manager",
            &[
                "--allocate-node-cidrs=true",
                "--authentication-kubeconfig=controller-manager.kubeconfig",
                "--authorization-kubeconfig=controller-manager.kubeconfig",
                "--bind-address=127.0.0.1",
                "--client-ca-file=pki/ca.crt",
                "--cluster-cidr=10.244.0.0/16",
                "--cluster-name=kubernetes",
                "--cluster-signing-cert-file=pki/ca.crt",
                "--cluster-signing-key-file=pki/ca.key",
                "--controllers=*,bootstrapsigner,tokencleaner",
                "--kubeconfig=controller-manager.kubeconfig",
                "--leader-elect=true",
                "--requestheader-client-ca-file=pki/front-proxy-ca.crt",
                "--root-ca-file=pki/ca.crt",
                "--service-account-private-key-file=pki/sa.key",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--use-service-account-credentials=true",
            ],
        ),
        machine.start(
            "kube-scheduler",
            &[
                "--authentication-kubeconfig=scheduler.kubeconfig",
                "--authorization-kubeconfig=scheduler.kubeconfig",
                "--bind-address=127.0.0.1",
                "--kubeconfig=scheduler.kubeconfig",
                "--leader-elect=true",
            ],
        ),
        machine.start(
            "kubelet",
            &[
                "--kubeconfig=kubelet.kubeconfig",
                "--hostname-override=node-1",
                "--node-ip=172.31.255.1",
                "--client-ca-file=pki/ca.crt",
                "--tls-cert-file=pki/kubelet.crt",
                "--tls-private-key-file=pki/kubelet.key",
                "--authorization-mode=Webhook",
                "--eviction-hard=memory.available<1Mi",
                "--image-gc-high-threshold=100",
            ],
        ),
        machine.start(
            "kube-proxy",
            &[
                "--kubeconfig=kube-proxy.kubeconfig",
                "--hostname-override=node-1",
                "--cluster-cidr=10.244.0.0/16",
            ],
        ),
    ];
    eventually(PATIENCE, || {
        machine.kubectl(&[
            "wait",
            "node/node-1",
            "--for=condition=Ready",
            "--timeout=1s",
        ])
    });
    eventually(PATIENCE, || {
        machine.kubectl(&["get", "serviceaccount", "default"])
    });

    machine.apply(WEB);
    eventually(PATIENCE, || {
        machine.kubectl(&["rollout", "status", "deployment/web", "--timeout=1s"])
    });
    let pods = machine
        .kubectl(&["get", "pods", "-l=app=web", "-o=name"])
        .unwrap();
    assert_eq!(pods.lines().count(), 2, "{pods}");
    let pulled = registry.requests();
    assert!(
        pulled.contains(&"/v2/team/busybox/manifests/v1 200".to_owned()),
        "{pulled:?}"
    );

    // The API server speaks with the kubelet, which asks it back who that is and what it may.
    let pod = pods.lines().next().unwrap();
    assert_eq!(machine.kubectl(&["logs", pod]).unwrap(), "up");
    assert_eq!(
        machine
            .kubectl(&["exec", pod, "--", "echo", "hello"])
            .unwrap(),
        "hello"
    );
    // The proxy balances.
    let address = machine
        .kubectl(&["get", "service", "web", "-o=jsonpath={.spec.clusterIP}"])
        .unwrap();
    let mut answers = std::collections::BTreeSet::new();
    eventually(PATIENCE, || {
        let url = format!("http://{address}/");
        let curl = machine
            .netns
            .command("curl")
            .args(["--silent", "--fail", "--max-time", "2", &url])
            .output()?;
        ensure!(curl.status.success(), "{url}: {}", curl.status);
        answers.insert(String::from_utf8(curl.stdout)?);
        ensure!(answers.len() == 2, "{answers:?}");
        Ok(())
    });
    components_tell_of_themselves(&machine);
    machine
        .kubectl(&[
            "delete",
            "deployment/web",
            "--cascade=foreground",
            "--timeout=60s",
        ])
        .unwrap();
}

const SCRAPER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: scraper }
rules: [ { nonResourceURLs: [/metrics], verbs: [get] } ]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: scraper }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper }
subjects: [ { kind: ServiceAccount, namespace: default, name: default } ]
";

/// Health for everybody, metrics for whom the API server says, the rest for administrators; kube-proxy's for all who reach it.
fn components_tell_of_themselves(machine: &Machine) {
    machine.apply(SCRAPER);
    let token = machine.kubectl(&["create", "token", "default"]).unwrap();
    let bearer = format!("-HAuthorization: Bearer {token}");
    let bad = "-HAuthorization: Bearer nonsense";
    let admin: &[&str] = &["--cert", "pki/admin.crt", "--key", "pki/admin.key"];
    for (name, port) in [
        ("kube-controller-manager", 10257),
        ("kube-scheduler", 10259),
    ] {
        let ask = |path: &str, with: &[&str]| {
            machine.curl(&format!("https://127.0.0.1:{port}{path}"), with)
        };
        for path in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(ask(path, &[]), (200, "ok".to_owned()), "{name}{path}");
        }
        let (code, report) = ask("/healthz?verbose", &[]);
        assert_eq!(code, 200);
        assert!(report.contains("[+]leaderElection ok"), "{name}: {report}");
        assert_eq!(ask("/metrics", &[]).0, 403, "{name}");
        assert_eq!(ask("/metrics", &[bad]).0, 401, "{name}");
        assert_eq!(ask("/configz", &[&bearer]).0, 403, "{name}");
        for path in ["/configz", "/flagz", "/statusz", "/version"] {
            assert_eq!(ask(path, admin).0, 200, "{name}{path}");
        }
        let (code, metrics) = ask("/metrics", &[&bearer]);
        assert_eq!(code, 200, "{name}: {metrics}");
        let of_all = [
            "process_cpu_seconds_total ",
            "rest_client_requests_total{code=\"200\",method=\"GET\",host=\"127.0.0.1:6443\"} ",
            "rest_client_request_duration_seconds_bucket{",
        ];
        let leads = format!("leader_election_master_status{{name=\"{name}\"}} 1");
        for expected in of_all.into_iter().chain([leads.as_str()]) {
            assert!(metrics.contains(expected), "{name}: {expected}");
        }
        let own: &[&str] = match name {
            "kube-scheduler" => &[
                "scheduler_schedule_attempts_total{result=\"scheduled\",profile=\"default-scheduler\"} ",
                "scheduler_scheduling_attempt_duration_seconds_count{",
                "scheduler_pending_pods{queue=\"active\"} 0",
                // With the second attempt if the node is ready later than the pods are there.
                "scheduler_pod_scheduling_sli_duration_seconds_bucket{attempts=\"",
                "scheduler_queue_incoming_pods_total{queue=\"active\",event=\"UnschedulablePodAdd\"} ",
                "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Bind\",status=\"Success\",",
                "scheduler_scheduling_algorithm_duration_seconds_count ",
                "scheduler_preemption_attempts_total ",
            ],
            _ => &[
                "workqueue_adds_total{name=\"deployment\"} ",
                "workqueue_depth{name=\"replicaset\"} 0",
                "workqueue_queue_duration_seconds_bucket{name=\"endpoint_slice\",",
                "workqueue_work_duration_seconds_sum{name=\"deployment\"} ",
                "workqueue_unfinished_work_seconds{name=\"deployment\"} ",
                "workqueue_longest_running_processor_seconds{name=\"deployment\"} ",
                "workqueue_retries_total{name=\"deployment\"} ",
            ],
        };
        for expected in own {
            assert!(metrics.contains(expected), "{name}: {expected}\n{metrics}");
        }
    }
    let (code, health) = machine.curl("http://127.0.0.1:10256/healthz", &[]);
    assert_eq!(code, 200, "{health}");
    assert!(health.contains("\"nodeEligible\":true"), "{health}");
    assert_eq!(machine.curl("http://127.0.0.1:10256/livez", &[]).0, 200);
    let mode = machine.curl("http://127.0.0.1:10249/proxyMode", &[]);
    assert_eq!(mode, (200, "nftables".to_owned()));
    let (_, metrics) = machine.curl("http://127.0.0.1:10249/metrics", &[]);
    for expected in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} ",
        "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} ",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
        "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

/// A machine of its own: network, data directory, keys, and the binary under all its names.
struct Machine {
    netns: NetworkNamespace,
    directory: tempfile::TempDir,
    binary: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let binary = std::env::var_os("IRONCLAD_BINARY")
            .map(PathBuf::from)
            .expect("IRONCLAD_BINARY names the binary: run the tests with `cargo xtask test`");
        let directory = tempfile::Builder::new()
            .prefix("ironclad-parts-")
            .tempdir()
            .unwrap();
        let addresses: Vec<IpAddr> = ["127.0.0.1", ADDRESS, "10.96.0.1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let config = PkiConfig {
            directory: directory.path().join("pki"),
            node_name: "node-1".to_owned(),
            addresses,
            cluster_domain: "cluster.local".to_owned(),
        };
        fs::create_dir_all(&config.directory).unwrap();
        let pki = Pki::ensure(&config, jiff::Timestamp::now()).unwrap();
        let machine = Self {
            netns: NetworkNamespace::create(Families::Ipv4).unwrap(),
            directory,
            binary,
        };
        for (name, identity) in [
            ("admin", &pki.admin),
            ("controller-manager", &pki.controller_manager),
            ("scheduler", &pki.scheduler),
            ("kubelet", &pki.kubelet_client),
            ("kube-proxy", &pki.proxy),
        ] {
            machine.write_kubeconfig(name, identity, &pki.ca_pem);
        }
        machine
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write_kubeconfig(&self, name: &str, identity: &Identity, ca_pem: &str) {
        let kubeconfig = bootstrap::render_kubeconfig(&KubeconfigParams {
            name,
            server: "https://127.0.0.1:6443",
            ca_pem,
            identity,
        });
        let file = self.path().join(format!("{name}.kubeconfig"));
        fs::write(file, kubeconfig.to_string()).unwrap();
    }

    /// Starts a component by its own name.
    fn start(&self, name: &str, arguments: &[&str]) -> Running {
        let link = self.path().join(name);
        symlink(&self.binary, &link).unwrap();
        let log = File::create(self.path().join(format!("{name}.log"))).unwrap();
        let mut command = self.netns.command(link);
        if matches!(name, "kube-apiserver" | "kubelet") {
            command.arg("--data-dir").arg(self.path().join("data"));
        }
        let child = command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running::from(child)
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        said(self.kubectl_command(arguments))
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.netns.command("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.path().join("admin.kubeconfig"))
            .args(arguments)
            .env("HOME", self.path())
            .stdin(Stdio::null());
        command
    }

    /// The code and the body of the answer to a GET; certificates are not verified.
    fn curl(&self, url: &str, with: &[&str]) -> (u16, String) {
        let mut command = self.netns.command("curl");
        command
            .args(["--silent", "--insecure", "--max-time", "10"])
            .args(["--write-out", "\n%{http_code}", url])
            .args(with)
            .current_dir(self.path());
        let answer = said(command).unwrap();
        let (body, code) = answer.rsplit_once('\n').unwrap();
        (code.parse().unwrap(), body.to_owned())
    }

    fn apply(&self, manifest: &str) {
        let file = self.path().join("manifest.yaml");
        fs::write(&file, manifest).unwrap();
        let mut command = self.kubectl_command(&["apply", "-f"]);
        command.arg(file);
        said(command).unwrap();
    }
}

fn said(mut command: Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(self.path()).unwrap().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "log") {
                    let log = fs::read_to_string(&path).unwrap_or_default();
                    let lines: Vec<&str> = log.lines().collect();
                    let end = lines[lines.len().saturating_sub(15)..].join("\n");
                    eprintln!("{}:\n{end}", path.display());
                }
            }
        }
        let down = self
            .netns
            .command(&self.binary)
            .args(["down", "--purge", "--data-dir"])
            .arg(self.path().join("data"))
            .arg("--kubeconfig")
            .arg(self.path().join("admin.kubeconfig"))
            .output();
        match down {
            Ok(output) if output.status.success() => {}
            other => eprintln!("ironclad down: {other:?}"),
        }
    }
}
