//! VolumeBinding: a pod goes where its volumes can be. Bound claims keep it to nodes that their volumes allow; claims that wait for their
//! first consumer get a volume that is there, or one that is made for them, on the node that is chosen.
//!
//! What is chosen is *assumed* ([`assumed`]) from Reserve until it is seen in the API, so that no two pods are promised the same volume. PreBind
//! writes it (the volume's `claimRef`, the claim's selected node) and waits until the volume controller has bound the claims.

mod assumed;
mod binder;
mod matching;

use std::{collections::BTreeSet, sync::Arc};

use assumed::Assumed;
use async_trait::async_trait;
use jiff::SignedDuration;
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use serde::Deserialize;

use super::{Arguments, Handle, PluginError};
use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreBind, PreFilter, PreFilterResult,
        Rejection, Reserve, Verdict,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Upstream's `VolumeBindingArgs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    bind_timeout_seconds: i64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            bind_timeout_seconds: 600,
        }
    }
}

pub(super) struct VolumeBinding {
    handle: Handle,
    bind_timeout: SignedDuration,
    assumed: Arc<Assumed>,
}

/// A pod's claims by what is to be done about them.
#[derive(Clone, Default)]
struct Claims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// They wait for a pod that uses them.
    waiting: Vec<Arc<PersistentVolumeClaim>>,
}

/// What is to be done on the chosen node.
#[derive(Clone, Default)]
struct Plan {
    node: String,
    /// Volumes that are there, each with its claim.
    bindings: Vec<(String, Arc<PersistentVolumeClaim>)>,
    /// Claims for which a volume is to be made.
    provisions: Vec<Arc<PersistentVolumeClaim>>,
}

impl VolumeBinding {
    pub(super) fn new(handle: &Handle, arguments: &Arguments) -> Result<Self, PluginError> {
        let args: Args = arguments.parse()?;
        if args.bind_timeout_seconds < 0 {
            return Err(PluginError::new(
                "bindTimeoutSeconds",
                "invalid BindTimeoutSeconds, should not be a negative value",
            ));
        }
        Ok(Self {
            handle: handle.clone(),
            bind_timeout: SignedDuration::from_secs(args.bind_timeout_seconds),
            assumed: Arc::default(),
        })
    }

    fn claims(&self, pod: &PodInfo) -> Result<Claims, String> {
        let mut claims = Claims::default();
        let mut immediate = false;
        for volume in pod.spec().volumes.iter().flatten() {
            let Some(name) = pod.claim_of(volume) else {
                continue;
            };
            let is_ephemeral = volume.ephemeral.is_some();
            let Some(claim) = self.handle.listers.claims.get(&pod.namespace, &name) else {
                return Err(if is_ephemeral {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                });
            };
            check_usable(&claim, pod, is_ephemeral)?;
            if is_fully_bound(&claim) {
                claims.bound.push(claim);
            } else if self.waits(&claim)? && volume_of(&claim).is_none() {
                claims.waiting.push(claim);
            } else {
                immediate = true;
            }
        }
        if immediate {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        Ok(claims)
    }

    /// Whether a claim waits for its first consumer.
    fn waits(&self, claim: &PersistentVolumeClaim) -> Result<bool, String> {
        let name = class_of(claim);
        let class = self.handle.listers.storage_classes.get("", name);
        match class.filter(|_| !name.is_empty()) {
            None => Ok(false),
            Some(class) if class.volume_binding_mode.is_none() => Err(format!(
                "VolumeBindingMode not set for StorageClass {name:?}"
            )),
            Some(class) => Ok(waits_for_consumer(&class)),
        }
    }
}

/// Whether the claim is there for this pod.
fn check_usable(
    claim: &PersistentVolumeClaim,
    pod: &PodInfo,
    is_ephemeral: bool,
) -> Result<(), String> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
    if phase == Some("Lost") {
        let volume = volume_of(claim).unwrap_or_default();
        return Err(format!(
            "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
        ));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
    }
    let mut owners = claim.metadata.owner_references.iter().flatten();
    let is_owned = owners.any(|o| o.controller == Some(true) && o.uid == pod.uid);
    if is_ephemeral && !is_owned {
        return Err(format!(
            "PVC {}/{name} was not created for pod {} (pod is not owner)",
            pod.namespace,
            pod.key()
        ));
    }
    Ok(())
}

/// The class that a claim names; empty if none.
pub(super) fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let annotations = claim.metadata.annotations.as_ref();
    let beta = annotations.and_then(|a| a.get(BETA_CLASS));
    let spec = claim.spec.as_ref();
    beta.or_else(|| spec.and_then(|s| s.storage_class_name.as_ref()))
        .map(String::as_str)
        .unwrap_or_default()
}

/// Whether claims of a class wait for their first consumer.
pub(super) fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The volume that a claim names.
fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let name = claim.spec.as_ref()?.volume_name.as_deref();
    name.filter(|name| !name.is_empty())
}

/// Whether both sides say that they belong together.
fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_of(claim).is_some() && annotation(claim, BIND_COMPLETED).is_some()
}

fn annotation<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a str> {
    let annotations = claim.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str)
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::StorageClass,
            EventKind::PersistentVolumeClaim,
            EventKind::PersistentVolume,
            EventKind::NodeAdded,
            EventKind::NodeLabels,
            EventKind::CsiNode,
            EventKind::CsiDriver,
            EventKind::CsiStorageCapacity,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::Object(EventKind::PersistentVolumeClaim, key) => pod.has_claim(key),
            _ => true,
        }
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }
    fn pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        if pod.claim_names().next().is_none() {
            return Ok(PreFilterResult::Skip);
        }
        let claims = self
            .claims(pod)
            .map_err(|reason| Rejection::new(false, [reason]))?;
        state.write(self.name(), claims);
        Ok(PreFilterResult::AllNodes)
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(claims) = state.read::<Claims>(self.name()) else {
            return Verdict::Success;
        };
        match self.plan(claims, node) {
            Ok(_) => Verdict::Success,
            Err(reasons) => Verdict::Reject(Rejection::new(false, reasons)),
        }
    }
}

impl Reserve for VolumeBinding {
    fn reserve(&self, state: &mut CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(claims) = state.read::<Claims>(self.name()) else {
            return Verdict::Success;
        };
        match self.plan(claims, node) {
            Ok(plan) => {
                self.assumed.assume(&plan);
                state.write(self.name(), plan);
                Verdict::Success
            }
            Err(reasons) => Verdict::Reject(Rejection::new(false, reasons)),
        }
    }

    fn unreserve(&self, state: &mut CycleState, _: &PodInfo, _: &str) {
        if let Some(plan) = state.read::<Plan>(self.name()) {
            self.assumed.forget(plan);
        }
    }
}

#[async_trait]
impl PreBind for VolumeBinding {
    async fn pre_bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Verdict {
        let Some(plan) = state.read::<Plan>(self.name()) else {
            return Verdict::Success;
        };
        if plan.bindings.is_empty() && plan.provisions.is_empty() {
            return Verdict::Success;
        }
        debug_assert_eq!(plan.node, node, "the plan is that of the chosen node");
        match self.bind(pod, plan).await {
            Ok(()) => {
                self.assumed.forget(plan);
                Verdict::Success
            }
            Err(error) => Verdict::Error(error),
        }
    }
}

/// Uids or names that are taken already.
type Taken = BTreeSet<String>;

#[cfg(test)]
mod tests;
