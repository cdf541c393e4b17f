//! What a server is told, in upstream's terms. Flags are the binary's business; here they are values.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base::tls::{ServingCertificate, TlsVersion};

use crate::{
    audit,
    authn::{RequestHeaderConfig, jwt::OidcFlags, webhook::ReviewVersion},
    authz::Mode,
    lifecycle,
    proxy::KubeletClientConfig,
};

/// A server's settings; each names upstream's flag.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--bind-address`
    pub bind_address: IpAddr,
    /// `--secure-port`; 0 takes any that is free.
    pub secure_port: u16,
    /// `--advertise-address`: where clients outside reach this server; the bound address if not given.
    pub advertise_address: Option<IpAddr>,
    /// `--tls-cert-file` and `--tls-private-key-file`, read.
    pub serving_certificate: Arc<ServingCertificate>,
    /// The files it was read from, if it is to be read again when they change.
    pub serving_certificate_files: Option<(PathBuf, PathBuf)>,
    /// `--tls-min-version`
    pub tls_min_version: TlsVersion,
    /// `--client-ca-file`; read again when it changes.
    pub client_ca_file: Option<PathBuf>,
    /// `--requestheader-client-ca-file`, likewise: who may say for whom it asks.
    pub request_header_client_ca_file: Option<PathBuf>,
    /// `--requestheader-allowed-names`, `--requestheader-username-headers` and so on.
    pub request_header: RequestHeaderConfig,
    /// `--token-auth-file`
    pub token_auth_file: Option<PathBuf>,
    /// `--anonymous-auth`
    pub anonymous_auth: bool,
    /// `--enable-bootstrap-token-auth`
    pub enable_bootstrap_token_auth: bool,
    /// `--authentication-config`: in place of the `--oidc-*` flags; read again when it changes.
    pub authentication_config_file: Option<PathBuf>,
    /// The `--oidc-*` flags, if there is an issuer.
    pub oidc: Option<OidcFlags>,
    /// `--authentication-token-webhook-config-file` and its siblings.
    pub token_webhook: Option<TokenWebhookConfig>,
    /// `--authorization-mode`
    pub authorization_modes: Vec<Mode>,
    /// `--authorization-webhook-config-file` and its siblings, for mode `Webhook`.
    pub authorization_webhook: AuthorizationWebhookConfig,
    /// `--authorization-config`: in place of the modes; read again when it changes.
    pub authorization_config_file: Option<PathBuf>,
    /// `--enable-admission-plugins`
    pub enable_admission_plugins: Vec<String>,
    /// `--disable-admission-plugins`
    pub disable_admission_plugins: Vec<String>,
    /// `--admission-control-config-file`
    pub admission_control_config_file: Option<PathBuf>,
    /// `--service-cluster-ip-range`: one range, or one of each family.
    pub service_cluster_ip_ranges: Vec<String>,
    /// `--service-node-port-range`: first and last.
    pub service_node_port_range: (u16, u16),
    /// `--service-account-issuer`; the first issues, all are accepted.
    pub service_account_issuers: Vec<String>,
    /// `--service-account-key-file`: public keys (or private ones, whose public half is taken).
    pub service_account_key_files: Vec<PathBuf>,
    /// `--service-account-signing-key-file`
    pub service_account_signing_key_file: Option<PathBuf>,
    /// `--service-account-jwks-uri`
    pub service_account_jwks_uri: Option<String>,
    /// `--service-account-max-token-expiration`
    pub service_account_max_token_expiration: Option<Duration>,
    /// `--service-account-extend-token-expiration`
    pub service_account_extend_token_expiration: bool,
    /// `--api-audiences`; the issuers if empty.
    pub api_audiences: Vec<String>,
    /// `--allow-privileged`
    pub allow_privileged: bool,
    /// `--etcd-compaction-interval`; zero leaves compaction to others.
    pub etcd_compaction_interval: Duration,
    /// `--event-ttl`
    pub event_ttl: Duration,
    /// `--request-timeout`
    pub request_timeout: Duration,
    /// `--min-request-timeout`: watches that do not say how long they want to live live so long, up to twice that.
    pub min_request_timeout: Duration,
    /// `--shutdown-delay-duration` and its kin.
    pub shutdown: lifecycle::Settings,
    /// `--goaway-chance`: how likely an HTTP/2 connection is asked to come again elsewhere, with each request.
    pub goaway_chance: f64,
    /// `--audit-policy-file`, `--audit-log-…`, `--audit-webhook-…`
    pub audit: audit::Config,
    /// The flags that were given, by name, for `/flagz`.
    pub flags: Vec<(String, String)>,
    /// `--tracing-config-file`
    pub tracing_config_file: Option<PathBuf>,
    /// `--encryption-provider-config`
    pub encryption_provider_config: Option<PathBuf>,
    /// `--encryption-provider-config-automatic-reload`
    pub encryption_provider_config_automatic_reload: bool,
    /// `--kubelet-client-certificate`, `--kubelet-certificate-authority` and so on.
    pub kubelet: KubeletClientConfig,
    /// `--proxy-client-cert-file` and `--proxy-client-key-file`: how the server makes itself known to aggregated servers.
    pub proxy_client_certificate: Option<(PathBuf, PathBuf)>,
    /// `--enable-priority-and-fairness`
    pub enable_priority_and_fairness: bool,
    /// `--max-requests-inflight`
    pub max_requests_in_flight: usize,
    /// `--max-mutating-requests-inflight`
    pub max_mutating_requests_in_flight: usize,
}

impl Config {
    /// Upstream's defaults, with this certificate.
    pub fn new(serving_certificate: Arc<ServingCertificate>) -> Self {
        Self {
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            secure_port: 6443,
            advertise_address: None,
            serving_certificate,
            serving_certificate_files: None,
            tls_min_version: TlsVersion::default(),
            client_ca_file: None,
            request_header_client_ca_file: None,
            request_header: RequestHeaderConfig::default(),
            token_auth_file: None,
            anonymous_auth: true,
            enable_bootstrap_token_auth: false,
            authentication_config_file: None,
            oidc: None,
            token_webhook: None,
            authorization_modes: vec![Mode::AlwaysAllow],
            authorization_webhook: AuthorizationWebhookConfig::default(),
            authorization_config_file: None,
            enable_admission_plugins: Vec::new(),
            disable_admission_plugins: Vec::new(),
            admission_control_config_file: None,
            service_cluster_ip_ranges: vec!["10.0.0.0/24".to_owned()],
            service_node_port_range: (30000, 32767),
            service_account_issuers: Vec::new(),
            service_account_key_files: Vec::new(),
            service_account_signing_key_file: None,
            service_account_jwks_uri: None,
            service_account_max_token_expiration: None,
            service_account_extend_token_expiration: true,
            api_audiences: Vec::new(),
            allow_privileged: false,
            etcd_compaction_interval: Duration::from_secs(300),
            event_ttl: Duration::from_secs(3600),
            request_timeout: Duration::from_secs(60),
            min_request_timeout: Duration::from_secs(1800),
            shutdown: lifecycle::Settings::default(),
            goaway_chance: 0.0,
            audit: audit::Config::default(),
            flags: Vec::new(),
            tracing_config_file: None,
            encryption_provider_config: None,
            encryption_provider_config_automatic_reload: false,
            kubelet: KubeletClientConfig::default(),
            proxy_client_certificate: None,
            enable_priority_and_fairness: true,
            max_requests_in_flight: 400,
            max_mutating_requests_in_flight: 200,
        }
    }
}

/// A webhook that judges bearer tokens.
#[derive(Clone, Debug)]
pub struct TokenWebhookConfig {
    /// `--authentication-token-webhook-config-file`, in kubeconfig form.
    pub file: PathBuf,
    /// `--authentication-token-webhook-version`
    pub version: ReviewVersion,
    /// `--authentication-token-webhook-cache-ttl`
    pub cache_ttl: Duration,
}

/// A webhook that authorizes.
#[derive(Clone, Debug)]
pub struct AuthorizationWebhookConfig {
    /// `--authorization-webhook-config-file`, in kubeconfig form.
    pub file: Option<PathBuf>,
    /// `--authorization-webhook-version`
    pub version: ReviewVersion,
    /// `--authorization-webhook-cache-authorized-ttl`
    pub cache_authorized_ttl: Duration,
    /// `--authorization-webhook-cache-unauthorized-ttl`
    pub cache_unauthorized_ttl: Duration,
}

impl Default for AuthorizationWebhookConfig {
    fn default() -> Self {
        Self {
            file: None,
            version: ReviewVersion::default(),
            cache_authorized_ttl: Duration::from_secs(300),
            cache_unauthorized_ttl: Duration::from_secs(30),
        }
    }
}
