//! The authorizers: of `--authorization-mode`, or of an `AuthorizationConfiguration`, which is read again when it changes.

use std::{path::Path, sync::Arc, time::Duration};

use base::{Clock, Reloader};

use super::Building;
use crate::{
    authn::webhook::ReviewVersion,
    authz::{
        Authorizer, Decision, DecisionMetrics, MatchConditions, Mode, Union, Webhook,
        WebhookSettings,
        configuration::{
            AuthorizationConfiguration, AuthorizerConfig, WebhookConfig, parse_duration,
        },
        of_mode,
        rbac::RuleResolver,
    },
    reader::ObjectReader,
    server::Error,
    webhook_client::{WebhookClients, kubeconfig},
};

const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
/// A call of a webhook that flags describe.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What authorizers are made of, also after the start.
#[derive(Clone)]
struct Maker {
    reader: Arc<dyn ObjectReader>,
    resolver: Arc<RuleResolver>,
    webhooks: WebhookClients,
    clock: Clock,
    decisions: DecisionMetrics,
}

impl Building<'_> {
    pub(super) fn authorizer(
        &self,
        reader: &Arc<dyn ObjectReader>,
        resolver: &Arc<RuleResolver>,
        reloader: &mut Reloader,
    ) -> Result<Arc<dyn Authorizer>, Error> {
        let maker = Maker {
            reader: Arc::clone(reader),
            resolver: Arc::clone(resolver),
            webhooks: self.webhooks.clone(),
            clock: self.deps.clock.clone(),
            decisions: DecisionMetrics::new(self.metrics),
        };
        let Some(path) = &self.config.authorization_config_file else {
            let modes = self.config.authorization_modes.iter();
            let authorizers = modes
                .map(|mode| self.of_mode(&maker, *mode))
                .collect::<Result<_, _>>()?;
            return Ok(Arc::new(Union::new(authorizers)));
        };
        let authorizers = maker
            .configured(path)
            .map_err(|why| Error::file(path, why))?;
        let union = Arc::new(Union::new(authorizers));
        let (file, exchanged) = (path.clone(), Arc::clone(&union));
        reloader.watch([path.as_path()], move || {
            exchanged.replace(maker.configured(&file)?);
            Ok(())
        });
        Ok(union)
    }

    fn of_mode(&self, maker: &Maker, mode: Mode) -> Result<Arc<dyn Authorizer>, Error> {
        if let Some(authorizer) = of_mode(mode, &maker.reader, &maker.resolver) {
            let (sort, name) = (mode.as_str(), mode.default_name());
            return Ok(maker.decisions.counted(sort, name, authorizer));
        }
        let flags = &self.config.authorization_webhook;
        let Some(file) = &flags.file else {
            let why = "authorization-mode Webhook's authorization config file not passed";
            return Err(Error::Flags(why.to_owned()));
        };
        let settings = WebhookSettings {
            name: "default".to_owned(),
            version: flags.version,
            authorized_ttl: flags.cache_authorized_ttl,
            unauthorized_ttl: flags.cache_unauthorized_ttl,
            timeout: TIMEOUT,
            on_failure: Decision::NoOpinion,
        };
        maker
            .webhook(file, settings, None)
            .map_err(|why| Error::file(file, why))
    }
}

impl Maker {
    fn configured(&self, path: &Path) -> Result<Vec<Arc<dyn Authorizer>>, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let configuration = AuthorizationConfiguration::parse(&text)?;
        super::aggregate(&configuration.validate())?;
        let authorizers = configuration.authorizers.iter();
        authorizers.map(|one| self.of_config(one)).collect()
    }

    fn of_config(&self, config: &AuthorizerConfig) -> Result<Arc<dyn Authorizer>, String> {
        if let Some(webhook) = &config.webhook {
            return self.of_webhook_config(&config.name, webhook);
        }
        let mode: Mode = config.sort.parse()?;
        let authorizer = of_mode(mode, &self.reader, &self.resolver)
            .ok_or_else(|| "a webhook without its settings".to_owned())?;
        let (sort, name) = (mode.as_str(), &config.name);
        Ok(self.decisions.counted(sort, name, authorizer))
    }

    fn of_webhook_config(
        &self,
        name: &str,
        config: &WebhookConfig,
    ) -> Result<Arc<dyn Authorizer>, String> {
        let ttl = |text: &Option<String>, default, on: Option<bool>| match text {
            _ if on == Some(false) => Duration::ZERO,
            // None and nothing are the default, as upstream.
            text => text
                .as_deref()
                .and_then(parse_duration)
                .filter(|ttl| !ttl.is_zero())
                .unwrap_or(default),
        };
        let settings = WebhookSettings {
            name: name.to_owned(),
            version: config
                .subject_access_review_version
                .parse::<ReviewVersion>()?,
            authorized_ttl: ttl(
                &config.authorized_ttl,
                AUTHORIZED_TTL,
                config.cache_authorized_requests,
            ),
            unauthorized_ttl: ttl(
                &config.unauthorized_ttl,
                UNAUTHORIZED_TTL,
                config.cache_unauthorized_requests,
            ),
            timeout: parse_duration(&config.timeout).unwrap_or(TIMEOUT),
            on_failure: match config.failure_policy.as_str() {
                "Deny" => Decision::Deny,
                _ => Decision::NoOpinion,
            },
        };
        let conditions = match config.match_conditions.as_slice() {
            [] => None,
            conditions => {
                let expressions = conditions.iter().map(|one| one.expression.as_str());
                Some(MatchConditions::compile(expressions)?)
            }
        };
        let Some(file) = &config.connection_info.kube_config_file else {
            return Err(
                "this server does not run in a cluster: InClusterConfig leads nowhere".to_owned(),
            );
        };
        self.webhook(Path::new(file), settings, conditions)
    }

    fn webhook(
        &self,
        file: &Path,
        settings: WebhookSettings,
        conditions: Option<MatchConditions>,
    ) -> Result<Arc<dyn Authorizer>, String> {
        let to = kubeconfig::read(file).map_err(|error| error.to_string())?;
        let client = self
            .webhooks
            .client(&to)
            .map_err(|error| error.to_string())?;
        let name = settings.name.clone();
        let webhook = Webhook::new(client, settings, conditions, self.clock.clone());
        let sort = Mode::Webhook.as_str();
        Ok(self.decisions.counted(sort, &name, Arc::new(webhook)))
    }
}
