//! The flags of `ironclad kube-apiserver` that say how requests are authenticated, and who besides the modes authorizes them.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use apiserver::{
    authn::{jwt::OidcFlags, webhook::ReviewVersion},
    config::{AuthorizationWebhookConfig, TokenWebhookConfig},
};
use clap::Args;

use crate::components::flags::duration;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct AuthenticationFlags {
    /// Authorities of front proxies' certificates, PEM
    #[arg(long)]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies; any that the authority has signed if not given
    #[arg(long, value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers in which front proxies name the user
    #[arg(long, value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,
    /// Headers in which front proxies name the user's uid
    #[arg(long, value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,
    /// Headers in which front proxies name the user's groups
    #[arg(long, value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,
    /// Prefixes of headers in which front proxies say more of the user
    #[arg(long, value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,
    /// Issuers of tokens and rules for their claims: an AuthenticationConfiguration, in place of the --oidc flags
    #[arg(long, conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,
    /// Issuer of OpenID Connect tokens, https
    #[arg(long, requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// For whom its tokens must be
    #[arg(long, requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// Authorities of its certificate, PEM; the system's if not given
    #[arg(long)]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name
    #[arg(long, default_value = "sub")]
    oidc_username_claim: String,
    /// Put before it; `-` is nothing. If not given: the issuer and #, but nothing before an email address
    #[arg(long)]
    oidc_username_prefix: Option<String>,
    /// The claim that holds the user's groups
    #[arg(long, default_value = "")]
    oidc_groups_claim: String,
    /// Put before each group
    #[arg(long, default_value = "")]
    oidc_groups_prefix: String,
    /// Algorithms that tokens may be signed by
    #[arg(long, value_delimiter = ',', default_value = "RS256")]
    oidc_signing_algs: Vec<String>,
    /// Claims that tokens must have, `key=value`
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    oidc_required_claim: Vec<(String, String)>,
    /// A webhook that judges bearer tokens, in kubeconfig form
    #[arg(long)]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of the TokenReview it speaks
    #[arg(long, default_value = "v1beta1")]
    authentication_token_webhook_version: ReviewVersion,
    /// How long its answers are remembered
    #[arg(long, default_value = "2m", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Duration,
    /// Authorizers and their settings: an AuthorizationConfiguration, in place of --authorization-mode
    #[arg(long, conflicts_with = "authorization_webhook_config_file")]
    authorization_config: Option<PathBuf>,
    /// A webhook that authorizes (mode Webhook), in kubeconfig form
    #[arg(long)]
    authorization_webhook_config_file: Option<PathBuf>,
    /// Version of the SubjectAccessReview it speaks
    #[arg(long, default_value = "v1beta1")]
    authorization_webhook_version: ReviewVersion,
    /// How long its yes is remembered
    #[arg(long, default_value = "5m", value_parser = duration)]
    authorization_webhook_cache_authorized_ttl: Duration,
    /// How long its no is remembered
    #[arg(long, default_value = "30s", value_parser = duration)]
    authorization_webhook_cache_unauthorized_ttl: Duration,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (key, value) = pair.ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

impl AuthenticationFlags {
    /// Writes them where the server reads them.
    pub(super) fn apply(&self, config: &mut apiserver::Config) -> anyhow::Result<()> {
        self.apply_front_proxies(config);
        config
            .authentication_config_file
            .clone_from(&self.authentication_config);
        config.oidc = self.oidc()?;
        let token_webhook = self.authentication_token_webhook_config_file.as_ref();
        config.token_webhook = token_webhook.map(|file| TokenWebhookConfig {
            file: file.clone(),
            version: self.authentication_token_webhook_version,
            cache_ttl: self.authentication_token_webhook_cache_ttl,
        });
        config
            .authorization_config_file
            .clone_from(&self.authorization_config);
        config.authorization_webhook = AuthorizationWebhookConfig {
            file: self.authorization_webhook_config_file.clone(),
            version: self.authorization_webhook_version,
            cache_authorized_ttl: self.authorization_webhook_cache_authorized_ttl,
            cache_unauthorized_ttl: self.authorization_webhook_cache_unauthorized_ttl,
        };
        Ok(())
    }

    fn oidc(&self) -> anyhow::Result<Option<OidcFlags>> {
        let Some((issuer, client)) = self
            .oidc_issuer_url
            .clone()
            .zip(self.oidc_client_id.clone())
        else {
            return Ok(None);
        };
        let certificate_authority = match &self.oidc_ca_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("reading {}", file.display()))?,
            None => String::new(),
        };
        Ok(Some(OidcFlags {
            issuer_url: issuer,
            client_id: client,
            certificate_authority,
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            signing_algorithms: self.oidc_signing_algs.clone(),
            required_claims: self.oidc_required_claim.clone(),
        }))
    }

    fn apply_front_proxies(&self, config: &mut apiserver::Config) {
        config
            .request_header_client_ca_file
            .clone_from(&self.requestheader_client_ca_file);
        config.request_header = apiserver::authn::RequestHeaderConfig {
            allowed_names: self.requestheader_allowed_names.clone(),
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_header_prefixes: self.requestheader_extra_headers_prefix.clone(),
        };
    }
}
