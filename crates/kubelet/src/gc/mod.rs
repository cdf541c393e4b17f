//! What is done now and then to keep the node's disk and memory: images nobody uses, logs that grow, directories of pods that are no
//! more, and the eviction of pods when all else did not help.

mod eviction;
mod images;
mod logs;
mod orphans;

pub use eviction::EvictionManager;
pub use images::ImageGc;
pub use logs::LogRotation;
pub use orphans::remove_orphans;
