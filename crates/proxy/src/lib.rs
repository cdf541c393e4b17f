//! kube-proxy: Services and EndpointSlices rendered to nftables, as diffs.
//!
//! [`service_map`] reads the API objects into plain values, [`render`] makes of them the table that should be in the kernel: both pure.
//! [`proxy`] is the shell: it waits for a change, renders, and applies the difference in one transaction. Rules stay in the
//! kernel when the process ends; connections go on.

mod conntrack;
mod health;
mod metrics;
mod proxy;
mod render;
mod service_map;

pub use health::ProxyHealth;
pub use proxy::{Config, Dependencies, ProxyError, remove_rules, run};

#[cfg(test)]
mod kernel_tests;
