//! The kubelet on a real API server (ours, on the embedded store) and a runtime in memory.

use std::{path::Path, sync::Arc, time::Duration};

use apiserver::{Dependencies, Server};
use base::tls::ServingCertificate;
use base::{Clock, TaskGroup};
use client::{Auth, Client, Config, DeleteOptionsExt as _, Kind, Patch, Pem, TlsConfig};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    KubeletConfig, KubeletDeps, prepare, run,
    testing::{FakeRuntime, RUNS},
    volumes::unmount_below,
};

/// How long anything here may take.
const BOUND: Duration = Duration::from_secs(30);

/// What the cluster keeps. Pods that still run at the end have mounts below it.
struct DataDir(tempfile::TempDir);

impl DataDir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = unmount_below(self.path());
    }
}

struct Cluster {
    client: Client,
    runtime: FakeRuntime,
    data: DataDir,
    server: Arc<Server>,
    store: TaskGroup,
    tasks: TaskGroup,
    cancel: CancellationToken,
}

impl Cluster {
    async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let data = DataDir(tempfile::tempdir().unwrap());
        let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (chain, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let tokens = data.path().join("tokens.csv");
        std::fs::write(&tokens, "secret,admin,admin-uid,system:masters\n").unwrap();
        let cancel = CancellationToken::new();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let kv = etcd::Embedded::open(
            etcd::embedded::Config::new(data.path().join("store")),
            clock.clone(),
            &store,
        )
        .unwrap();
        let serving = ServingCertificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut config = apiserver::Config::new(Arc::new(serving));
        config.bind_address = "127.0.0.1".parse().unwrap();
        config.secure_port = 0;
        config.token_auth_file = Some(tokens);
        let signer = data.path().join("sa.key");
        let pair = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&signer, pair.serialize_pem()).unwrap();
        config.service_account_key_files = vec![signer.clone()];
        config.service_account_signing_key_file = Some(signer);
        config.service_account_issuers = vec!["https://kubernetes.default.svc".to_owned()];
        let deps = Dependencies {
            kv,
            clock,
            connector: None,
        };
        let server = Arc::new(Server::start(config, deps, &cancel).await.unwrap());
        let config = Config {
            server: format!("https://{}", server.address()),
            tls: TlsConfig {
                ca: Some(Pem::Inline(chain.into_bytes())),
                ..TlsConfig::default()
            },
            auth: Auth::Token("secret".to_owned()),
            namespace: None,
        };
        let client = Client::from_config(config, "kubelet-test").unwrap();
        let cluster = Self {
            client,
            runtime: FakeRuntime::new(Clock::system()),
            data,
            server,
            store,
            tasks: TaskGroup::new(&cancel),
            cancel,
        };
        cluster.start_kubelet().await;
        for namespace in ["work", "kube-node-lease"] {
            let object: Namespace =
                serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
            // The server may have made it itself.
            let _ = cluster.client.api::<Namespace>("").create(&object).await;
        }
        // What controllers make in each namespace, and every pod mounts.
        let root_ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "x"}});
        cluster.create::<ConfigMap>("work", root_ca).await;
        let account = json!({"metadata": {"name": "default"}});
        cluster
            .create::<k8s_openapi::api::core::v1::ServiceAccount>("work", account)
            .await;
        cluster
    }

    /// Starts a kubelet; the token stops it.
    async fn start_kubelet(&self) -> CancellationToken {
        let config = KubeletConfig {
            root_dir: self.data.path().join("lib"),
            pod_logs_dir: self.data.path().join("logs"),
            static_pod_path: Some(self.data.path().join("manifests")),
            cgroups_per_qos: false,
            node_ips: vec!["192.168.0.1".parse().unwrap()],
            ..KubeletConfig::new("node")
        };
        let deps = KubeletDeps {
            client: Some(self.client.clone()),
            runtime: Arc::new(self.runtime.clone()),
            images: Arc::new(self.runtime.clone()),
            streaming: Arc::new(self.runtime.clone()),
            clock: Clock::system(),
        };
        let cancel = self.tasks.token().child_token();
        let prepared = prepare(config, deps, &cancel).await.unwrap();
        self.tasks.spawn("kubelet", run(prepared, cancel.clone()));
        cancel
    }

    async fn create<K: Kind + serde::de::DeserializeOwned>(
        &self,
        namespace: &str,
        object: Value,
    ) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.client
            .api::<K>(namespace)
            .create(&object)
            .await
            .unwrap()
    }

    async fn pod(&self, name: &str, spec: Value) -> Pod {
        let mut spec = spec;
        spec["nodeName"] = "node".into();
        self.create("work", json!({"metadata": {"name": name}, "spec": spec}))
            .await
    }

    async fn until<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(Option<&K>) -> bool,
    ) -> Option<K> {
        let api = self.client.api::<K>(namespace);
        let mut last = None;
        let poll = async {
            loop {
                last = api.get_opt(name).await.unwrap();
                if wanted(last.as_ref()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(BOUND, poll).await.is_err() {
            panic!("{name}: {last:#?}\n{:?}", self.runtime.state().calls);
        }
        last
    }

    async fn until_running(&self, name: &str) -> Pod {
        let running = |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.status.as_ref())
                .is_some_and(|status| status.phase.as_deref() == Some("Running"))
        };
        self.until("work", name, running).await.unwrap()
    }

    async fn stop(self) {
        self.tasks.shutdown().await;
        self.cancel.cancel();
        self.server.wait().await;
        self.store.shutdown().await;
    }
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| condition.status.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_registers_and_reports() {
    let cluster = Cluster::start().await;
    let ready = |node: Option<&Node>| {
        let conditions = node
            .and_then(|node| node.status.as_ref())
            .and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|list| {
            list.iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        })
    };
    let node = cluster.until::<Node>("", "node", ready).await.unwrap();
    let labels = node.metadata.labels.unwrap();
    assert_eq!(labels["kubernetes.io/hostname"], "node");
    let status = node.status.unwrap();
    assert!(status.allocatable.unwrap().contains_key("cpu"));
    assert_eq!(
        status.node_info.unwrap().container_runtime_version,
        "fake://1"
    );
    cluster
        .until::<Lease>("kube-node-lease", "node", |lease| lease.is_some())
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_reports_and_is_deleted() {
    let cluster = Cluster::start().await;
    cluster.pod("web", json!({"terminationGracePeriodSeconds": 3, "containers": [{"name": "a", "image": RUNS}]})).await;
    let pod = cluster.until_running("web").await;
    assert_eq!(condition(&pod, "Ready"), Some("True"));
    let status = pod.status.unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(status.host_ip.as_deref(), Some("192.168.0.1"));
    let events = async {
        loop {
            let list = cluster
                .client
                .api::<Event>("work")
                .list(&Default::default())
                .await
                .unwrap();
            let reasons: Vec<_> = list
                .items
                .into_iter()
                .filter_map(|event| event.reason)
                .collect();
            if ["Pulled", "Created", "Started"]
                .iter()
                .all(|wanted| reasons.iter().any(|reason| reason == wanted))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, events)
        .await
        .expect("events tell what was done");
    cluster
        .client
        .api::<Pod>("work")
        .delete("web", &DeleteOptions::default())
        .await
        .unwrap();
    cluster
        .until::<Pod>("work", "web", |pod| pod.is_none())
        .await;
    assert!(
        cluster
            .runtime
            .state()
            .calls
            .contains(&"stop a 3".to_owned())
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_variables_come_from_objects_and_follow_them() {
    let cluster = Cluster::start().await;
    cluster
        .create::<ConfigMap>(
            "work",
            json!({"metadata": {"name": "c"}, "data": {"k": "1"}}),
        )
        .await;
    cluster
        .create::<Secret>(
            "work",
            json!({"metadata": {"name": "s"}, "stringData": {"p": "hidden"}}),
        )
        .await;
    let pod = cluster
        .pod(
            "web",
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}],
                "containers": [{"name": "a", "image": RUNS,
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
                        {"name": "Q", "value": "$(P)!"},
                        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}),
        )
        .await;
    cluster.until_running("web").await;
    let envs: Vec<_> = {
        let state = cluster.runtime.state();
        let container = state.containers.values().next().unwrap();
        container
            .config
            .envs
            .iter()
            .map(|env| (env.key.clone(), env.value.clone()))
            .collect()
    };
    for (name, value) in [("P", "hidden"), ("Q", "hidden!"), ("N", "web")] {
        assert!(
            envs.iter()
                .any(|(key, found)| key == name && *found == value.as_bytes()),
            "{name}: {envs:?}"
        );
    }
    let uid = pod.metadata.uid.unwrap();
    let file = cluster.data.path().join(format!(
        "lib/pods/{uid}/volumes/kubernetes.io~configmap/v/k"
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    cluster
        .client
        .api::<ConfigMap>("work")
        .patch("c", &patch)
        .await
        .unwrap();
    let changed = async {
        while std::fs::read_to_string(&file).unwrap() != "2" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, changed)
        .await
        .expect("the file follows its object");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_awaited() {
    let cluster = Cluster::start().await;
    cluster
        .pod("web", json!({"containers": [{"name": "a", "image": RUNS, "envFrom": [{"configMapRef": {"name": "late"}}]}]}))
        .await;
    let waits = |pod: Option<&Pod>| {
        let statuses = pod
            .and_then(|pod| pod.status.as_ref())
            .and_then(|status| status.container_statuses.as_ref());
        let waiting = statuses.and_then(|list| list[0].state.as_ref()?.waiting.clone());
        waiting.is_some_and(|waiting| {
            waiting.reason.as_deref() == Some("CreateContainerConfigError")
                && waiting.message.as_deref() == Some("configmap \"late\" not found")
        })
    };
    cluster.until::<Pod>("work", "web", waits).await;
    cluster
        .create::<ConfigMap>(
            "work",
            json!({"metadata": {"name": "late"}, "data": {"K": "1"}}),
        )
        .await;
    cluster.until_running("web").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_pods_have_mirrors_that_come_back() {
    let cluster = Cluster::start().await;
    let manifests = cluster.data.path().join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: still, namespace: work}}\nspec: {{containers: [{{name: a, image: \"{RUNS}\"}}]}}\n"
    );
    std::fs::write(manifests.join("still.yaml"), manifest).unwrap();
    let first = cluster
        .until_running("still-node")
        .await
        .metadata
        .uid
        .unwrap();
    cluster
        .client
        .api::<Pod>("work")
        .delete("still-node", &DeleteOptions::grace_period(0))
        .await
        .unwrap();
    let anew = |pod: Option<&Pod>| {
        pod.is_some_and(|pod| {
            pod.metadata.uid.as_deref() != Some(&first)
                && pod
                    .status
                    .as_ref()
                    .is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
    };
    cluster.until::<Pod>("work", "still-node", anew).await;
    assert_eq!(cluster.runtime.running(), ["a"]);
    assert_eq!(
        cluster.runtime.state().calls,
        ["sandbox 0", "start a"],
        "the pod itself is not touched"
    );
    std::fs::remove_file(manifests.join("still.yaml")).unwrap();
    cluster
        .until::<Pod>("work", "still-node", |pod| pod.is_none())
        .await;
    let stopped = async {
        while !cluster.runtime.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, stopped)
        .await
        .expect("it is stopped");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_fit_is_refused() {
    let cluster = Cluster::start().await;
    cluster
        .pod("large", json!({"containers": [{"name": "a", "image": RUNS, "resources": {"requests": {"cpu": "10000"}}}]}))
        .await;
    let refused = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref())
            .is_some_and(|status| {
                status.phase.as_deref() == Some("Failed")
                    && status.reason.as_deref() == Some("OutOfcpu")
            })
    };
    cluster.until::<Pod>("work", "large", refused).await;
    assert!(cluster.runtime.state().calls.is_empty());
    cluster.stop().await;
}
