//! One file a component that can run alone: upstream's flags turned into the crate's configuration.

pub(crate) mod flags;
pub(crate) mod kube_apiserver;
pub(crate) mod kube_controller_manager;
pub(crate) mod kube_proxy;
pub(crate) mod kube_scheduler;
pub(crate) mod kubelet;
pub(crate) mod node_certificates;
pub(crate) mod pod_network;
pub(crate) mod process;
pub(crate) mod serving;
pub(crate) mod serving_certificate;

/// The host's name in lower case, as nodes are named.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase()
}
