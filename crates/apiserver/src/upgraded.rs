//! What a request holds whose connection is upgraded: it lasts until the connection ends, not until its answer has been sent.

use std::sync::{Arc, Mutex, PoisonError};

/// A place in the answer (in its extensions) that whoever joins the connections makes and keeps, and that the pipeline fills.
#[derive(Clone, Default)]
pub(crate) struct Upgraded(Arc<Mutex<Option<Box<dyn Send>>>>);

impl Upgraded {
    /// Keeps this until the last of its owners is gone.
    pub(crate) fn keep(&self, held: impl Send + 'static) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Box::new(held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_goes_with_the_last_owner() {
        let held = Arc::new(());
        let connection = Upgraded::default();
        connection.clone().keep(Arc::clone(&held));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(connection);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
