//! What becomes of a claim, and of a volume: [`plan_claim`], [`plan_volume`]. Pure.
//!
//! A volume's `claimRef` is what binds; it is written first, and everything else follows from it. A claim whose binding was complete once
//! (annotation [`BIND_COMPLETED`]) is never bound to another volume: it is lost when its volume is.

use std::sync::Arc;

use client::{EventType, Object as _};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};

use super::matching::{self, class_of_claim, has_class, is_bound_to, modes_differ};

/// The claim was bound once.
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The binding was the controller's idea, and may be taken back.
pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Who made the volume.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The node that the scheduler chose for the first consumer.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const IS_DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// An event: type, reason, message.
pub(super) type Told = (EventType, &'static str, String);

/// What becomes of a claim.
#[derive(Debug)]
pub(super) enum ClaimStep {
    /// Bind it, or finish that.
    Bind(Arc<PersistentVolume>),
    /// It waits.
    Pending(Option<Told>),
    /// It had a volume and has it no longer.
    Lost(&'static str, &'static str),
    /// The default class is given to it.
    SetClass(String),
    /// An external provisioner of that name is to make a volume.
    AskProvisioner(String),
    /// A state that must not be, told, and tried again.
    Broken(Told),
}

/// What is known besides the claim.
pub(super) struct Surroundings<'a> {
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    pub(super) classes: &'a [Arc<StorageClass>],
    /// The names of pods that use the claim and have no node yet.
    pub(super) waiting_pods: &'a [String],
}

impl Surroundings<'_> {
    fn class(&self, name: &str) -> Option<&StorageClass> {
        let mut classes = self.classes.iter();
        classes
            .find(|class| class.name() == name)
            .map(|class| &**class)
    }

    /// Of several default classes the newest.
    fn default_class(&self) -> Option<&str> {
        let defaults = self.classes.iter().filter(|class| {
            let mut marks = IS_DEFAULT_CLASS.iter();
            marks.any(|mark| class.annotation(mark) == Some("true"))
        });
        let newest = defaults.max_by(|a, b| {
            let created = |class: &StorageClass| class.metadata.creation_timestamp.clone();
            created(a)
                .cmp(&created(b))
                .then_with(|| b.name().cmp(a.name()))
        });
        newest.map(|class| class.name())
    }
}

fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    let name = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref());
    name.unwrap_or_default()
}

/// Plans the next step of a claim.
pub(super) fn plan_claim(claim: &PersistentVolumeClaim, around: &Surroundings<'_>) -> ClaimStep {
    let named = around
        .volumes
        .iter()
        .find(|volume| volume.name() == volume_name(claim));
    if claim.annotation(BIND_COMPLETED).is_some() {
        return plan_bound(claim, named);
    }
    if volume_name(claim).is_empty() {
        return plan_unbound(claim, around);
    }
    let Some(volume) = named else {
        return ClaimStep::Pending(None);
    };
    let claimed = volume
        .spec
        .as_ref()
        .is_some_and(|spec| spec.claim_ref.is_some());
    if !claimed {
        return match matching::check(volume, claim) {
            Ok(()) => ClaimStep::Bind(Arc::clone(volume)),
            Err(problem) => {
                let message = format!(
                    "Cannot bind to requested volume {:?}: {problem}",
                    volume.name()
                );
                ClaimStep::Pending(Some((EventType::Warning, "VolumeMismatch", message)))
            }
        };
    }
    if is_bound_to(volume, claim) {
        return ClaimStep::Bind(Arc::clone(volume));
    }
    let message = format!(
        "volume {:?} already bound to a different claim.",
        volume.name()
    );
    let told = (EventType::Warning, "FailedBinding", message);
    if claim.annotation(BOUND_BY_CONTROLLER).is_some() {
        ClaimStep::Broken(told)
    } else {
        ClaimStep::Pending(Some(told))
    }
}

fn plan_bound(claim: &PersistentVolumeClaim, named: Option<&Arc<PersistentVolume>>) -> ClaimStep {
    if volume_name(claim).is_empty() {
        return ClaimStep::Lost(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    }
    let Some(volume) = named else {
        return ClaimStep::Lost(
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        );
    };
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    match reference {
        Some(reference) if reference.uid.as_deref() != Some(claim.uid()) => ClaimStep::Lost(
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        ),
        _ => ClaimStep::Bind(Arc::clone(volume)),
    }
}

fn plan_unbound(claim: &PersistentVolumeClaim, around: &Surroundings<'_>) -> ClaimStep {
    let class_name = class_of_claim(claim);
    let class = around.class(class_name).filter(|_| !class_name.is_empty());
    let delayed = class
        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    if let Some(volume) = matching::find(claim, around.volumes, delayed) {
        return ClaimStep::Bind(Arc::clone(volume));
    }
    if !has_class(claim)
        && let Some(default) = around.default_class()
    {
        return ClaimStep::SetClass(default.to_owned());
    }
    if delayed && claim.annotation(SELECTED_NODE).is_none() {
        let (reason, message) = match around.waiting_pods {
            [] => (
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding".to_owned(),
            ),
            [pod] => (
                "WaitForPodScheduled",
                format!("waiting for pod {pod} to be scheduled"),
            ),
            pods => (
                "WaitForPodScheduled",
                format!("waiting for pods {} to be scheduled", pods.join(",")),
            ),
        };
        return ClaimStep::Pending(Some((EventType::Normal, reason, message)));
    }
    if class_name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return ClaimStep::Pending(Some((
            EventType::Normal,
            "FailedBinding",
            message.to_owned(),
        )));
    }
    let failed =
        |message| ClaimStep::Pending(Some((EventType::Warning, "ProvisioningFailed", message)));
    match class {
        None => failed(format!(
            "storageclass.storage.k8s.io {class_name:?} not found"
        )),
        Some(class) if class.provisioner.starts_with("kubernetes.io/") => failed(format!(
            "no volume plugin matched name: {}",
            class.provisioner
        )),
        Some(class) => ClaimStep::AskProvisioner(class.provisioner.clone()),
    }
}

/// What becomes of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VolumeStep {
    /// It is in this phase.
    Phase(&'static str),
    /// Its claim is gone, or has another volume: it is released, and its reclaim policy holds.
    Reclaim,
    /// It was meant for a claim that got another one: free again.
    Unbind,
    /// The claim's own step completes the binding.
    LookAtClaim,
    /// It can never be this claim's: events for the volume and the claim.
    Mismatch(String, String),
}

/// Plans the next step of a volume; `claim` is the one that its `claimRef` names, if that is still there.
pub(super) fn plan_volume(
    volume: &PersistentVolume,
    claim: Option<&PersistentVolumeClaim>,
) -> VolumeStep {
    let spec = volume.spec.as_ref();
    let Some(reference) = spec.and_then(|spec| spec.claim_ref.as_ref()) else {
        return VolumeStep::Phase("Available");
    };
    let uid = reference.uid.as_deref().unwrap_or_default();
    if uid.is_empty() {
        // Reserved for a claim; the claim's step binds it.
        return VolumeStep::Phase("Available");
    }
    let Some(claim) = claim.filter(|claim| claim.uid() == uid) else {
        return VolumeStep::Reclaim;
    };
    if volume_name(claim).is_empty() {
        if modes_differ(claim, volume) {
            return VolumeStep::Mismatch(
                format!(
                    "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
                    claim.name()
                ),
                format!(
                    "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
                    volume.name()
                ),
            );
        }
        return VolumeStep::LookAtClaim;
    }
    if volume_name(claim) == volume.name() {
        return VolumeStep::Phase("Bound");
    }
    let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if volume.annotation(PROVISIONED_BY).is_some() && policy == Some("Delete") {
        VolumeStep::Reclaim
    } else {
        VolumeStep::Unbind
    }
}
