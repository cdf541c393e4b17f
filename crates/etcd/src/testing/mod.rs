//! For tests: the contract every [`Kv`](crate::Kv) keeps, a disk that fails on demand, and an etcd of the machine's.
//!
//! Behind the feature `testing`; never in the binary. These functions panic where a contract is broken, as tests do.

mod contract;
mod etcd_process;
mod faulty_disk;

pub use contract::suite;
pub use etcd_process::EtcdProcess;
pub use faulty_disk::{Fault, FaultyDisk};
