//! Which volume suits a claim, where it may be used, and where one could be made.

use std::{collections::BTreeMap, sync::Arc};

use client::{Object as _, selects};
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm},
        storage::v1::{CSIStorageCapacity, StorageClass},
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Claims, Plan, SELECTED_NODE, Taken, VolumeBinding, annotation, class_of, volume_of};
use crate::{node_info::NodeInfo, plugins::selector::matches_any_term, resource::amount};

const NODE_CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const BIND_CONFLICT: &str = "node(s) didn't find available persistent volumes to bind";
const NOT_ENOUGH_SPACE: &str = "node(s) did not have enough free storage";
const NO_SUCH_VOLUME: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// Classes of this provisioner have volumes that people make.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

impl VolumeBinding {
    /// What would have to be done on a node, or why it will not do.
    pub(super) fn plan(&self, claims: &Claims, node: &NodeInfo) -> Result<Plan, Vec<String>> {
        let mut reasons = Vec::new();
        for claim in &claims.bound {
            let volume = volume_of(claim).unwrap_or_default();
            match self.handle.listers.volumes.get("", volume) {
                None => {
                    reasons.push(NO_SUCH_VOLUME.to_owned());
                    break;
                }
                Some(volume) if !is_usable_on(&volume, node) => {
                    reasons.push(NODE_CONFLICT.to_owned());
                    break;
                }
                Some(_) => {}
            }
        }
        let mut plan = Plan {
            node: node.name.clone(),
            ..Plan::default()
        };
        if let Err(reason) = self.plan_waiting(claims, node, &mut plan) {
            reasons.push(reason);
        }
        if reasons.is_empty() {
            Ok(plan)
        } else {
            Err(reasons)
        }
    }

    fn plan_waiting(
        &self,
        claims: &Claims,
        node: &NodeInfo,
        plan: &mut Plan,
    ) -> Result<(), String> {
        let mut to_match = Vec::new();
        for claim in &claims.waiting {
            let promised = self.assumed.node_of(&claim.key());
            match promised.as_deref().or(annotation(claim, SELECTED_NODE)) {
                None => to_match.push(claim),
                Some(selected) if selected == node.name => plan.provisions.push(Arc::clone(claim)),
                Some(_) => return Err(BIND_CONFLICT.to_owned()),
            }
        }
        // The smallest first: so that they do not take the volumes that only the others need.
        to_match.sort_by_key(|claim| requested(claim));
        let mut taken = Taken::new();
        for claim in to_match {
            match self.matching_volume(claim, node, &taken) {
                Some(volume) => {
                    taken.insert(volume.name().to_owned());
                    let binding = (volume.name().to_owned(), Arc::clone(claim));
                    plan.bindings.push(binding);
                }
                None => plan.provisions.push(Arc::clone(claim)),
            }
        }
        for claim in &plan.provisions {
            self.check_provision(claim, node)?;
        }
        Ok(())
    }

    /// The volume that was made for the claim, or the smallest that suits it.
    fn matching_volume(
        &self,
        claim: &PersistentVolumeClaim,
        node: &NodeInfo,
        taken: &Taken,
    ) -> Option<Arc<PersistentVolume>> {
        let key = claim.key();
        let mut best: Option<(i64, Arc<PersistentVolume>)> = None;
        for volume in self.handle.listers.volumes.list() {
            if taken.contains(volume.name())
                || self.assumed.is_for_another(volume.name(), &key)
                || !suits(&volume, claim)
                || !is_usable_on(&volume, node)
            {
                continue;
            }
            let capacity = capacity(&volume);
            if is_meant_for(&volume, claim) {
                return Some(volume);
            }
            if is_available(&volume, claim)
                && best.as_ref().is_none_or(|(least, _)| capacity < *least)
            {
                best = Some((capacity, volume));
            }
        }
        best.map(|(_, volume)| volume)
    }

    fn check_provision(
        &self,
        claim: &PersistentVolumeClaim,
        node: &NodeInfo,
    ) -> Result<(), String> {
        let name = class_of(claim);
        let Some(class) = self.handle.listers.storage_classes.get("", name) else {
            return Err(format!("failed to find storage class {name:?}"));
        };
        let can_provision = !matches!(class.provisioner.as_str(), "" | NO_PROVISIONER);
        if !can_provision || !is_allowed_at(class.allowed_topologies.as_deref(), node) {
            return Err(BIND_CONFLICT.to_owned());
        }
        if self.has_capacity(claim, &class, node) {
            Ok(())
        } else {
            Err(NOT_ENOUGH_SPACE.to_owned())
        }
    }

    /// Whether the driver says that there is room; one that says nothing is trusted to have it.
    fn has_capacity(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        node: &NodeInfo,
    ) -> bool {
        let wanted = requested(claim);
        let driver = self.handle.listers.csi_drivers.get("", &class.provisioner);
        if wanted == 0 || driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
            return true;
        }
        let has_room = |capacity: &CSIStorageCapacity| {
            let limit = capacity.maximum_volume_size.as_ref();
            let limit = limit.or(capacity.capacity.as_ref());
            let none = BTreeMap::new();
            let labels = node.node.metadata.labels.as_ref().unwrap_or(&none);
            Some(capacity.storage_class_name.as_str()) == class.metadata.name.as_deref()
                && limit.is_some_and(|limit| amount("storage", limit) >= wanted)
                && capacity
                    .node_topology
                    .as_ref()
                    .is_some_and(|topology| selects(topology, labels))
        };
        let capacities = self.handle.listers.csi_storage_capacities.list();
        capacities.iter().any(|capacity| has_room(capacity))
    }
}

/// How much a claim asks for, in bytes.
fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    storage(resources.and_then(|r| r.requests.as_ref()))
}

fn capacity(volume: &PersistentVolume) -> i64 {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()))
}

fn storage(list: Option<&BTreeMap<String, Quantity>>) -> i64 {
    list.and_then(|list| list.get("storage"))
        .map_or(0, |quantity| amount("storage", quantity))
}

/// Whether the volume's own node affinity allows a node.
pub(super) fn is_usable_on(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref())
        .is_none_or(|required| matches_any_term(&required.node_selector_terms, node))
}

/// Whether the volume names the claim.
fn is_meant_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let uid = reference.uid.as_deref().filter(|uid| !uid.is_empty());
        reference.name.as_deref() == Some(claim.name())
            && reference.namespace.as_deref() == Some(claim.namespace())
            && uid.is_none_or(|uid| uid == claim.uid())
    })
}

/// Whether the volume could be the claim's: large enough, of the same mode and class of attributes, and nobody else's.
fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(spec), Some(wanted)) = (&volume.spec, &claim.spec) else {
        return false;
    };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let class = |class: &Option<String>| class.clone().unwrap_or_default();
    (spec.claim_ref.is_none() || is_meant_for(volume, claim))
        && volume.metadata.deletion_timestamp.is_none()
        && capacity(volume) >= requested(claim)
        && mode(&spec.volume_mode) == mode(&wanted.volume_mode)
        && class(&spec.volume_attributes_class_name) == class(&wanted.volume_attributes_class_name)
}

/// Whether a volume that is nobody's may be taken for the claim.
fn is_available(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(spec), Some(wanted)) = (&volume.spec, &claim.spec) else {
        return false;
    };
    let annotations = volume.metadata.annotations.as_ref();
    let class = annotations
        .and_then(|a| a.get(super::BETA_CLASS))
        .or(spec.storage_class_name.as_ref());
    let none = BTreeMap::new();
    let labels = volume.metadata.labels.as_ref().unwrap_or(&none);
    let offered = spec.access_modes.as_deref().unwrap_or_default();
    let mut modes = wanted.access_modes.iter().flatten();
    volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available")
        && class.map(String::as_str).unwrap_or_default() == class_of(claim)
        && wanted.selector.as_ref().is_none_or(|s| selects(s, labels))
        && modes.all(|mode| offered.contains(mode))
}

/// Whether a class makes volumes for a node; terms are alternatives.
fn is_allowed_at(terms: Option<&[TopologySelectorTerm]>, node: &NodeInfo) -> bool {
    let terms = terms.unwrap_or_default();
    let matches = |term: &TopologySelectorTerm| {
        let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
        !expressions.is_empty()
            && expressions.iter().all(|expression| {
                let own = node.label(&expression.key);
                own.is_some_and(|own| expression.values.iter().any(|value| value == own))
            })
    };
    terms.is_empty() || terms.iter().any(matches)
}
