//! Unpacked layers, one directory for each chain of layers, to be stacked by overlay.
//!
//! A directory appears under its name by a rename when it is complete. Names are the first 96 bits of the chain id: overlay takes one
//! page of options for all layers together.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    thread,
};

use linux::{
    mounts::{Propagation, mount_overlay, set_root_propagation},
    process::unshare,
    root::Root,
};
use rustix::{fs::Mode, thread::UnshareFlags};

use super::{
    content::ContentStore,
    digest::Digest,
    unpack::{Limits, apply_layer},
};

/// Layers that one overlay can stack, given the length of our names.
pub(super) const MAX_LAYERS: usize = 140;

/// The unpacked layers.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    root: PathBuf,
}

impl Snapshots {
    /// Opens the directory, making it, and removes what an interrupted unpacking has left.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)?;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with("new-"))
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Where the directories are; names are relative to it.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory's name for a chain of layers.
    pub(super) fn name(chain_id: &Digest) -> String {
        chain_id.hex()[..24].to_owned()
    }

    /// Whether it is unpacked.
    pub(super) fn has(&self, chain_id: &Digest) -> bool {
        self.root.join(Self::name(chain_id)).is_dir()
    }

    /// Unpacks what is missing of a chain. Blocks; layers are verified against their `diff_ids`.
    pub(super) fn unpack(
        &self,
        content: &ContentStore,
        blobs: &[Digest],
        diff_ids: &[Digest],
        chain_ids: &[Digest],
        limits: Limits,
    ) -> io::Result<()> {
        if chain_ids.len() > MAX_LAYERS {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "image has {} layers, at most {MAX_LAYERS} can be stacked",
                    chain_ids.len()
                ),
            ));
        }
        for (index, chain_id) in chain_ids.iter().enumerate() {
            if self.has(chain_id) {
                continue;
            }
            let (Some(blob), Some(diff_id)) = (blobs.get(index), diff_ids.get(index)) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "image's layers and configuration do not fit together",
                ));
            };
            let below: Vec<String> = chain_ids[..index].iter().rev().map(Self::name).collect();
            self.unpack_one(content, blob, diff_id, chain_id, below, limits)?;
        }
        Ok(())
    }

    fn unpack_one(
        &self,
        content: &ContentStore,
        blob: &Digest,
        diff_id: &Digest,
        chain_id: &Digest,
        below: Vec<String>,
        limits: Limits,
    ) -> io::Result<()> {
        let work = self.root.join(format!("new-{}", Self::name(chain_id)));
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        for directory in ["upper", "work", "merged"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(work.join(directory))?;
        }
        let file = content.open_blob(blob)?;
        let base = self.root.clone();
        let at = work.clone();
        // A thread of its own: namespaces, working directory and umask are the thread's, and end with it.
        let unpacked = thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(move || {
                unshare(UnshareFlags::NEWNS)?;
                set_root_propagation(Propagation::Slave)?;
                rustix::process::umask(Mode::empty());
                let root = if below.is_empty() {
                    at.join("upper")
                } else {
                    rustix::process::chdir(&base)?;
                    let text = |name: &str| at.join(name).to_string_lossy().into_owned();
                    mount_overlay(&below, &text("upper"), &text("work"), &text("merged"))?;
                    at.join("merged")
                };
                apply_layer(file, &Root::open(&root)?, limits)
            })?;
        let result = unpacked
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("unpacking panicked")))
            .and_then(|found| {
                if found == *diff_id {
                    return Ok(());
                }
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("layer {blob} unpacks to {found}, expected {diff_id}"),
                ))
            });
        if let Err(error) = result {
            let _ = fs::remove_dir_all(&work);
            return Err(io::Error::new(
                error.kind(),
                format!("unpack layer {blob}: {error}"),
            ));
        }
        match fs::rename(work.join("upper"), self.root.join(Self::name(chain_id))) {
            // Somebody else was quicker, with the same.
            Err(_) if self.has(chain_id) => {}
            result => result?,
        }
        fs::remove_dir_all(&work)
    }

    /// Removes every directory that is not of these.
    pub(super) fn retain(&self, names: &std::collections::HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if names.contains(&name) || name.starts_with("new-") {
                continue;
            }
            // Out of sight first, so that nobody takes a half-removed one.
            let doomed = self.root.join(format!("new-gone-{name}"));
            fs::rename(entry.path(), &doomed)?;
            fs::remove_dir_all(doomed)?;
        }
        Ok(())
    }
}
