//! What every controller is given.

use std::{hash::Hash, sync::Arc};

use base::{Clock, TaskGroup};
use client::{Client, EventRecorder, InformerFactory, RateLimits, Workqueue, WorkqueueMetrics};

use crate::config::Config;

/// A controller's dependencies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControllerContext {
    pub(crate) client: Client,
    pub(crate) informers: InformerFactory,
    /// Already under the controller's name.
    pub(crate) recorder: EventRecorder,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) queues: WorkqueueMetrics,
    pub(crate) tasks: TaskGroup,
}

impl ControllerContext {
    /// An empty queue, counted under upstream's name of it.
    pub(crate) fn queue<T: Clone + Eq + Hash + Send + 'static>(&self, name: &str) -> Workqueue<T> {
        self.queue_with(name, RateLimits::default())
    }

    /// The same, whose failing keys come back at another pace.
    pub(crate) fn queue_with<T: Clone + Eq + Hash + Send + 'static>(
        &self,
        name: &str,
        limits: RateLimits,
    ) -> Workqueue<T> {
        Workqueue::metered(limits, &self.queues, name)
    }
}
