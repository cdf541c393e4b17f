//! Changes of containers, told to whoever has subscribed.

use std::sync::{Mutex, PoisonError};

use cri::{ContainerEvents, v1::ContainerEventResponse};
use tokio::sync::mpsc;

/// Events that wait for a subscriber at most. Beyond, it is cut off, and lists anew.
const BACKLOG: usize = 1024;

/// The subscribers.
#[derive(Debug, Default)]
pub(crate) struct Events {
    subscribers: Mutex<Vec<mpsc::Sender<ContainerEventResponse>>>,
}

impl Events {
    pub(crate) fn subscribe(&self) -> ContainerEvents {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    pub(crate) fn publish(&self, event: &ContainerEventResponse) {
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.try_send(event.clone()).is_ok());
    }
}
