//! ControllerRevisions: the past and present pod templates of a StatefulSet or DaemonSet (upstream's `controller/history`).

use std::sync::Arc;

use client::{Client, Kind, Labels, Object as _};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};

use crate::{deployment::template::hash_of, reconcile::Error};

/// The label of a StatefulSet's revisions with the hash of their data.
pub(crate) const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// The label of pods that names their revision; of a DaemonSet's revisions, too.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// The template as a patch of the owner, as upstream keeps it (and `kubectl rollout undo` applies it).
fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

/// The template that a revision holds.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision
        .data
        .as_ref()?
        .0
        .get("spec")?
        .get("template")?
        .clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Upstream's order: by number, then age, then name.
fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by_key(|r| {
        (
            r.revision,
            r.metadata.creation_timestamp.clone(),
            r.name().to_owned(),
        )
    });
}

/// What [`sync`] found or made.
pub(crate) struct History {
    /// The revision of the owner's template.
    pub(crate) update: Arc<ControllerRevision>,
    /// All of them, oldest first.
    pub(crate) all: Vec<Arc<ControllerRevision>>,
    /// The owner's collision count, raised if a name was taken by other data.
    pub(crate) collision_count: Option<i32>,
}

/// Finds or makes the revision of `template`; one that comes back is numbered as the newest again. A new one gets these labels, and its
/// hash in that one.
pub(crate) async fn sync<K: Kind>(
    client: &Client,
    owner: &K,
    (labels, hash_label): (&Labels, &'static str),
    template: &PodTemplateSpec,
    mut all: Vec<Arc<ControllerRevision>>,
    mut collision_count: Option<i32>,
) -> Result<History, Error> {
    sort(&mut all);
    let api = client.api::<ControllerRevision>(owner.namespace());
    let data = data_of(template);
    let newest = all.last().map_or(0, |revision| revision.revision);
    let same = |revision: &Arc<ControllerRevision>| {
        revision.data.as_ref().is_some_and(|own| own.0 == data)
    };
    if let Some(position) = all.iter().rposition(same) {
        if all[position].revision < newest {
            let mut bumped = (*all[position]).clone();
            bumped.revision = newest + 1;
            all[position] = Arc::new(api.update(&bumped).await?);
            sort(&mut all);
        }
        let update = all.iter().rfind(|revision| same(revision)).cloned();
        let update = update.ok_or_else(|| Error::State("the revision lost its data".to_owned()))?;
        return Ok(History {
            update,
            all,
            collision_count,
        });
    }
    let bytes = data.to_string().into_bytes();
    loop {
        let hash = hash_of(&bytes, collision_count);
        let mut labels = labels.clone();
        labels.insert(hash_label.to_owned(), hash.clone());
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", owner.name())),
                namespace: Some(owner.namespace().to_owned()),
                labels: Some(labels),
                owner_references: Some(vec![owner.controller_owner_reference()]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data.clone())),
            revision: newest + 1,
        };
        let made = match api.create(&revision).await {
            Ok(made) => made,
            Err(error) if error.is_already_exists() => {
                let existing = api.get(revision.name()).await?;
                let ours = existing
                    .controller_ref()
                    .is_some_and(|controller| controller.uid == owner.uid());
                if !ours || existing.data != revision.data {
                    collision_count = Some(collision_count.unwrap_or_default() + 1);
                    continue;
                }
                // The informer is behind.
                existing
            }
            Err(error) => return Err(error.into()),
        };
        let update = Arc::new(made);
        all.push(update.clone());
        return Ok(History {
            update,
            all,
            collision_count,
        });
    }
}

/// Deletes the oldest revisions beyond `limit` that are not `in_use`.
pub(crate) async fn truncate(
    client: &Client,
    all: &[Arc<ControllerRevision>],
    in_use: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Result<(), Error> {
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(10);
    let unused: Vec<&Arc<ControllerRevision>> =
        all.iter().filter(|revision| !in_use(revision)).collect();
    for revision in unused.iter().take(unused.len().saturating_sub(limit)) {
        let api = client.api::<ControllerRevision>(revision.namespace());
        client::ApiError::not_found_is_none(
            api.delete(revision.name(), &Default::default()).await,
        )?;
    }
    Ok(())
}
