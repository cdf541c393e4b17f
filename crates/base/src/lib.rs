//! Clock, task groups, shutdown, logging, metrics, listening and TLS set-up: what every component stands on.

mod clock;
mod cores;
pub mod der;
mod listen;
pub mod logging;
pub mod metrics;
pub mod reload;
mod requeue;
pub mod shutdown;
mod task_group;
pub mod tls;

pub use clock::Clock;
pub use cores::half_of_cores;
pub use listen::listen;
pub use reload::Reloader;
pub use requeue::requeue;
pub use task_group::TaskGroup;
