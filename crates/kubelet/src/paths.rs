//! Where things of a pod lie on the disk, in upstream's layout under the kubelet's root and the directory of pod logs.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::{name, namespace, uid};

/// The kubelet's directories.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
    logs: PathBuf,
}

impl Paths {
    /// Under these two.
    pub fn new(root: impl Into<PathBuf>, logs: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            logs: logs.into(),
        }
    }

    /// `<root>`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `<root>/pods`, with a directory for each pod, named by uid.
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// `<root>/pods/<uid>`.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// `<root>/pods/<uid>/etc-hosts`.
    pub fn etc_hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// `<root>/pods/<uid>/userns`: the ids of the pod's user namespace.
    pub fn user_namespace(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("userns")
    }

    /// `<root>/pods/<uid>/resources.json`: what was granted to the pod and its containers.
    pub fn resources(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("resources.json")
    }

    /// `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<volume>`.
    pub fn volume(&self, uid: &str, plugin: &str, volume: &str) -> PathBuf {
        self.pod(uid)
            .join("volumes")
            .join(format!("kubernetes.io~{plugin}"))
            .join(volume)
    }

    /// `<root>/pods/<uid>/volumes`.
    pub fn volumes(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volumes")
    }

    /// `<root>/pods/<uid>/volume-subpaths`: bind mounts of subPaths.
    pub fn subpaths(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volume-subpaths")
    }

    /// `<root>/pods/<uid>/containers/<name>`: termination messages.
    pub fn container(&self, uid: &str, container: &str) -> PathBuf {
        self.pod(uid).join("containers").join(container)
    }

    /// The directory of all pods' logs.
    pub fn all_logs(&self) -> &Path {
        &self.logs
    }

    /// `<logs>/<namespace>_<name>_<uid>`.
    pub fn pod_logs(&self, pod: &Pod) -> PathBuf {
        self.logs
            .join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
    }

    /// `<logs>/<namespace>_<name>_<uid>/<container>/<n>.log`.
    pub fn container_log(&self, pod: &Pod, container: &str, restart_count: u32) -> PathBuf {
        self.pod_logs(pod)
            .join(container_log_name(container, restart_count))
    }
}

/// `<container>/<n>.log`, relative to the pod's log directory.
pub fn container_log_name(container: &str, restart_count: u32) -> String {
    format!("{container}/{restart_count}.log")
}
