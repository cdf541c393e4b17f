//! AlwaysPullImages: every image is asked for from its registry, so that nobody runs a private image merely because it is on the node
//! already. Off by default.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{FieldError, Path},
    lookup,
    status::Status,
};
use async_trait::async_trait;
use serde_json::Value;

use super::{Admission, Operation, Plugin, pod_containers};

const ALWAYS: &str = "Always";

pub(super) struct AlwaysPullImages;

/// Whether it is about a pod whose images are new.
fn concerns(admission: &Admission<'_>) -> bool {
    if !admission.is("", "pods") {
        return false;
    }
    match (admission.old_object, admission.new_object()) {
        (Some(old), Some(new)) if admission.operation == Operation::Update => {
            let before: BTreeSet<&str> = pod_containers::images(old).collect();
            pod_containers::images(new).any(|image| !before.contains(image))
        }
        (_, new) => new.is_some(),
    }
}

/// Where an image is pulled otherwise, and how.
fn others(pod: &Object) -> Vec<(Path, &str)> {
    let spec = Path::new("spec");
    let containers = pod_containers::all(pod).map(|(list, index, container)| {
        let at = spec.child(list).index(index).child("imagePullPolicy");
        (at, lookup::text(container, &["imagePullPolicy"]))
    });
    let volumes = lookup::objects(pod, &["spec", "volumes"]).enumerate();
    let volumes = volumes.filter_map(|(index, volume)| {
        let image = lookup::map(volume, &["image"])?;
        let at = spec.child("volumes").index(index).child("image");
        Some((at.child("pullPolicy"), lookup::text(image, &["pullPolicy"])))
    });
    let all = containers.chain(volumes);
    all.filter(|(_, policy)| *policy != ALWAYS).collect()
}

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !concerns(admission) {
            return Ok(());
        }
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        pod_containers::each_mut(pod, |container| {
            container.insert("imagePullPolicy".to_owned(), ALWAYS.into());
        });
        let volumes = pod.get_mut("spec").and_then(|spec| spec.get_mut("volumes"));
        for volume in volumes.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
                image.insert("pullPolicy".to_owned(), ALWAYS.into());
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(pod) = admission.new_object().filter(|_| concerns(admission)) else {
            return Ok(());
        };
        let refusals: Vec<String> = others(pod)
            .into_iter()
            .map(|(at, policy)| FieldError::not_supported(&at, policy, &[ALWAYS]))
            .map(|error| admission.forbidden(error).message)
            .collect();
        match refusals.as_slice() {
            [] => Ok(()),
            [one] => Err(Status::unclassified(one)),
            many => Err(Status::unclassified(format!("[{}]", many.join(", ")))),
        }
    }
}
