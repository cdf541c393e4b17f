//! Why a store does not open, or a snapshot is not taken.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a store cannot be opened, saved or restored. Nothing is changed on disk when opening refuses.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another part of this one) has the directory open.
    #[error("data directory {} is in use by another process{holder}", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// Who holds it, as a phrase, or empty.
        holder: String,
    },
    /// The bytes on disk are not those that were written.
    #[error("data is damaged: {} at offset {offset}: {reason}; restore a snapshot, or the file from a copy", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A file that must be there is not.
    #[error("data is damaged: {} is missing; restore a snapshot, or the file from a copy", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The directory was written by a version of the store that this one does not know.
    #[error("data directory {} has format {found:?}, this version reads format {supported}", dir.display())]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// What its format file says.
        found: String,
        /// What is read here.
        supported: u32,
    },
    /// A restore would overwrite what is there.
    #[error("data directory {} is not empty; restore needs a new one", dir.display())]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The store has failed or is stopping, so that a snapshot cannot be taken.
    #[error("the store takes no snapshot: {0}")]
    Stopped(crate::KvError),
    /// The system refused.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(file: &Path, offset: u64, reason: &str) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            offset,
            reason: reason.to_owned(),
        }
    }
}
