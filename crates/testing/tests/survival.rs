//! What is killed with SIGKILL comes back, and what must not notice does not: containers, the server, the API server of a cluster in
//! parts; and a rolling update loses no request.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testing::{Cluster, Load, Options, eventually};

/// What a pod, a rollout or a restart may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the API server is gone when it alone is.
const OUTAGE: Duration = Duration::from_secs(20);

#[test]
fn a_killed_container_is_restarted_in_its_pod() {
    let cluster = Cluster::start(Options::default()).unwrap();
    let marker = Marker::new(1);
    cluster.apply(&sleepers("victim", &[&marker]));
    wait_ready(&cluster, "victim");
    let before = pods(&cluster).remove(0);

    marker.kill();

    let after = eventually(PATIENCE, || {
        let pod = pods(&cluster).remove(0);
        ensure!(pod.restarts == 1 && pod.ready, "{pod:?}");
        Ok(pod)
    });
    assert_eq!((&after.uid, &after.ip), (&before.uid, &before.ip));
    assert_ne!(after.containers, before.containers);
    let ended = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(
        cluster.kubectl(&["get", "pod", "victim", "-o", ended]),
        "137"
    );
    assert_eq!(marker.processes().len(), 1);
}

#[test]
fn a_killed_server_adopts_its_pods_and_services_answer_meanwhile() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    cluster.apply(&hello(3));
    wait_rolled_out(&cluster);
    let before = pods(&cluster);
    assert_eq!(before.len(), 3);

    let tally = load(&cluster, 1).during(|| {
        cluster.kill().unwrap();
        // Long enough for a good many requests without any server.
        thread::sleep(Duration::from_secs(2));
        cluster.spawn().unwrap();
    });

    assert!(tally.answered >= 20, "{tally:?}");
    assert_eq!(tally.failures, []);
    wait_rolled_out(&cluster);
    assert_eq!(pods(&cluster), before);
    // It has the pods in hand: one that is deleted goes, and another one comes.
    let name = &before[0].name;
    cluster.kubectl(&["delete", "pod", name, "--wait=true", "--timeout=60s"]);
    wait_rolled_out(&cluster);
    let after = pods(&cluster);
    assert_eq!(after.iter().filter(|pod| before.contains(pod)).count(), 2);
}

#[test]
fn a_rolling_update_is_finished_by_the_next_server() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    cluster.apply(&hello(4));
    wait_rolled_out(&cluster);
    let before = pods(&cluster);

    start_update(&cluster, "2");
    let updated = "jsonpath={.status.updatedReplicas}";
    eventually(PATIENCE, || {
        let updated = cluster.try_kubectl(&["get", "deployment", "hello", "-o", updated])?;
        ensure!(updated == "1" || updated == "2", "updated: {updated:?}");
        anyhow::Ok(())
    });
    cluster.kill().unwrap();
    cluster.spawn().unwrap();

    wait_rolled_out(&cluster);
    let after = eventually(PATIENCE, || {
        let pods = pods(&cluster);
        ensure!(pods.len() == 4, "old pods linger: {pods:?}");
        Ok(pods)
    });
    assert!(
        after
            .iter()
            .all(|pod| pod.round == "2" && pod.restarts == 0),
        "{after:?}"
    );
    assert!(after.iter().all(|pod| !before.contains(pod)));
    let sets = "jsonpath={.items[*].status.replicas}";
    let sets = cluster.kubectl(&[
        "get",
        "replicasets",
        "--sort-by=.status.replicas",
        "-o",
        sets,
    ]);
    assert_eq!(sets, "0 4");
}

#[test]
fn a_rolling_update_loses_no_request() {
    let cluster = Cluster::start(Options::default()).unwrap();
    cluster.apply(&hello(2));
    wait_rolled_out(&cluster);

    let tally = load(&cluster, 4).during(|| {
        for round in ["2", "3"] {
            start_update(&cluster, round);
            wait_rolled_out(&cluster);
        }
        // The last old pods end while requests still come.
        eventually(PATIENCE, || {
            let pods = pods(&cluster);
            ensure!(pods.len() == 2, "old pods linger: {pods:?}");
            Ok(())
        });
    });

    assert!(tally.answered >= 100, "{tally:?}");
    assert_eq!(tally.failures, []);
    assert!(pods(&cluster).iter().all(|pod| pod.round == "3"));
}

#[test]
fn a_kubelet_of_its_own_outlives_its_api_server() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let (steady, victim) = (Marker::new(2), Marker::new(3));
    cluster.apply(&sleepers("sleepers", &[&steady, &victim]));
    wait_ready(&cluster, "sleepers");
    let before = pods(&cluster).remove(0);
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);

    // The same data, keys and node, from now on in parts.
    cluster.kill().unwrap();
    let api_server = Part::api_server(&cluster);
    wait_api(&cluster);
    let _kubelet = Part::kubelet(&cluster, &node);
    eventually(PATIENCE, || {
        cluster.try_kubectl(&["exec", "sleepers", "-c", "c0", "--", "true"])
    });
    assert_eq!(pods(&cluster), std::slice::from_ref(&before));

    drop(api_server);
    let gone = Instant::now();
    let (steady_before, victim_before) = (steady.processes(), victim.processes());
    victim.kill();
    eventually(OUTAGE, || {
        let now = victim.processes();
        ensure!(now.len() == 1 && now != victim_before, "{now:?}");
        Ok(())
    });
    thread::sleep(OUTAGE.saturating_sub(gone.elapsed()));
    assert_eq!(steady.processes(), steady_before);

    let _api_server = Part::api_server(&cluster);
    wait_api(&cluster);
    let after = eventually(PATIENCE, || {
        let pod = pods(&cluster).remove(0);
        ensure!(pod.restarts == 1 && pod.ready, "{pod:?}");
        Ok(pod)
    });
    assert_eq!(after.uid, before.uid);
    assert_eq!(after.containers[0], before.containers[0]);
    assert_ne!(after.containers[1], before.containers[1]);
    cluster.kubectl(&["delete", "pod", "sleepers", "--timeout=60s"]);
    assert_eq!((steady.processes(), victim.processes()), (vec![], vec![]));
}

/// What a test compares of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodView {
    name: String,
    uid: String,
    ip: String,
    ready: bool,
    /// Ids and start times, in the order of the containers' names.
    containers: Vec<(String, String)>,
    restarts: u64,
    /// Of the environment: which round of the update it is of.
    round: String,
}

/// All pods of the default namespace by name.
fn pods(cluster: &Cluster) -> Vec<PodView> {
    let list = cluster.kubectl(&["get", "pods", "-o", "json", "--sort-by=.metadata.name"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let view = |pod: &Value| {
        let none = Vec::new();
        let statuses = pod["status"]["containerStatuses"].as_array();
        let mut statuses: Vec<&Value> = statuses.unwrap_or(&none).iter().collect();
        statuses.sort_by_key(|status| text(&status["name"]));
        PodView {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            ip: text(&pod["status"]["podIP"]),
            ready: statuses.iter().all(|status| status["ready"] == true),
            containers: statuses
                .iter()
                .map(|status| {
                    let started = &status["state"]["running"]["startedAt"];
                    (text(&status["containerID"]), text(started))
                })
                .collect(),
            restarts: statuses
                .iter()
                .filter_map(|status| status["restartCount"].as_u64())
                .sum(),
            round: text(&pod["spec"]["containers"][0]["env"][0]["value"]),
        }
    };
    list["items"].as_array().unwrap().iter().map(view).collect()
}

fn wait_ready(cluster: &Cluster, pod: &str) {
    let pod = format!("pod/{pod}");
    cluster.kubectl(&["wait", "--for=condition=Ready", &pod, "--timeout=60s"]);
}

fn wait_rolled_out(cluster: &Cluster) {
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
}

fn start_update(cluster: &Cluster, round: &str) {
    let round = format!("ROUND={round}");
    cluster.kubectl(&["set", "env", "deployment/hello", &round]);
}

fn wait_api(cluster: &Cluster) {
    eventually(PATIENCE, || cluster.try_kubectl(&["get", "--raw=/readyz"]));
}

/// 20 requests a second and client to the Service `hello`, in the cluster's network.
fn load(cluster: &Cluster, clients: usize) -> Load {
    let address = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let address = cluster.kubectl(&["get", "service", "hello", "-o", address]);
    Load {
        door: cluster.netns().door().unwrap(),
        target: address.parse::<SocketAddr>().unwrap(),
        clients,
        interval: Duration::from_millis(50),
    }
}

/// The example's Deployment and Service, with an update strategy that never has fewer pods than asked for.
fn hello(replicas: usize) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: hello }}
spec:
  replicas: {replicas}
  strategy: {{ rollingUpdate: {{ maxUnavailable: 0, maxSurge: 1 }} }}
  selector: {{ matchLabels: {{ app: hello }} }}
  template:
    metadata: {{ labels: {{ app: hello }} }}
    spec:
      containers:
      - name: hello
        image: ironclad.local/hello:v1
        imagePullPolicy: Never
        env: [ {{ name: ROUND, value: '1' }} ]
        ports: [ {{ name: http, containerPort: 8080 }} ]
        readinessProbe: {{ httpGet: {{ path: /, port: http }}, periodSeconds: 1 }}
---
apiVersion: v1
kind: Service
metadata: {{ name: hello }}
spec:
  selector: {{ app: hello }}
  ports: [ {{ port: 80, targetPort: http }} ]
"
    )
}

/// A pod with a container `c<i>` for each marker.
fn sleepers(name: &str, markers: &[&Marker]) -> String {
    let container = |(index, marker): (usize, &&Marker)| {
        format!(
            "
  - name: c{index}
    image: busybox.test/busybox:1
    command: [ sleep, '{}' ]",
            marker.0
        )
    };
    let containers: String = markers.iter().enumerate().map(container).collect();
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{ name: {name} }}
spec:
  terminationGracePeriodSeconds: 1
  containers:{containers}
"
    )
}

/// An argument of `sleep` that no other test's process has, by which a container's process is found on the host.
struct Marker(String);

impl Marker {
    fn new(number: u8) -> Self {
        Self(format!("{}0{number}", std::process::id()))
    }

    /// The processes with the marker.
    fn processes(&self) -> Vec<i32> {
        let wanted = ["sleep", &self.0].map(|argument| format!("{argument}\0"));
        let wanted = wanted.concat().into_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn kill(&self) {
        let processes = self.processes();
        let &[pid] = processes.as_slice() else {
            panic!("not one process sleeps {} s: {processes:?}", self.0)
        };
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

/// A component in a process of its own, killed with SIGKILL when dropped.
struct Part(Child);

impl Part {
    /// As `ironclad up` would have it.
    fn api_server(cluster: &Cluster) -> Self {
        let pki = |name: &str| cluster.data_dir().join("pki").join(name);
        let mut command = cluster.ironclad(&["kube-apiserver"]);
        command
            .args(["--advertise-address=172.31.255.1", "--allow-privileged"])
            .arg("--authorization-mode=Node,RBAC")
            .arg("--enable-admission-plugins=NodeRestriction")
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg("--client-ca-file")
            .arg(pki("ca.crt"))
            .arg("--kubelet-certificate-authority")
            .arg(pki("ca.crt"))
            .arg("--kubelet-client-certificate")
            .arg(pki("apiserver-kubelet-client.crt"))
            .arg("--kubelet-client-key")
            .arg(pki("apiserver-kubelet-client.key"));
        Self::start(cluster, command, "kube-apiserver")
    }

    /// With the node's own identity.
    fn kubelet(cluster: &Cluster, node: &str) -> Self {
        let pki = |name: &str| cluster.data_dir().join("pki").join(name);
        let kubeconfig = cluster.directory().join("kubelet.kubeconfig");
        fs::write(
            &kubeconfig,
            format!(
                "
apiVersion: v1
kind: Config
current-context: c
contexts: [ {{ name: c, context: {{ cluster: c, user: u }} }} ]
clusters: [ {{ name: c, cluster: {{ server: 'https://127.0.0.1:6443', certificate-authority: {} }} }} ]
users: [ {{ name: u, user: {{ client-certificate: {}, client-key: {} }} }} ]
",
                pki("ca.crt").display(),
                pki("kubelet-client.crt").display(),
                pki("kubelet-client.key").display(),
            ),
        )
        .unwrap();
        let mut command = cluster.ironclad(&["kubelet"]);
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--hostname-override", node, "--node-ip=172.31.255.1"])
            .args(["--cluster-dns=10.96.0.10", "--authorization-mode=Webhook"])
            // How full the disk of who tests is, is not what is tested.
            .arg(
                "--eviction-hard=memory.available<100Mi,nodefs.available<1Gi,imagefs.available<1Gi",
            )
            .arg("--client-ca-file")
            .arg(pki("ca.crt"))
            .arg("--tls-cert-file")
            .arg(pki("kubelet.crt"))
            .arg("--tls-private-key-file")
            .arg(pki("kubelet.key"));
        Self::start(cluster, command, "kubelet")
    }

    fn start(cluster: &Cluster, mut command: Command, name: &str) -> Self {
        let log: PathBuf = cluster.directory().join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself, which the test then says more clearly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
