//! Children of a component: spawned into a group, cancelled together, waited for together.
//!
//! The rule of the house is that `run(config, deps, cancel)` returns after all its children have stopped; a detached
//! `tokio::spawn` cannot keep it and is banned by clippy.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// A set of tasks with one cancellation token. Cheap to clone; clones are the same group.
#[derive(Clone, Debug, Default)]
pub struct TaskGroup {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl TaskGroup {
    /// A group that is cancelled when `parent` is, and can be cancelled alone.
    pub fn new(parent: &CancellationToken) -> Self {
        Self {
            cancel: parent.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// The token that the group's tasks watch.
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Starts a task. It is expected to end soon after [`TaskGroup::token`] is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks
            .spawn(task.instrument(tracing::info_span!("task", name)));
    }

    /// Starts a task that is dropped where it stands when the group is cancelled.
    pub fn spawn_cancellable<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancel = self.cancel.clone();
        self.spawn(name, async move {
            let _ = cancel.run_until_cancelled(task).await;
        });
    }

    /// Waits until the token is cancelled and every task has ended.
    pub async fn wait(&self) {
        self.cancel.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cancels the group and waits for every task.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.wait().await;
    }
}
