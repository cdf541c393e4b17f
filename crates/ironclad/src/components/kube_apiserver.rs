//! `ironclad kube-apiserver`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apiserver::{Dependencies, Server, authz::Mode, proxy::KubeletClientConfig};
use base::{Clock, TaskGroup, tls::ServingCertificate};
use bootstrap::{Pki, PkiConfig};
use clap::{ArgAction, Args};
use etcd::Kv;
use tokio_util::sync::CancellationToken;

mod audit;
mod authentication;
mod service_accounts;
mod serving;
mod without_effect;

use self::without_effect::NoEffect;
use super::{
    flags::{WithoutEffect, command_line::given_flags, duration},
    process,
};
use crate::cli::DataDir;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    data_dir: DataDir,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// Port to listen on
    #[arg(long, default_value_t = 6443)]
    secure_port: u16,
    /// Address under which others reach this server; the bound one if not given
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// Where the serving certificate is made when none is given
    #[arg(long)]
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
    #[command(flatten)]
    authentication: authentication::AuthenticationFlags,
    /// Static tokens: token,user,uid,"group1,group2"
    #[arg(long)]
    token_auth_file: Option<PathBuf>,
    /// Let in requests without credentials, as system:anonymous
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    anonymous_auth: bool,
    /// Let in bootstrap tokens
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    enable_bootstrap_token_auth: bool,
    /// Authorizers in their order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny
    #[arg(long, value_delimiter = ',', default_value = "AlwaysAllow")]
    authorization_mode: Vec<Mode>,
    /// Admission plugins besides those that are on by default
    #[arg(long, value_delimiter = ',')]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins that are off
    #[arg(long, value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// What admission plugins are told: an AdmissionConfiguration
    #[arg(long)]
    admission_control_config_file: Option<PathBuf>,
    /// Ranges of the addresses of Services, at most one of each family
    #[arg(long, value_delimiter = ',', default_value = "10.0.0.0/24")]
    service_cluster_ip_range: Vec<String>,
    /// Range of node ports
    #[arg(long, default_value = "30000-32767", value_parser = parse_port_range)]
    service_node_port_range: (u16, u16),
    #[command(flatten)]
    service_accounts: service_accounts::ServiceAccountFlags,
    /// Audiences of this API
    #[arg(long, value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Allow privileged containers
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allow_privileged: bool,
    /// Certificate for kubelets (logs, exec), PEM
    #[arg(long, requires = "kubelet_client_key")]
    kubelet_client_certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "kubelet_client_certificate")]
    kubelet_client_key: Option<PathBuf>,
    /// Certificate by which aggregated servers know this one, PEM
    #[arg(long, requires = "proxy_client_key_file")]
    proxy_client_cert_file: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "proxy_client_cert_file")]
    proxy_client_key_file: Option<PathBuf>,
    /// Authority of kubelets' certificates, PEM; they are not verified if not given
    #[arg(long)]
    kubelet_certificate_authority: Option<PathBuf>,
    /// Which address of a node its kubelet is spoken to at, the preferred first
    #[arg(long, value_delimiter = ',')]
    kubelet_preferred_address_types: Option<Vec<String>>,
    #[command(flatten)]
    serving: serving::ServingFlags,
    #[command(flatten)]
    audit: audit::AuditFlags,
    /// An external etcd; the embedded store if none is given
    #[arg(long, value_delimiter = ',')]
    etcd_servers: Vec<String>,
    /// How often the store's history is forgotten, up to the time before; 0 leaves that to others
    #[arg(long, default_value = "5m0s", value_parser = duration)]
    etcd_compaction_interval: Duration,
    /// Authority of the external etcd's certificate, PEM
    #[arg(long)]
    etcd_cafile: Option<PathBuf>,
    /// Certificate for the external etcd, PEM
    #[arg(long, requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    #[command(flatten)]
    no_effect: WithoutEffect<NoEffect>,
}

fn parse_port_range(text: &str) -> Result<(u16, u16), String> {
    let invalid = || format!("{text:?} is not a range of ports such as 30000-32767");
    let (first, last) = text.split_once('-').ok_or_else(invalid)?;
    let range = (
        first.parse().map_err(|_| invalid())?,
        last.parse().map_err(|_| invalid())?,
    );
    if range.0 == 0 || range.0 > range.1 {
        Err(invalid())
    } else {
        Ok(range)
    }
}

/// Serves until stopped.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    process::run_server(|cancel, _| async move {
        flags.no_effect.report();
        let clock = Clock::system();
        let config = config(&flags, &clock)?;
        // The store outlives the server, which may still write while it stops.
        let store_tasks = TaskGroup::new(&CancellationToken::new());
        let kv = open_store(&flags, &clock, &store_tasks).await?;
        let server = Server::start(
            config,
            Dependencies {
                kv,
                clock,
                connector: None,
            },
            &cancel,
        )
        .await?;
        tracing::info!(address = %server.address(), "serving");
        server.wait().await;
        store_tasks.shutdown().await;
        Ok(())
    })
}

async fn open_store(
    flags: &Flags,
    clock: &Clock,
    tasks: &TaskGroup,
) -> anyhow::Result<Arc<dyn Kv>> {
    if flags.etcd_servers.is_empty() {
        let directory = flags.data_dir.path.join("etcd");
        let store = etcd::Embedded::open(
            etcd::embedded::Config::new(&directory),
            clock.clone(),
            tasks,
        )
        .with_context(|| format!("opening the store at {}", directory.display()))?;
        return Ok(store);
    }
    let read = |path: &Option<PathBuf>| match path {
        Some(path) => std::fs::read(path)
            .map(Some)
            .with_context(|| format!("reading {}", path.display())),
        None => Ok(None),
    };
    let mut config = etcd::remote::Config::new(flags.etcd_servers.clone());
    config.tls.ca = read(&flags.etcd_cafile)?;
    config.tls.identity = read(&flags.etcd_certfile)?.zip(read(&flags.etcd_keyfile)?);
    Ok(etcd::Remote::connect(config, tasks)
        .await
        .context("connecting to etcd")?)
}

fn config(flags: &Flags, clock: &Clock) -> anyhow::Result<apiserver::Config> {
    let pki = own_pki(flags, clock)?;
    let (certificate_file, key_file) = flags
        .tls_cert_file
        .clone()
        .zip(flags.tls_private_key_file.clone())
        .unwrap_or_else(|| {
            let own = &pki.apiserver;
            (own.certificate_path.clone(), own.key_path.clone())
        });
    let certificate = ServingCertificate::read(&certificate_file, &key_file)?;
    let mut config = apiserver::Config {
        serving_certificate_files: Some((certificate_file, key_file)),
        bind_address: flags.bind_address,
        secure_port: flags.secure_port,
        advertise_address: flags.advertise_address,
        client_ca_file: flags.client_ca_file.clone(),
        token_auth_file: flags.token_auth_file.clone(),
        anonymous_auth: flags.anonymous_auth,
        enable_bootstrap_token_auth: flags.enable_bootstrap_token_auth,
        authorization_modes: flags.authorization_mode.clone(),
        enable_admission_plugins: flags.enable_admission_plugins.clone(),
        disable_admission_plugins: flags.disable_admission_plugins.clone(),
        admission_control_config_file: flags.admission_control_config_file.clone(),
        service_cluster_ip_ranges: flags.service_cluster_ip_range.clone(),
        service_node_port_range: flags.service_node_port_range,
        api_audiences: flags.api_audiences.clone(),
        allow_privileged: flags.allow_privileged,
        etcd_compaction_interval: flags.etcd_compaction_interval,
        kubelet: kubelet_client(flags),
        proxy_client_certificate: flags
            .proxy_client_cert_file
            .clone()
            .zip(flags.proxy_client_key_file.clone()),
        ..apiserver::Config::new(Arc::new(certificate))
    };
    flags.service_accounts.apply(&mut config, &pki);
    flags.serving.apply(&mut config);
    config.audit = flags.audit.config();
    config.flags = given_flags(std::env::args());
    flags.authentication.apply(&mut config)?;
    Ok(config)
}

fn kubelet_client(flags: &Flags) -> KubeletClientConfig {
    let default = KubeletClientConfig::default();
    let certificate = flags.kubelet_client_certificate.clone();
    KubeletClientConfig {
        client_identity: certificate.zip(flags.kubelet_client_key.clone()),
        certificate_authority: flags.kubelet_certificate_authority.clone(),
        preferred_address_types: flags
            .kubelet_preferred_address_types
            .clone()
            .unwrap_or(default.preferred_address_types),
    }
}

/// Keys of our own, for whatever is not given.
fn own_pki(flags: &Flags, clock: &Clock) -> anyhow::Result<Pki> {
    let bound = SocketAddr::new(flags.bind_address, flags.secure_port).ip();
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1])];
    addresses.extend(flags.advertise_address);
    addresses.extend((!bound.is_unspecified()).then_some(bound));
    let config = PkiConfig {
        directory: flags
            .cert_dir
            .clone()
            .unwrap_or_else(|| flags.data_dir.path.join("pki")),
        node_name: super::host_name(),
        addresses,
        cluster_domain: "cluster.local".to_owned(),
    };
    Ok(Pki::ensure(&config, clock.now())?)
}
