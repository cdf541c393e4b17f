//! AlwaysAdmit and AlwaysDeny: everything passes, nothing passes. Both deprecated upstream, both still there for whoever names them.

use apimachinery::status::Status;
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};

pub(super) struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }

    fn handles(&self, _operation: Operation) -> bool {
        false
    }
}

pub(super) struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        self.validate(admission).await
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        Err(admission.forbidden("admission control is denying all modifications"))
    }
}
