//! DenyServiceExternalIPs: who may create Services could draw the traffic of any address to himself (CVE-2020-8554); with this plugin no
//! Service gets external addresses that it does not have. Off by default.

use apimachinery::{lookup, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};

pub(super) struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "services") {
            return Ok(());
        }
        let addresses = |service| lookup::list(service, &["spec", "externalIPs"]);
        let new = admission.new_object().map(addresses).unwrap_or_default();
        let old = admission.old_object.map(addresses).unwrap_or_default();
        if new.iter().all(|address| old.contains(address)) {
            return Ok(());
        }
        Err(admission.forbidden("Use of external IPs is denied by admission control"))
    }
}
