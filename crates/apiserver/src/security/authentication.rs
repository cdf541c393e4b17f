//! Tokens that others issue or judge, and who may come without any: from flags, or from an `AuthenticationConfiguration`.

use std::{path::Path, sync::Arc};

use base::Reloader;

use super::Building;
use crate::{
    authn::{
        Anonymous, JwtAuthenticators, TokenAuthenticator, jwt::AuthenticationConfiguration,
        webhook::TokenWebhook,
    },
    server::Error,
    webhook_client::kubeconfig,
};

/// What is tried after the server's own tokens.
pub(super) struct OtherTokens {
    pub(super) authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    pub(super) anonymous: Option<Anonymous>,
}

impl Building<'_> {
    pub(super) fn other_tokens(
        &self,
        audiences: &[String],
        reloader: &mut Reloader,
    ) -> Result<OtherTokens, Error> {
        let own_issuers = &self.config.service_account_issuers;
        let mut configuration = AuthenticationConfiguration::default();
        let file = self.config.authentication_config_file.as_deref();
        if let Some(path) = file {
            configuration =
                read_configuration(path, own_issuers).map_err(|why| Error::file(path, why))?;
        } else if let Some(oidc) = &self.config.oidc {
            configuration.jwt.push(oidc.to_issuer());
            refuse_invalid(&configuration, own_issuers).map_err(Error::Flags)?;
        }

        let mut authenticators: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
        if file.is_some() || !configuration.jwt.is_empty() {
            let issuers = JwtAuthenticators::new(
                &configuration.jwt,
                self.webhooks.clone(),
                self.deps.clock.clone(),
            );
            let issuers = Arc::new(issuers.map_err(Error::Flags)?);
            if let Some(path) = file {
                watch(path, own_issuers, &issuers, reloader);
            }
            authenticators.push(issuers);
        }
        if let Some(webhook) = &self.config.token_webhook {
            let client = kubeconfig::read(&webhook.file)
                .map_err(|error| error.to_string())
                .and_then(|to| self.webhooks.client(&to).map_err(|error| error.to_string()))
                .map_err(|why| Error::file(&webhook.file, why))?;
            authenticators.push(Arc::new(TokenWebhook::new(
                client,
                webhook.version,
                audiences.to_vec(),
                webhook.cache_ttl,
                self.deps.clock.clone(),
            )));
        }

        let anonymous = match configuration.anonymous {
            Some(anonymous) => anonymous.enabled.then(|| Anonymous {
                paths: anonymous.conditions.into_iter().map(|c| c.path).collect(),
            }),
            None => self.config.anonymous_auth.then(Anonymous::default),
        };
        Ok(OtherTokens {
            authenticators,
            anonymous,
        })
    }
}

/// Issuers follow the file; who may be anonymous is settled at the start, as upstream.
fn watch(
    path: &Path,
    own_issuers: &[String],
    issuers: &Arc<JwtAuthenticators>,
    reloader: &mut Reloader,
) {
    let (file, own_issuers) = (path.to_owned(), own_issuers.to_vec());
    let issuers = Arc::clone(issuers);
    reloader.watch([path], move || {
        issuers.replace(&read_configuration(&file, &own_issuers)?.jwt)
    });
}

fn read_configuration(
    path: &Path,
    own_issuers: &[String],
) -> Result<AuthenticationConfiguration, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let configuration = AuthenticationConfiguration::parse(&text)?;
    refuse_invalid(&configuration, own_issuers)?;
    Ok(configuration)
}

fn refuse_invalid(
    configuration: &AuthenticationConfiguration,
    own_issuers: &[String],
) -> Result<(), String> {
    super::aggregate(&configuration.validate(own_issuers))
}
