//! The two phases of admission, as the verbs call them.

use apimachinery::{Object, gvk::GroupVersionKind, status::Status};

use super::Call;
use crate::admission::{Admission, Notes, Operation, Reinvocation};

/// What is constant over both phases of one write.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    pub(super) operation: Operation,
    pub(super) kind: &'a GroupVersionKind,
    pub(super) dry_run: bool,
    pub(super) options: &'a Object,
}

impl Call<'_> {
    /// The mutating phase.
    pub(super) async fn admit(
        &self,
        gate: Gate<'_>,
        object: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let mut admission = self.admission_of(gate, object, old);
        let result = self.registry.admission().admit(&mut admission).await;
        self.pass_notes(&admission.notes);
        result
    }

    /// The validating phase.
    pub(super) async fn validate_admission(
        &self,
        gate: Gate<'_>,
        object: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let admission = self.admission_of(gate, object, old);
        let result = self.registry.admission().validate(&admission).await;
        self.pass_notes(&admission.notes);
        result
    }

    fn admission_of<'a>(
        &'a self,
        gate: Gate<'a>,
        object: Option<&'a mut Object>,
        old_object: Option<&'a Object>,
    ) -> Admission<'a> {
        Admission {
            operation: gate.operation,
            request: &self.context.info,
            kind: gate.kind,
            user: &self.context.user,
            object,
            old_object,
            dry_run: gate.dry_run,
            options: gate.options,
            notes: Notes::default(),
            reinvocation: Reinvocation::default(),
        }
    }

    fn pass_notes(&self, notes: &Notes) {
        let (warnings, annotations) = notes.take();
        for warning in warnings {
            self.context.warn(warning);
        }
        for (key, value) in annotations {
            self.context.annotate(key, value);
        }
    }
}
