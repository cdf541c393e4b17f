//! All plugins of a server, one after the other; the first refusal ends the request.

use std::sync::Arc;

use apimachinery::status::Status;

use super::{Admission, Plugin};

/// The plugins in their order.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Arc<[Arc<dyn Plugin>]>,
}

impl Chain {
    /// Of these plugins, in this order.
    pub fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self {
            plugins: plugins.into(),
        }
    }

    /// The mutating phase: each may change the object, and sees what those before it made of it. When something from outside changed it,
    /// all are asked once more, as upstream: those within for what was added, those from outside if they wish.
    pub async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        self.admit_once(admission).await?;
        if admission.reinvocation.begin() {
            self.admit_once(admission).await?;
        }
        Ok(())
    }

    async fn admit_once(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let operation = admission.operation;
        for plugin in self
            .plugins
            .iter()
            .filter(|plugin| plugin.handles(operation))
        {
            plugin.admit(admission).await?;
        }
        Ok(())
    }

    /// The validating phase, after the strategy has validated.
    pub async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        for plugin in self
            .plugins
            .iter()
            .filter(|plugin| plugin.handles(admission.operation))
        {
            plugin.validate(admission).await?;
        }
        Ok(())
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.plugins.iter().map(|plugin| plugin.name())
    }
}
