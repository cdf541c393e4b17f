//! DefaultTolerationSeconds: a pod that says nothing about it stays five minutes on a node that is not ready or cannot be reached.

use apimachinery::{Object, status::Status};
use async_trait::async_trait;
use serde_json::json;

use super::{Admission, Operation, Plugin};
use crate::lookup;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.is("", "pods")
            && let Some(pod) = admission.object.as_deref_mut()
        {
            for taint in TAINTS {
                if !tolerates(pod, taint) {
                    lookup::list_mut(pod, &["spec"], "tolerations").push(json!({
                        "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
                    }));
                }
            }
        }
        Ok(())
    }
}

fn tolerates(pod: &Object, taint: &str) -> bool {
    lookup::objects(pod, &["spec", "tolerations"]).any(|toleration| {
        let (key, effect) = (
            lookup::text(toleration, &["key"]),
            lookup::text(toleration, &["effect"]),
        );
        (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
    })
}
