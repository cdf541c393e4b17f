//! Images made from nothing but files: the example's own image, and those of tests.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use tar::{Builder, EntryType, Header};

use super::{
    digest::Digest,
    manifest::{
        Descriptor, ImageConfig, Manifest, RootFs, RunConfig, media_type, this_architecture,
    },
    reference::Reference,
    store::{ImageError, ImageRecord, Images},
};

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of this machine.
    File(PathBuf),
    /// A link to this path.
    Link(String),
    /// No file: a directory.
    Directory,
}

/// A file of an image.
#[derive(Clone, Debug)]
pub struct ScratchFile {
    /// Path in the image.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// Contents.
    pub source: Source,
}

impl ScratchFile {
    /// A program, copied from this machine.
    pub fn program(path: impl Into<String>, from: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o755,
            source: Source::File(from.into()),
        }
    }

    /// A symbolic link.
    pub fn link(path: impl Into<String>, to: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o777,
            source: Source::Link(to.into()),
        }
    }

    /// A text file.
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            source: Source::Bytes(text.into().into_bytes()),
        }
    }
}

impl Images {
    /// Makes an image of one layer from files; the same files give the same image. Directories on the way to a file are made.
    pub async fn build_scratch(
        &self,
        name: &str,
        files: Vec<ScratchFile>,
        config: RunConfig,
    ) -> Result<ImageRecord, ImageError> {
        let reference = Reference::parse(name)?;
        let images = self.clone();
        let build = move || images.build_blocking(&reference, &files, config);
        tokio::task::spawn_blocking(build)
            .await
            .unwrap_or_else(|error| Err(ImageError::Invalid(error.to_string())))
    }

    fn build_blocking(
        &self,
        reference: &Reference,
        files: &[ScratchFile],
        config: RunConfig,
    ) -> Result<ImageRecord, ImageError> {
        let failed = || ImageError::io(format!("build image {reference}"));
        let (reader, writer) = io::pipe().map_err(failed())?;
        let content = self.content().clone();
        let stored = std::thread::spawn(move || content.write_from(reader, u64::MAX));
        let written = write_layer(io::BufWriter::with_capacity(1 << 16, writer), files);
        let (layer, size) = stored
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("storing the layer panicked")))
            .map_err(failed())?;
        written.map_err(failed())?;
        let (architecture, _) = this_architecture();
        let config = ImageConfig {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            created: None,
            config,
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![layer.clone()],
            },
        };
        let layer = descriptor(media_type::LAYER, layer, size);
        let manifest = self.write_image(&config, vec![layer])?;
        self.register(
            &manifest,
            reference.tagged().into_iter().collect(),
            Vec::new(),
        )
    }

    /// Stores a configuration and the manifest that joins it to layers; gives the manifest's digest.
    fn write_image(
        &self,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
    ) -> Result<Digest, ImageError> {
        let text = serde_json::to_vec(config).map_err(ImageError::document("configuration"))?;
        let config = self
            .content()
            .write(&text)
            .map_err(ImageError::io("store the configuration"))?;
        self.write_manifest(
            descriptor(media_type::CONFIG, config, text.len() as u64),
            layers,
        )
    }

    /// Stores a manifest.
    pub(super) fn write_manifest(
        &self,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<Digest, ImageError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::MANIFEST.to_owned(),
            config,
            layers,
        };
        let text = serde_json::to_vec(&manifest).map_err(ImageError::document("manifest"))?;
        self.content()
            .write(&text)
            .map_err(ImageError::io("store the manifest"))
    }
}

/// Points at a blob of ours.
pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    }
}

fn write_layer(writer: impl Write, files: &[ScratchFile]) -> io::Result<()> {
    let mut tar = Builder::new(writer);
    let mut made = std::collections::HashSet::new();
    for file in files {
        let path = file.path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            if made.insert(path[..end].to_owned()) {
                append(
                    &mut tar,
                    &path[..end],
                    EntryType::Directory,
                    0o755,
                    0,
                    io::empty(),
                )?;
            }
        }
        match &file.source {
            Source::Bytes(bytes) => {
                let size = bytes.len() as u64;
                append(
                    &mut tar,
                    path,
                    EntryType::Regular,
                    file.mode,
                    size,
                    bytes.as_slice(),
                )?;
            }
            Source::File(from) => {
                let source = File::open(from)?;
                let size = source.metadata()?.len();
                append(&mut tar, path, EntryType::Regular, file.mode, size, source)?;
            }
            Source::Link(target) => {
                let mut header = header(EntryType::Symlink, file.mode, 0);
                tar.append_link(&mut header, path, target)?;
            }
            Source::Directory => {
                if made.insert(path.to_owned()) {
                    append(
                        &mut tar,
                        path,
                        EntryType::Directory,
                        file.mode,
                        0,
                        io::empty(),
                    )?;
                }
            }
        }
    }
    tar.into_inner()?.flush()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    data: impl io::Read,
) -> io::Result<()> {
    tar.append_data(&mut header(kind, mode, size), path, data)
}
