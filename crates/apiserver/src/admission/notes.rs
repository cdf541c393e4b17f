//! What plugins have to say beside yes and no: warnings for the client, annotations for the audit log. Plugins of the validating phase
//! share the request, so that notes are taken through a shared reference.

use std::sync::{Mutex, PoisonError};

/// Warnings and audit annotations of one phase.
#[derive(Debug, Default)]
pub struct Notes {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<Vec<(String, String)>>,
}

impl Notes {
    /// Warns the client.
    pub fn warn(&self, warning: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.push(warning.into());
    }

    /// Tells the audit log.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let mut annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        annotations.push((key.into(), value.into()));
    }

    /// All of them, which are gone then: warnings, then annotations.
    pub fn take(&self) -> (Vec<String>, Vec<(String, String)>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (
            std::mem::take(&mut *warnings),
            std::mem::take(&mut *annotations),
        )
    }
}
