//! ExtendedResourceToleration: who asks for a device may go to the nodes that are kept free for it, which are tainted with the device's
//! name. Off by default.

use std::collections::BTreeSet;

use api::quota;
use apimachinery::{lookup, status::Status};
use async_trait::async_trait;
use serde_json::json;

use super::{Admission, Operation, Plugin, tolerations};

pub(super) struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") {
            return Ok(());
        }
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        let names: BTreeSet<String> = ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| lookup::objects(pod, &["spec", list]))
            .filter_map(|container| lookup::map(container, &["resources", "requests"]))
            .flat_map(|requests| requests.keys())
            .filter(|name| quota::is_extended_resource(name))
            .cloned()
            .collect();
        for name in names {
            let toleration = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
            tolerations::add_or_update(pod, toleration);
        }
        Ok(())
    }
}
