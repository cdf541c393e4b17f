//! The flags about service accounts' tokens: who issues them, what signs them, how long they last.

use std::{path::PathBuf, time::Duration};

use bootstrap::Pki;
use clap::{ArgAction, Args};

use crate::components::flags::duration;

/// Upstream's names and defaults; keys of our own where none are given.
#[derive(Debug, Args)]
pub(super) struct ServiceAccountFlags {
    /// Issuers of service account tokens; the first issues
    #[arg(long)]
    service_account_issuer: Vec<String>,
    /// Keys that service account tokens may be signed with, PEM
    #[arg(long)]
    service_account_key_file: Vec<PathBuf>,
    /// The key that signs service account tokens, PEM
    #[arg(long)]
    service_account_signing_key_file: Option<PathBuf>,
    /// Where others find the keys, if not at this server
    #[arg(long, value_name = "URL")]
    service_account_jwks_uri: Option<String>,
    /// The longest life of a token that is asked for; 0s for any
    #[arg(long, default_value = "0s", value_parser = duration)]
    service_account_max_token_expiration: Duration,
    /// Let tokens that pods get live on for a year where their clients do not read them again
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    service_account_extend_token_expiration: bool,
}

impl ServiceAccountFlags {
    /// Writes them into the configuration.
    pub(super) fn apply(&self, config: &mut apiserver::Config, own: &Pki) {
        let signing_key = self.service_account_signing_key_file.clone();
        let signing_key = signing_key.unwrap_or_else(|| own.path("sa.key"));
        config.service_account_key_files = match self.service_account_key_file.as_slice() {
            [] => vec![signing_key.clone()],
            given => given.to_vec(),
        };
        config.service_account_signing_key_file = Some(signing_key);
        config.service_account_issuers = match self.service_account_issuer.as_slice() {
            [] => vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
            given => given.to_vec(),
        };
        config
            .service_account_jwks_uri
            .clone_from(&self.service_account_jwks_uri);
        let longest = self.service_account_max_token_expiration;
        config.service_account_max_token_expiration = (!longest.is_zero()).then_some(longest);
        config.service_account_extend_token_expiration =
            self.service_account_extend_token_expiration;
    }
}
