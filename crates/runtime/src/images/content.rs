//! The content store: blobs by digest, written once, never changed.
//!
//! A blob appears under its name by a rename, after its bytes were verified and are on the disk. What is being written stands in
//! `ingest/` under the same name and is taken up again where it ended, also by another process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::digest::{Digest, Hasher};

/// The store.
#[derive(Clone, Debug)]
pub struct ContentStore {
    root: PathBuf,
}

impl ContentStore {
    /// Opens the store at `root`, making it.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        fs::create_dir_all(root.join("ingest"))?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// A blob's length in bytes.
    pub fn size(&self, digest: &Digest) -> io::Result<u64> {
        Ok(fs::metadata(self.path(digest))?.len())
    }

    /// Opens a blob.
    pub fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// Reads a small blob, verifying it once more.
    pub fn read(&self, digest: &Digest, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(limit + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("blob {digest} is too large"),
            ));
        }
        if Digest::of(&bytes) != *digest {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("blob {digest} is damaged"),
            ));
        }
        Ok(bytes)
    }

    /// Stores bytes.
    pub fn write(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.has(&digest) {
            return self
                .write_from(bytes, bytes.len() as u64)
                .map(|(digest, _)| digest);
        }
        Ok(digest)
    }

    /// Stores what a reader gives, whose digest is not known before; at most `limit` bytes.
    pub fn write_from(&self, reader: impl Read, limit: u64) -> io::Result<(Digest, u64)> {
        let name = self.root.join("ingest").join(format!(
            "unnamed-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let result = self.write_unnamed(&name, reader, limit);
        if result.is_err() {
            let _ = fs::remove_file(&name);
        }
        result
    }

    fn write_unnamed(
        &self,
        name: &Path,
        reader: impl Read,
        limit: u64,
    ) -> io::Result<(Digest, u64)> {
        let mut file = File::create(name)?;
        let mut reader = super::digest::HashingReader::new(reader, limit);
        let size = io::copy(&mut reader, &mut file)?;
        let digest = reader.finish()?;
        file.sync_data()?;
        fs::rename(name, self.path(&digest))?;
        Ok((digest, size))
    }

    /// Begins, or goes on, writing a blob. One at a time: `WouldBlock` while another does, `AlreadyExists` when it is there.
    pub fn ingest(&self, digest: &Digest) -> io::Result<Ingest> {
        let partial = self.root.join("ingest").join(digest.hex());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&partial)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        if self.has(digest) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut hasher = Hasher::default();
        let mut written = 0;
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            written += read as u64;
        }
        Ok(Ingest {
            digest: digest.clone(),
            file,
            hasher,
            written,
            partial,
            target: self.path(digest),
        })
    }

    /// Removes a blob. Idempotent.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All blobs.
    pub fn list(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(self.root.join("blobs/sha256"))? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str()
                && let Ok(digest) = Digest::parse(&format!("sha256:{name}"))
            {
                digests.push(digest);
            }
        }
        Ok(digests)
    }
}

/// A blob being written.
pub struct Ingest {
    digest: Digest,
    file: File,
    hasher: Hasher,
    written: u64,
    partial: PathBuf,
    target: PathBuf,
}

impl Ingest {
    /// Bytes that are there already.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Forgets them.
    pub fn restart(&mut self) -> io::Result<()> {
        use io::Seek as _;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = Hasher::default();
        self.written = 0;
        Ok(())
    }

    /// Appends.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Verifies and makes the blob appear. Content of another digest is thrown away.
    pub fn commit(self) -> io::Result<()> {
        let found = self.hasher.finish();
        if found != self.digest {
            fs::remove_file(&self.partial)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("content has digest {found}, expected {}", self.digest),
            ));
        }
        self.file.sync_data()?;
        fs::rename(self.partial, self.target)
    }
}
