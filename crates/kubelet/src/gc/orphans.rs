//! Directories of pods that are no more: a kubelet that was killed in the middle of a clean-up leaves them.

use std::{collections::HashSet, fs};

use tracing::{info, warn};

use crate::{paths::Paths, volumes::tear_down_pod};

/// Removes volumes of pods that neither a worker nor the runtime knows. Only to be called once all sources have spoken.
pub fn remove_orphans(paths: &Paths, known: &HashSet<String>) {
    let Ok(entries) = fs::read_dir(paths.pods()) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(uid) = entry.file_name().into_string() else {
            continue;
        };
        if known.contains(&uid) {
            continue;
        }
        match tear_down_pod(paths, &uid) {
            Ok(()) => info!(uid, "removed the directory of a pod that is no more"),
            Err(error) => {
                warn!(uid, %error, "cannot remove the directory of a pod that is no more")
            }
        }
    }
}
