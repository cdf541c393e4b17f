//! A definition's resources in the registry: one endpoint a served version, all over one watch cache.
//!
//! When what a definition defines changes, its cache is filled anew under the new schema, and watches end: clients list again and see objects as they are
//! now. Follows upstream's `crdHandler`, which tears the storage of a changed definition down.

use std::sync::Arc;

use ::apiextensions::{
    definition::{Definition, Version},
    schema::Interner,
};
use api::{
    ServedResource, StrategyRef,
    kind::verbs,
    served::{ServedStorage, ServedSubresource},
};
use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind, Name},
    version_order,
};
use etcd::{Kv, KvError};
use ring::digest;

use super::{
    conditions::{self, TERMINATING},
    controller::group_resource,
    conversion::Converter,
    custom::Custom,
    stored::Stored,
    strategy::CustomStrategy,
};
use crate::{
    cacher::{Cacher, Ingest},
    lookup,
    registry::{Endpoint, Registry},
    webhook_client::WebhookClients,
};

/// In upstream's order, which is that of no alphabet.
const VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
/// While the definition is on its way out.
const TERMINATING_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];

/// Tells whether what is served of a definition is still what it defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    content: [u8; 32],
    terminating: bool,
}

impl Fingerprint {
    fn of(definition: &Object) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for path in [&["spec"][..], &["status", "acceptedNames"]] {
            if let Some(value) = lookup::value(definition, path) {
                context.update(value.to_string().as_bytes());
            }
        }
        let mut content = [0; 32];
        content.copy_from_slice(context.finish().as_ref());
        Self {
            content,
            terminating: conditions::is_true(definition, TERMINATING),
        }
    }
}

/// Puts definitions into the registry.
pub(super) struct Serving {
    registry: Arc<Registry>,
    kv: Arc<dyn Kv>,
    webhooks: WebhookClients,
    /// Equal parts of schemas are there once.
    interner: Interner,
}

impl Serving {
    pub(super) fn new(registry: Arc<Registry>, kv: Arc<dyn Kv>, webhooks: WebhookClients) -> Self {
        Self {
            registry,
            kv,
            webhooks,
            interner: Interner::default(),
        }
    }

    /// Serves what a definition defines; `before` is what was served of it so far. Done when requests are answered.
    pub(super) async fn serve(
        &self,
        object: &Object,
        before: Option<(Fingerprint, Arc<Cacher>)>,
    ) -> Result<(Fingerprint, Arc<Cacher>), KvError> {
        let fingerprint = Fingerprint::of(object);
        let same_content = |old: &Fingerprint| old.content == fingerprint.content;
        let kept = match before {
            Some((old, cacher)) if old == fingerprint => return Ok((old, cacher)),
            Some((old, cacher)) if same_content(&old) => Some(cacher),
            _ => None,
        };
        let definition = Arc::new(Definition::parse(object, &self.interner));
        let cacher = match kept {
            Some(cacher) => cacher,
            None => self.fill(&definition).await?,
        };
        let converter = Arc::new(Converter::of(&definition, &self.webhooks));
        let versions = served_versions(&definition);
        let endpoints = versions
            .iter()
            .map(|version| {
                let custom = Custom::new(&definition, version, &converter);
                let row = row(&definition, version, &custom, fingerprint.terminating);
                Endpoint::custom(Arc::new(row), Arc::clone(&cacher), Arc::new(custom))
            })
            .collect();
        self.registry.install(&group_resource(object), endpoints);
        Ok((fingerprint, cacher))
    }

    async fn fill(&self, definition: &Arc<Definition>) -> Result<Arc<Cacher>, KvError> {
        let strategy = StrategyRef::Shared(Arc::new(Stored::new(definition)));
        let ingest = Ingest {
            strategy: Some(strategy),
            coerce: Some(Arc::new(Stored::new(definition))),
        };
        let prefix = prefix(&definition.group, &definition.names.plural);
        let hub = self.registry.hub();
        hub.replace_late(self.kv.as_ref(), &prefix, ingest).await
    }

    /// Serves nothing of the definition of this name any more.
    pub(super) fn stop(&self, name: &str) {
        let Some((plural, group)) = name.split_once('.') else {
            return;
        };
        let resource = GroupResource {
            group: group.to_owned().into(),
            resource: plural.to_owned().into(),
        };
        self.registry.uninstall(&resource);
        self.registry.hub().remove(&prefix(group, plural));
    }
}

/// Where objects are kept, below `/registry/`.
fn prefix(group: &str, plural: &str) -> String {
    format!("{group}/{plural}")
}

/// The preferred version first.
fn served_versions(definition: &Definition) -> Vec<&Arc<Version>> {
    let served = definition.versions.iter().filter(|version| version.served);
    let mut versions: Vec<_> = served.collect();
    versions.sort_by(|a, b| version_order::compare(&a.name, &b.name));
    versions
}

fn row(
    definition: &Arc<Definition>,
    version: &Arc<Version>,
    custom: &Custom,
    terminating: bool,
) -> ServedResource {
    let names = &definition.accepted_names;
    let owned = |name: &Arc<str>| Name::Owned(name.to_string());
    let gvk = version.gvk().clone();
    let mut subresources = Vec::new();
    if version.has_status {
        subresources.push(ServedSubresource {
            name: "status",
            gvk: gvk.clone(),
            verbs: verbs::GET_PATCH_UPDATE,
        });
    }
    if version.scale.is_some() {
        subresources.push(ServedSubresource {
            name: "scale",
            gvk: GroupVersionKind::new("autoscaling", "v1", "Scale"),
            verbs: verbs::GET_PATCH_UPDATE,
        });
    }
    ServedResource {
        gvr: definition.gvr(&version.name),
        list_kind: owned(&definition.names.list_kind),
        singular: owned(&names.singular),
        scope: definition.scope,
        short_names: names.short_names.iter().map(owned).collect(),
        categories: names.categories.iter().map(owned).collect(),
        verbs: if terminating {
            TERMINATING_VERBS
        } else {
            VERBS
        },
        subresources,
        storage: Some(ServedStorage {
            prefix: prefix(&definition.group, &definition.names.plural).into(),
            gvk: custom.storage_gvk().clone(),
            hub: None,
        }),
        strategy: StrategyRef::Shared(Arc::new(CustomStrategy::new(version, definition.scope))),
        gvk,
    }
}
