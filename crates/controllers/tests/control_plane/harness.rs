//! A control plane in one process: our API server on the embedded store with RBAC, the controllers over HTTPS, each as its own service
//! account, and a kubelet that only says it runs what it is given. What a controller is not allowed to do fails here as in a cluster.

use std::{sync::Arc, time::Duration};

use apiserver::{Dependencies, Server, authz::Mode};
use base::tls::ServingCertificate;
use base::{Clock, TaskGroup};
use client::{
    Auth, Client, Config, DeleteOptionsExt as _, Event, Https, Informer, InformerFactory, Kind,
    Object as _, Patch, Pem, Store, TlsConfig, Transport,
};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Binding, Node, ObjectReference, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, MicroTime, ObjectMeta},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// How long anything in these tests may take.
const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct ControlPlane {
    /// The administrator's.
    pub(crate) client: Client,
    pub(crate) informers: InformerFactory,
    /// What the controllers stand on.
    deps: controllers::Deps,
    tasks: TaskGroup,
    store: TaskGroup,
    server: Arc<Server>,
    cancel: CancellationToken,
    _data: tempfile::TempDir,
}

impl ControlPlane {
    /// With one node, `node-1`, whose kubelet runs every pod at once.
    pub(crate) async fn start(config: controllers::Config) -> Self {
        Self::start_by(config, |transport| transport).await
    }

    /// The same, whose controllers go by another way to the server.
    pub(crate) async fn start_by(
        mut config: controllers::Config,
        way: impl Fn(Arc<dyn Transport>) -> Arc<dyn Transport>,
    ) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let data = tempfile::tempdir().unwrap();
        let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (chain, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let tokens = data.path().join("tokens.csv");
        std::fs::write(
            &tokens,
            "secret,admin,admin-uid,system:masters\nmanager,system:kube-controller-manager,manager-uid\n",
        )
        .unwrap();
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let signer =
            apiserver::tokens::private_key(signing_key.serialize_pem().as_bytes()).unwrap();
        config.sign_token = Some(Arc::new(move |claims| {
            apiserver::tokens::sign(claims, &signer).map_err(|error| error.to_string())
        }));
        let private = data.path().join("sa.key");
        std::fs::write(&private, signing_key.serialize_pem()).unwrap();

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
        server_config.authorization_modes = vec![Mode::Rbac];
        server_config.service_account_issuers = vec!["https://kubernetes.default.svc".to_owned()];
        server_config.service_account_signing_key_file = Some(private);
        let deps = Dependencies {
            kv,
            clock: clock.clone(),
            connector: None,
        };
        let server = Arc::new(Server::start(server_config, deps, &cancel).await.unwrap());

        server.wait_ready().await;
        let config_of = |auth: Auth| Config {
            server: format!("https://{}", server.address()),
            tls: TlsConfig {
                ca: Some(Pem::Inline(chain.clone().into_bytes())),
                ..TlsConfig::default()
            },
            auth,
            namespace: None,
        };
        let https = |auth: Auth| Arc::new(Https::new(config_of(auth)).unwrap());
        let admin = https(Auth::Token("secret".to_owned()));
        let client = Client::new(admin, "control-plane-test");
        let manager = way(https(Auth::Token("manager".to_owned())));
        let manager = Client::new(manager, "kube-controller-manager");
        let tasks = TaskGroup::new(&cancel);
        let informers = InformerFactory::new(client.clone(), tasks.clone());
        let deps = controllers::Deps {
            informers: InformerFactory::new(manager.clone(), tasks.clone()),
            client: manager,
            bare_transport: Some(way(https(Auth::None))),
            clock,
            metrics: base::metrics::Registry::new(),
            leader_healthz: client::LeaderHealthz::default(),
        };
        let plane = Self {
            client,
            informers,
            deps,
            tasks,
            store,
            server,
            cancel,
            _data: data,
        };
        let _running = plane.run_controllers(config);
        plane.create_node("node-1").await;
        plane.start_kubelet("node-1");
        plane
            .wait::<k8s_openapi::api::core::v1::ServiceAccount>(
                "the default service account",
                |store| store.get("default", "default").is_some(),
            )
            .await;
        plane
    }

    /// Runs (more) controllers; their group stops them.
    pub(crate) fn run_controllers(&self, config: controllers::Config) -> TaskGroup {
        let group = TaskGroup::new(self.tasks.token());
        let deps = self.deps.clone();
        let (token, all) = (group.token().clone(), group.clone());
        group.spawn("controllers", async move {
            controllers::run(config, deps, token).await.unwrap()
        });
        self.tasks
            .spawn("controllers", async move { all.wait().await });
        group
    }

    /// Renews the lease of a node, as its kubelet would, ten times a second.
    pub(crate) fn keep_alive(&self, node: &'static str) {
        let leases = self.client.api::<Lease>("kube-node-lease");
        self.tasks.spawn_cancellable("heartbeat", async move {
            loop {
                let now = MicroTime(Clock::system().now());
                let spec = LeaseSpec {
                    renew_time: Some(now),
                    ..LeaseSpec::default()
                };
                let metadata = ObjectMeta {
                    name: Some(node.to_owned()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(spec),
                };
                // A missed beat is no failure.
                let _ = match leases.get_opt(node).await {
                    Ok(Some(known)) => {
                        leases
                            .update(&Lease {
                                metadata: known.metadata,
                                ..lease
                            })
                            .await
                    }
                    _ => leases.create(&lease).await,
                };
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }

    pub(crate) async fn create_node(&self, name: &str) {
        let node = Node {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Node::default()
        };
        self.client.api::<Node>("").create(&node).await.unwrap();
        let status = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
        ]}});
        self.client
            .api::<Node>("")
            .patch_status(name, &Patch::Strategic(status))
            .await
            .unwrap();
    }

    /// Binds what is unbound to `node`, says that it runs, and lets go what is deleted.
    pub(crate) fn start_kubelet(&self, node: &'static str) {
        let pods: Informer<Pod> = self.informers.informer();
        let client = self.client.clone();
        let mut events = pods.subscribe();
        self.tasks.spawn_cancellable("kubelet", async move {
            let mut next_ip = 1;
            while let Some(event) = events.next().await {
                let list = match event {
                    Event::Resync => pods.store().list(),
                    Event::Added(pod) | Event::Updated { new: pod, .. } => vec![pod],
                    Event::Deleted(_) => Vec::new(),
                };
                for pod in list {
                    // Whatever fails comes back as an event, or is gone.
                    let _ = act(&client, node, &pod, &mut next_ip).await;
                }
            }
        });
    }

    /// Waits until `holds` does, looking at each change.
    pub(crate) async fn wait<K: Kind>(&self, what: &str, holds: impl Fn(&Store<K>) -> bool) {
        let informer = self.informers.informer::<K>();
        let waiting = async {
            // What it does not know yet is not gone.
            informer.has_synced().await;
            let mut events = informer.subscribe();
            while let Some(_event) = events.next().await {
                if holds(informer.store()) {
                    return;
                }
            }
        };
        if tokio::time::timeout(BOUND, waiting).await.is_err() {
            let all: Vec<String> = informer
                .store()
                .list()
                .iter()
                .map(|o| String::from_utf8_lossy(&o.to_json()).into_owned())
                .collect();
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

async fn act(
    client: &Client,
    node: &str,
    pod: &Pod,
    next_ip: &mut u32,
) -> Result<(), client::ApiError> {
    let api = client.api::<Pod>(pod.namespace());
    let bound_to = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    // The scheduler's part: where a pod is tied to, otherwise the first node.
    if bound_to.is_none() && !pod.is_being_deleted() {
        if tied_to(pod).unwrap_or("node-1") != node {
            return Ok(());
        }
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name().to_owned()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        return api.bind(pod.name(), &binding).await;
    }
    if bound_to != Some(node) {
        return Ok(());
    }
    if pod.is_being_deleted() {
        return api
            .delete(
                pod.name(),
                &DeleteOptions::grace_period(0).with_uid(pod.uid()),
            )
            .await;
    }
    if pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref())
        .is_none()
    {
        let ip = format!("10.244.{}.{}", *next_ip / 250, *next_ip % 250 + 1);
        *next_ip += 1;
        let status = json!({"status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        api.patch_status(pod.name(), &Patch::Strategic(status))
            .await?;
    }
    Ok(())
}

/// The node that a daemon's pod is for.
fn tied_to(pod: &Pod) -> Option<&str> {
    let affinity = pod
        .spec
        .as_ref()?
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let field = required
        .node_selector_terms
        .first()?
        .match_fields
        .as_ref()?
        .first()?;
    field.values.as_ref()?.first().map(String::as_str)
}
