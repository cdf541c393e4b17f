//! Which ids of the node the users of a pod are that has a user namespace of its own (`hostUsers: false`, KEP-127).
//!
//! Every such pod has 65,536 ids, from 0 on inside; outside no two pods share one, and none is one of the node's first 65,536. What a pod was
//! given stands in a file in its directory, in upstream's format, is kept for as long as the directory, and is found again by the next
//! kubelet: ids that files were made with must not be another pod's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cri::v1::{IdMapping, NamespaceMode, UserNamespace};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    paths::Paths,
    pod::{spec, uid},
};

/// Ids of a pod.
const LENGTH: u32 = 65_536;

/// The file of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mappings {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// Whose ids are whose. Cheap to clone; at most one entry a pod of this node.
#[derive(Clone)]
pub struct UserNamespaces {
    paths: Paths,
    /// How many pods can have one.
    slots: u32,
    /// Slots by pod.
    taken: Arc<Mutex<BTreeMap<String, u32>>>,
}

/// Whether the pod wants a user namespace of its own.
pub fn own_users(pod: &Pod) -> bool {
    spec(pod).host_users == Some(false)
}

impl UserNamespaces {
    /// Those that an earlier kubelet gave, and room for as many pods as the node takes.
    pub fn open(paths: Paths, max_pods: u32) -> Self {
        let mut taken = BTreeMap::new();
        for entry in fs::read_dir(paths.pods()).into_iter().flatten().flatten() {
            let Ok(pod_uid) = entry.file_name().into_string() else {
                continue;
            };
            match read(&paths, &pod_uid) {
                Ok(slot) => {
                    taken.insert(pod_uid, slot);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(uid = pod_uid, %error, "invalid user namespace mappings file"),
            }
        }
        Self {
            paths,
            slots: max_pods.min(u32::MAX / LENGTH - 1),
            taken: Arc::new(Mutex::new(taken)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod's, always the same; none for a pod with the node's users. The error is a message.
    pub fn of(&self, pod: &Pod) -> Result<Option<UserNamespace>, String> {
        if !own_users(pod) {
            return Ok(None);
        }
        let mut taken = self.lock();
        let slot = match taken.get(uid(pod)) {
            Some(slot) => *slot,
            None => {
                let is_free = |slot: &u32| taken.values().all(|other| other != slot);
                let slot = (1..=self.slots).find(is_free).ok_or(
                    "user namespace: could not find an empty slot to allocate a user namespace",
                )?;
                write(&self.paths, uid(pod), slot)
                    .map_err(|error| format!("create user namespace: {error}"))?;
                taken.insert(uid(pod).to_owned(), slot);
                slot
            }
        };
        let mapping = IdMapping {
            host_id: slot * LENGTH,
            container_id: 0,
            length: LENGTH,
        };
        Ok(Some(UserNamespace {
            mode: NamespaceMode::Pod as i32,
            uids: vec![mapping],
            gids: vec![mapping],
        }))
    }

    /// Gives a pod's ids back. Its directory is gone.
    pub fn release(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
    }

    /// Gives back those of pods whose directories are gone.
    pub fn release_orphans(&self) {
        self.lock()
            .retain(|pod_uid, _| self.paths.pod(pod_uid).exists());
    }
}

fn read(paths: &Paths, pod_uid: &str) -> io::Result<u32> {
    let mappings: Mappings = serde_json::from_slice(&fs::read(paths.user_namespace(pod_uid))?)?;
    match mappings.uid_mappings.as_slice() {
        [only]
            if mappings.gid_mappings == [only.clone()]
                && (only.container_id, only.length) == (0, LENGTH)
                && only.host_id >= LENGTH
                && only.host_id % LENGTH == 0 =>
        {
            Ok(only.host_id / LENGTH)
        }
        _ => Err(io::Error::other(
            "not one mapping of 65536 ids from 0 on, the same for users and groups",
        )),
    }
}

/// On the disk before the first file is made with these ids, whatever happens to the machine.
fn write(paths: &Paths, pod_uid: &str, slot: u32) -> io::Result<()> {
    let mappings = vec![Mapping {
        host_id: slot * LENGTH,
        container_id: 0,
        length: LENGTH,
    }];
    let json = serde_json::to_vec(&Mappings {
        uid_mappings: mappings.clone(),
        gid_mappings: mappings,
    })?;
    let (directory, path) = (paths.pod(pod_uid), paths.user_namespace(pod_uid));
    fs::create_dir_all(&directory)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(pod_uid: &str, host_users: Option<bool>) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "ns", "uid": pod_uid },
            "spec": { "hostUsers": host_users, "containers": [{ "name": "c" }] },
        }))
        .unwrap()
    }

    fn first_id(users: &UserNamespaces, pod_uid: &str) -> u32 {
        let given = users.of(&pod(pod_uid, Some(false))).unwrap().unwrap();
        assert_eq!(given.uids, given.gids);
        assert_eq!(
            (given.uids[0].container_id, given.uids[0].length),
            (0, LENGTH)
        );
        given.uids[0].host_id
    }

    #[test]
    fn no_two_pods_share_ids_and_each_keeps_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), directory.path().join("logs"));
        let users = UserNamespaces::open(paths.clone(), 2);
        assert_eq!(users.of(&pod("host", None)).unwrap(), None);
        assert_eq!(users.of(&pod("host", Some(true))).unwrap(), None);
        assert_eq!(first_id(&users, "a"), LENGTH);
        assert_eq!(first_id(&users, "b"), 2 * LENGTH);
        assert_eq!(first_id(&users, "a"), LENGTH);
        assert!(users.of(&pod("c", Some(false))).is_err(), "no room");

        // The next kubelet knows; a file that says something else counts for nothing.
        fs::write(paths.user_namespace("a"), "{}").unwrap();
        let users = UserNamespaces::open(paths.clone(), 2);
        assert_eq!(first_id(&users, "b"), 2 * LENGTH);
        assert_eq!(first_id(&users, "c"), LENGTH);
        fs::remove_dir_all(paths.pod("b")).unwrap();
        users.release_orphans();
        users.release("c");
        assert_eq!(first_id(&users, "d"), LENGTH);
        assert_eq!(first_id(&users, "e"), 2 * LENGTH);
    }
}
