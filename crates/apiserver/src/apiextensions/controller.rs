//! Follows the CustomResourceDefinitions: decides on their names, serves what they define, cleans up behind them.
//!
//! One task, one definition at a time, in the order in which the store changed. What is decided of a definition ([`names`], [`approval`]) is
//! computed from it and from what its group has claimed; then its resources are served, and only then is it said that they are, so that whoever
//! reads `Established` may use them. Deleting the objects of a definition takes time and happens beside.
//!
//! Stands for upstream's naming, establishing, non-structural-schema, API-approval and finalizing controllers, and for the part of
//! `customresource_handler.go` that follows definitions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::kinds::apiextensions::custom_resource_definition::CLEANUP_FINALIZER;
use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use base::Clock;
use etcd::{Kv, Revision};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    DEFINITIONS, approval, cleanup,
    conditions::{self, Condition, ESTABLISHED, NAMES_ACCEPTED},
    names::{self, Claimed, Names},
    non_structural,
    serving::{Fingerprint, Serving},
};
use crate::{
    cacher::{CachedObject, Cacher, EventType, Predicate, Step, Watcher, WatcherOptions},
    lookup,
    reader::ObjectWriter as _,
    registry::{Registry, ServerWriter},
    webhook_client::WebhookClients,
};

/// How long until definitions are followed anew after their watch failed, and until a definition is taken up again that could not be served.
const RETRY: Duration = Duration::from_millis(250);

/// Keeps what is served in line with the definitions there are.
pub(crate) struct CustomResources {
    registry: Arc<Registry>,
    writer: Arc<ServerWriter>,
    kv: Arc<dyn Kv>,
    clock: Clock,
    serving: Serving,
    known: HashMap<String, Known>,
}

/// What is remembered of a definition: little, for there may be thousands.
#[derive(Debug)]
struct Known {
    revision: Revision,
    group: String,
    accepted: Names,
    /// Whether it has all the names that it asks for.
    content: bool,
    /// What is served of it.
    served: Option<(Fingerprint, Arc<Cacher>)>,
    /// Whether its objects are being deleted.
    cleaning: bool,
}

/// The end of a clean-up: whose, and whether it has to be taken up again.
type Cleaned = (String, Result<(), Status>);

impl CustomResources {
    /// Nothing happens before [`CustomResources::run`].
    pub(crate) fn new(
        registry: Arc<Registry>,
        kv: Arc<dyn Kv>,
        clock: Clock,
        webhooks: WebhookClients,
    ) -> Self {
        let serving = Serving::new(Arc::clone(&registry), Arc::clone(&kv), webhooks);
        Self {
            writer: Arc::new(ServerWriter(Arc::clone(&registry))),
            registry,
            kv,
            clock,
            serving,
            known: HashMap::new(),
        }
    }

    /// Follows the definitions until cancelled.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let following = async {
            while self.registry.hub().wait_for(Revision(1)).await.is_err() {}
            loop {
                self.follow().await;
                tokio::time::sleep(RETRY).await;
            }
        };
        let _ = cancel.run_until_cancelled(following).await;
    }

    async fn follow(&mut self) {
        let Some(cacher) = self
            .registry
            .endpoint_of(&DEFINITIONS)
            .and_then(|endpoint| endpoint.cacher.clone())
        else {
            return;
        };
        // Those that went while nobody was looking.
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|name| cacher.get("", name).is_none())
            .cloned()
            .collect();
        for name in gone {
            self.gone(&name, &cacher).await;
        }
        let Ok(mut watcher) = Watcher::start(
            Arc::clone(&cacher),
            Predicate::default(),
            WatcherOptions::default(),
        ) else {
            return;
        };
        let mut cleanups: FuturesUnordered<BoxFuture<'static, Cleaned>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                step = watcher.next() => match step {
                    Some(Step::Event(EventType::Deleted, object)) => {
                        let name = object.namespace_and_name().1.to_owned();
                        self.gone(&name, &cacher).await;
                    }
                    Some(Step::Event(_, object)) => {
                        if let Some(cleanup) = self.changed(&object, &cacher).await {
                            cleanups.push(cleanup);
                        }
                    }
                    Some(Step::Bookmark { .. }) => {}
                    Some(Step::Failed(_)) | None => return,
                },
                Some((name, result)) = cleanups.next() => {
                    if let Some(known) = self.known.get_mut(&name) {
                        known.cleaning = false;
                    }
                    if let Err(error) = result {
                        tracing::warn!(%error, name, "the objects of a custom resource are not all deleted");
                        tokio::time::sleep(RETRY).await;
                        if let Some(object) = cacher.get("", &name)
                            && let Some(cleanup) = self.changed(&object, &cacher).await
                        {
                            cleanups.push(cleanup);
                        }
                    }
                }
            }
        }
    }

    /// A definition is new or has changed. Returns the deletion of its objects, if that is what is due.
    async fn changed(
        &mut self,
        cached: &CachedObject,
        cacher: &Arc<Cacher>,
    ) -> Option<BoxFuture<'static, Cleaned>> {
        let name = cached.namespace_and_name().1.to_owned();
        // Our own write has been taken in already.
        let known = self.known.get(&name).map(|known| known.revision);
        if known.is_some_and(|revision| revision > cached.revision) {
            return None;
        }
        let freed = match self.take_in(&name, cached.parse(), cached.revision).await {
            Ok(freed) => freed,
            Err(error) => {
                tracing::warn!(%error, name, "a custom resource could not be served");
                return None;
            }
        };
        if freed {
            self.reconsider(&name, cacher).await;
        }
        self.cleanup(&name, cacher)
    }

    /// Decides on a definition, serves it, and says so. Whether names became free by it.
    async fn take_in(
        &mut self,
        name: &str,
        mut definition: Object,
        revision: Revision,
    ) -> Result<bool, Status> {
        let now = crate::registry::seconds(self.clock.now());
        let group = lookup::text(&definition, &["spec", "group"]).to_owned();
        let before = Names::accepted(&definition);
        let said = self.judge(&mut definition, &group, &now);
        let accepted = Names::accepted(&definition);
        let known = self.known.entry(name.to_owned()).or_insert_with(|| Known {
            revision,
            group,
            accepted: Names::default(),
            content: false,
            served: None,
            cleaning: false,
        });
        let freed = known.accepted != accepted && known.accepted != Names::default();
        known.revision = known.revision.max(revision);
        known.content = conditions::is_true(&definition, NAMES_ACCEPTED);
        known.accepted = accepted;
        let serve = known.content || conditions::is_true(&definition, ESTABLISHED);
        if serve {
            let serving = self.serving.serve(&definition, known.served.take()).await;
            known.served = Some(serving.map_err(crate::storage::status)?);
        } else if known.served.take().is_some() {
            self.serving.stop(name);
        }
        if said || before != known.accepted {
            match self
                .writer
                .update_status(&DEFINITIONS, "", definition)
                .await
            {
                Ok(written) => {
                    let revision = meta::resource_version(&written).parse().unwrap_or(0);
                    known.revision = Revision(revision);
                }
                // Somebody was faster, and the definition comes again.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(freed)
    }

    /// Writes into the definition's status what is to be said of it. Whether that is anything new.
    fn judge(&self, definition: &mut Object, group: &str, now: &str) -> bool {
        let mut claimed = Claimed::default();
        let others = self.known.iter();
        for (_, other) in others.filter(|(_, other)| other.group == group) {
            claimed.add(&other.accepted);
        }
        let own = Names::accepted(definition);
        claimed.add(&own);
        let verdict = names::judge(definition, &claimed);
        let non_structural = non_structural::judge(definition);
        let mended = non_structural.is_none()
            && conditions::remove(definition, conditions::NON_STRUCTURAL_SCHEMA);
        let said: Vec<Condition> = [verdict.names_accepted, verdict.established]
            .into_iter()
            .chain(approval::judge(definition))
            .chain(non_structural)
            .filter(|condition| !condition.stands_in(definition))
            .collect();
        for condition in &said {
            condition.set(definition, now);
        }
        if verdict.names != own {
            let status = lookup::map_mut(definition, &["status"]);
            status.insert("acceptedNames".to_owned(), verdict.names.to_value());
        }
        mended || !said.is_empty()
    }

    /// Names became free: those of the group that lack some are looked at again.
    async fn reconsider(&mut self, name: &str, cacher: &Arc<Cacher>) {
        let Some(group) = self.known.get(name).map(|known| known.group.clone()) else {
            return;
        };
        self.reconsider_group(&group, cacher).await;
    }

    async fn reconsider_group(&mut self, group: &str, cacher: &Arc<Cacher>) {
        let wanting: Vec<String> = self
            .known
            .iter()
            .filter(|(_, known)| known.group == group && !known.content)
            .map(|(name, _)| name.clone())
            .collect();
        for name in wanting {
            let Some(cached) = cacher.get("", &name) else {
                continue;
            };
            if let Err(error) = self.take_in(&name, cached.parse(), cached.revision).await {
                tracing::warn!(%error, name, "a custom resource could not be served");
            }
        }
    }

    async fn gone(&mut self, name: &str, cacher: &Arc<Cacher>) {
        let Some(known) = self.known.remove(name) else {
            return;
        };
        if known.served.is_some() {
            self.serving.stop(name);
        }
        self.reconsider_group(&known.group, cacher).await;
    }

    /// The deletion of the objects of a definition that is on its way out.
    fn cleanup(&mut self, name: &str, cacher: &Arc<Cacher>) -> Option<BoxFuture<'static, Cleaned>> {
        let cached = cacher.get("", name)?;
        let definition = cached.parse();
        if !meta::is_deleting(&definition) || !meta::has_finalizer(&definition, CLEANUP_FINALIZER) {
            return None;
        }
        let known = self.known.get_mut(name)?;
        if std::mem::replace(&mut known.cleaning, true) {
            return None;
        }
        let cleanup = cleanup::Cleanup {
            name: name.to_owned(),
            objects: known.served.as_ref().map(|(_, cacher)| Arc::clone(cacher)),
            registry: Arc::clone(&self.registry),
            writer: Arc::clone(&self.writer),
            kv: Arc::clone(&self.kv),
            clock: self.clock.clone(),
        };
        let name = name.to_owned();
        Some(Box::pin(async move { (name, cleanup.run().await) }))
    }
}

/// The resource that a definition defines.
pub(super) fn group_resource(definition: &Object) -> GroupResource {
    GroupResource {
        group: lookup::text(definition, &["spec", "group"])
            .to_owned()
            .into(),
        resource: lookup::text(definition, &["spec", "names", "plural"])
            .to_owned()
            .into(),
    }
}
