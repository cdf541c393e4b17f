//! The resources of one pod that this node has promised (allocated) and those that its cgroups have (actuated), and their file.
//!
//! Upstream keeps one checkpoint for all pods; here each pod's lies in its own directory, and goes with it.

use std::{collections::BTreeMap, fs, io, path::Path};

use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::{Deserialize, Serialize};

use crate::pod::{containers, init_containers, spec};

/// Resources of a pod as a whole and of its containers by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodResources {
    /// `spec.resources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ResourceRequirements>,
    /// Of init containers and regular containers.
    #[serde(default)]
    pub containers: BTreeMap<String, ResourceRequirements>,
}

impl PodResources {
    /// What a pod's spec asks for.
    pub(super) fn of(pod: &Pod) -> Self {
        let each = |container: &Container| {
            let resources = container.resources.clone().unwrap_or_default();
            (container.name.clone(), resources)
        };
        Self {
            pod: spec(pod).resources.clone(),
            containers: containers(pod)
                .iter()
                .chain(init_containers(pod))
                .map(each)
                .collect(),
        }
    }

    /// Puts them into a pod's spec; none if it has them already.
    pub(crate) fn put_into(&self, pod: &Pod) -> Option<Pod> {
        let differs = |container: &Container| {
            self.containers
                .get(&container.name)
                .is_some_and(|own| !same(container.resources.as_ref(), Some(own)))
        };
        let changed = self.pod.is_some() && !same(spec(pod).resources.as_ref(), self.pod.as_ref())
            || containers(pod)
                .iter()
                .chain(init_containers(pod))
                .any(differs);
        if !changed {
            return None;
        }
        let mut pod = pod.clone();
        let spec = pod.spec.get_or_insert_default();
        if self.pod.is_some() {
            spec.resources.clone_from(&self.pod);
        }
        let all = spec
            .containers
            .iter_mut()
            .chain(spec.init_containers.iter_mut().flatten());
        for container in all {
            if let Some(own) = self.containers.get(&container.name) {
                container.resources = Some(own.clone());
            }
        }
        Some(pod)
    }
}

/// Whether two requirements mean the same: `1` and `1000m` do.
pub(super) fn same(a: Option<&ResourceRequirements>, b: Option<&ResourceRequirements>) -> bool {
    let list = |resources: Option<&'_ ResourceRequirements>, limits: bool| {
        let resources = resources?;
        let list = if limits {
            &resources.limits
        } else {
            &resources.requests
        };
        list.clone()
    };
    [true, false]
        .into_iter()
        .all(|limits| same_list(list(a, limits).as_ref(), list(b, limits).as_ref()))
}

fn same_list(
    a: Option<&BTreeMap<String, Quantity>>,
    b: Option<&BTreeMap<String, Quantity>>,
) -> bool {
    let empty = BTreeMap::new();
    let (a, b) = (a.unwrap_or(&empty), b.unwrap_or(&empty));
    a.len() == b.len()
        && a.iter().all(|(name, quantity)| {
            b.get(name).is_some_and(|other| {
                quantity.0 == other.0
                    || matches!(
                        (quantity.0.parse::<Amount>(), other.0.parse::<Amount>()),
                        (Ok(one), Ok(two)) if one == two
                    )
            })
        })
}

/// What is known of one pod's resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) allocated: PodResources,
    /// Of containers that were started here. One that is not there has what was allocated.
    pub(super) actuated: PodResources,
}

impl Record {
    /// Reads a record; none if there is none, or none that can be read: the pod's spec is what counts then.
    pub(super) fn load(file: &Path) -> Option<Self> {
        let bytes = fs::read(file).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(
                |error| tracing::warn!(file = %file.display(), %error, "unreadable record of resources"),
            )
            .ok()
    }

    /// Writes it; a reader finds the old one or the new one, whole.
    pub(super) fn save(&self, file: &Path) -> io::Result<()> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, file)
    }
}
