//! RuntimeClass: a pod of a class has the class's overhead, and goes where the class runs.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const RUNTIME_CLASSES: GroupResource = GroupResource::new("node.k8s.io", "runtimeclasses");

pub(super) struct RuntimeClass {
    reader: Arc<dyn ObjectReader>,
}

impl RuntimeClass {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }

    async fn class(&self, admission: &Admission<'_>) -> Result<Option<Arc<Object>>, Status> {
        let name = admission
            .new_object()
            .map(|pod| lookup::text(pod, &["spec", "runtimeClassName"]))
            .unwrap_or_default();
        if name.is_empty() || !admission.is("", "pods") {
            return Ok(None);
        }
        let found = match self.reader.get(&RUNTIME_CLASSES, "", name) {
            Some(found) => Some(found),
            None => self.reader.get_fresh(&RUNTIME_CLASSES, "", name).await?,
        };
        let missing =
            || admission.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"));
        found.map(Some).ok_or_else(missing)
    }
}

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(class) = self.class(admission).await? else {
            return Ok(());
        };
        if let Some(overhead) = lookup::map(&class, &["overhead", "podFixed"]) {
            let given = admission
                .new_object()
                .and_then(|pod| lookup::map(pod, &["spec", "overhead"]));
            if given.is_some_and(|given| given != overhead) {
                return Err(admission.forbidden(
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                ));
            }
            let overhead = overhead.clone();
            if let Some(pod) = admission.object.as_deref_mut() {
                lookup::set(pod, &["spec", "overhead"], overhead);
            }
        }
        let selector: Vec<_> = lookup::map(&class, &["scheduling", "nodeSelector"])
            .into_iter()
            .flatten()
            .collect();
        for (key, value) in selector {
            let given = admission
                .new_object()
                .and_then(|pod| lookup::value(pod, &["spec", "nodeSelector", key]));
            if given.is_some_and(|given| given != value) {
                return Err(admission.forbidden(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    given.and_then(serde_json::Value::as_str).unwrap_or_default()
                )));
            }
            if let Some(pod) = admission.object.as_deref_mut() {
                lookup::set(pod, &["spec", "nodeSelector", key], value.clone());
            }
        }
        let tolerations = lookup::list(&class, &["scheduling", "tolerations"]);
        if let Some(pod) = admission.object.as_deref_mut()
            && !tolerations.is_empty()
        {
            let own = lookup::list_mut(pod, &["spec"], "tolerations");
            let new: Vec<_> = tolerations
                .iter()
                .filter(|toleration| !own.contains(toleration))
                .cloned()
                .collect();
            own.extend(new);
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") {
            return Ok(());
        }
        let Some(pod) = admission.new_object() else {
            return Ok(());
        };
        let class = self.class(admission).await?;
        let defined = class.as_deref();
        let defined = defined.and_then(|class| lookup::map(class, &["overhead", "podFixed"]));
        let refusal = match (defined, lookup::map(pod, &["spec", "overhead"])) {
            (None, Some(_)) => {
                "Pod Overhead set without corresponding RuntimeClass defined Overhead"
            }
            (Some(defined), given) if given != Some(defined) => {
                "Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            }
            _ => return Ok(()),
        };
        Err(admission.forbidden(format!("pod rejected: {refusal}")))
    }
}
