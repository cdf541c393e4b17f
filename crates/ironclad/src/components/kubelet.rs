//! `ironclad kubelet`, with the container runtime and the pod network in its process.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use base::{Clock, tls::ServingCertificate};
use bootstrap::{Authority, Subject, write_atomically};
use clap::{ArgAction, Args, ValueEnum};
use client::{Client, InformerFactory};
use kubelet::{
    KubeletConfig, KubeletDeps,
    server::{AuthorizationMode, Server, ServerConfig},
};
use network::{Bridge, BridgeConfig, Cidr, PodNetwork};
use runtime::Runtime;

use super::{
    node_certificates::NodeCertificates,
    pod_network,
    process::{self, ClientFlags},
};
use crate::{
    cli::DataDir,
    up::{
        cluster::shim_command,
        control::{self, Control},
        hello_image,
        place::{BRIDGE, Place},
    },
};

/// Upstream's flags, and fields of its configuration file under their names.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    data_dir: DataDir,
    /// The node's name; the host's if not given
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// The node's addresses, the primary first
    #[arg(long, value_delimiter = ',', required = true)]
    node_ip: Vec<IpAddr>,
    /// Addresses of cluster DNS
    #[arg(long, value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Ranges of all pod addresses of the cluster
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        default_value = "10.244.0.0/16"
    )]
    cluster_cidr: Vec<Cidr>,
    /// Range of this node's pod addresses, where no API server hands one out
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Option<String>,
    /// Thresholds at which pods are evicted, instead of upstream's: `nodefs.available<1Gi,memory.available<5%`
    #[arg(long, value_delimiter = ',', value_parser = threshold)]
    eviction_hard: Option<Vec<(String, String)>>,
    /// Share of the disk in use from which on images are removed; 100 for never
    #[arg(long, value_name = "PERCENT", default_value_t = 85)]
    image_gc_high_threshold: u8,
    /// Directory of manifests of static pods
    #[arg(long, value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
    /// Kubeconfig with a token, to ask for a certificate with where --kubeconfig names no file yet
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Renew the client certificate that was got that way
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    rotate_certificates: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// Those of the kubelet's HTTPS server.
#[derive(Debug, Args)]
struct ServerFlags {
    /// Address to listen on
    #[arg(long, default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    address: IpAddr,
    /// Port to listen on
    #[arg(long, default_value_t = 10250)]
    port: u16,
    /// Where the serving certificate is made when none is given; `pki` in the data directory if not given
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Serving certificate, PEM
    #[arg(long, requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Authorities of client certificates, PEM
    #[arg(long)]
    client_ca_file: Option<PathBuf>,
    /// Ask the cluster for a serving certificate, and renew it
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    rotate_server_certificates: bool,
    /// Let in requests without credentials, as system:anonymous
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    anonymous_auth: bool,
    /// Who decides what a user may do; Webhook with a kubeconfig, AlwaysAllow without one, if not given
    #[arg(long, value_enum)]
    authorization_mode: Option<Authorization>,
}

/// Upstream's names of the modes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Authorization {
    #[value(name = "AlwaysAllow")]
    AlwaysAllow,
    #[value(name = "Webhook")]
    Webhook,
}

impl ServerFlags {
    /// Listens; who is asked about tokens and permissions is `client`.
    async fn bind(
        &self,
        client: Option<Client>,
        place: &Place,
        node_name: &str,
        node_ips: &[IpAddr],
        clock: &Clock,
    ) -> anyhow::Result<(Server, Arc<ServingCertificate>)> {
        let certificate = match (&self.tls_cert_file, &self.tls_private_key_file) {
            (Some(certificate), Some(key)) => ServingCertificate::read(certificate, key)?,
            _ => self.own_certificate(place, node_name, node_ips, clock)?,
        };
        let certificate = Arc::new(certificate);
        let address = SocketAddr::new(self.address, self.port);
        let authorization = match (self.authorization_mode, &client) {
            (Some(Authorization::Webhook), _) | (None, Some(_)) => AuthorizationMode::Webhook,
            (Some(Authorization::AlwaysAllow), _) | (None, None) => AuthorizationMode::AlwaysAllow,
        };
        let config = ServerConfig {
            client_ca_pem: match &self.client_ca_file {
                Some(file) => Some(
                    std::fs::read(file).with_context(|| format!("reading {}", file.display()))?,
                ),
                None => None,
            },
            anonymous: self.anonymous_auth,
            authorization,
            ..ServerConfig::new(address, Arc::clone(&certificate))
        };
        let server = Server::bind(config, client, node_name, clock.clone()).await?;
        Ok((server, certificate))
    }

    /// One that an authority of its own has signed, as upstream's kubelet makes: it lasts as long as its files, which whoever
    /// wants to verify it must fetch.
    fn own_certificate(
        &self,
        place: &Place,
        node_name: &str,
        node_ips: &[IpAddr],
        clock: &Clock,
    ) -> anyhow::Result<ServingCertificate> {
        let directory = self.cert_dir.clone().unwrap_or_else(|| place.file("pki"));
        let (certificate, key) = (directory.join("kubelet.crt"), directory.join("kubelet.key"));
        if !certificate.exists() || !key.exists() {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("making {}", directory.display()))?;
            let authority = Authority::create(&format!("{node_name}-ca"), clock.now())?;
            let names = vec![node_name.to_owned()];
            let subject = Subject::server(node_name, names, node_ips.to_vec());
            let issued = authority.issue(&subject, clock.now())?;
            let chain = issued.certificate_pem + &authority.issued().certificate_pem;
            for (path, content, mode) in [
                (&key, &issued.key_pem, 0o600),
                (&certificate, &chain, 0o644),
            ] {
                write_atomically(path, content.as_bytes(), mode)
                    .with_context(|| format!("writing {}", path.display()))?;
            }
        }
        Ok(ServingCertificate::read(&certificate, &key)?)
    }
}

fn threshold(text: &str) -> Result<(String, String), String> {
    let (signal, value) = text
        .split_once('<')
        .ok_or_else(|| format!("{text:?} is not a threshold such as nodefs.available<1Gi"))?;
    Ok((signal.to_owned(), value.to_owned()))
}

/// Runs until stopped; pods run on.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    let place = Place::new(&flags.data_dir.path);
    process::run(|cancel, tasks| async move {
        let clock = Clock::system();
        let network = Arc::new(
            Bridge::open(BridgeConfig {
                bridge: BRIDGE.to_owned(),
                directory: place.file("network"),
                mtu: None,
                cluster_cidrs: flags.cluster_cidr,
            })
            .await
            .context("setting up the pod network")?,
        );
        let runtime = Runtime::new(
            runtime::Config {
                root: place.file("runtime"),
                state: place.state_dir(),
                cgroup_root: place.cgroup_root(),
                shim_command: shim_command()?,
                network: Arc::clone(&network) as Arc<dyn PodNetwork>,
                clock: clock.clone(),
            },
            tasks.clone(),
        )
        .await
        .context("opening the container runtime")?;
        hello_image::ensure(&runtime).await?;
        let local = Control {
            runtime: runtime.clone(),
            store: None,
        };
        control::start(&place, local, &tasks, &cancel).await?;
        let node_name = flags.hostname_override.unwrap_or_else(super::host_name);
        let certificates = NodeCertificates {
            directory: flags
                .server
                .cert_dir
                .clone()
                .unwrap_or_else(|| place.file("pki")),
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
        let (server, serving) = flags
            .server
            .bind(client.clone(), &place, &node_name, &flags.node_ip, &clock)
            .await?;
        if let Some(client) = &client {
            if flags.rotate_certificates {
                let renewal = certificates.clone().rotate_client(client.clone());
                tasks.spawn_cancellable("client-certificate", renewal);
            }
            if flags.server.rotate_server_certificates {
                let renewal = certificates.rotate_serving(client.clone(), serving);
                tasks.spawn_cancellable("serving-certificate", renewal);
            }
        }
        let config = KubeletConfig {
            node_ips: flags.node_ip,
            root_dir: place.file("kubelet"),
            pod_logs_dir: place.file("logs/pods"),
            static_pod_path: flags.pod_manifest_path,
            cluster_dns: flags.cluster_dns,
            cluster_domain: flags.cluster_domain,
            cgroup_root: place.cgroup_root(),
            pod_cidr: flags.pod_cidr,
            port: flags.server.port,
            kubelet_version: crate::cli::version(),
            eviction_hard: match flags.eviction_hard {
                Some(thresholds) => thresholds.into_iter().collect(),
                None => KubeletConfig::new("").eviction_hard,
            },
            image_gc_high_threshold_percent: flags.image_gc_high_threshold,
            ..KubeletConfig::new(node_name)
        };
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
