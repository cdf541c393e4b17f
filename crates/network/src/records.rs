//! What each sandbox was given, one file a sandbox: written before the kernel is touched and removed after, so that a crash between
//! the two leaves a record to clean up by, never an address that two pods have.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::pod_network::{PortMapping, Protocol};

/// What one sandbox has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<Port>,
}

/// A host port, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
}

impl From<&PortMapping> for Port {
    fn from(mapping: &PortMapping) -> Self {
        let protocol = match mapping.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        Self {
            protocol: protocol.to_owned(),
            host_ip: mapping.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port: mapping.host_port,
            container_port: mapping.container_port,
        }
    }
}

/// All records of the node, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    by_sandbox: BTreeMap<String, Record>,
}

impl Records {
    /// Reads what is there. A record that cannot be read is left aside: its sandbox is attached anew, as after a reboot.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut by_sandbox = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(sandbox) = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".json"))
            else {
                continue;
            };
            match fs::read(&path).map(|json| serde_json::from_slice(&json)) {
                Ok(Ok(record)) => {
                    by_sandbox.insert(sandbox.to_owned(), record);
                }
                Ok(Err(error)) => {
                    tracing::warn!(file = %path.display(), %error, "unreadable network record removed");
                    fs::remove_file(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            by_sandbox,
        })
    }

    pub(crate) fn get(&self, sandbox: &str) -> Option<&Record> {
        self.by_sandbox.get(sandbox)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.by_sandbox.iter()
    }

    /// Writes a record down. The kernel's state does not outlive a power cut, so neither need this: no fsync.
    pub(crate) fn insert(&mut self, sandbox: &str, record: Record) -> io::Result<()> {
        let json = serde_json::to_vec(&record)?;
        let temporary = self.directory.join(format!("{sandbox}.tmp"));
        fs::write(&temporary, json)?;
        fs::rename(&temporary, self.path(sandbox))?;
        self.by_sandbox.insert(sandbox.to_owned(), record);
        Ok(())
    }

    pub(crate) fn remove(&mut self, sandbox: &str) -> io::Result<()> {
        match fs::remove_file(self.path(sandbox)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.by_sandbox.remove(sandbox);
        Ok(())
    }

    fn path(&self, sandbox: &str) -> PathBuf {
        self.directory.join(format!("{sandbox}.json"))
    }
}
