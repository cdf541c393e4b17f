//! The store: the `Kv` trait, the embedded engine with its write-ahead log, the client of an external etcd v3 cluster.

mod kv;

pub use kv::*;
