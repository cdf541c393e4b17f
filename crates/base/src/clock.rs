//! Time, injected: the machine's clock, or one that a test moves.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

/// A source of wall-clock time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Manual>>);

/// A clock that stands until it is moved, and who waits for it to move.
#[derive(Debug)]
struct Manual {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(Manual {
            now: Mutex::new(start),
            moved: Notify::new(),
        })))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(manual) => *manual.now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; the machine's does not heed it.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            {
                let mut now = manual.now.lock().unwrap_or_else(PoisonError::into_inner);
                *now = now.checked_add(by).unwrap_or(Timestamp::MAX);
            }
            manual.moved.notify_waiters();
        }
    }

    /// Waits until this clock reads `deadline` or later. On a manual clock only [`Clock::advance`] ends the wait.
    pub fn sleep_until(&self, deadline: Timestamp) -> impl Future<Output = ()> + Send + 'static {
        let clock = self.clone();
        async move {
            loop {
                let Some(manual) = &clock.0 else {
                    let left = deadline.duration_since(clock.now());
                    let Ok(left) = Duration::try_from(left) else {
                        return;
                    };
                    if left.is_zero() {
                        return;
                    }
                    tokio::time::sleep(left).await;
                    continue;
                };
                // Registered before the clock is read, so that no move falls between the two.
                let moved = manual.moved.notified();
                if clock.now() >= deadline {
                    return;
                }
                moved.await;
            }
        }
    }
}
