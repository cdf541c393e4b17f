//! A control plane in one process: our API server on the embedded store, the scheduler over HTTPS with the rights that it has in a
//! cluster, nodes that are only said to be there, and a kubelet that lets go of what is deleted.

use std::{sync::Arc, time::Duration};

use apiserver::{Dependencies, Server};
use base::{Clock, TaskGroup, tls::ServingCertificate};
use client::{
    Auth, Client, Config, DeleteOptionsExt as _, Event, EventRecorder, Informer, InformerFactory,
    Kind, Object as _, Patch, Pem, Store, TlsConfig,
};
use k8s_openapi::{
    api::core::v1::{Namespace, Node, Pod},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long anything in these tests may take.
const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct ControlPlane {
    pub(crate) client: Client,
    pub(crate) informers: InformerFactory,
    tasks: TaskGroup,
    store: TaskGroup,
    server: Arc<Server>,
    cancel: CancellationToken,
    _data: tempfile::TempDir,
}

pub(crate) fn decode<K: Kind>(value: &Value) -> K {
    K::from_json(value.to_string().as_bytes()).unwrap()
}

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let data = tempfile::tempdir().unwrap();
        let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (chain, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let tokens = data.path().join("tokens.csv");
        let users = "admin,admin,admin-uid,system:masters\n\
                     scheduler,system:kube-scheduler,scheduler-uid\n";
        std::fs::write(&tokens, users).unwrap();

        let cancel = CancellationToken::new();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let kv_config = etcd::embedded::Config::new(data.path().join("store"));
        let kv = etcd::Embedded::open(kv_config, clock.clone(), &store).unwrap();
        let serving = ServingCertificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut server_config = apiserver::Config::new(Arc::new(serving));
        server_config.bind_address = "127.0.0.1".parse().unwrap();
        server_config.secure_port = 0;
        server_config.token_auth_file = Some(tokens);
        server_config.authorization_modes = vec![apiserver::authz::Mode::Rbac];
        let deps = Dependencies {
            kv,
            clock: clock.clone(),
            connector: None,
        };
        let server = Arc::new(Server::start(server_config, deps, &cancel).await.unwrap());

        let as_user = |token: &str| {
            let config = Config {
                server: format!("https://{}", server.address()),
                tls: TlsConfig {
                    ca: Some(Pem::Inline(chain.clone().into_bytes())),
                    ..TlsConfig::default()
                },
                auth: Auth::Token(token.to_owned()),
                namespace: None,
            };
            Client::from_config(config, "scheduler-test").unwrap()
        };
        let client = as_user("admin");
        let scheduler_client = as_user("scheduler");
        let tasks = TaskGroup::new(&cancel);
        let plane = Self {
            informers: InformerFactory::new(client.clone(), tasks.clone()),
            client,
            tasks,
            store,
            server,
            cancel,
            _data: data,
        };
        plane
            .wait::<Namespace>("the default namespace", |store| {
                store.get("", "default").is_some()
            })
            .await;
        plane
            .create(&json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": "default"},
            }))
            .await;
        plane.start_scheduler(scheduler_client, clock);
        plane.start_kubelet();
        plane
    }

    fn start_scheduler(&self, client: Client, clock: Clock) {
        let events = EventRecorder::new(
            client.clone(),
            "default-scheduler",
            None,
            clock.clone(),
            &self.tasks,
        );
        let deps = scheduler::Dependencies {
            informers: InformerFactory::new(client, self.tasks.clone()),
            events,
            clock,
            metrics: base::metrics::Registry::new(),
            readiness: scheduler::Readiness::default(),
        };
        let token = self.tasks.token().clone();
        self.tasks.spawn("scheduler", async move {
            scheduler::run(scheduler::Config::default(), deps, token)
                .await
                .unwrap();
        });
    }

    /// Creates an object of any of the kinds that these tests make.
    pub(crate) async fn create(&self, object: &Value) {
        use k8s_openapi::api::{
            core::v1::{PersistentVolume, PersistentVolumeClaim, ServiceAccount},
            scheduling::v1::PriorityClass,
            storage::v1::StorageClass,
        };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let client = &self.client;
        macro_rules! create {
            ($kind:ty) => {
                drop(
                    client
                        .api::<$kind>(namespace)
                        .create(&decode(object))
                        .await
                        .unwrap(),
                )
            };
        }
        match object["kind"].as_str().unwrap() {
            "Pod" => create!(Pod),
            "ServiceAccount" => create!(ServiceAccount),
            "PriorityClass" => create!(PriorityClass),
            "StorageClass" => create!(StorageClass),
            "PersistentVolume" => create!(PersistentVolume),
            "PersistentVolumeClaim" => create!(PersistentVolumeClaim),
            kind => panic!("{kind} is not made here"),
        }
    }

    /// A node of so many cores, with labels.
    pub(crate) async fn create_node(&self, name: &str, cpu: &str, labels: Value) {
        let nodes = self.client.api::<Node>("");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        nodes.create(&decode(&node)).await.unwrap();
        let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let status = json!({"status": {"capacity": amounts, "allocatable": amounts}});
        nodes
            .patch_status(name, &Patch::Strategic(status))
            .await
            .unwrap();
        // A node that has just been made is not ready for pods yet, says its taint.
        let untaint = Patch::Merge(json!({"spec": {"taints": null}}));
        nodes.patch(name, &untaint).await.unwrap();
    }

    /// Lets go of pods that are to end.
    fn start_kubelet(&self) {
        let pods: Informer<Pod> = self.informers.informer();
        let client = self.client.clone();
        let mut events = pods.subscribe();
        self.tasks.spawn_cancellable("kubelet", async move {
            while let Some(event) = events.next().await {
                let list = match event {
                    Event::Resync => pods.store().list(),
                    Event::Added(pod) | Event::Updated { new: pod, .. } => vec![pod],
                    Event::Deleted(_) => Vec::new(),
                };
                for pod in list.iter().filter(|pod| pod.is_being_deleted()) {
                    let options = DeleteOptions::grace_period(0).with_uid(pod.uid());
                    // Whatever fails comes back as an event, or is gone.
                    let _ = client
                        .api::<Pod>(pod.namespace())
                        .delete(pod.name(), &options)
                        .await;
                }
            }
        });
    }

    /// Waits until `holds` does, looking at each change.
    pub(crate) async fn wait<K: Kind>(&self, what: &str, holds: impl Fn(&Store<K>) -> bool) {
        let informer = self.informers.informer::<K>();
        let mut events = informer.subscribe();
        let waiting = async {
            while let Some(_event) = events.next().await {
                if holds(informer.store()) {
                    return;
                }
            }
        };
        if tokio::time::timeout(BOUND, waiting).await.is_err() {
            let all = informer.store().list();
            let all = all
                .iter()
                .map(|o| String::from_utf8_lossy(&o.to_json()).into_owned());
            let all: Vec<String> = all.collect();
            panic!("{what}: not within {BOUND:?}; there is\n{}", all.join("\n"));
        }
    }

    pub(crate) async fn stop(self) {
        self.tasks.shutdown().await;
        self.cancel.cancel();
        self.server.wait().await;
        self.store.shutdown().await;
    }
}
