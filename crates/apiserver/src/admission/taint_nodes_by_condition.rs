//! TaintNodesByCondition: a new node takes no pods before it has said that it is ready.

use apimachinery::status::Status;
use async_trait::async_trait;
use serde_json::json;

use super::{Admission, Operation, Plugin};
use crate::lookup;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.is("", "nodes")
            && let Some(node) = admission.object.as_deref_mut()
        {
            let tainted = lookup::objects(node, &["spec", "taints"]).any(|taint| {
                lookup::text(taint, &["key"]) == NOT_READY
                    && lookup::text(taint, &["effect"]) == EFFECT
            });
            if !tainted {
                lookup::list_mut(node, &["spec"], "taints")
                    .push(json!({"key": NOT_READY, "effect": EFFECT}));
            }
        }
        Ok(())
    }
}
