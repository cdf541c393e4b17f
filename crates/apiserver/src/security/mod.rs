//! What the configuration makes of authentication, authorization and admission, and the resources that ask them.

mod authentication;
mod authorization;

use std::{path::Path, sync::Arc};

use apimachinery::field::ErrorList;
use base::{Reloader, metrics::Registry as MetricsRegistry};

use crate::{
    admission::{self, AdmissionConfiguration, AdmissionMetrics, Chain, PluginError},
    authn::{
        self, Authenticator, BearerTokens, BootstrapTokens, ChainVerifier, ClientCertificates,
        RequestHeaders, SelfSubjectReview, ServiceAccountMetrics, ServiceAccountTokens,
        TokenAuthenticator, TokenFile, TokenReview, VerifiedTokens,
    },
    authz::{
        Authorizer,
        rbac::RuleResolver,
        reviews::{AccessReview, Scope as ReviewScope, SelfSubjectRulesReview},
    },
    config::Config,
    metrics::Metrics,
    reader::ObjectReader,
    registry::{Registry, ServerWriter},
    server::{Dependencies, Error, read},
    tokens::{self, Issuer, OpenIdDiscovery, TokenRequest},
    webhook_client::WebhookClients,
};

/// The gates of a server.
pub(crate) struct Security {
    reader: Arc<dyn ObjectReader>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    resolver: Arc<RuleResolver>,
    tokens: Arc<dyn TokenAuthenticator>,
    service_accounts: Option<Arc<ServiceAccountTokens>>,
    issuer: Option<Arc<Issuer>>,
    audiences: Vec<String>,
    pub(crate) openid: Option<OpenIdDiscovery>,
    /// What of it is read again when its files change.
    pub(crate) reloader: Reloader,
}

/// What the gates are made of.
struct Building<'a> {
    config: &'a Config,
    deps: &'a Dependencies,
    webhooks: &'a WebhookClients,
    metrics: &'a MetricsRegistry,
}

impl Security {
    pub(crate) fn new(
        config: &Config,
        deps: &Dependencies,
        registry: &Arc<Registry>,
        webhooks: &WebhookClients,
        metrics: &MetricsRegistry,
    ) -> Result<Self, Error> {
        let reader: Arc<dyn ObjectReader> = Arc::clone(registry) as Arc<dyn ObjectReader>;
        let audiences = match config.api_audiences.as_slice() {
            [] => config.service_account_issuers.clone(),
            audiences => audiences.to_vec(),
        };
        let mut keys = Vec::new();
        for path in &config.service_account_key_files {
            keys.extend(tokens::public_keys(&read(path)?)?);
        }
        let signing_key = match &config.service_account_signing_key_file {
            Some(path) => Some(tokens::private_key(&read(path)?)?),
            None => None,
        };
        if keys.is_empty()
            && let Some(key) = &signing_key
        {
            keys.push(key.public().clone());
        }
        let openid = config.service_account_issuers.first().map(|issuer| {
            let default_uri = format!("{issuer}{}", tokens::openid::JWKS_PATH);
            let uri = config
                .service_account_jwks_uri
                .clone()
                .unwrap_or(default_uri);
            OpenIdDiscovery::new(issuer, &uri, &keys)
        });
        let service_accounts = (!keys.is_empty()).then(|| {
            Arc::new(ServiceAccountTokens {
                issuers: config.service_account_issuers.clone(),
                keys,
                audiences: audiences.clone(),
                reader: Arc::clone(&reader),
                writer: Some(Arc::new(ServerWriter(Arc::clone(registry)))),
                clock: deps.clock.clone(),
                metrics: ServiceAccountMetrics::new(metrics),
                verified: VerifiedTokens::default(),
            })
        });
        let issuer =
            signing_key
                .zip(config.service_account_issuers.first())
                .map(|(key, issuer)| {
                    Arc::new(Issuer {
                        issuer: issuer.clone(),
                        key,
                        clock: deps.clock.clone(),
                    })
                });

        let mut bearers: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
        if let Some(path) = &config.token_auth_file {
            bearers.push(Arc::new(TokenFile::read(path)?));
        }
        if let Some(accounts) = &service_accounts {
            bearers.push(Arc::clone(accounts) as Arc<dyn TokenAuthenticator>);
        }
        if config.enable_bootstrap_token_auth {
            bearers.push(Arc::new(BootstrapTokens {
                reader: Arc::clone(&reader),
                clock: deps.clock.clone(),
            }));
        }
        let mut reloader = Reloader::new();
        let building = Building {
            config,
            deps,
            webhooks,
            metrics,
        };
        let others = building.other_tokens(&audiences, &mut reloader)?;
        bearers.extend(others.authenticators);
        let bearer_tokens = Arc::new(BearerTokens::new(bearers));
        let mut authenticators: Vec<Arc<dyn Authenticator>> = Vec::new();
        if let Some(path) = &config.request_header_client_ca_file {
            let verifier = chain_verifier(path, deps, &mut reloader)?;
            authenticators.push(Arc::new(RequestHeaders::new(
                config.request_header.clone(),
                verifier,
            )));
        }
        if let Some(path) = &config.client_ca_file {
            let verifier = chain_verifier(path, deps, &mut reloader)?;
            authenticators.push(Arc::new(ClientCertificates::new(verifier, metrics)));
        }
        authenticators.push(Arc::clone(&bearer_tokens) as Arc<dyn Authenticator>);
        let anonymous = others
            .anonymous
            .map(|anonymous| Arc::new(anonymous) as Arc<dyn Authenticator>);

        let resolver = Arc::new(RuleResolver::new(&reader));
        let authorizer = building.authorizer(&reader, &resolver, &mut reloader)?;
        Ok(Self {
            reader,
            authenticator: Arc::new(authn::Union::new(authenticators, anonymous)),
            authorizer,
            resolver,
            tokens: bearer_tokens,
            service_accounts,
            issuer,
            audiences,
            openid,
            reloader,
        })
    }

    /// Gives the registry what reads through it.
    pub(crate) fn plug_in(
        &self,
        config: &Config,
        deps: &Dependencies,
        registry: &Arc<Registry>,
        webhooks: &WebhookClients,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        let dependencies = admission::Dependencies {
            resources: Arc::clone(registry) as Arc<dyn admission::Resources>,
            webhooks: webhooks.clone(),
            writer: Arc::new(ServerWriter(Arc::clone(registry))),
            reader: Arc::clone(&self.reader),
            authorizer: Arc::clone(&self.authorizer),
            rules: Arc::clone(&self.resolver),
            clock: deps.clock.clone(),
            metrics: AdmissionMetrics::new(metrics.registry()),
        };
        let configuration = match &config.admission_control_config_file {
            Some(path) => AdmissionConfiguration::read(path).map_err(PluginError::from)?,
            None => AdmissionConfiguration::default(),
        };
        let plugins = admission::plugins(
            &config.enable_admission_plugins,
            &config.disable_admission_plugins,
            &configuration,
            &dependencies,
        )?;
        registry.set_admission(Chain::new(plugins, &dependencies.metrics));

        registry.add_virtual_resource(Arc::new(TokenReview {
            tokens: Arc::clone(&self.tokens),
            service_accounts: self.service_accounts.clone(),
            audiences: self.audiences.clone(),
        }));
        registry.add_virtual_resource(Arc::new(SelfSubjectReview {
            clock: deps.clock.clone(),
        }));
        for scope in [
            ReviewScope::Subject,
            ReviewScope::SelfSubject,
            ReviewScope::LocalSubject,
        ] {
            let authorizer = Arc::clone(&self.authorizer);
            registry.add_virtual_resource(Arc::new(AccessReview { scope, authorizer }));
        }
        registry.add_virtual_resource(Arc::new(SelfSubjectRulesReview {
            authorizer: Arc::clone(&self.authorizer) as _,
        }));
        if let Some(issuer) = &self.issuer {
            registry.add_virtual_resource(Arc::new(TokenRequest {
                issuer: Arc::clone(issuer),
                audiences: self.audiences.clone(),
                max_seconds: config
                    .service_account_max_token_expiration
                    .and_then(|max| i64::try_from(max.as_secs()).ok()),
                extend_expiration: config.service_account_extend_token_expiration,
                reader: Arc::clone(&self.reader),
            }));
        }
        Ok(())
    }
}

/// Trusts the authorities in a file, as it is at any time.
fn chain_verifier(
    path: &Path,
    deps: &Dependencies,
    reloader: &mut Reloader,
) -> Result<Arc<ChainVerifier>, Error> {
    let verifier = ChainVerifier::new(&read(path)?, deps.clock.clone()).map_err(Error::ClientCa)?;
    let verifier = Arc::new(verifier);
    let (path, exchanged) = (path.to_owned(), Arc::clone(&verifier));
    reloader.watch([path.clone().as_path()], move || {
        let bundle = std::fs::read(&path).map_err(|error| error.to_string())?;
        exchanged
            .replace(&bundle)
            .map_err(|error| error.to_string())
    });
    Ok(verifier)
}

/// All complaints as one.
fn aggregate(errors: &ErrorList) -> Result<(), String> {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}
