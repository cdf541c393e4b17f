//! What some resources do around a write that the generic registry knows nothing of: allocating addresses and ports, releasing
//! them.
//!
//! A hook runs after the object is complete and valid and right before it is stored. It may fill in fields; what it has taken is a
//! [`Reservation`], kept if the write succeeds and given back if it does not, or if the request is dropped.

use apimachinery::{Object, status::Status};
use async_trait::async_trait;

/// What a hook took. Dropped without [`Reservation::commit`], it must be given back.
pub trait Reservation: Send + Sync {
    /// The write stands.
    fn commit(self: Box<Self>);
}

/// Does nothing: for hooks that took nothing.
#[derive(Debug, Default)]
pub struct NoReservation;

impl Reservation for NoReservation {
    fn commit(self: Box<Self>) {}
}

/// Around the writes of one resource.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Before a new object is stored. With `dry_run` nothing may be taken for good.
    async fn begin_create(
        &self,
        object: &mut Object,
        dry_run: bool,
    ) -> Result<Box<dyn Reservation>, Status>;

    /// Before a changed object is stored.
    async fn begin_update(
        &self,
        new: &mut Object,
        old: &Object,
        dry_run: bool,
    ) -> Result<Box<dyn Reservation>, Status>;

    /// After an object is gone.
    async fn after_delete(&self, object: &Object);
}
