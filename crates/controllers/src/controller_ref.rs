//! Who owns what: adopting objects that match a selector and have no controller, releasing those that match no longer.
//!
//! As upstream's `ControllerRefManager`: adoption checks with an uncached read that the owner still lives, and both are patches of
//! `ownerReferences` alone that name the uid, so that they fail on a namesake.

use std::sync::Arc;

use client::{Api, ApiError, Kind, Object, Patch, Store, selects};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use tracing::debug;

use crate::reconcile::Error;

/// What to do with one object a controller may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Keep,
    /// It should become ours.
    Adopt,
    /// It should be ours no longer.
    Release,
    /// Not our business.
    Ignore,
}

/// Decides about one object.
pub(crate) fn claim<O: Object, T: Object>(
    owner: &O,
    selector: &LabelSelector,
    object: &T,
) -> Claim {
    let matches = selects(selector, object.labels());
    match object.controller_ref() {
        Some(controller) if controller.uid != owner.uid() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        // The owner's dependents are the garbage collector's when it is being deleted.
        Some(_) if owner.is_being_deleted() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matches || owner.is_being_deleted() || object.is_being_deleted() => Claim::Ignore,
        None if !owner.namespace().is_empty() && owner.namespace() != object.namespace() => {
            Claim::Ignore
        }
        None => Claim::Adopt,
    }
}

/// Adopts and releases as needed; what is left is what `owner` owns. What is adopted gets `finalizer`, what is released loses it.
pub(crate) async fn claim_all<O: Kind, T: Kind>(
    owners: &Api<O>,
    owned: &Api<T>,
    owner: &O,
    selector: &LabelSelector,
    candidates: Vec<Arc<T>>,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<T>>, Error> {
    let mut claimed = Vec::with_capacity(candidates.len());
    let mut errors = Vec::new();
    let mut lives = false;
    for object in candidates {
        match claim(owner, selector, &*object) {
            Claim::Keep => claimed.push(object),
            Claim::Ignore => {}
            Claim::Release => {
                debug!(owner = %owner.key(), object = %object.key(), "releasing");
                if let Err(error) = release(owned, owner, &*object, finalizer).await {
                    errors.push(Error::from(error));
                }
            }
            Claim::Adopt => {
                if !lives {
                    check_lives(owners, owner).await?;
                    lives = true;
                }
                match adopt(owned, owner, &*object, finalizer).await {
                    Ok(adopted) => claimed.push(Arc::new(adopted)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => errors.push(Error::from(error)),
                }
            }
        }
    }
    Error::aggregate(errors)?;
    Ok(claimed)
}

/// The owner, read past all caches, still is the one we know and is not being deleted. Else what it owns is the garbage collector's by now,
/// and nothing may be done for an owner that the caches still show alive: it would make anew what has just been orphaned.
async fn check_lives<O: Kind>(owners: &Api<O>, owner: &O) -> Result<(), Error> {
    let fresh = owners.get(owner.name()).await?;
    if fresh.uid() != owner.uid() {
        return Err(Error::State(format!(
            "original {} {} is gone: got uid {}, wanted {}",
            O::KIND,
            owner.key(),
            fresh.uid(),
            owner.uid()
        )));
    }
    if let Some(at) = &fresh.metadata().deletion_timestamp {
        return Err(Error::State(format!(
            "{} has just been deleted at {}",
            owner.key(),
            at.0
        )));
    }
    Ok(())
}

async fn adopt<O: Kind, T: Kind>(
    owned: &Api<T>,
    owner: &O,
    object: &T,
    finalizer: Option<&str>,
) -> Result<T, ApiError> {
    let mut metadata = json!({
        "ownerReferences": [owner.controller_owner_reference()],
        "uid": object.uid(),
    });
    if let Some(finalizer) = finalizer {
        metadata["finalizers"] = json!([finalizer]);
    }
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    owned.patch(object.name(), &patch).await
}

async fn release<O: Kind, T: Kind>(
    owned: &Api<T>,
    owner: &O,
    object: &T,
    finalizer: Option<&str>,
) -> Result<(), ApiError> {
    let mut metadata = json!({
        "uid": object.uid(),
        "ownerReferences": [{ "$patch": "delete", "uid": owner.uid() }],
    });
    if let Some(finalizer) = finalizer {
        metadata["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
    }
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    match owned.patch(object.name(), &patch).await {
        // Gone, or a namesake: nothing to release.
        Err(error) if error.is_not_found() || error.is_invalid() => Ok(()),
        result => result.map(drop),
    }
}

/// An index of objects by their controller's uid; those without one stand under [`orphans_of`] their namespace.
pub(crate) fn by_controller<T: Object>(object: &T) -> Vec<String> {
    match object.controller_ref() {
        Some(controller) => vec![controller.uid.clone()],
        None => vec![orphans_of(object.namespace())],
    }
}

/// The key of [`by_controller`] for objects without a controller.
fn orphans_of(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// What `owner` may own, of a store with a [`by_controller`] index: what it controls, and what nobody does.
pub(crate) fn candidates<O: Object, T: Object>(owner: &O, store: &Store<T>) -> Vec<Arc<T>> {
    let mut candidates = store.by_index(CONTROLLER_INDEX, owner.uid());
    candidates.extend(store.by_index(CONTROLLER_INDEX, &orphans_of(owner.namespace())));
    candidates
}

/// The name of the [`by_controller`] index.
pub(crate) const CONTROLLER_INDEX: &str = "controller";

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use client::{Body, Client, Transport, TransportError};
    use http::{Method, Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
    use serde_json::Value;

    use super::*;

    /// Knows one owner, and lets nobody change anything.
    struct ApiServer(Value);

    #[async_trait]
    impl Transport for ApiServer {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
            assert_eq!(request.method(), Method::GET);
            let body = Full::new(Bytes::from(self.0.to_string()));
            Ok(Response::new(body.map_err(|never| match never {}).boxed()))
        }
    }

    fn replica_set(more: Value) -> Value {
        let mut metadata = json!({"name": "rs", "namespace": "ns", "uid": "1"});
        let more = more.as_object().unwrap().clone();
        metadata.as_object_mut().unwrap().extend(more);
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata})
    }

    #[tokio::test]
    async fn nothing_is_claimed_for_an_owner_that_is_gone_already() {
        let known: ReplicaSet = serde_json::from_value(replica_set(json!({}))).unwrap();
        let selector: LabelSelector =
            serde_json::from_value(json!({"matchLabels": {"a": "b"}})).unwrap();
        let metadata = json!({"name": "p", "namespace": "ns", "labels": {"a": "b"}});
        let orphan: Pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        for (fresh, expected) in [
            (
                json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
                "ns/rs has just been deleted at 2026-01-01T00:00:00Z",
            ),
            (
                json!({"uid": "2"}),
                "original ReplicaSet ns/rs is gone: got uid 2, wanted 1",
            ),
        ] {
            let client = Client::new(Arc::new(ApiServer(replica_set(fresh))), "test");
            let (owners, owned) = (client.api::<ReplicaSet>("ns"), client.api::<Pod>("ns"));
            let candidates = vec![Arc::new(orphan.clone())];
            let claimed = claim_all(&owners, &owned, &known, &selector, candidates, None).await;
            assert_eq!(claimed.unwrap_err().to_string(), expected);
        }
    }
}
