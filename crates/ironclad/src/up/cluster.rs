//! The wiring: every component in one process, each speaking to the API server as a user of its own.
//!
//! Started in the order in which they need each other, stopped all at once: none minds that another is gone.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apiserver::{Server, authn::RequestHeaderConfig, authz::Mode, proxy::KubeletClientConfig};
use base::tls::ServingCertificate;
use base::{Clock, Reloader, TaskGroup};
use bootstrap::{Identity, Pki, PkiConfig};
use client::{Client, EventRecorder, InformerFactory, LeaderHealthz};
use kubelet::{KubeletConfig, KubeletDeps};
use network::{Bridge, Cidr};
use proxy::ProxyHealth;
use runtime::Runtime;
use scheduler::Readiness;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    components::{
        kube_controller_manager, kube_scheduler, pod_network, serving, serving_certificate,
    },
    node, token_signer,
};

use super::{addons, hello_image, in_process::InProcess, place::Place, serving_certificates};

/// How often certificates are looked at: those with less than a third of their life left are renewed.
const RENEWAL_PERIOD: Duration = Duration::from_secs(3600);

/// What can be chosen about a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) node_name: String,
    /// The primary first, never empty.
    pub(crate) node_ips: Vec<IpAddr>,
    pub(crate) bind_address: IpAddr,
    pub(crate) secure_port: u16,
    pub(crate) kubelet_port: u16,
    /// One, or one of each family, the primary first.
    pub(crate) service_ranges: Vec<Cidr>,
    /// In the same families.
    pub(crate) cluster_ranges: Vec<Cidr>,
    pub(crate) cluster_domain: String,
}

impl Settings {
    /// The `index`-th addresses of the service ranges: 1 is the API server's, 10 that of cluster DNS.
    fn service_addresses(&self, index: u32) -> impl Iterator<Item = IpAddr> + '_ {
        self.service_ranges
            .iter()
            .map(move |range| match range.network() {
                IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4).saturating_add(index)).into(),
                IpAddr::V6(v6) => {
                    Ipv6Addr::from(u128::from(v6).saturating_add(index.into())).into()
                }
            })
    }

    /// The addresses by which this machine reaches itself: 127.0.0.1, and in a cluster that speaks IPv6 `::1`.
    fn loopbacks(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self
            .service_ranges
            .iter()
            .any(|range| !range.network().is_ipv4());
        let ipv6 = ipv6.then(|| IpAddr::from(Ipv6Addr::LOCALHOST));
        std::iter::once(Ipv4Addr::LOCALHOST.into()).chain(ipv6)
    }

    /// Cluster DNS's, in the primary family.
    pub(super) fn cluster_dns(&self) -> IpAddr {
        self.service_addresses(10)
            .next()
            .expect("there is a service range")
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) pki: Pki,
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<etcd::Embedded>,
    settings: Settings,
    place: Place,
    clock: Clock,
    network: Arc<Bridge>,
    /// The store outlives everything that writes to it.
    store_tasks: TaskGroup,
    tasks: TaskGroup,
}

impl Cluster {
    /// Makes or renews keys, opens the store and serves the API, on a runtime of its own.
    pub(crate) async fn start_control_plane(
        place: &Place,
        settings: Settings,
        serving: &Handle,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let pki_config = PkiConfig {
            directory: place.file("pki"),
            node_name: settings.node_name.clone(),
            addresses: settings
                .node_ips
                .iter()
                .copied()
                .chain(settings.loopbacks())
                .chain(settings.service_addresses(1))
                .collect(),
            cluster_domain: settings.cluster_domain.clone(),
        };
        let pki = Pki::ensure(&pki_config, clock.now())?;
        let store_tasks = TaskGroup::new(&CancellationToken::new());
        let store = etcd::Embedded::open(
            etcd::embedded::Config::new(place.file("etcd")),
            clock.clone(),
            &store_tasks,
        )
        .with_context(|| format!("opening the store at {}", place.file("etcd").display()))?;
        let tasks = TaskGroup::new(cancel);
        tasks.spawn_cancellable(
            "certificate-renewal",
            renew_certificates(pki_config, clock.clone()),
        );
        let kv = Arc::clone(&store);
        let encryption = pki.path("encryption.yaml");
        bootstrap::ensure_encryption_config(&encryption)
            .with_context(|| format!("making the key for secrets at {}", encryption.display()))?;
        let config = server_config(&pki, &settings)?;
        let deps = apiserver::Dependencies {
            kv,
            clock: clock.clone(),
            connector: None,
        };
        let token = tasks.token().clone();
        let starting = serving.spawn(async move { Server::start(config, deps, &token).await });
        let server = starting.await??;

        let ranges = settings.cluster_ranges.clone();
        let (network, runtime) = node::open(place, ranges, &clock, &tasks).await?;
        let place = place.clone();
        Ok(Self {
            pki,
            server,
            runtime,
            store,
            settings,
            place,
            clock,
            network,
            store_tasks,
            tasks,
        })
    }

    /// Waits until the API server is ready for everybody.
    pub(crate) async fn wait_ready(&self) {
        self.server.wait_ready().await;
    }

    /// A client as the user that `identity` names.
    pub(crate) fn client(&self, identity: &Identity, user_agent: &str) -> Client {
        let mut reloader = Reloader::new();
        let transport = InProcess::new(self.server.pipeline(), identity, &mut reloader);
        reloader.start(self.clock.clone(), &self.tasks);
        Client::new(Arc::new(transport), user_agent)
    }

    /// A client as the administrator.
    pub(crate) fn admin(&self) -> Client {
        self.client(&self.pki.admin, "ironclad")
    }

    /// Starts controllers and scheduler.
    pub(crate) fn start_controllers(&self) -> anyhow::Result<()> {
        let client = self.client(&self.pki.controller_manager, "kube-controller-manager");
        let metrics = serving::registry();
        let client = self.metered(client, &metrics);
        let deps = controllers::Deps {
            informers: InformerFactory::new(client.clone(), self.tasks.clone()),
            client,
            bare_transport: Some(Arc::new(InProcess::bare(self.server.pipeline()))),
            clock: self.clock.clone(),
            metrics: metrics.clone(),
            leader_healthz: LeaderHealthz::default(),
        };
        let config = controllers::Config {
            root_ca: Some(self.pki.ca_pem.clone()),
            cluster_signing: Some((
                self.pki.ca_pem.clone(),
                std::fs::read_to_string(self.pki.path("ca.key"))
                    .context("reading the authority's key")?,
            )),
            sign_token: Some(token_signer::from_file(&self.pki.path("sa.key"))?),
            allocate_node_cidrs: true,
            cluster_cidr: self
                .settings
                .cluster_ranges
                .iter()
                .map(Cidr::to_string)
                .collect(),
            ..controllers::Config::default()
        };
        self.serve_pages(kube_controller_manager::PORT, deps.client.clone(), {
            let server = serving::server("kube-controller-manager", &metrics, &self.clock);
            kube_controller_manager::with_pages(server, &config, &deps.leader_healthz)
        });
        let token = self.tasks.token().clone();
        self.run(
            "kube-controller-manager",
            controllers::run(config, deps, token),
        );

        // Nodes that join are served by kubelets that the API server must be able to trust.
        let admin = self.admin();
        let informers = InformerFactory::new(admin.clone(), self.tasks.clone());
        self.tasks.spawn_cancellable(
            "serving-certificates",
            serving_certificates::approve(admin, informers, self.clock.clone()),
        );

        let metrics = serving::registry();
        let client = self.client(&self.pki.scheduler, "kube-scheduler");
        let client = self.metered(client, &metrics);
        let config = scheduler::Config {
            seed: u64::from(std::process::id()),
            ..scheduler::Config::default()
        };
        let readiness = Readiness::default();
        self.serve_pages(kube_scheduler::PORT, client.clone(), {
            let server = serving::server("kube-scheduler", &metrics, &self.clock);
            let (configuration, cancel) = (&config.configuration, self.tasks.token());
            kube_scheduler::with_pages(server, configuration, None, &readiness, cancel)
        });
        let events = EventRecorder::new(
            client.clone(),
            "default-scheduler",
            None,
            self.clock.clone(),
            &self.tasks,
        );
        let deps = scheduler::Dependencies {
            informers: InformerFactory::new(client, self.tasks.clone()),
            events,
            clock: self.clock.clone(),
            metrics,
            readiness,
        };
        self.run(
            "kube-scheduler",
            scheduler::run(config, deps, self.tasks.token().clone()),
        );
        Ok(())
    }

    /// Makes the example image, starts kubelet and proxy, and DNS as soon as the node has its range of addresses.
    pub(crate) async fn start_node(&self) -> anyhow::Result<()> {
        hello_image::ensure(&self.runtime).await?;
        let client = self.client(&self.pki.kubelet_client, "kubelet");
        let deps = KubeletDeps {
            client: Some(client),
            runtime: Arc::new(self.runtime.clone()),
            images: Arc::new(self.runtime.clone()),
            streaming: Arc::new(self.runtime.clone()),
            clock: self.clock.clone(),
        };
        let server = self.kubelet_server(deps.client.clone()).await?;
        let token = self.tasks.token().clone();
        let prepared = kubelet::prepare(self.kubelet_config(), deps, &token).await?;
        self.tasks.spawn(
            "kubelet-server",
            server.run(Arc::new(prepared.handle()), token.clone()),
        );
        self.tasks.spawn("kubelet", kubelet::run(prepared, token));

        let metrics = serving::registry();
        let client = self.client(&self.pki.proxy, "kube-proxy");
        let client = self.metered(client, &metrics);
        let ranges = self.settings.cluster_ranges.iter();
        let config = proxy::Config {
            node_name: self.settings.node_name.clone(),
            cluster_cidrs: ranges.map(|r| (r.network(), r.length())).collect(),
            node_port_addresses: Vec::new(),
        };
        let informers = InformerFactory::new(client, self.tasks.clone());
        let health = ProxyHealth::new(self.clock.clone());
        self.serve_proxy_pages(&informers, &metrics, &health);
        let deps = proxy::Dependencies {
            informers,
            clock: self.clock.clone(),
            metrics,
            health,
        };
        self.run(
            "kube-proxy",
            proxy::run(config, deps, self.tasks.token().clone()),
        );
        self.start_dns();
        self.start_overlay();
        Ok(())
    }

    async fn kubelet_server(
        &self,
        client: Option<Client>,
    ) -> anyhow::Result<kubelet::server::Server> {
        let identity = &self.pki.kubelet_server;
        let mut reloader = Reloader::new();
        let certificate = serving_certificate::follow(
            &identity.certificate_path,
            &identity.key_path,
            &mut reloader,
        )?;
        reloader.start(self.clock.clone(), &self.tasks);
        let address = SocketAddr::new(self.settings.bind_address, self.settings.kubelet_port);
        let mut config = kubelet::server::ServerConfig::new(address, certificate);
        config.client_ca_pem = Some(self.pki.ca_pem.clone().into());
        config.identity = Some(serving::identity("kubelet", &self.clock));
        let node = &self.settings.node_name;
        Ok(kubelet::server::Server::bind(config, client, node, self.clock.clone()).await?)
    }

    fn start_dns(&self) {
        let (network, admin) = (Arc::clone(&self.network), self.admin());
        let informers =
            InformerFactory::new(self.client(&self.pki.dns, "coredns"), self.tasks.clone());
        let (domain, node) = (
            self.settings.cluster_domain.clone(),
            self.settings.node_name.clone(),
        );
        let cluster_dns = self.settings.cluster_dns();
        let token = self.tasks.token().clone();
        self.run("dns", async move {
            let Some(gateways) = token.run_until_cancelled(network.wait_gateways()).await else {
                return Ok(());
            };
            let Some(&gateway) = gateways.first() else {
                return Ok(());
            };
            addons::apply(&admin, &node, gateway, cluster_dns).await?;
            let config = dns::Config {
                listen: gateways.iter().map(|ip| SocketAddr::new(*ip, 53)).collect(),
                domain,
                resolv_conf: "/etc/resolv.conf".into(),
            };
            dns::run(config, dns::Dependencies { informers }, token).await?;
            anyhow::Ok(())
        });
    }

    /// Joins the pods of this node with those of others, as soon as there are others.
    fn start_overlay(&self) {
        let Some(&own) = self.settings.node_ips.first() else {
            return;
        };
        let client = self.client(&self.pki.kubelet_client, "pod-network");
        let informers = InformerFactory::new(client, self.tasks.clone());
        let (network, clock) = (Arc::clone(&self.network), self.clock.clone());
        self.tasks.spawn_cancellable(
            "pod-network",
            pod_network::follow_nodes(network, informers, own, clock),
        );
    }

    fn kubelet_config(&self) -> KubeletConfig {
        KubeletConfig {
            node_ips: self.settings.node_ips.clone(),
            root_dir: self.place.file("kubelet"),
            pod_logs_dir: self.place.file("logs/pods"),
            static_pod_path: Some(self.place.file("manifests")),
            cluster_dns: vec![self.settings.cluster_dns()],
            cluster_domain: self.settings.cluster_domain.clone(),
            cgroup_root: self.place.cgroup_root(),
            port: self.settings.kubelet_port,
            kubelet_version: crate::cli::version(),
            // The disk is not the node's alone: shares of it, kubelet's defaults, would remove images and evict pods for what others
            // store.
            image_gc_high_threshold_percent: 100,
            eviction_hard: [
                ("memory.available", "100Mi"),
                ("nodefs.available", "1Gi"),
                ("nodefs.inodesFree", "1%"),
                ("imagefs.available", "1Gi"),
            ]
            .map(|(signal, threshold)| (signal.to_owned(), threshold.to_owned()))
            .into(),
            ..KubeletConfig::new(self.settings.node_name.clone())
        }
    }

    /// Where further tasks of the cluster go.
    pub(crate) fn tasks(&self) -> &TaskGroup {
        &self.tasks
    }

    /// Its time.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Its node's name.
    pub(super) fn node_name(&self) -> &str {
        &self.settings.node_name
    }

    /// Who signs its certificates, PEM.
    pub(super) fn authorities(&self) -> &str {
        &self.pki.ca_pem
    }

    /// Where its API server listens.
    pub(super) fn server_address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Runs a component as a task; its failure is the whole process's, for who starts it again starts all of it.
    fn run<E: Into<anyhow::Error>>(
        &self,
        name: &'static str,
        component: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let cancel = self.tasks.token().clone();
        self.tasks.spawn(name, async move {
            if let Err(error) = component.await {
                tracing::error!(
                    component = name,
                    error = format!("{:#}", error.into()),
                    "ended"
                );
                cancel.cancel();
            }
        });
    }

    /// Waits until it has been cancelled and everything has stopped. Pods run on.
    pub(crate) async fn wait(&self) {
        self.tasks.wait().await;
        self.server.wait().await;
        self.store_tasks.shutdown().await;
    }
}

/// Looks once an hour whether a certificate has grown old, and renews it: a node may run for longer than its certificates do. Whoever
/// uses one follows its file.
async fn renew_certificates(config: PkiConfig, clock: Clock) {
    loop {
        clock.sleep_until(clock.now() + RENEWAL_PERIOD).await;
        if let Err(error) = Pki::ensure(&config, clock.now()) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "certificates could not be renewed");
        }
    }
}

fn server_config(pki: &Pki, settings: &Settings) -> anyhow::Result<apiserver::Config> {
    let identity = &pki.apiserver;
    let certificate = ServingCertificate::read(&identity.certificate_path, &identity.key_path)?;
    Ok(apiserver::Config {
        bind_address: settings.bind_address,
        secure_port: settings.secure_port,
        advertise_address: settings.node_ips.first().copied(),
        serving_certificate_files: Some((
            identity.certificate_path.clone(),
            identity.key_path.clone(),
        )),
        client_ca_file: Some(pki.path("ca.crt")),
        request_header_client_ca_file: Some(pki.path("front-proxy-ca.crt")),
        request_header: RequestHeaderConfig {
            allowed_names: vec!["front-proxy-client".to_owned()],
            username_headers: vec!["X-Remote-User".to_owned()],
            uid_headers: vec!["X-Remote-Uid".to_owned()],
            group_headers: vec!["X-Remote-Group".to_owned()],
            extra_header_prefixes: vec!["X-Remote-Extra-".to_owned()],
        },
        proxy_client_certificate: Some((
            pki.front_proxy_client.certificate_path.clone(),
            pki.front_proxy_client.key_path.clone(),
        )),
        enable_bootstrap_token_auth: true,
        authorization_modes: vec![Mode::Node, Mode::Rbac],
        enable_admission_plugins: vec!["NodeRestriction".to_owned()],
        service_cluster_ip_ranges: settings
            .service_ranges
            .iter()
            .map(Cidr::to_string)
            .collect(),
        service_account_issuers: vec![format!(
            "https://kubernetes.default.svc.{}",
            settings.cluster_domain
        )],
        service_account_key_files: vec![pki.path("sa.pub")],
        service_account_signing_key_file: Some(pki.path("sa.key")),
        allow_privileged: true,
        encryption_provider_config: Some(pki.path("encryption.yaml")),
        kubelet: KubeletClientConfig {
            client_identity: Some((
                pki.apiserver_kubelet_client.certificate_path.clone(),
                pki.apiserver_kubelet_client.key_path.clone(),
            )),
            certificate_authority: Some(pki.path("ca.crt")),
            ..KubeletClientConfig::default()
        },
        ..apiserver::Config::new(Arc::new(certificate))
    })
}
