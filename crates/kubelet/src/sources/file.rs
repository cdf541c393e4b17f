//! Static pods: manifests in a directory, read again whenever the kernel says that something changed there.
//!
//! Their uid is a hash of node and manifest, so that the same file is the same pod after a restart, and a changed file another one.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base::Clock;
use k8s_openapi::{
    api::core::v1::{Pod, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use thiserror::Error;
use tokio::{net::unix::pipe, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{PodUpdate, Source};
use crate::pod::{CONFIG_HASH, CONFIG_SEEN, CONFIG_SOURCE, fnv1a, uid};

/// A manifest larger than this is a mistake.
const MAX_BYTES: u64 = 10 << 20;
/// Editors write in several steps; what follows within this time is one change.
const SETTLE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(5);

/// Why a manifest makes no pod.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// It is not YAML or JSON.
    #[error("invalid YAML: {0}")]
    Yaml(String),
    /// It is not a pod.
    #[error("invalid pod: {0}")]
    Pod(#[from] serde_json::Error),
    /// It is something else.
    #[error("{0}")]
    Invalid(String),
}

/// Tells pods of `directory` into `updates` until cancelled.
pub async fn watch_manifests(
    directory: PathBuf,
    node_name: String,
    clock: Clock,
    updates: mpsc::Sender<PodUpdate>,
    cancel: CancellationToken,
) {
    let work = async {
        let mut known = HashMap::new();
        loop {
            if let Err(why) = follow(&directory, &node_name, &clock, &updates, &mut known).await {
                warn!(path = %directory.display(), error = %why, "cannot watch the directory of static pods");
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let _ = cancel.run_until_cancelled(work).await;
}

async fn follow(
    directory: &Path,
    node_name: &str,
    clock: &Clock,
    updates: &mpsc::Sender<PodUpdate>,
    known: &mut HashMap<String, Arc<Pod>>,
) -> io::Result<()> {
    let mut first = true;
    // Watched first, read then: nothing falls between the two.
    let watch = watch(directory)?;
    loop {
        let now: HashMap<_, _> = read_directory(directory, node_name, clock)?
            .into_iter()
            .map(|pod| (uid(&pod).to_owned(), pod))
            .collect();
        let mut changes = Vec::new();
        for (uid, pod) in known.iter().filter(|(uid, _)| !now.contains_key(*uid)) {
            tracing::info!(uid, "manifest of a static pod is gone or changed");
            changes.push(PodUpdate::Remove(pod.clone()));
        }
        changes.extend(
            now.iter()
                .filter(|(uid, _)| !known.contains_key(*uid))
                .map(|(_, pod)| PodUpdate::Set(pod.clone())),
        );
        *known = now;
        if std::mem::take(&mut first) {
            changes.push(PodUpdate::Synced(Source::File));
        }
        for change in changes {
            if updates.send(change).await.is_err() {
                return Ok(());
            }
        }
        changed(&watch).await?;
        tokio::time::sleep(SETTLE).await;
    }
}

/// An inotify descriptor is read like a pipe, which is the one sort of descriptor that tokio polls without `unsafe`.
fn watch(directory: &Path) -> io::Result<pipe::Receiver> {
    fs::create_dir_all(directory)?;
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let changes = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&fd, directory, changes)?;
    pipe::Receiver::from_owned_fd_unchecked(fd)
}

/// Waits for events and forgets what they were: the directory is read as a whole.
async fn changed(watch: &pipe::Receiver) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        watch.readable().await?;
        match watch.try_read(&mut buffer) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The pods of a directory; files whose names begin with a dot are not manifests, and those that make no pod are told in the log.
fn read_directory(directory: &Path, node_name: &str, clock: &Clock) -> io::Result<Vec<Arc<Pod>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.is_file() {
            files.insert(path.clone(), read_file(&path, node_name, clock));
        }
    }
    let mut pods = Vec::new();
    for (path, outcome) in files {
        match outcome {
            Ok(pod) => pods.push(Arc::new(pod)),
            Err(why) => error!(path = %path.display(), error = %why, "cannot use manifest"),
        }
    }
    Ok(pods)
}

fn read_file(path: &Path, node_name: &str, clock: &Clock) -> Result<Pod, ManifestError> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(ManifestError::Invalid(format!(
            "larger than {MAX_BYTES} bytes"
        )));
    }
    parse_manifest(
        &fs::read_to_string(path)?,
        &path.to_string_lossy(),
        node_name,
        clock,
    )
}

/// Makes a pod of a manifest: with defaults that the API server would have set, named after the node, with a uid of its own.
pub fn parse_manifest(
    text: &str,
    path: &str,
    node_name: &str,
    clock: &Clock,
) -> Result<Pod, ManifestError> {
    let value: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| ManifestError::Yaml(error.to_string()))?;
    if value["kind"] != "Pod" || value["apiVersion"] != "v1" {
        return Err(ManifestError::Invalid(format!(
            "not a v1 Pod but {} {}",
            value["apiVersion"], value["kind"]
        )));
    }
    let mut pod: Pod = serde_json::from_value(value)?;
    let spec = pod.spec.get_or_insert_default();
    if spec.containers.is_empty() {
        return Err(ManifestError::Invalid(
            "spec.containers: Required value".to_owned(),
        ));
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(ManifestError::Invalid(
            "metadata.name: Required value".to_owned(),
        ));
    }
    pod.metadata.name = Some(format!("{name}-{}", node_name.to_lowercase()));
    pod.metadata
        .namespace
        .get_or_insert_with(|| "default".to_owned());
    spec.node_name = Some(node_name.to_owned());
    spec.restart_policy
        .get_or_insert_with(|| "Always".to_owned());
    spec.dns_policy
        .get_or_insert_with(|| "ClusterFirst".to_owned());
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        container
            .termination_message_path
            .get_or_insert_with(|| "/dev/termination-log".to_owned());
        container
            .termination_message_policy
            .get_or_insert_with(|| "File".to_owned());
    }
    // A static pod belongs to its node and stays, whatever befalls the node.
    let tolerates_all = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    spec.tolerations.get_or_insert_default().push(tolerates_all);
    let hash = manifest_hash(node_name, path, text);
    pod.metadata.uid.get_or_insert_with(|| hash.clone());
    let now = clock.now();
    pod.metadata.creation_timestamp = Some(Time(now));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(CONFIG_HASH.to_owned(), hash);
    annotations.insert(CONFIG_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(CONFIG_SEEN.to_owned(), now.to_string());
    Ok(pod)
}

/// 128 bits of FNV-1a, in hexadecimal as upstream's MD5 has it.
fn manifest_hash(node_name: &str, path: &str, text: &str) -> String {
    (0..4)
        .map(|part| {
            format!(
                "{:08x}",
                fnv1a(format!("{part}\0{node_name}\0{path}\0{text}").as_bytes())
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: x}]}\n";

    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let pod = parse_manifest(MANIFEST, "/m/web.yaml", "Node1", &clock).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web-node1"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        assert!(crate::pod::is_static(&pod));
        assert_eq!(uid(&pod).len(), 32);
        let again = parse_manifest(MANIFEST, "/m/web.yaml", "Node1", &clock).unwrap();
        assert_eq!(uid(&pod), uid(&again), "the same after a restart");
        let other =
            parse_manifest(&MANIFEST.replace('x', "z"), "/m/web.yaml", "Node1", &clock).unwrap();
        assert_ne!(uid(&pod), uid(&other));
        for wrong in [
            "kind: Pod",
            "{",
            "apiVersion: v1\nkind: Service\n",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n",
        ] {
            assert!(parse_manifest(wrong, "/m", "n", &clock).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn changes_of_the_directory_are_told() {
        let directory = std::env::temp_dir().join(format!("static-pods-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("web.yaml"), MANIFEST).unwrap();
        let (sender, mut updates) = mpsc::channel(8);
        let cancel = CancellationToken::new();
        let watching = watch_manifests(
            directory.clone(),
            "n".to_owned(),
            Clock::system(),
            sender,
            cancel.clone(),
        );
        let check = async {
            let Some(PodUpdate::Set(first)) = updates.recv().await else {
                panic!("no pod")
            };
            let Some(PodUpdate::Synced(Source::File)) = updates.recv().await else {
                panic!("all is said")
            };
            fs::write(directory.join("web.yaml"), MANIFEST.replace('x', "z")).unwrap();
            let Some(PodUpdate::Remove(gone)) = updates.recv().await else {
                panic!("the old one goes")
            };
            assert_eq!(uid(&gone), uid(&first));
            let Some(PodUpdate::Set(_)) = updates.recv().await else {
                panic!("the new one comes")
            };
            fs::remove_file(directory.join("web.yaml")).unwrap();
            let Some(PodUpdate::Remove(_)) = updates.recv().await else {
                panic!("it goes")
            };
            cancel.cancel();
        };
        let both = Box::pin(async { tokio::join!(watching, check) });
        tokio::time::timeout(Duration::from_secs(10), both)
            .await
            .expect("the kernel tells of changes");
        fs::remove_dir_all(directory).unwrap();
    }
}
