//! The store: the `Kv` trait, the embedded engine with its write-ahead log, the client of an external etcd v3 cluster, and the
//! etcd v3 gRPC API over the embedded engine.

pub mod embedded;
mod kv;
mod proto;
pub mod remote;
mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use embedded::Embedded;
pub use kv::*;
pub use remote::Remote;
pub use server::serve;
