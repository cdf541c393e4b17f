//! Images as tar files: `docker save` archives and OCI layouts, in and out.
//!
//! What is written is both at once, as `docker save` does since version 25: an OCI layout whose blobs the Docker manifest points at.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use super::{
    digest::Digest,
    manifest::{Descriptor, ImageConfig, Index, Manifest, media_type},
    reference::Reference,
    scratch::descriptor,
    store::{ImageError, ImageRecord, Images, MAX_DOCUMENT},
};

/// Which index of an archive is believed when it has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `manifest.json`, which has names, if it is there; else `index.json`.
    Any,
    /// `index.json`.
    Oci,
}

/// Names in a layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The longest blob in an archive.
const MAX_BLOB: u64 = 64 << 30;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What an archive holds: each file's digest and length, by its path.
#[derive(Default)]
struct Contents {
    files: BTreeMap<String, (Digest, u64)>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn find(&self, path: &str) -> Result<(Digest, u64), ImageError> {
        let direct = |path: &str| self.files.get(path).cloned();
        direct(path)
            .or_else(|| {
                // Older archives link equal layers: `../<id>/layer.tar`.
                let target = self.links.get(path)?;
                let joined = Path::new(path).parent()?.join(target);
                direct(&normal(&joined)?)
            })
            .ok_or_else(|| ImageError::Invalid(format!("archive lacks {path}")))
    }
}

fn normal(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str()?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Images {
    /// Takes in every image of an archive (which may be compressed). `name` is for one that brings none.
    pub async fn import(
        &self,
        archive: impl Read + Send + 'static,
        format: ArchiveFormat,
        name: Option<String>,
    ) -> Result<Vec<ImageRecord>, ImageError> {
        let images = self.clone();
        let import = move || images.import_blocking(archive, format, name.as_deref());
        tokio::task::spawn_blocking(import)
            .await
            .unwrap_or_else(|error| Err(ImageError::Invalid(error.to_string())))
    }

    fn import_blocking(
        &self,
        archive: impl Read,
        format: ArchiveFormat,
        name: Option<&str>,
    ) -> Result<Vec<ImageRecord>, ImageError> {
        let contents = self
            .take_in(archive)
            .map_err(ImageError::io("read the archive"))?;
        let name = name.map(Reference::parse).transpose()?;
        if format == ArchiveFormat::Any && contents.files.contains_key("manifest.json") {
            return self.import_docker(&contents, name.as_ref());
        }
        if contents.files.contains_key("index.json") {
            return self.import_layout(&contents, name.as_ref());
        }
        Err(ImageError::Invalid(
            "archive has neither manifest.json nor index.json: not an image".to_owned(),
        ))
    }

    /// Stores every file as a blob. Those that no image turns out to need go with the garbage.
    fn take_in(&self, archive: impl Read) -> io::Result<Contents> {
        let mut contents = Contents::default();
        let mut archive = Archive::new(super::unpack::decompress(archive)?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let Some(path) = normal(&entry.path()?) else {
                continue;
            };
            match entry.header().entry_type() {
                EntryType::Regular => {
                    let stored = self.content().write_from(&mut entry, MAX_BLOB)?;
                    contents.files.insert(path, stored);
                }
                EntryType::Symlink => {
                    if let Some(target) = entry.link_name()? {
                        contents
                            .links
                            .insert(path, target.to_string_lossy().into_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(contents)
    }

    fn read_json<T: serde::de::DeserializeOwned>(
        &self,
        digest: &Digest,
        what: &str,
    ) -> Result<T, ImageError> {
        let text = self
            .content()
            .read(digest, MAX_DOCUMENT)
            .map_err(ImageError::io(format!("read {what}")))?;
        serde_json::from_slice(&text).map_err(ImageError::document(what))
    }

    fn import_docker(
        &self,
        contents: &Contents,
        name: Option<&Reference>,
    ) -> Result<Vec<ImageRecord>, ImageError> {
        let (digest, _) = contents.find("manifest.json")?;
        let images: Vec<DockerImage> = self.read_json(&digest, "manifest.json")?;
        let mut imported = Vec::new();
        for image in images {
            let (config, size) = contents.find(&image.config)?;
            let document: ImageConfig = self.read_json(&config, &image.config)?;
            let mut layers = Vec::new();
            for (path, diff_id) in image.layers.iter().zip(&document.rootfs.diff_ids) {
                let (digest, size) = contents.find(path)?;
                let kind = if digest == *diff_id {
                    media_type::LAYER
                } else {
                    media_type::LAYER_GZIP
                };
                layers.push(descriptor(kind, digest, size));
            }
            let manifest =
                self.write_manifest(descriptor(media_type::CONFIG, config, size), layers)?;
            let mut tags = Vec::new();
            for tag in image.repo_tags.iter().flatten() {
                tags.extend(Reference::parse(tag)?.tagged());
            }
            if tags.is_empty() {
                tags.extend(name.and_then(Reference::tagged));
            }
            imported.push(self.register(&manifest, tags, Vec::new())?);
        }
        Ok(imported)
    }

    fn import_layout(
        &self,
        contents: &Contents,
        name: Option<&Reference>,
    ) -> Result<Vec<ImageRecord>, ImageError> {
        let (digest, _) = contents.find("index.json")?;
        let index: Index = self.read_json(&digest, "index.json")?;
        let mut imported = Vec::new();
        for entry in &index.manifests {
            let manifest = self.resolve(entry)?;
            let mut tags = Vec::new();
            // A whole name, or only a tag, for which the caller's name stands.
            let written = entry
                .annotations
                .get(IMAGE_NAME)
                .or(entry.annotations.get(REF_NAME));
            match written.filter(|written| written.contains(['/', ':'])) {
                Some(written) => tags.extend(Reference::parse(written)?.tagged()),
                None => tags.extend(name.and_then(Reference::tagged)),
            }
            imported.push(self.register(&manifest, tags, Vec::new())?);
        }
        Ok(imported)
    }

    /// The manifest for this machine behind a descriptor of a layout.
    fn resolve(&self, entry: &Descriptor) -> Result<Digest, ImageError> {
        let nested = matches!(
            entry.media_type.as_str(),
            media_type::INDEX | media_type::DOCKER_LIST
        );
        if !nested {
            return Ok(entry.digest.clone());
        }
        let index: Index = self.read_json(&entry.digest, "index")?;
        let chosen = index.for_this_machine().ok_or_else(|| {
            ImageError::Invalid("archive has no image for this machine".to_owned())
        })?;
        Ok(chosen.digest.clone())
    }

    /// Writes images as one archive.
    pub async fn export(
        &self,
        names: Vec<String>,
        archive: impl Write + Send + 'static,
    ) -> Result<(), ImageError> {
        let images = self.clone();
        tokio::task::spawn_blocking(move || images.export_blocking(&names, archive))
            .await
            .unwrap_or_else(|error| Err(ImageError::Invalid(error.to_string())))
    }

    fn export_blocking(&self, names: &[String], archive: impl Write) -> Result<(), ImageError> {
        let failed = || ImageError::io("write the archive");
        let mut tar = Builder::new(archive);
        let mut written = std::collections::HashSet::new();
        let mut index = Index {
            schema_version: 2,
            media_type: media_type::INDEX.to_owned(),
            manifests: Vec::new(),
        };
        let mut docker = Vec::new();
        for name in names {
            let record = self
                .find(name)
                .ok_or_else(|| ImageError::NotFound(name.clone()))?;
            let manifest: Manifest = self.manifest(&record)?;
            let blobs = manifest.layers.iter().map(|layer| &layer.digest);
            for blob in blobs.chain([&record.id, &record.manifest]) {
                if written.insert(blob.clone()) {
                    self.append_blob(&mut tar, blob).map_err(failed())?;
                }
            }
            let size = self.content().size(&record.manifest).map_err(failed())?;
            let entry = descriptor(media_type::MANIFEST, record.manifest.clone(), size);
            if record.tags.is_empty() {
                index.manifests.push(entry.clone());
            }
            for tag in &record.tags {
                let mut named = entry.clone();
                named.annotations.insert(IMAGE_NAME.to_owned(), tag.clone());
                let short = tag.rsplit(':').next().unwrap_or_default();
                named
                    .annotations
                    .insert(REF_NAME.to_owned(), short.to_owned());
                index.manifests.push(named);
            }
            docker.push(DockerImage {
                config: blob_path(&record.id),
                repo_tags: Some(record.tags.clone()),
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
            });
        }
        let json = |what: &str, text: Result<Vec<u8>, serde_json::Error>| {
            text.map_err(ImageError::document(what))
        };
        let documents = [
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            (
                "index.json",
                json("index.json", serde_json::to_vec(&index))?,
            ),
            (
                "manifest.json",
                json("manifest.json", serde_json::to_vec(&docker))?,
            ),
        ];
        for (path, text) in documents {
            append(&mut tar, path, text.len() as u64, text.as_slice()).map_err(failed())?;
        }
        tar.into_inner()
            .and_then(|mut inner| inner.flush())
            .map_err(failed())
    }

    fn append_blob(&self, tar: &mut Builder<impl Write>, blob: &Digest) -> io::Result<()> {
        let file = self.content().open_blob(blob)?;
        append(tar, &blob_path(blob), file.metadata()?.len(), file)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn append(tar: &mut Builder<impl Write>, path: &str, size: u64, data: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    tar.append_data(&mut header, path, data)
}
