//! Delete: at once, or marked and left to finalizers and to the grace period, as upstream's `Store.Delete`.
//!
//! An object with finalizers, or with a grace period, gets a deletionTimestamp and goes with the update that takes the last
//! finalizer (see `update`), or with a second delete without grace. Propagation is a finalizer too: `orphan` or
//! `foregroundDeletion`, which the garbage collector takes off.

use std::borrow::Cow;

use apimachinery::{
    Object,
    gvk::GroupResource,
    meta,
    status::{Status, StatusDetails},
};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};

use super::{
    Call,
    admit::Gate,
    delete_options::{DeleteOptions, Propagation},
    seconds,
};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Accept, Endpoint as Sort, respond_object},
    storage::{Keep, Left, Next, Outcome, Stored, Update},
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Resources whose delete answers with the object even when it is gone, as upstream.
const ANSWERS_WITH_OBJECT: &[(&str, &str)] = &[
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

/// What a delete came to.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is gone; this is how it was.
    Gone(Stored),
    /// It is marked and stays until its finalizers and its grace period are over.
    Marked(Stored),
}

impl Call<'_> {
    /// `DELETE …/NAME`
    pub(super) async fn delete(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Object)?;
        let bytes = self.body(request).await?;
        let options = DeleteOptions::parse(&context.headers, &context.query, &bytes)?;
        self.warn_of_delete(&options);
        let deleted = self.delete_object(&context.info.name, &options).await?;
        let resource = self.endpoint.group_resource();
        let with_object = ANSWERS_WITH_OBJECT
            .iter()
            .any(|(group, name)| resource.group == *group && resource.resource == *name);
        match deleted {
            Deleted::Gone(stored) if !with_object => {
                let status = success(&resource, &stored.object);
                let object = serde_json::to_value(&status).map_err(Status::internal)?;
                let object = object.as_object().cloned().unwrap_or_default();
                let gvk = apimachinery::gvk::GroupVersionKind::new("", "v1", "Status");
                respond_object(
                    &context.headers,
                    StatusCode::OK,
                    Accept {
                        transform: Default::default(),
                        ..accept
                    },
                    &object,
                    &gvk,
                )
            }
            Deleted::Gone(stored) => {
                self.respond_stored(Left::Tree(stored), accept, StatusCode::OK)
                    .await
            }
            Deleted::Marked(stored) => {
                let code = if options.orphan_dependents == Some(false) {
                    StatusCode::ACCEPTED
                } else {
                    StatusCode::OK
                };
                self.respond_stored(Left::Tree(stored), accept, code).await
            }
        }
    }

    /// The warning of kinds whose dependents stay unless the client says what is to become of them.
    pub(super) fn warn_of_delete(&self, options: &DeleteOptions) {
        if options.propagation.is_none()
            && options.orphan_dependents.is_none()
            && let Some(warning) = self.endpoint.strategy().delete_warning()
        {
            self.context.warn(warning.to_owned());
        }
    }

    /// Deletes the object of this name in the call's namespace.
    pub(super) async fn delete_object(
        &self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        self.delete_in(self.namespace(), name, options).await
    }

    pub(super) async fn delete_in(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let cacher = self.endpoint.cacher()?;
        let cached = cacher
            .get(namespace, name)
            .map(|cached| cached.parse_for_change());
        let deleted = self.remove(namespace, name, options, cached).await?;
        // Whoever watches an object that ends gracefully sees first that its time is up, then that it is gone, as upstream.
        match deleted {
            Deleted::Marked(marked)
                if !options.dry_run
                    && meta::deletion_grace_period_seconds(&marked.object) == Some(0)
                    && meta::finalizers(&marked.object).next().is_none() =>
            {
                let rest = DeleteOptions {
                    uid: Some(meta::uid(&marked.object).to_owned()),
                    ..DeleteOptions::default()
                };
                // The bytes: the tree costs twenty times as much to copy, and is seldom asked for.
                let (as_marked, revision) = (marked.json(), marked.revision);
                let ended = self.remove(namespace, name, &rest, Some(marked)).await;
                match ended {
                    // Somebody who saw the mark, a kubelet, has ended it before us: it is gone, as was asked for.
                    Err(status) if status.is_not_found() || status.is_conflict() => {
                        let object = as_marked.and_then(|json| serde_json::from_slice(&json).ok());
                        let object = object.ok_or(status)?;
                        Ok(Deleted::Gone(Stored::new(object, revision)))
                    }
                    ended => ended,
                }
            }
            other => Ok(other),
        }
    }

    async fn remove(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
        cached: Option<Stored>,
    ) -> Result<Deleted, Status> {
        let key = self.endpoint.cacher()?.key(namespace, name);
        let resource = self.endpoint.group_resource();
        let mut removal = Removal {
            call: self,
            name,
            options,
            result: None,
        };
        let outcome = self
            .registry
            .store
            .guaranteed_update(&key, &resource, cached, None, Keep::Tree, &mut removal)
            .await?;
        match outcome {
            Outcome::Written(left) => Ok(Deleted::Marked(left.into_stored()?)),
            Outcome::Deleted(stored) => {
                if let Some(hook) = self.registry.hook(&resource) {
                    hook.after_delete(&stored.object).await;
                }
                Ok(Deleted::Gone(stored))
            }
            Outcome::Kept(_) => removal
                .result
                .ok_or_else(|| Status::not_found(&resource, name)),
        }
    }
}

/// 200 of an object that is gone.
fn success(resource: &GroupResource, object: &Object) -> Status {
    Status::success(Some(StatusDetails {
        name: meta::name(object).to_owned(),
        group: resource.group.to_string(),
        kind: resource.resource.to_string(),
        uid: meta::uid(object).to_owned(),
        ..StatusDetails::default()
    }))
}

struct Removal<'a> {
    call: &'a Call<'a>,
    name: &'a str,
    options: &'a DeleteOptions,
    /// When nothing is written: what there is to say.
    result: Option<Deleted>,
}

/// What is to become of an object.
enum Plan {
    /// It goes now.
    Remove,
    /// It is stored so.
    Mark(Object),
    /// It is on its way out already and nothing changes.
    Pending,
}

#[async_trait]
impl Update for Removal<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        let call = self.call;
        let resource = call.endpoint.group_resource();
        let Some(current) = current else {
            return Err(Status::not_found(&resource, self.name));
        };
        let object = &current.object;
        if looks_for_itself(&resource) {
            self.options
                .check_own_preconditions(meta::uid(object), meta::resource_version(object))
                .map_err(|reason| Status::conflict(&resource, self.name, reason))?;
        }
        self.options
            .check_preconditions(meta::uid(object), meta::resource_version(object))
            .map_err(|reason| {
                let kind = GroupResource {
                    group: call.endpoint.stored_kind().group.clone(),
                    resource: call.endpoint.stored_kind().kind.clone(),
                };
                Status::conflict(&kind, self.name, reason)
            })?;
        self.admit(object).await?;
        let plan = plan(call, object, self.options);
        let dry_run = self.options.dry_run;
        Ok(match plan {
            Plan::Pending => {
                self.result = Some(Deleted::Marked(current.clone()));
                Next::Keep
            }
            Plan::Mark(marked) if dry_run => {
                self.result = Some(Deleted::Marked(Stored::new(marked, current.revision)));
                Next::Keep
            }
            Plan::Remove if dry_run => {
                self.result = Some(Deleted::Gone(current.clone()));
                Next::Keep
            }
            Plan::Mark(marked) => Next::Put(marked),
            Plan::Remove => Next::Delete,
        })
    }
}

impl Removal<'_> {
    async fn admit(&self, object: &Object) -> Result<(), Status> {
        if self.options.is_admitted {
            return Ok(());
        }
        let mut options = self.options.object.clone();
        options.insert("kind".to_owned(), "DeleteOptions".into());
        options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        let gate = Gate {
            operation: Operation::Delete,
            kind: &self.call.endpoint.row.gvk,
            dry_run: self.options.dry_run,
            options: &options,
        };
        let endpoint = self.call.endpoint;
        let old = if endpoint.custom.is_some() {
            let mut opened = endpoint.open(object.clone()).await?;
            endpoint.from_storage(&mut opened);
            Cow::Owned(opened)
        } else {
            endpoint.view(object)
        };
        self.call.admit(gate, None, Some(&old)).await?;
        self.call.validate_admission(gate, None, Some(&old)).await
    }
}

fn is_namespace(resource: &GroupResource) -> bool {
    resource.group.is_empty() && resource.resource == "namespaces"
}

/// Whether upstream's storage of these checks preconditions before it passes the delete on, in words of its own.
fn looks_for_itself(resource: &GroupResource) -> bool {
    let definitions = resource.group == "apiextensions.k8s.io"
        && resource.resource == "customresourcedefinitions";
    is_namespace(resource) || definitions
}

/// Decides, without doing anything.
fn plan(call: &Call<'_>, object: &Object, options: &DeleteOptions) -> Plan {
    let now = call.registry.clock.now();
    let strategy = call.endpoint.strategy();
    if is_namespace(&call.endpoint.group_resource()) {
        return plan_namespace(
            object,
            options,
            strategy.orphan_dependents_by_default(),
            now,
        );
    }
    if let Some(marked) = strategy.begin_deletion(object, &seconds(now)) {
        return Plan::Mark(marked);
    }
    let propagation = if strategy.has_dependents() {
        wanted_propagation(object, options, strategy.orphan_dependents_by_default())
    } else {
        (false, false)
    };
    let finalizers_changed = propagation != has_propagation(object);
    let has_finalizers = propagation != (false, false)
        || meta::finalizers(object).any(|name| !matches!(name, ORPHAN | FOREGROUND));
    let grace = strategy.graceful_deletion_seconds(object, options.grace_period_seconds);
    // What goes is not copied first.
    let marked = || {
        let mut marked = object.clone();
        set_propagation(&mut marked, propagation);
        marked
    };

    if !meta::is_deleting(object) {
        let grace = match grace {
            None if !has_finalizers => return Plan::Remove,
            grace => grace.unwrap_or(0),
        };
        let mut marked = marked();
        mark_first(&mut marked, now, grace);
        return Plan::Mark(marked);
    }
    let left = meta::deletion_grace_period_seconds(object).unwrap_or(0);
    // What is asked for, not what the strategy grants to a first delete: this is how a kubelet ends the deletion of a pod.
    let wanted = options
        .grace_period_seconds
        .map(|wanted| if wanted < 0 { 1 } else { wanted });
    match wanted {
        // Only ever sooner.
        Some(wanted) if wanted < left => {
            let mut marked = marked();
            mark(&mut marked, now, wanted);
            Plan::Mark(marked)
        }
        // Whoever waits for the grace to pass changes nothing else.
        _ if left > 0 => Plan::Pending,
        _ if !has_finalizers => Plan::Remove,
        _ if finalizers_changed => Plan::Mark(marked()),
        _ => Plan::Pending,
    }
}

/// A namespace stays, Terminating, until its spec's finalizers are off as well, and until it is deleted once more if it had none.
fn plan_namespace(
    object: &Object,
    options: &DeleteOptions,
    orphan_by_default: bool,
    now: jiff::Timestamp,
) -> Plan {
    let mut marked = object.clone();
    let propagation = wanted_propagation(object, options, orphan_by_default);
    set_propagation(&mut marked, propagation);
    let spec_finalizers = object
        .get("spec")
        .and_then(|spec| spec.get("finalizers"))
        .and_then(serde_json::Value::as_array)
        .is_some_and(|finalizers| !finalizers.is_empty());
    if !meta::is_deleting(object) {
        mark_first(&mut marked, now, 0);
        meta::set_deletion_grace_period_seconds(&mut marked, None);
        let status = marked
            .entry("status")
            .or_insert_with(|| Object::new().into());
        if let Some(status) = status.as_object_mut() {
            status.insert("phase".to_owned(), "Terminating".into());
        }
        return Plan::Mark(marked);
    }
    if spec_finalizers {
        return Plan::Pending;
    }
    if meta::finalizers(&marked).next().is_some() {
        return if marked == *object {
            Plan::Pending
        } else {
            Plan::Mark(marked)
        };
    }
    Plan::Remove
}

/// Marks an object that was not marked; that is a change of what is desired.
fn mark_first(object: &mut Object, now: jiff::Timestamp, grace: i64) {
    mark(object, now, grace);
    let generation = meta::generation(object);
    if generation > 0 {
        meta::set_generation(object, generation + 1);
    }
}

fn mark(object: &mut Object, now: jiff::Timestamp, grace: i64) {
    let end = now
        .checked_add(jiff::SignedDuration::from_secs(grace))
        .unwrap_or(now);
    meta::set_deletion_timestamp(object, &seconds(end));
    meta::set_deletion_grace_period_seconds(object, Some(grace));
}

/// Whether the finalizers that orphan the dependents, or wait for them, are on an object.
fn has_propagation(object: &Object) -> (bool, bool) {
    (
        meta::has_finalizer(object, ORPHAN),
        meta::has_finalizer(object, FOREGROUND),
    )
}

/// Whether they should be.
fn wanted_propagation(
    object: &Object,
    options: &DeleteOptions,
    orphan_by_default: bool,
) -> (bool, bool) {
    let (has_orphan, has_foreground) = has_propagation(object);
    let orphan = match (options.orphan_dependents, options.propagation) {
        (Some(orphan), _) => orphan,
        (None, Some(propagation)) => propagation == Propagation::Orphan,
        (None, None) if has_orphan || has_foreground => has_orphan,
        (None, None) => orphan_by_default,
    };
    let foreground = match (options.orphan_dependents, options.propagation) {
        (Some(_), _) => false,
        (None, Some(propagation)) => propagation == Propagation::Foreground,
        (None, None) => has_foreground,
    };
    (orphan, foreground)
}

/// Puts the finalizer that the propagation needs, and takes the other off.
fn set_propagation(object: &mut Object, (orphan, foreground): (bool, bool)) {
    for (name, wanted) in [(ORPHAN, orphan), (FOREGROUND, foreground)] {
        if wanted {
            meta::add_finalizer(object, name);
        } else {
            meta::remove_finalizer(object, name);
        }
    }
}
