//! `ironclad kubelet`, with the container runtime and the pod network in its process.

mod file;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use base::{Clock, tls::ServingCertificate};
use clap::Args;
use client::{Client, InformerFactory};
use kubelet::{
    KubeletConfig, KubeletDeps,
    server::{AuthorizationMode, Server, ServerConfig},
};
use network::Cidr;

use self::file::{Configuration, ConfigurationFlags, Mode};
use super::{
    flags::{
        Table, WithoutEffect,
        without_effect::{API_CLIENT, Shared},
    },
    node_certificates::NodeCertificates,
    pod_network,
    process::{self, ClientFlags},
    serving, serving_certificate,
};
use crate::{
    cli::DataDir,
    node,
    up::{
        control::{self, Control},
        hello_image,
        place::Place,
    },
};

/// Upstream's port.
const PORT: u16 = 10250;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    data_dir: DataDir,
    /// The node's name; the host's if not given
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// A KubeletConfiguration (kubelet.config.k8s.io/v1beta1); flags take the place of what it says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    configuration: ConfigurationFlags,
    /// The node's addresses, the primary first; that by which others are reached if not given
    #[arg(long, value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Labels of the node
    #[arg(long, value_delimiter = ',', value_parser = label)]
    node_labels: Vec<(String, String)>,
    /// Ranges of all pod addresses of the cluster
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        default_value = "10.244.0.0/16"
    )]
    cluster_cidr: Vec<Cidr>,
    /// Kubeconfig with a token, to ask for a certificate with where --kubeconfig names no file yet
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Where certificates are made when none is given; `pki` in the data directory if not given
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    #[command(flatten)]
    no_effect: WithoutEffect<NoEffect>,
}

/// Upstream's flags that change nothing here, and those that are refused.
#[derive(Debug)]
struct NoEffect;

impl Table for NoEffect {
    const SHARED: &'static [Shared] = &[API_CLIENT];
    const SWITCHES: &'static [&'static str] = &[
        "authentication-token-webhook",
        "cgroups-per-qos",
        "contention-profiling",
        "enable-controller-attach-detach",
        "enable-debugging-handlers",
        "enable-server",
        "exit-on-lock-contention",
        "experimental-allocatable-ignore-eviction",
        "fail-cgroupv1",
        "fail-swap-on",
        "kernel-memcg-notification",
        "local-storage-capacity-isolation",
        "make-iptables-util-chains",
        "protect-kernel-defaults",
        "runonce",
    ];
    const SETTINGS: &'static [&'static str] = &[
        "authentication-token-webhook-cache-ttl",
        "authorization-webhook-cache-authorized-ttl",
        "authorization-webhook-cache-unauthorized-ttl",
        "cgroup-driver",
        "cgroup-root",
        "cloud-provider",
        "container-runtime-endpoint",
        "cpu-manager-policy",
        "cpu-manager-policy-options",
        "cpu-manager-reconcile-period",
        "enforce-node-allocatable",
        "event-burst",
        "event-qps",
        "eviction-max-pod-grace-period",
        "eviction-minimum-reclaim",
        "eviction-pressure-transition-period",
        "eviction-soft",
        "eviction-soft-grace-period",
        "experimental-mounter-path",
        "file-check-frequency",
        "hairpin-mode",
        "healthz-bind-address",
        "healthz-port",
        "http-check-frequency",
        "image-credential-provider-bin-dir",
        "image-credential-provider-config",
        "image-service-endpoint",
        "kube-reserved-cgroup",
        "kubelet-cgroups",
        "lock-file",
        "manifest-url",
        "manifest-url-header",
        "max-open-files",
        "maximum-dead-containers",
        "maximum-dead-containers-per-container",
        "memory-manager-policy",
        "minimum-container-ttl-duration",
        "node-status-max-images",
        "oom-score-adj",
        "pod-infra-container-image",
        "pods-per-core",
        "provider-id",
        "qos-reserved",
        "read-only-port",
        "registry-burst",
        "registry-qps",
        "reserved-cpus",
        "reserved-memory",
        "root-dir",
        "runtime-cgroups",
        "runtime-request-timeout",
        "sync-frequency",
        "system-cgroups",
        "system-reserved-cgroup",
        "tls-cipher-suites",
        "topology-manager-policy",
        "topology-manager-policy-options",
        "topology-manager-scope",
        "volume-plugin-dir",
        "volume-stats-agg-period",
    ];
    const REFUSED: &'static [(&'static str, &'static str)] = &[
        ("config-dir", "give all of the configuration by --config"),
        (
            "register-with-taints",
            "give registerWithTaints in the configuration",
        ),
    ];
}

/// Listens; who is asked about tokens and permissions is `client`.
async fn listen(
    said: &Configuration,
    client: Option<Client>,
    certificates: &NodeCertificates,
    clock: &Clock,
) -> anyhow::Result<(Server, Arc<ServingCertificate>)> {
    let certificate = match (&said.tls_cert_file, &said.tls_private_key_file) {
        (Some(certificate), Some(key)) => ServingCertificate::read(certificate, key)?,
        _ => serving_certificate::own(
            Some(&certificates.directory),
            "kubelet",
            vec![certificates.node_name.clone()],
            certificates.node_ips.clone(),
            clock,
        )?,
    };
    let certificate = Arc::new(certificate);
    let ip = said.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let address = SocketAddr::new(ip, said.port.unwrap_or(PORT));
    let authorization = match (said.authorization.mode, &client) {
        (Some(Mode::Webhook), _) | (None, Some(_)) => AuthorizationMode::Webhook,
        (Some(Mode::AlwaysAllow), _) | (None, None) => AuthorizationMode::AlwaysAllow,
    };
    let mut config = ServerConfig {
        client_ca_pem: match &said.authentication.x509.client_ca_file {
            Some(file) => {
                Some(std::fs::read(file).with_context(|| format!("reading {}", file.display()))?)
            }
            None => None,
        },
        anonymous: said.authentication.anonymous.enabled,
        authorization,
        tls_min_version: said.tls_min_version,
        identity: Some(serving::identity("kubelet", clock)),
        ..ServerConfig::new(address, Arc::clone(&certificate))
    };
    if let Some(timeout) = said.streaming_connection_idle_timeout {
        config.streaming_connection_idle_timeout = timeout;
    }
    let node_name = &certificates.node_name;
    let server = Server::bind(config, client, node_name, clock.clone()).await?;
    Ok((server, certificate))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not a label such as key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The address that the kernel would send from to the rest of the world; nothing is sent.
fn own_address() -> anyhow::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // An address of a network for documentation (RFC 5737): what matters is the way there.
    socket
        .connect((Ipv4Addr::new(192, 0, 2, 1), 9))
        .context("this machine has no default route: give --node-ip")?;
    Ok(socket.local_addr()?.ip())
}

/// Runs until stopped; pods run on.
pub(crate) fn run(mut flags: Flags) -> anyhow::Result<()> {
    let place = Place::new(&flags.data_dir.path);
    process::run(|cancel, tasks| async move {
        flags.no_effect.report();
        let said = Configuration::read(flags.config.as_deref(), &flags.configuration)?;
        if flags.node_ip.is_empty() {
            flags.node_ip.push(own_address()?);
        }
        let clock = Clock::system();
        let (network, runtime) = node::open(&place, flags.cluster_cidr, &clock, &tasks).await?;
        let images = runtime.clone();
        // Nothing waits for the example's image, which takes a copy of this program the first time.
        tasks.spawn_cancellable("example-image", async move {
            if let Err(error) = hello_image::ensure(&images).await {
                tracing::warn!(error = format!("{error:#}"), "there is no example image");
            }
        });
        let local = Control {
            runtime: runtime.clone(),
            store: None,
        };
        control::start(&place, local, &tasks, &cancel).await?;
        let node_name = flags.hostname_override.unwrap_or_else(super::host_name);
        let certificates = NodeCertificates {
            directory: flags.cert_dir.unwrap_or_else(|| place.file("pki")),
            node_name: node_name.clone(),
            node_ips: flags.node_ip.clone(),
            clock: clock.clone(),
        };
        if let (Some(bootstrap), Some(kubeconfig)) =
            (&flags.bootstrap_kubeconfig, &flags.client.kubeconfig)
        {
            let joining = certificates.join(bootstrap, kubeconfig);
            match cancel.run_until_cancelled(joining).await {
                Some(joined) => joined.context("joining the cluster")?,
                None => return Ok(()),
            }
        }
        // Without an API server the kubelet runs static pods.
        let client = match &flags.client.kubeconfig {
            Some(_) => Some(flags.client.client("kubelet")?),
            None => None,
        };
        if let (Some(client), Some(&own)) = (&client, flags.node_ip.first()) {
            let informers = InformerFactory::new(client.clone(), tasks.clone());
            tasks.spawn_cancellable(
                "pod-network",
                pod_network::follow_nodes(Arc::clone(&network), informers, own, clock.clone()),
            );
        }
        let (server, serving) = listen(&said, client.clone(), &certificates, &clock).await?;
        if let Some(client) = &client {
            if said.rotate_certificates {
                let renewal = certificates.clone().rotate_client(client.clone());
                tasks.spawn_cancellable("client-certificate", renewal);
            }
            if said.server_tls_bootstrap {
                let renewal = certificates.rotate_serving(client.clone(), serving);
                tasks.spawn_cancellable("serving-certificate", renewal);
            }
        }
        let mut config = KubeletConfig {
            node_ips: flags.node_ip,
            node_labels: flags.node_labels.into_iter().collect(),
            root_dir: place.file("kubelet"),
            pod_logs_dir: place.file("logs/pods"),
            cgroup_root: place.cgroup_root(),
            kubelet_version: crate::cli::version(),
            ..KubeletConfig::new(node_name)
        };
        said.apply(&mut config)?;
        let deps = KubeletDeps {
            client,
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime.clone()),
            streaming: Arc::new(runtime),
            clock,
        };
        let prepared = kubelet::prepare(config, deps, &cancel).await?;
        tasks.spawn(
            "kubelet-server",
            server.run(Arc::new(prepared.handle()), cancel.clone()),
        );
        kubelet::run(prepared, cancel).await;
        Ok(())
    })
}
