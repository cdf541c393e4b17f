//! The images of this node: which there are, by which names, and everything that is done with them.
//!
//! An image is its configuration's digest. It is listed once all its blobs are there, and dies with its last name or by its id; blobs and
//! snapshots that nobody needs go in [`Images::collect_garbage`]. The list is one file, replaced as a whole.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    content::ContentStore,
    digest::Digest,
    manifest::{ImageConfig, Manifest, chain_ids},
    reference::{Reference, ReferenceError},
    registry::{Credentials, Registry, RegistryError},
    snapshots::Snapshots,
    unpack::Limits,
};

/// Larger documents are refused.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;

/// Why something with images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not a name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Nothing by that name.
    #[error("image {0:?} not found")]
    NotFound(String),
    /// From a registry.
    #[error("failed to pull image {name:?}: {source}")]
    Pull {
        /// Which.
        name: String,
        /// Why.
        source: RegistryError,
    },
    /// A document that is not what it should be.
    #[error("{what}: {source}")]
    Document {
        /// Which document.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The archive or the image itself is no good.
    #[error("{0}")]
    Invalid(String),
    /// The disk.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why not.
        source: io::Error,
    },
}

impl ImageError {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(super) fn document(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Document { what, source }
    }
}

/// An image that is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the configuration.
    pub id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Names with tags, normalised.
    pub tags: Vec<String>,
    /// Names with digests, as it was pulled.
    pub digests: Vec<String>,
    /// Bytes of all its blobs.
    pub size: u64,
    /// Never removed by garbage collection.
    pub pinned: bool,
}

/// An image, ready to be the root of a container.
#[derive(Clone, Debug)]
pub struct UnpackedImage {
    /// Which.
    pub record: ImageRecord,
    /// How it is run.
    pub config: ImageConfig,
    /// Where `lower` is.
    pub lower_base: PathBuf,
    /// Directories, topmost first.
    pub lower: Vec<String>,
}

type Records = BTreeMap<Digest, ImageRecord>;

/// The images of a node. Cheap to clone.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    pub(super) content: ContentStore,
    snapshots: Snapshots,
    registry: Registry,
    list: PathBuf,
    limits: Limits,
    records: Mutex<Records>,
    /// Held while something is unpacked or swept: a sweep must not take what is being made.
    sweeping: AsyncMutex<()>,
}

impl Images {
    /// Opens the images below `root`, making the place if need be.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let doing = || ImageError::io(format!("open images at {}", root.display()));
        let content = ContentStore::open(&root.join("content")).map_err(doing())?;
        let snapshots = Snapshots::open(&root.join("snapshots")).map_err(doing())?;
        let list = root.join("images.json");
        let records: Vec<ImageRecord> = match fs::read(&list) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(ImageError::document(list.display().to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(doing()(error)),
        };
        let records = records
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        Ok(Self(Arc::new(Inner {
            content,
            snapshots,
            registry: Registry::new(),
            list,
            limits: Limits::default(),
            records: Mutex::new(records),
            sweeping: AsyncMutex::new(()),
        })))
    }

    pub(super) fn content(&self) -> &ContentStore {
        &self.0.content
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// All images, by id.
    pub fn list(&self) -> Vec<ImageRecord> {
        self.records().values().cloned().collect()
    }

    /// The image by a name, an id, or the unambiguous beginning of one.
    pub fn find(&self, name: &str) -> Option<ImageRecord> {
        let records = self.records();
        let bare = name.strip_prefix("sha256:").unwrap_or(name);
        if let Ok(digest) = Digest::parse(&format!("sha256:{bare}")) {
            return records.get(&digest).cloned();
        }
        if let Ok(reference) = Reference::parse(name) {
            let wanted_digest = reference.digest.as_ref().map(|d| reference.with_digest(d));
            let wanted_tag = reference.tagged();
            let found = records
                .values()
                .find(|record| match (&wanted_digest, &wanted_tag) {
                    (Some(digest), _) => record.digests.contains(digest),
                    (None, Some(tag)) => record.tags.contains(tag),
                    (None, None) => false,
                });
            if let Some(record) = found {
                return Some(record.clone());
            }
        }
        let short = bare.len() >= 6 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let mut matches = records
            .values()
            .filter(|record| short && record.id.hex().starts_with(bare));
        let first = matches.next()?;
        matches.next().is_none().then(|| first.clone())
    }

    /// An image's manifest.
    pub fn manifest(&self, record: &ImageRecord) -> Result<Manifest, ImageError> {
        self.document(&record.manifest, "manifest")
    }

    /// An image's configuration.
    pub fn config(&self, record: &ImageRecord) -> Result<ImageConfig, ImageError> {
        self.document(&record.id, "configuration")
    }

    fn document<T: serde::de::DeserializeOwned>(
        &self,
        digest: &Digest,
        what: &str,
    ) -> Result<T, ImageError> {
        let text = self
            .content()
            .read(digest, MAX_DOCUMENT)
            .map_err(ImageError::io(format!("read {what} {digest}")))?;
        serde_json::from_slice(&text).map_err(ImageError::document(format!("{what} {digest}")))
    }

    /// Fetches an image from its registry; gives its id. What is here already is not fetched again.
    pub async fn pull(
        &self,
        name: &str,
        credentials: Option<Credentials>,
    ) -> Result<ImageRecord, ImageError> {
        let reference = Reference::parse(name)?;
        let pulled = self
            .0
            .registry
            .pull(self.content(), &reference, credentials)
            .await
            .map_err(|source| ImageError::Pull {
                name: name.to_owned(),
                source,
            })?;
        let digests = vec![reference.with_digest(&pulled.named)];
        let tags = reference.tagged().into_iter().collect();
        let record = self.register(&pulled.manifest, tags, digests)?;
        // Unpacked at once: a container that starts later starts quickly.
        self.unpack(&record.id).await?;
        Ok(record)
    }

    /// Lists an image whose blobs are all there. Its names are taken from whoever had them.
    pub(super) fn register(
        &self,
        manifest_digest: &Digest,
        tags: Vec<String>,
        digests: Vec<String>,
    ) -> Result<ImageRecord, ImageError> {
        let manifest: Manifest = self.document(manifest_digest, "manifest")?;
        let mut size = 0;
        for blob in manifest
            .layers
            .iter()
            .map(|layer| &layer.digest)
            .chain([&manifest.config.digest])
        {
            size += self
                .content()
                .size(blob)
                .map_err(ImageError::io(format!("find blob {blob}")))?;
        }
        let config: ImageConfig = self.document(&manifest.config.digest, "configuration")?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::Invalid(format!(
                "image {} has {} layers, but its configuration {}",
                manifest.config.digest,
                manifest.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        let mut records = self.records();
        for record in records.values_mut() {
            record.tags.retain(|tag| !tags.contains(tag));
        }
        let id = manifest.config.digest.clone();
        let record = records.entry(id.clone()).or_insert_with(|| ImageRecord {
            id: id.clone(),
            manifest: manifest_digest.clone(),
            tags: Vec::new(),
            digests: Vec::new(),
            size,
            pinned: false,
        });
        record.tags.extend(tags);
        for digest in digests {
            if !record.digests.contains(&digest) {
                record.digests.push(digest);
            }
        }
        let record = record.clone();
        self.save(&records)?;
        Ok(record)
    }

    fn save(&self, records: &Records) -> Result<(), ImageError> {
        let list = &self.0.list;
        let records: Vec<&ImageRecord> = records.values().collect();
        let text =
            serde_json::to_vec_pretty(&records).map_err(ImageError::document("images.json"))?;
        let temporary = list.with_extension("tmp");
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            io::Write::write_all(&mut file, &text)?;
            file.sync_data()?;
            fs::rename(&temporary, list)
        };
        write().map_err(ImageError::io(format!("write {}", list.display())))
    }

    /// Gives an image one more name.
    pub fn tag(&self, name: &str, tag: &str) -> Result<(), ImageError> {
        let record = self
            .find(name)
            .ok_or_else(|| ImageError::NotFound(name.to_owned()))?;
        let tag = Reference::parse(tag)?.tagged();
        self.register(&record.manifest, tag.into_iter().collect(), Vec::new())?;
        Ok(())
    }

    /// Keeps an image from garbage collection, or not.
    pub fn pin(&self, name: &str, pinned: bool) -> Result<(), ImageError> {
        let found = self
            .find(name)
            .ok_or_else(|| ImageError::NotFound(name.to_owned()))?;
        let mut records = self.records();
        if let Some(record) = records.get_mut(&found.id) {
            record.pinned = pinned;
        }
        self.save(&records)
    }

    /// Removes an image with all its names. Its blobs go with the next garbage collection. Idempotent.
    pub fn remove(&self, name: &str) -> Result<bool, ImageError> {
        let Some(found) = self.find(name) else {
            return Ok(false);
        };
        let mut records = self.records();
        records.remove(&found.id);
        self.save(&records)?;
        Ok(true)
    }

    /// Makes sure that every layer is unpacked, and says how to stack them.
    pub async fn unpack(&self, id: &Digest) -> Result<UnpackedImage, ImageError> {
        let record = self
            .records()
            .get(id)
            .cloned()
            .ok_or_else(|| ImageError::NotFound(id.to_string()))?;
        let config = self.config(&record)?;
        let chain = chain_ids(&config.rootfs.diff_ids);
        let snapshots = &self.0.snapshots;
        if !chain.iter().all(|chain_id| snapshots.has(chain_id)) {
            let manifest = self.manifest(&record)?;
            let blobs: Vec<Digest> = manifest.layers.into_iter().map(|l| l.digest).collect();
            let (images, diff_ids, ids) =
                (self.clone(), config.rootfs.diff_ids.clone(), chain.clone());
            let _sweeping = self.0.sweeping.lock().await;
            tokio::task::spawn_blocking(move || {
                let inner = &images.0;
                inner
                    .snapshots
                    .unpack(&inner.content, &blobs, &diff_ids, &ids, inner.limits)
            })
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(ImageError::io(format!("unpack image {id}")))?;
        }
        let mut lower: Vec<String> = chain.iter().rev().map(Snapshots::name).collect();
        if lower.is_empty() {
            lower.push(self.empty_layer()?);
        }
        let lower_base = snapshots.root().to_owned();
        Ok(UnpackedImage {
            record,
            config,
            lower_base,
            lower,
        })
    }

    /// Overlay needs a layer, and an image can have none.
    fn empty_layer(&self) -> Result<String, ImageError> {
        const NAME: &str = "empty";
        let path = self.0.snapshots.root().join(NAME);
        fs::create_dir_all(path).map_err(ImageError::io("make an empty layer"))?;
        Ok(NAME.to_owned())
    }

    /// Removes blobs and snapshots that no image has and that none of the `in_use` directories are.
    pub async fn collect_garbage(&self, in_use: HashSet<String>) -> Result<(), ImageError> {
        let _sweeping = self.0.sweeping.lock().await;
        let mut names = in_use;
        names.insert("empty".to_owned());
        let mut blobs = HashSet::new();
        for record in self.list() {
            let manifest = self.manifest(&record)?;
            blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            blobs.extend([record.manifest.clone(), record.id.clone()]);
            let config = self.config(&record)?;
            names.extend(
                chain_ids(&config.rootfs.diff_ids)
                    .iter()
                    .map(Snapshots::name),
            );
        }
        let images = self.clone();
        tokio::task::spawn_blocking(move || {
            let inner = &images.0;
            for blob in inner.content.list()? {
                if !blobs.contains(&blob) {
                    inner.content.remove(&blob)?;
                }
            }
            inner.snapshots.retain(&names)
        })
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(ImageError::io("collect garbage"))
    }

    /// Bytes and inodes used below this directory's images, and the directory.
    pub async fn usage(&self) -> (u64, u64, PathBuf) {
        let root = self
            .0
            .snapshots
            .root()
            .parent()
            .unwrap_or(Path::new("/"))
            .to_owned();
        let at = root.clone();
        let (bytes, inodes) = tokio::task::spawn_blocking(move || disk_usage(&at))
            .await
            .unwrap_or_default();
        (bytes, inodes, root)
    }
}

/// Bytes on the disk and inodes of everything below a directory; what vanishes meanwhile is left out. A file with several names counts
/// once.
pub(crate) fn disk_usage(root: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut inodes) = (0, 0);
    let mut linked = HashSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            if let Ok(entries) = fs::read_dir(&path) {
                pending.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
            }
        } else if metadata.nlink() > 1 && !linked.insert(metadata.ino()) {
            continue;
        }
        bytes += metadata.blocks() * 512;
        inodes += 1;
    }
    (bytes, inodes)
}
