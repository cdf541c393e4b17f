//! The EndpointSlices of one controller: which Service each is for, what is written and not seen yet, and writing them.
//!
//! A plan made before the informer has shown the last one's writes would create slices twice; so each write's generation is kept until it
//! has been seen.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use client::{
    ApiError, Client, DeleteOptionsExt as _, Event, Informer, Object as _, ObjectKey, Workqueue,
};
use k8s_openapi::{
    api::discovery::v1::EndpointSlice,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, on_events},
};

/// The label with the Service's name.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that names the controller.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE_INDEX: &str = "service";

/// What to write.
#[derive(Debug, Default)]
pub(crate) struct SliceChanges {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

impl SliceChanges {
    /// Lets slices that are to go become those that are to come: a client that lists never sees both, nor neither.
    pub(crate) fn recycle(&mut self) {
        for mut slice in mem::take(&mut self.create) {
            let same = |old: &Arc<EndpointSlice>| old.address_type == slice.address_type;
            match self.delete.iter().position(same) {
                Some(position) => {
                    let old = self.delete.swap_remove(position);
                    slice.metadata = ObjectMeta {
                        labels: slice.metadata.labels,
                        annotations: slice.metadata.annotations,
                        owner_references: slice.metadata.owner_references,
                        ..old.metadata.clone()
                    };
                    self.update.push(slice);
                }
                None => self.create.push(slice),
            }
        }
    }
}

/// The slices of one controller.
pub(crate) struct ManagedSlices {
    manager: &'static str,
    client: Client,
    informer: Informer<EndpointSlice>,
    /// Generations of slices as they were last written, by Service. Bounded by the number of slices.
    written: Mutex<HashMap<ObjectKey, HashMap<String, i64>>>,
}

fn by_service(slice: &EndpointSlice) -> Vec<String> {
    let name = slice.label(SERVICE_NAME);
    let key = name.map(|name| ObjectKey::new(slice.namespace(), name).to_string());
    key.into_iter().collect()
}

impl ManagedSlices {
    /// Those that carry the label of `manager`.
    pub(crate) fn new(ctx: &ControllerContext, manager: &'static str) -> Arc<Self> {
        let informer = ctx.informers.informer();
        informer.add_index(SERVICE_INDEX, by_service);
        Arc::new(Self {
            manager,
            client: ctx.client.clone(),
            informer,
            written: Mutex::default(),
        })
    }

    /// Waits until they are known.
    pub(crate) async fn has_synced(&self) {
        self.informer.has_synced().await;
    }

    fn is_ours(&self, slice: &EndpointSlice) -> bool {
        slice.label(MANAGED_BY) == Some(self.manager)
    }

    fn service_of(&self, slice: &EndpointSlice) -> Option<ObjectKey> {
        let name = slice.label(SERVICE_NAME).filter(|_| self.is_ours(slice))?;
        Some(ObjectKey::new(slice.namespace(), name))
    }

    /// Queues the Service of each slice that changes, and of all of them at a resync.
    pub(crate) fn watch(
        self: &Arc<Self>,
        ctx: &ControllerContext,
        controller: &'static str,
        queue: &Workqueue<ObjectKey>,
    ) {
        let (this, queue) = (self.clone(), queue.clone());
        let add = move |slice: &EndpointSlice| {
            if let Some(key) = this.service_of(slice) {
                queue.add(key);
            }
        };
        let this = self.clone();
        on_events(ctx, controller, &self.informer, move |event| match event {
            Event::Resync => this.informer.store().list().iter().for_each(|s| add(s)),
            Event::Added(slice) => add(&slice),
            Event::Updated { old, new } => {
                // Somebody may have taken the labels away.
                add(&old);
                add(&new);
            }
            Event::Deleted(slice) => {
                if let Some(key) = this.service_of(&slice) {
                    this.forget(&key, slice.name());
                }
                add(&slice);
            }
        });
    }

    /// The slices of a Service.
    pub(crate) fn of(&self, service: &ObjectKey) -> Vec<Arc<EndpointSlice>> {
        let store = self.informer.store();
        let mut slices = store.by_index(SERVICE_INDEX, &service.to_string());
        slices.retain(|slice| self.is_ours(slice));
        slices
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, HashMap<String, i64>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the informer has not shown all that was written.
    pub(crate) fn is_behind(&self, service: &ObjectKey, existing: &[Arc<EndpointSlice>]) -> bool {
        self.lock().get(service).is_some_and(|written| {
            written.iter().any(|(name, generation)| {
                !existing
                    .iter()
                    .any(|slice| slice.name() == name && slice.generation() >= *generation)
            })
        })
    }

    fn remember(&self, service: &ObjectKey, slice: &EndpointSlice) {
        self.lock()
            .entry(service.clone())
            .or_default()
            .insert(slice.name().to_owned(), slice.generation());
    }

    fn forget(&self, service: &ObjectKey, name: &str) {
        if let Some(slices) = self.lock().get_mut(service) {
            slices.remove(name);
        }
    }

    /// The Service is gone, or has no slices of this controller.
    pub(crate) fn forget_all(&self, service: &ObjectKey) {
        self.lock().remove(service);
    }

    /// Writes. Creations first, so that at no time an endpoint is in no slice.
    pub(crate) async fn write(
        &self,
        service: &ObjectKey,
        changes: SliceChanges,
    ) -> Result<(), Error> {
        let api = self.client.api::<EndpointSlice>(&service.namespace);
        for slice in &changes.create {
            match api.create(slice).await {
                Ok(created) => self.remember(service, &created),
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &changes.update {
            let updated = api.update(slice).await?;
            self.remember(service, &updated);
        }
        for slice in &changes.delete {
            let options = DeleteOptions::default().with_uid(slice.uid());
            ApiError::not_found_is_none(api.delete(slice.name(), &options).await)?;
            self.forget(service, slice.name());
        }
        Ok(())
    }
}
