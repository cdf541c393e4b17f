//! Where a cluster keeps what, and under which names in the kernel: all of it follows from the data directory.

use std::path::{Path, PathBuf};

/// The data directory of a cluster that was not told otherwise.
const DEFAULT: &str = "/var/lib/ironclad";

/// The places of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    data_dir: PathBuf,
    /// Tells the clusters of one machine apart; empty for the default one.
    suffix: String,
}

impl Place {
    /// Of this data directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let suffix = if data_dir == Path::new(DEFAULT) {
            String::new()
        } else {
            format!("-{:08x}", fnv1a(data_dir.as_os_str().as_encoded_bytes()))
        };
        Self { data_dir, suffix }
    }

    /// The data directory itself.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A file or directory in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }

    /// What need not outlive a reboot: sockets. Short, for a socket's path has 107 bytes at most.
    pub(crate) fn state_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/ironclad{}", self.suffix))
    }

    /// The socket on which the server takes local commands.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.state_dir().join("control.sock")
    }

    /// The cgroup that everything of the cluster is below.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("/ironclad{}", self.suffix)
    }

    /// That of a further node of `up --nodes`, of which there are those from 2 on.
    pub(crate) fn node(&self, number: u32) -> Self {
        Self::new(&self.file(NODES).join(number.to_string()))
    }

    /// The numbers of the further nodes that have been made.
    pub(crate) fn node_numbers(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.file(NODES)).into_iter().flatten();
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// The places of those nodes.
    pub(crate) fn nodes(&self) -> Vec<Self> {
        let numbers = self.node_numbers().into_iter();
        numbers.map(|number| self.node(number)).collect()
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }
}

/// Where the data of further nodes is.
const NODES: &str = "nodes";

/// The bridge that pods hang on.
pub(crate) const BRIDGE: &str = "ironclad0";

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
