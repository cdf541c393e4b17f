//! One webhook of a configuration, compiled: when it is to be called, where, and what its failure means.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use apimachinery::{Object, meta};
use serde::Deserialize;

use api::kinds::admissionregistration::expressions::Expressions;

use super::{
    super::{configuration, matching::Matcher, policy::MatchConditions},
    review::ReviewVersion,
};
use crate::{
    lookup,
    webhook_client::{ClientConfig, ConfigError, WebhookClient, WebhookClients, kubeconfig::Users},
};

/// How long a webhook has when its configuration does not say.
const DEFAULT_TIMEOUT_SECONDS: u64 = 10;

const V1: &str = "apiserver.config.k8s.io/v1";
const V1ALPHA1: &str = "apiserver.config.k8s.io/v1alpha1";

/// The plugins' own configuration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    kube_config_file: String,
}

/// A webhook.
pub(super) struct Hook {
    /// `configuration/webhook/index`: tells webhooks of one name apart.
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) configuration: String,
    pub(super) matcher: Matcher,
    /// Compiled `matchConditions`.
    pub(super) conditions: MatchConditions,
    /// The first version of reviews that it takes and we know.
    pub(super) review: Option<ReviewVersion>,
    pub(super) timeout: Duration,
    /// Whether a request goes on when the webhook cannot be asked.
    pub(super) ignores_failure: bool,
    /// Whether it may be asked about what will not happen.
    pub(super) takes_dry_run: bool,
    /// Whether it wants to see what became of an object after it.
    pub(super) reinvocable: bool,
    target: Result<ClientConfig, ConfigError>,
    clients: WebhookClients,
    /// Made at the first call.
    client: OnceLock<Arc<WebhookClient>>,
}

/// How webhooks are called: by which clients, and as whom.
#[derive(Clone)]
pub(super) struct Calling {
    clients: WebhookClients,
    users: Users,
}

impl Calling {
    /// As the plugin's configuration says, if there is any.
    pub(super) fn new(
        clients: &WebhookClients,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let clients = clients.clone();
        let users = Users::default();
        let Some(given) = configuration else {
            return Ok(Self { clients, users });
        };
        let v1 = lookup::text(given, &["apiVersion"]) == V1;
        let (kind, version) = if v1 {
            ("WebhookAdmissionConfiguration", V1)
        } else {
            ("WebhookAdmission", V1ALPHA1)
        };
        let file: File = configuration::decode_as(given, kind, &[version])?;
        let users = match file.kube_config_file.as_str() {
            "" => users,
            path if path.starts_with('/') => {
                Users::read(Path::new(path)).map_err(|error| error.to_string())?
            }
            path => {
                return Err(format!(
                    "kubeConfigFile: Invalid value: {path:?}: must be an absolute file path"
                ));
            }
        };
        Ok(Self { clients, users })
    }

    /// Where a webhook is, with the credentials for that place.
    fn target(&self, client_config: &Object) -> Result<ClientConfig, ConfigError> {
        let mut target = ClientConfig::from_object(client_config)?;
        target.credentials = self.users.credentials(&target.host_port()?);
        Ok(target)
    }
}

/// All webhooks of a configuration, in order.
pub(super) fn of_configuration(configuration: &Object, calling: &Calling) -> Vec<Hook> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    lookup::objects(configuration, &["webhooks"])
        .map(|webhook| {
            let index = seen.entry(lookup::text(webhook, &["name"])).or_default();
            let hook = Hook::of(meta::name(configuration), webhook, *index, calling);
            *index += 1;
            hook
        })
        .collect()
}

impl Hook {
    fn of(configuration: &str, webhook: &Object, index: usize, calling: &Calling) -> Self {
        let text = |name: &str| lookup::text(webhook, &[name]);
        let name = text("name");
        let seconds = lookup::number(webhook, &["timeoutSeconds"])
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let empty = Object::new();
        let client_config = lookup::map(webhook, &["clientConfig"]).unwrap_or(&empty);
        Self {
            uid: format!("{configuration}/{name}/{index}"),
            name: name.to_owned(),
            configuration: configuration.to_owned(),
            matcher: Matcher::of_webhook(webhook),
            conditions: MatchConditions::of(webhook, &Expressions::new(false, false)),
            review: lookup::list(webhook, &["admissionReviewVersions"])
                .iter()
                .find_map(|version| ReviewVersion::parse(version.as_str()?)),
            timeout: Duration::from_secs(seconds),
            ignores_failure: text("failurePolicy") == "Ignore",
            takes_dry_run: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            reinvocable: text("reinvocationPolicy") == "IfNeeded",
            target: calling.target(client_config),
            clients: calling.clients.clone(),
            client: OnceLock::new(),
        }
    }

    /// Who calls it; held as long as this webhook is configured so.
    pub(super) fn client(&self) -> Result<&Arc<WebhookClient>, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let target = self.target.as_ref().map_err(ToString::to_string)?;
        let client = self
            .clients
            .client(target)
            .map_err(|error| error.to_string())?;
        Ok(self.client.get_or_init(|| client))
    }
}
