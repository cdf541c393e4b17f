//! Images made of files of this machine, as archives that `ironclad image import` reads: no registry is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;

/// Programs of busybox that tests call by their names.
const APPLETS: &[&str] = &[
    "cat", "chmod", "date", "dd", "echo", "env", "false", "grep", "head", "hostname", "httpd",
    "id", "kill", "ls", "mkdir", "nc", "nslookup", "ping", "ps", "pwd", "rm", "seq", "sh", "sleep",
    "stat", "sync", "tail", "tar", "test", "top", "touch", "true", "vi", "wc", "wget", "whoami",
];

/// An image of one layer, in the bytes that a registry gives.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

impl Image {
    /// Of busybox. Debian's busybox-static must be installed.
    pub fn busybox() -> anyhow::Result<Self> {
        // Not the layer that the archive has: what a node has already is not fetched.
        let applets = [APPLETS, &["from-a-registry"]].concat();
        let layer = layer(&[(busybox()?, "bin/busybox")], &applets)?;
        let config = config(&sha256(&layer), &["/bin/sh"]).into_bytes();
        Ok(Self { config, layer })
    }
}

fn busybox() -> anyhow::Result<&'static Path> {
    ["/bin/busybox", "/usr/bin/busybox"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
        .context("no busybox: install Debian's busybox-static")
}

/// Writes a docker-archive of busybox, tagged `name`, into `directory`. Debian's busybox-static must be installed.
pub fn busybox_archive(directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    image_archive(
        directory,
        name,
        &[(busybox()?, "bin/busybox")],
        APPLETS,
        &["/bin/sh"],
    )
}

/// Writes a docker-archive with `files` (source, path in the image), links in `/bin` to busybox, and a command.
pub fn image_archive(
    directory: &Path,
    name: &str,
    files: &[(&Path, &str)],
    applets: &[&str],
    command: &[&str],
) -> anyhow::Result<PathBuf> {
    archive(directory, name, &layer(files, applets)?, command)
}

/// Writes a docker-archive of a whole file tree, all of it root's.
pub fn rootfs_archive(
    directory: &Path,
    name: &str,
    rootfs: &Path,
    command: &[&str],
) -> anyhow::Result<PathBuf> {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    layer.mode(tar::HeaderMode::Deterministic);
    layer
        .append_dir_all(".", rootfs)
        .with_context(|| format!("reading {}", rootfs.display()))?;
    archive(directory, name, &layer.into_inner()?, command)
}

/// An image of one layer.
fn archive(
    directory: &Path,
    name: &str,
    layer: &[u8],
    command: &[&str],
) -> anyhow::Result<PathBuf> {
    let digest = sha256(layer);
    let config = config(&digest, command);
    let config_name = format!("{}.json", sha256(config.as_bytes()));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }])
    .to_string();

    let path = directory.join(format!("{}.tar", name.replace(['/', ':'], "_")));
    let mut archive = tar::Builder::new(fs::File::create(&path)?);
    for (file, content) in [
        ("manifest.json", manifest.as_bytes()),
        (config_name.as_str(), config.as_bytes()),
        ("layer.tar", layer),
    ] {
        append(&mut archive, file, content, 0o644)?;
    }
    archive.into_inner()?.sync_all()?;
    Ok(path)
}

fn config(layer: &str, command: &[&str]) -> String {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Cmd": command, "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    })
    .to_string()
}

fn layer(files: &[(&Path, &str)], applets: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("root", 0o700),
    ] {
        let mut header = root_header();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        layer.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
    }
    append(
        &mut layer,
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        0o644,
    )?;
    append(
        &mut layer,
        "etc/group",
        b"root:x:0:\nnogroup:x:65534:\n",
        0o644,
    )?;
    for (source, target) in files {
        let content = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
        append(&mut layer, target, &content, 0o755)?;
    }
    for applet in applets {
        let mut header = root_header();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    content: &[u8],
    mode: u32,
) -> anyhow::Result<()> {
    let mut header = root_header();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

/// A header of a file of root's. The library leaves numbers that are not set empty, which not every reader takes for zero.
fn root_header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

pub(crate) fn sha256(data: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, data);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
