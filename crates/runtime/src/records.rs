//! What is written down of sandboxes and containers, so that a runtime that starts anew knows them all.
//!
//! One directory each: the configuration as the CRI gave it (`config.pb`), our own facts (`record.json`), and for a container how it ended
//! (`exit.json`, written by its shim). A directory without a readable record is one that was never finished, and is removed.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use prost::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    images::Digest,
    shim::spec::{ExitRecord, ResolvedUser},
};

/// Our own facts of a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// Nanoseconds since the epoch.
    pub(crate) created_at: i64,
    /// As asked for.
    pub(crate) runtime_handler: String,
    /// Set when it was ready; before, it is to be undone.
    pub(crate) complete: bool,
    /// Whether it is to run. False once it was stopped.
    pub(crate) ready: bool,
    /// Its addresses.
    pub(crate) ips: Vec<IpAddr>,
}

/// Our own facts of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// Of which sandbox.
    pub(crate) sandbox_id: String,
    /// Image.
    pub(crate) image_id: Digest,
    /// Name by which the image was found, with a digest if it has one.
    pub(crate) image_ref: String,
    /// Directories of its layers.
    pub(crate) lower: Vec<String>,
    /// Signal that asks it to end.
    pub(crate) stop_signal: i32,
    /// Where its output goes.
    pub(crate) log_path: Option<PathBuf>,
    /// Its cgroup.
    pub(crate) cgroup: String,
    /// Nanoseconds since the epoch.
    pub(crate) created_at: i64,
    /// Set once it was started.
    pub(crate) started: Option<Started>,
    /// Why it could not be started.
    pub(crate) failure: Option<String>,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// First process.
    pub(crate) pid: i32,
    /// Nanoseconds since the epoch.
    pub(crate) at: i64,
    /// As whom it runs.
    pub(crate) user: ResolvedUser,
}

/// The directory of one sandbox or container.
#[derive(Clone, Debug)]
pub(crate) struct RecordDir(PathBuf);

impl RecordDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
    }

    pub(crate) fn save_config(&self, config: &impl Message) -> io::Result<()> {
        replace(&self.path("config.pb"), &config.encode_to_vec())
    }

    pub(crate) fn load_config<T: Message + Default>(&self) -> io::Result<T> {
        T::decode(fs::read(self.path("config.pb"))?.as_slice()).map_err(io::Error::other)
    }

    pub(crate) fn save(&self, record: &impl Serialize) -> io::Result<()> {
        replace(&self.path("record.json"), &serde_json::to_vec(record)?)
    }

    pub(crate) fn load<T: DeserializeOwned>(&self) -> io::Result<T> {
        Ok(serde_json::from_slice(&fs::read(
            self.path("record.json"),
        )?)?)
    }

    pub(crate) fn exit_path(&self) -> PathBuf {
        self.path("exit.json")
    }

    /// How the container ended, if its shim has seen it.
    pub(crate) fn load_exit(&self) -> Option<ExitRecord> {
        serde_json::from_slice(&fs::read(self.exit_path()).ok()?).ok()
    }

    pub(crate) fn save_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        replace(&self.exit_path(), &serde_json::to_vec(exit)?)
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, path)
}

/// The directories below one, by their names.
pub(crate) fn list(root: &Path) -> io::Result<Vec<(String, RecordDir)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, RecordDir::new(entry.path())));
        }
    }
    Ok(found)
}
