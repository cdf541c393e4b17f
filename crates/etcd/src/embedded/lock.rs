//! One process, one data directory: an advisory lock (`flock`) on a file in it, released by the kernel however the process ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use super::error::OpenError;

/// Holds the directory until dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if it is absent, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        make_durably(dir).map_err(|error| OpenError::io("making", dir, error))?;
        let path = dir.join("LOCK");
        let failed = |error| OpenError::io("locking", &path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid: Option<u32> = pid.trim().parse().ok();
                let holder = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                return Err(OpenError::Locked {
                    dir: dir.to_owned(),
                    holder,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // Only for the message above: a full disk must not keep the store from being read.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Makes a directory and those above it; what is written into it later must not be lost with its name.
pub(super) fn make_durably(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    std::fs::create_dir_all(dir)?;
    for made in missing {
        let parent = made
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
