//! A process that a test started.

use std::process::Child;

/// It ends with its owner.
#[derive(Debug)]
pub struct Running(Child);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test then says more clearly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
