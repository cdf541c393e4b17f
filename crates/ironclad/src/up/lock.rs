//! One server a data directory: an flock on `<data-dir>/ironclad.lock`, which holds the process id of its owner. The kernel
//! releases it with the process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// The lock, held until dropped. The id in it may be stale: only a held lock says that somebody is there.
pub(crate) struct DataDirLock {
    _file: File,
}

/// Who has the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody.
    Free,
    /// The server with this process id.
    Running(i32),
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("ironclad.lock")
}

/// What is told to whoever wants a directory that another process has.
pub(super) fn in_use(data_dir: &Path, pid: i32) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is in use by process {pid}; `ironclad status` shows it, `ironclad down` stops it",
        data_dir.display()
    )
}

impl DataDirLock {
    /// Takes the directory for this process.
    pub(crate) fn take(data_dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("making the data directory {}", data_dir.display()))?;
        let path = path(data_dir);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            match read_pid(&mut file) {
                Some(pid) => return Err(in_use(data_dir, pid)),
                None => bail!("{} is in use by another process", data_dir.display()),
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }

    /// Who has the directory now.
    pub(crate) fn owner(data_dir: &Path) -> anyhow::Result<Owner> {
        let path = path(data_dir);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Owner::Free),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(Owner::Free);
        }
        Ok(read_pid(&mut file).map_or(Owner::Free, Owner::Running))
    }
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
