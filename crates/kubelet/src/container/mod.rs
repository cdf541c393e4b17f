//! From a pod's spec to the runtime's messages: the sandbox's configuration and each container's.

mod config;
mod dns;
mod hosts;
mod sandbox;
mod security;

pub use config::{ConfigError, ContainerInputs, container_config};
pub use dns::{HostResolver, parse_resolv_conf, pod_dns};
pub use hosts::{hosts_file, pod_hostname};
pub use sandbox::{SandboxInputs, sandbox_config};
pub use security::{container_security, sandbox_security, verify_run_as_non_root};
