//! A disk that does as it is told: the machine's, until a fault is set.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::embedded::{Disk, DiskFile, FileSystem};

/// What goes wrong. It goes on going wrong until another is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// `sync` fails; the bytes have been written, and are lost or not.
    Sync,
    /// Nothing more fits: a write is cut off after so many bytes.
    Full(usize),
    /// Files cannot be created.
    Create,
}

/// See the module's head. Clones share the fault.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    fault: Arc<Mutex<Fault>>,
    syncs: Arc<AtomicU64>,
}

impl FaultyDisk {
    /// A disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this goes wrong.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How many times files have been synced.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            file,
            disk: self.clone(),
        })
    }
}

fn refused(errno: rustix::io::Errno) -> io::Error {
    errno.into()
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.fault() == Fault::Create {
            return Err(refused(rustix::io::Errno::NOSPC));
        }
        FileSystem.create(path).map(|file| self.file(file))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        FileSystem.append(path).map(|file| self.file(file))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        FileSystem.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FileSystem.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        FileSystem.list(dir)
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    disk: FaultyDisk,
}

impl DiskFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.fault() {
            Fault::Full(room) if room < bytes.len() => {
                self.file.append(&bytes[..room])?;
                Err(refused(rustix::io::Errno::NOSPC))
            }
            _ => self.file.append(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        match self.disk.fault() {
            Fault::Sync => Err(refused(rustix::io::Errno::IO)),
            _ => self.file.sync(),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}
