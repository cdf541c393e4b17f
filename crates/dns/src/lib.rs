//! Cluster DNS: a chain of plugins, of which `kubernetes` and `forward` are two.
//!
//! As CoreDNS: a query goes down the chain until a plugin answers it, and the order of the chain is the order of the list in
//! [`server::run`]. What the cluster's zone holds is a pure function of the API's objects ([`zone`]), after the specification
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

mod forward;
mod kubernetes;
mod plugin;
mod server;
mod zone;

pub use plugin::{Answer, Plugin, Question};
pub use server::{Config, Dependencies, DnsError, run};
