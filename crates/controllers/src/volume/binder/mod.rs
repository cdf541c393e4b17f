//! The PersistentVolume binder: finds volumes for claims, binds both, and reclaims volumes whose claims are gone.
//!
//! [`plan`] decides. Volumes are made by external provisioners, which are called by an annotation of the claim; of the volumes that Kubernetes
//! knows itself, those on a node's `/tmp` (hostPath) are deleted here, as upstream's do, others are marked as failed.

mod matching;
mod plan;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use client::{
    Api, ApiError, Event, EventType, Informer, Object as _, ObjectKey, Workqueue, reference,
};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod},
    storage::v1::StorageClass,
};

use crate::{
    context::ControllerContext,
    pods,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use self::plan::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, ClaimStep, PROVISIONED_BY, Surroundings, Told, VolumeStep,
    plan_claim, plan_volume,
};
use super::pod_claims::{self, CLAIM_INDEX, by_claim};

pub(crate) const NAME: &str = "persistentvolume-binder-controller";
/// Tell a provisioner that it is meant.
const PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

struct Binder {
    ctx: ControllerContext,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    claim_queue: Workqueue<ObjectKey>,
    volume_queue: Workqueue<ObjectKey>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let binder = Arc::new(Binder {
        claims: ctx.informers.informer(),
        volumes: ctx.informers.informer(),
        classes: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        claim_queue: ctx.queue("claims"),
        volume_queue: ctx.queue("volumes"),
        ctx: ctx.clone(),
    });
    binder.pods.add_index(CLAIM_INDEX, by_claim);
    queue_changes(&ctx, NAME, &binder.claims, &binder.claim_queue);
    queue_changes(&ctx, NAME, &binder.volumes, &binder.volume_queue);
    watch_claims(&ctx, &binder);
    watch_volumes(&ctx, &binder);
    watch_pods(&ctx, &binder);
    // One worker each: two claims at once would want the same volume.
    let claims = Arc::new(Claims(binder.clone()));
    run_workers(&ctx, NAME, 1, &binder.claim_queue, claims);
    let queue = binder.volume_queue.clone();
    run_workers(&ctx, NAME, 1, &queue, Arc::new(Volumes(binder)));
}

/// A claim that goes releases its volume.
fn watch_claims(ctx: &ControllerContext, binder: &Arc<Binder>) {
    let queue = binder.volume_queue.clone();
    on_events(ctx, NAME, &binder.claims, move |event| {
        let name = event
            .object()
            .and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            queue.add(ObjectKey::new("", &name));
        }
    });
}

/// A volume that comes, goes or becomes free may concern a claim: the one it is for, or any that waits.
fn watch_volumes(ctx: &ControllerContext, binder: &Arc<Binder>) {
    let this = binder.clone();
    on_events(ctx, NAME, &binder.volumes, move |event| {
        let Some(volume) = event.object() else {
            return;
        };
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        if let Some(claim) = claim {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            let key = ObjectKey::new(part(&claim.namespace), part(&claim.name));
            this.claim_queue.add(key);
        } else if !matches!(event, Event::Deleted(_)) {
            this.queue_waiting();
        } else {
            let name = volume.name();
            for claim in this.claims.store().list() {
                let spec = claim.spec.as_ref();
                if spec.and_then(|spec| spec.volume_name.as_deref()) == Some(name) {
                    this.claim_queue.add(claim.key());
                }
            }
        }
    });
    let this = binder.clone();
    on_events(ctx, NAME, &binder.classes, move |_| this.queue_waiting());
}

/// The first consumer of a claim has come.
fn watch_pods(ctx: &ControllerContext, binder: &Arc<Binder>) {
    let this = binder.clone();
    on_events(ctx, NAME, &binder.pods, move |event| {
        if let Event::Added(pod) = event {
            for key in pod_claims::keys(&pod) {
                let claim = this.claims.store().get_key(&key);
                if claim.is_some_and(|claim| phase(&claim) == "Pending") {
                    this.claim_queue.add(key);
                }
            }
        }
    });
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

fn volume_phase(volume: &PersistentVolume) -> &str {
    let phase = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or_default()
}

struct Claims(Arc<Binder>);
struct Volumes(Arc<Binder>);

#[async_trait]
impl Reconciler for Claims {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.0.synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        self.0.sync_claim(key).await
    }
}

#[async_trait]
impl Reconciler for Volumes {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.0.synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        self.0.sync_volume(key).await
    }
}

impl Binder {
    async fn synced(&self) {
        self.claims.has_synced().await;
        self.volumes.has_synced().await;
        self.classes.has_synced().await;
        self.pods.has_synced().await;
    }

    fn queue_waiting(&self) {
        for claim in self.claims.store().list() {
            if phase(&claim) == "Pending" {
                self.claim_queue.add(claim.key());
            }
        }
    }

    fn claims_api(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        self.ctx.client.api(namespace)
    }

    fn volumes_api(&self) -> Api<PersistentVolume> {
        self.ctx.client.api("")
    }

    async fn sync_claim(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(claim) = self.claims.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let users = self.pods.store().by_index(CLAIM_INDEX, &key.to_string());
        let waiting: Vec<String> = users
            .iter()
            .filter(|pod| !pods::is_terminal(pod) && pods::node_name(pod).is_empty())
            .map(|pod| pod.name().to_owned())
            .collect();
        let around = Surroundings {
            volumes: &self.volumes.store().list(),
            classes: &self.classes.store().list(),
            waiting_pods: &waiting,
        };
        let step = plan_claim(&claim, &around);
        let tell = |told: &Told| {
            self.ctx.recorder.event(&*claim, told.0, told.1, &*told.2);
        };
        match step {
            ClaimStep::Bind(volume) => {
                self.bind(&volume, &claim).await?;
                Ok(Next::OnEvent)
            }
            ClaimStep::Pending(told) => {
                told.iter().for_each(tell);
                self.set_claim_status(&claim, "Pending", None).await?;
                Ok(Next::After(self.ctx.config.claim_binder_sync_period))
            }
            ClaimStep::Lost(reason, message) => {
                if phase(&claim) != "Lost" {
                    self.set_claim_status(&claim, "Lost", None).await?;
                    tell(&(EventType::Warning, reason, message.to_owned()));
                }
                Ok(Next::OnEvent)
            }
            ClaimStep::SetClass(class) => {
                let mut changed = (*claim).clone();
                changed.spec.get_or_insert_default().storage_class_name = Some(class);
                self.claims_api(claim.namespace()).update(&changed).await?;
                Ok(Next::OnEvent)
            }
            ClaimStep::AskProvisioner(provisioner) => {
                self.ask_provisioner(&claim, &provisioner).await?;
                Ok(Next::After(self.ctx.config.claim_binder_sync_period))
            }
            ClaimStep::Broken(told) => {
                tell(&told);
                Err(Error::State(format!(
                    "invalid binding of claim {:?}: {}",
                    key.to_string(),
                    told.2
                )))
            }
        }
    }

    /// Names the provisioner on the claim: that is what it waits for.
    async fn ask_provisioner(
        &self,
        claim: &PersistentVolumeClaim,
        provisioner: &str,
    ) -> Result<(), Error> {
        let missing = PROVISIONER
            .iter()
            .any(|name| claim.annotation(name) != Some(provisioner));
        if missing {
            let mut changed = claim.clone();
            let annotations = changed.metadata.annotations.get_or_insert_default();
            for name in PROVISIONER {
                annotations.insert(name.to_owned(), provisioner.to_owned());
            }
            self.claims_api(claim.namespace()).update(&changed).await?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        let recorder = &self.ctx.recorder;
        recorder.event(claim, EventType::Normal, "ExternalProvisioning", message);
        Ok(())
    }

    /// Binds both, or what is left of that: the volume, its phase, the claim, its status. Each step is the next one's condition.
    async fn bind(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), Error> {
        let volume = self.bind_volume(volume, claim).await?;
        let volume = self.set_volume_phase(&volume, "Bound", None).await?;
        let mut bound = claim.clone();
        let spec = bound.spec.get_or_insert_default();
        let annotations = bound.metadata.annotations.get_or_insert_default();
        if spec.volume_name.as_deref() != Some(volume.name()) {
            spec.volume_name = Some(volume.name().to_owned());
            annotations
                .entry(BOUND_BY_CONTROLLER.to_owned())
                .or_insert_with(|| "yes".to_owned());
        }
        annotations
            .entry(BIND_COMPLETED.to_owned())
            .or_insert_with(|| "yes".to_owned());
        let bound = if bound == *claim {
            bound
        } else {
            self.claims_api(claim.namespace()).update(&bound).await?
        };
        self.set_claim_status(&bound, "Bound", Some(&volume)).await
    }

    async fn bind_volume(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<PersistentVolume, Error> {
        let mut bound = volume.clone();
        if !matching::is_bound_to(volume, claim) {
            let annotations = bound.metadata.annotations.get_or_insert_default();
            annotations
                .entry(BOUND_BY_CONTROLLER.to_owned())
                .or_insert_with(|| "yes".to_owned());
        }
        let spec = bound.spec.get_or_insert_default();
        let known = spec
            .claim_ref
            .as_ref()
            .and_then(|known| known.uid.as_deref());
        if known != Some(claim.uid()) {
            spec.claim_ref = Some(reference(claim));
        }
        if bound == *volume {
            return Ok(bound);
        }
        Ok(self.volumes_api().update(&bound).await?)
    }

    async fn set_volume_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: Option<String>,
    ) -> Result<PersistentVolume, Error> {
        if volume_phase(volume) == phase {
            return Ok(volume.clone());
        }
        let mut changed = volume.clone();
        let status = changed.status.get_or_insert_default();
        status.phase = Some(phase.to_owned());
        status.message = message;
        Ok(self.volumes_api().update_status(&changed).await?)
    }

    async fn set_claim_status(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> Result<(), Error> {
        let known = claim.status.clone().unwrap_or_default();
        let status = claim_status(&known, phase, volume);
        if status != known {
            let mut changed = claim.clone();
            changed.status = Some(status);
            self.claims_api(claim.namespace())
                .update_status(&changed)
                .await?;
        }
        Ok(())
    }

    async fn sync_volume(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(volume) = self.volumes.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let claim = self.claim_of(&volume).await?;
        match plan_volume(&volume, claim.as_deref()) {
            VolumeStep::Phase(phase) => {
                self.set_volume_phase(&volume, phase, None).await?;
            }
            VolumeStep::Reclaim => return self.reclaim(&volume).await,
            VolumeStep::Unbind => self.unbind(&volume).await?,
            VolumeStep::LookAtClaim => {
                claim
                    .iter()
                    .for_each(|claim| self.claim_queue.add(claim.key()));
            }
            VolumeStep::Mismatch(of_volume, of_claim) => {
                let recorder = &self.ctx.recorder;
                recorder.event(&*volume, EventType::Warning, "VolumeMismatch", of_volume);
                if let Some(claim) = &claim {
                    recorder.event(&**claim, EventType::Warning, "VolumeMismatch", of_claim);
                }
            }
        }
        Ok(Next::OnEvent)
    }

    /// The claim that a volume is bound to. What the informer does not know, or knows under another uid, is asked of the server: a volume
    /// must not be reclaimed because a cache is behind.
    async fn claim_of(
        &self,
        volume: &PersistentVolume,
    ) -> Result<Option<Arc<PersistentVolumeClaim>>, Error> {
        let spec = volume.spec.as_ref();
        let Some(reference) = spec.and_then(|spec| spec.claim_ref.as_ref()) else {
            return Ok(None);
        };
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let name = reference.name.as_deref().unwrap_or_default();
        let known = self.claims.store().get(namespace, name);
        let uid = reference.uid.as_deref().unwrap_or_default();
        if uid.is_empty() || known.as_ref().is_some_and(|claim| claim.uid() == uid) {
            return Ok(known);
        }
        let live = self.claims_api(namespace).get_opt(name).await?;
        Ok(live.map(Arc::new))
    }

    async fn unbind(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let mut changed = volume.clone();
        let spec = changed.spec.get_or_insert_default();
        if volume.annotation(BOUND_BY_CONTROLLER).is_some() {
            spec.claim_ref = None;
            if let Some(annotations) = &mut changed.metadata.annotations {
                annotations.remove(BOUND_BY_CONTROLLER);
            }
        } else if let Some(reference) = &mut spec.claim_ref {
            // Reserved by its maker: it stays so.
            reference.uid = None;
        }
        let changed = self.volumes_api().update(&changed).await?;
        self.set_volume_phase(&changed, "Available", None).await?;
        Ok(())
    }

    async fn reclaim(&self, volume: &PersistentVolume) -> Result<Next, Error> {
        let mut volume = volume.clone();
        if !matches!(volume_phase(&volume), "Released" | "Failed") {
            volume = self.set_volume_phase(&volume, "Released", None).await?;
        }
        let spec = volume.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        let (reason, message) = match policy {
            Some("Retain") | None => return Ok(Next::OnEvent),
            Some("Delete") => match delete_storage(&volume).await {
                Ok(Deleted::ByOthers) => return Ok(Next::OnEvent),
                Ok(Deleted::Done) => {
                    let api = self.volumes_api();
                    let deleted = api.delete(volume.name(), &Default::default()).await;
                    ApiError::not_found_is_none(deleted)?;
                    return Ok(Next::OnEvent);
                }
                Err(message) => ("VolumeFailedDelete", message),
            },
            Some("Recycle") => (
                "VolumeFailedRecycle",
                "No recycler plugin found for the volume!".to_owned(),
            ),
            Some(_) => (
                "VolumeUnknownReclaimPolicy",
                "Volume has unrecognized PersistentVolumeReclaimPolicy".to_owned(),
            ),
        };
        if volume_phase(&volume) != "Failed" {
            let failed = self
                .set_volume_phase(&volume, "Failed", Some(message.clone()))
                .await?;
            let recorder = &self.ctx.recorder;
            recorder.event(&failed, EventType::Warning, reason, message);
        }
        Ok(Next::OnEvent)
    }
}

/// Who deletes what a volume stands for.
enum Deleted {
    Done,
    ByOthers,
}

async fn delete_storage(volume: &PersistentVolume) -> Result<Deleted, String> {
    let spec = volume.spec.as_ref();
    let by = volume
        .annotation(PROVISIONED_BY)
        .filter(|by| !by.is_empty());
    let external = match by {
        Some(by) => !by.starts_with("kubernetes.io/"),
        None => spec.is_some_and(|spec| spec.csi.is_some()),
    };
    if external || volume.annotation("pv.kubernetes.io/migrated-to").is_some() {
        return Ok(Deleted::ByOthers);
    }
    let Some(host_path) = spec.and_then(|spec| spec.host_path.as_ref()) else {
        return Err(format!(
            "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
            volume.name()
        ));
    };
    let path = Path::new(&host_path.path);
    let below_tmp = path.starts_with("/tmp") && path.components().count() > 2;
    let climbs = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if !below_tmp || climbs {
        return Err(format!(
            "host_path deleter only supports /tmp/.+ but received provided {}",
            host_path.path
        ));
    }
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(Deleted::Done),
    }
}

/// A claim's status with or without a volume. Its capacity is the volume's when it becomes bound, and the resizer's after that.
fn claim_status(
    known: &PersistentVolumeClaimStatus,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> PersistentVolumeClaimStatus {
    let mut status = known.clone();
    let before = status.phase.replace(phase.to_owned());
    let Some(spec) = volume.and_then(|volume| volume.spec.as_ref()) else {
        status.access_modes = None;
        status.capacity = None;
        status.current_volume_attributes_class_name = None;
        return status;
    };
    status.access_modes = spec.access_modes.clone();
    if before.as_deref() != Some(phase) {
        status.capacity = spec.capacity.clone();
        if before.as_deref().unwrap_or("Pending") == "Pending" {
            status.current_volume_attributes_class_name = spec.volume_attributes_class_name.clone();
        }
    }
    status
}
