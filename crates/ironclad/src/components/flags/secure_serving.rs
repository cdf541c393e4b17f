//! The flags of a component that serves itself over TLS to those whom the API server lets in: `--bind-address`, `--tls-*`,
//! `--authentication-*`, `--requestheader-*`, `--authorization-*`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use base::{Clock, Reloader, TaskGroup, tls::TlsVersion};
use clap::{ArgAction, Args};
use client::{Client, Config, ConfigError, InformerFactory};
use component_base::{
    Authentication, Authorization, FrontProxy, FrontProxyHeaders, Guard, Listener, Missing,
    PathPatterns, follow_cluster_authentication,
};

use super::duration;
use crate::components::serving_certificate;

/// Upstream's names and defaults.
#[derive(Debug, Args)]
pub(crate) struct SecureServingFlags {
    /// Address to listen on
    #[arg(long, default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    bind_address: IpAddr,
    /// Port to listen on, the component's own if not given; 0 for not to listen
    #[arg(long)]
    secure_port: Option<u16>,
    /// Where the serving certificate is kept when none is given; it is made anew at each start if no directory is given
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Serving certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken: VersionTLS12 or VersionTLS13
    #[arg(long, default_value = "VersionTLS12")]
    tls_min_version: TlsVersion,
    /// Authorities of client certificates, PEM; those of the cluster if not given
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Kubeconfig for asking the API server who bears a token, and for learning the cluster's authorities
    #[arg(long, value_name = "FILE")]
    authentication_kubeconfig: Option<PathBuf>,
    /// Do not learn the cluster's authorities
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    authentication_skip_lookup: bool,
    /// How long it is remembered who bears a token
    #[arg(long, default_value = "10s", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Duration,
    /// Authorities of front proxies' certificates, PEM; those of the cluster if not given
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Names of front proxies; any that an authority has signed if not given
    #[arg(long, value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers in which a front proxy says who asks
    #[arg(long, value_delimiter = ',', default_value = "x-remote-user")]
    requestheader_username_headers: Vec<String>,
    /// Headers in which it says whose uid that is
    #[arg(long, value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,
    /// Headers in which it says their groups
    #[arg(long, value_delimiter = ',', default_value = "x-remote-group")]
    requestheader_group_headers: Vec<String>,
    /// What headers begin with in which it says what else is known of them
    #[arg(long, value_delimiter = ',', default_value = "x-remote-extra-")]
    requestheader_extra_headers_prefix: Vec<String>,
    /// Kubeconfig for asking the API server what somebody may do
    #[arg(long, value_name = "FILE")]
    authorization_kubeconfig: Option<PathBuf>,
    /// How long permissions are remembered
    #[arg(long, default_value = "10s", value_parser = duration)]
    authorization_webhook_cache_authorized_ttl: Duration,
    /// How long refusals are remembered
    #[arg(long, default_value = "10s", value_parser = duration)]
    authorization_webhook_cache_unauthorized_ttl: Duration,
    /// Paths that everybody may see
    #[arg(long, value_delimiter = ',', default_value = "/healthz,/readyz,/livez")]
    authorization_always_allow_paths: Vec<String>,
}

impl SecureServingFlags {
    /// Listens, unless told not to, on `default_port` if none is given.
    pub(crate) async fn listen(
        &self,
        component: &str,
        default_port: u16,
        tasks: &TaskGroup,
        clock: &Clock,
    ) -> anyhow::Result<Option<(Listener, Guard)>> {
        let port = self.secure_port.unwrap_or(default_port);
        if port == 0 {
            return Ok(None);
        }
        let mut reloader = Reloader::new();
        let files = (&self.tls_cert_file, &self.tls_private_key_file);
        let certificate = match files {
            (Some(certificate), Some(key)) => {
                serving_certificate::follow(certificate, key, &mut reloader)?
            }
            _ => {
                let mut addresses = vec![Ipv4Addr::LOCALHOST.into()];
                if !self.bind_address.is_unspecified() && !self.bind_address.is_loopback() {
                    addresses.push(self.bind_address);
                }
                let names = vec!["localhost".to_owned()];
                let made = serving_certificate::own(
                    self.cert_dir.as_deref(),
                    component,
                    names,
                    addresses,
                    clock,
                );
                Arc::new(made?)
            }
        };
        let address = SocketAddr::new(self.bind_address, port);
        let listener = Listener::tls(address, &certificate, self.tls_min_version)
            .await
            .with_context(|| format!("failed to create {component}'s listener"))?;
        let guard = self.guard(component, &mut reloader, tasks, clock)?;
        reloader.start(clock.clone(), tasks);
        Ok(Some((listener, guard)))
    }

    fn guard(
        &self,
        component: &str,
        reloader: &mut Reloader,
        tasks: &TaskGroup,
        clock: &Clock,
    ) -> anyhow::Result<Guard> {
        let reviewer = optional_client(self.authentication_kubeconfig.clone(), component)
            .context("failed to get delegated authentication kubeconfig")?;
        let authentication = Arc::new(Authentication::new(
            reviewer.clone(),
            true,
            self.authentication_token_webhook_cache_ttl,
            clock.clone(),
        ));
        if let Some(file) = &self.client_ca_file {
            let (file, known) = (file.clone(), Arc::clone(&authentication));
            apply_and_follow(file, reloader, move |bundle| known.trust(bundle))?;
        }
        if let Some(file) = &self.requestheader_client_ca_file {
            let (file, known) = (file.clone(), Arc::clone(&authentication));
            let (names, headers) = (self.requestheader_allowed_names.clone(), self.headers());
            apply_and_follow(file, reloader, move |bundle| {
                let front_proxy = FrontProxy::new(bundle, names.clone(), headers.clone())?;
                known.trust_front_proxy(front_proxy);
                Ok(())
            })?;
        }
        let missing = Missing {
            client_authorities: self.client_ca_file.is_none(),
            front_proxy: self.requestheader_client_ca_file.is_none(),
        };
        self.learn(missing, reviewer, &authentication, tasks);
        let asks = optional_client(self.authorization_kubeconfig.clone(), component)
            .context("failed to get delegated authorization kubeconfig")?;
        if asks.is_none() {
            tracing::warn!(
                "No authorization-kubeconfig provided, so SubjectAccessReview of authorization tokens won't work."
            );
        }
        Ok(Guard {
            authentication,
            authorization: asks.map(|client| {
                Authorization::new(
                    client,
                    self.authorization_webhook_cache_authorized_ttl,
                    self.authorization_webhook_cache_unauthorized_ttl,
                    clock.clone(),
                )
            }),
            always_allowed: PathPatterns::new(&self.authorization_always_allow_paths)?,
        })
    }

    fn headers(&self) -> FrontProxyHeaders {
        FrontProxyHeaders {
            username: self.requestheader_username_headers.clone(),
            uid: self.requestheader_uid_headers.clone(),
            group: self.requestheader_group_headers.clone(),
            extra_prefixes: self.requestheader_extra_headers_prefix.clone(),
        }
    }

    /// Learns from the cluster what no flag says.
    fn learn(
        &self,
        missing: Missing,
        reviewer: Option<Client>,
        authentication: &Arc<Authentication>,
        tasks: &TaskGroup,
    ) {
        if self.authentication_skip_lookup || !(missing.client_authorities || missing.front_proxy) {
            return;
        }
        let Some(client) = reviewer else {
            tracing::warn!(
                "No authentication-kubeconfig provided in order to lookup missing authorities in \
                 configmap/extension-apiserver-authentication in kube-system, so client certificate authentication won't work."
            );
            return;
        };
        let informers = InformerFactory::new(client, tasks.clone());
        tasks.spawn_cancellable(
            "cluster-authentication",
            follow_cluster_authentication(Arc::clone(authentication), missing, informers),
        );
    }
}

/// A client by a kubeconfig, or as the pod that this is; nothing if it is neither.
fn optional_client(kubeconfig: Option<PathBuf>, component: &str) -> anyhow::Result<Option<Client>> {
    let given = kubeconfig.is_some();
    match Config::from_kubeconfig_or_in_cluster(kubeconfig) {
        Ok(config) => Ok(Some(Client::from_config(config, component)?)),
        Err(ConfigError::NotInCluster) if !given => Ok(None),
        Err(error) if !given => {
            tracing::warn!(%error, "not running as a pod");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Applies what a file holds, now and whenever it changes.
fn apply_and_follow(
    file: PathBuf,
    reloader: &mut Reloader,
    apply: impl Fn(&[u8]) -> Result<(), base::tls::TlsError> + Send + 'static,
) -> anyhow::Result<()> {
    let bundle = base::tls::read(&file)?;
    apply(&bundle).with_context(|| format!("unable to load {}", file.display()))?;
    let watched = file.clone();
    reloader.watch([watched.as_path()], move || {
        let again = base::tls::read(&file).and_then(|bundle| apply(&bundle));
        again.map_err(|error| error.to_string())
    });
    Ok(())
}
