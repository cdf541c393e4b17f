//! Who owns whom, in the whole cluster: the state of the garbage collector. Pure: events in, work out.
//!
//! An owner that is referred to and was never seen has a *virtual* node. It is asked for at the server: if it is not there, its
//! dependents are looked at as if it had just been deleted.
//!
//! Worked example: Deployment D owns ReplicaSet R (blocking) owns Pod P (blocking). D is deleted with foreground propagation: the server
//! marks it and adds the finalizer. The event makes R and D work. R: its owner waits for it, and it has dependents, so it is deleted with
//! foreground propagation too. P: its owner waits, it has no dependents, so it is deleted. P's deletion makes R work: nothing blocks it
//! any longer, so its finalizer goes, and it with it. Its deletion makes D work: the same.

use std::collections::{HashMap, HashSet};

use apimachinery::gvk::GroupVersionResource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Finalizer of an owner that waits for its dependents' deletion.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to be orphaned.
pub(super) const ORPHAN: &str = "orphan";

/// `metadata.uid`.
pub(super) type Uid = String;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Seen by an informer of this resource.
    Resource(GroupVersionResource),
    /// Known from a reference alone.
    Reference {
        /// `apps/v1`
        api_version: String,
        /// Kind.
        kind: String,
    },
}

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) uid: Uid,
    pub(super) place: Place,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) dependents: HashSet<Uid>,
    pub(super) being_deleted: bool,
    pub(super) deleting_dependents: bool,
    pub(super) orphaning_dependents: bool,
}

impl Node {
    /// Whether no informer has seen it.
    pub(super) fn is_virtual(&self) -> bool {
        matches!(self.place, Place::Reference { .. })
    }

    /// Whether it holds up the deletion of `owner`.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
    }
}

/// What must be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Perhaps it is garbage, or waits for dependents no longer.
    AttemptToDelete(Uid),
    /// Its dependents must be orphaned.
    AttemptToOrphan(Uid),
}

/// The graph. Bounded by the number of objects in the cluster and their references.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
}

fn has_finalizer(metadata: &ObjectMeta, name: &str) -> bool {
    metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == name)
}

impl Graph {
    /// A node as it is now.
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The nodes that depend on `uid`.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Node> {
        let Some(node) = self.nodes.get(uid) else {
            return Vec::new();
        };
        node.dependents
            .iter()
            .filter_map(|dependent| self.nodes.get(dependent).cloned())
            .collect()
    }

    /// The uids of all nodes of a resource, to compare with a new list.
    pub(super) fn uids_of(&self, gvr: &GroupVersionResource) -> HashSet<Uid> {
        let of = |node: &&Node| matches!(&node.place, Place::Resource(resource) if resource == gvr);
        self.nodes
            .values()
            .filter(of)
            .map(|node| node.uid.clone())
            .collect()
    }

    /// An object was added or changed.
    pub(super) fn upsert(
        &mut self,
        gvr: &GroupVersionResource,
        metadata: &ObjectMeta,
    ) -> Vec<Work> {
        let Some(uid) = metadata.uid.clone().filter(|uid| !uid.is_empty()) else {
            return Vec::new();
        };
        let mut work = Vec::new();
        let owners = metadata.owner_references.clone().unwrap_or_default();
        let being_deleted = metadata.deletion_timestamp.is_some();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node {
            uid: uid.clone(),
            place: Place::Resource(gvr.clone()),
            namespace: namespace.clone(),
            name: String::new(),
            owners: Vec::new(),
            dependents: HashSet::new(),
            being_deleted: false,
            deleting_dependents: false,
            orphaning_dependents: false,
        });
        // A virtual node becomes a real one.
        node.place = Place::Resource(gvr.clone());
        node.namespace = namespace;
        node.name = metadata.name.clone().unwrap_or_default();
        node.being_deleted = being_deleted;
        let before = std::mem::replace(&mut node.owners, owners.clone());
        let orphans = being_deleted && has_finalizer(metadata, ORPHAN);
        let deletes = being_deleted && has_finalizer(metadata, FOREGROUND);
        let starts_orphaning = orphans && !node.orphaning_dependents;
        let starts_deleting = deletes && !node.deleting_dependents;
        node.orphaning_dependents = orphans;
        node.deleting_dependents = deletes;

        if before != owners {
            self.unblock_owners(&before, &owners, &mut work);
            self.link(&uid, &before, &owners, &mut work);
        }
        if starts_orphaning {
            work.push(Work::AttemptToOrphan(uid));
        } else if starts_deleting {
            let dependents = self
                .nodes
                .get(&uid)
                .into_iter()
                .flat_map(|node| node.dependents.iter().cloned());
            work.extend(dependents.map(Work::AttemptToDelete));
            work.push(Work::AttemptToDelete(uid));
        }
        work
    }

    /// Owners that a changed reference no longer blocks may go on with their deletion.
    fn unblock_owners(
        &self,
        before: &[OwnerReference],
        after: &[OwnerReference],
        work: &mut Vec<Work>,
    ) {
        for old in before
            .iter()
            .filter(|owner| owner.block_owner_deletion == Some(true))
        {
            let blocks = |owner: &OwnerReference| {
                owner.uid == old.uid && owner.block_owner_deletion == Some(true)
            };
            if !after.iter().any(blocks) && self.nodes.contains_key(&old.uid) {
                work.push(Work::AttemptToDelete(old.uid.clone()));
            }
        }
    }

    fn link(
        &mut self,
        uid: &Uid,
        before: &[OwnerReference],
        after: &[OwnerReference],
        work: &mut Vec<Work>,
    ) {
        for old in before {
            if !after.iter().any(|owner| owner.uid == old.uid) {
                self.unlink(&old.uid, uid);
            }
        }
        let namespace = self
            .nodes
            .get(uid)
            .map(|node| node.namespace.clone())
            .unwrap_or_default();
        for owner in after {
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                work.push(Work::AttemptToDelete(owner.uid.clone()));
                Node {
                    uid: owner.uid.clone(),
                    place: Place::Reference {
                        api_version: owner.api_version.clone(),
                        kind: owner.kind.clone(),
                    },
                    namespace: namespace.clone(),
                    name: owner.name.clone(),
                    owners: Vec::new(),
                    dependents: HashSet::new(),
                    being_deleted: false,
                    deleting_dependents: false,
                    orphaning_dependents: false,
                }
            });
            node.dependents.insert(uid.clone());
            // It came after its owner's deletion had begun (or the informer of its kind was slower).
            if node.deleting_dependents && !before.iter().any(|old| old.uid == owner.uid) {
                work.push(Work::AttemptToDelete(uid.clone()));
            }
        }
    }

    fn unlink(&mut self, owner: &str, dependent: &Uid) {
        if let Some(node) = self.nodes.get_mut(owner) {
            node.dependents.remove(dependent);
            // Nobody refers to it any longer, and nobody has seen it.
            if node.is_virtual() && node.dependents.is_empty() {
                self.nodes.remove(owner);
            }
        }
    }

    /// An object is gone (or a virtual one turned out not to be there).
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut work: Vec<Work> = node
            .dependents
            .into_iter()
            .map(Work::AttemptToDelete)
            .collect();
        for owner in &node.owners {
            self.unlink(&owner.uid, &node.uid);
            if self
                .nodes
                .get(&owner.uid)
                .is_some_and(|owner| owner.deleting_dependents)
            {
                work.push(Work::AttemptToDelete(owner.uid.clone()));
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const PODS: GroupVersionResource = GroupVersionResource::new("", "v1", "pods");
    const SETS: GroupVersionResource = GroupVersionResource::new("apps", "v1", "replicasets");

    fn owned(uid: &str, owners: &[(&str, bool)]) -> ObjectMeta {
        let owners = owners.iter().map(|(owner, block)| OwnerReference {
            uid: (*owner).to_owned(),
            name: (*owner).to_owned(),
            kind: "ReplicaSet".to_owned(),
            api_version: "apps/v1".to_owned(),
            block_owner_deletion: Some(*block),
            controller: Some(true),
        });
        ObjectMeta {
            uid: Some(uid.to_owned()),
            name: Some(uid.to_owned()),
            namespace: Some("ns".to_owned()),
            owner_references: Some(owners.collect()),
            ..ObjectMeta::default()
        }
    }

    fn deleted(mut metadata: ObjectMeta, finalizer: &str) -> ObjectMeta {
        metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        metadata.finalizers = Some(vec![finalizer.to_owned()]);
        metadata
    }

    fn delete(uid: &str) -> Work {
        Work::AttemptToDelete(uid.to_owned())
    }

    fn sorted(mut work: Vec<Work>) -> Vec<Work> {
        work.sort();
        work
    }

    #[test]
    fn an_owner_that_was_never_seen_is_asked_for() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.upsert(&PODS, &owned("pod", &[("set", true)])),
            [delete("set")]
        );
        assert!(graph.get("set").unwrap().is_virtual());
        assert_eq!(
            graph.upsert(&PODS, &owned("pod2", &[("set", true)])),
            [],
            "it is being asked for"
        );
        // It is not there: its dependents are looked at.
        assert_eq!(sorted(graph.remove("set")), [delete("pod"), delete("pod2")]);
    }

    #[test]
    fn a_virtual_owner_becomes_real() {
        let mut graph = Graph::default();
        graph.upsert(&PODS, &owned("pod", &[("set", true)]));
        assert_eq!(graph.upsert(&SETS, &owned("set", &[])), []);
        let set = graph.get("set").unwrap();
        assert!(!set.is_virtual() && set.dependents.contains("pod"));
        // The pod goes; the set stays without a dependent.
        assert_eq!(graph.remove("pod"), []);
        assert!(graph.get("set").unwrap().dependents.is_empty());
    }

    #[test]
    fn background_deletion_looks_at_the_dependents() {
        let mut graph = Graph::default();
        graph.upsert(&SETS, &owned("set", &[]));
        graph.upsert(&PODS, &owned("a", &[("set", true)]));
        graph.upsert(&PODS, &owned("b", &[("set", true)]));
        assert_eq!(sorted(graph.remove("set")), [delete("a"), delete("b")]);
    }

    #[test]
    fn foreground_deletion_comes_from_the_leaves() {
        let mut graph = Graph::default();
        graph.upsert(&SETS, &owned("set", &[]));
        graph.upsert(&PODS, &owned("pod", &[("set", true)]));
        let marked = deleted(owned("set", &[]), FOREGROUND);
        assert_eq!(
            sorted(graph.upsert(&SETS, &marked)),
            [delete("pod"), delete("set")]
        );
        assert_eq!(graph.upsert(&SETS, &marked), [], "it has begun already");
        assert!(graph.dependents("set")[0].blocks("set"));
        assert_eq!(
            graph.upsert(&PODS, &owned("late", &[("set", true)])),
            [delete("late")]
        );
        assert_eq!(graph.remove("pod"), [delete("set")]);
    }

    #[test]
    fn a_reference_that_no_longer_blocks_lets_the_owner_go_on() {
        let mut graph = Graph::default();
        graph.upsert(&SETS, &owned("set", &[]));
        graph.upsert(&PODS, &owned("pod", &[("set", true)]));
        assert_eq!(
            graph.upsert(&PODS, &owned("pod", &[("set", false)])),
            [delete("set")]
        );
        graph.upsert(&PODS, &owned("pod", &[("set", true)]));
        assert_eq!(graph.upsert(&PODS, &owned("pod", &[])), [delete("set")]);
        assert!(graph.get("set").unwrap().dependents.is_empty());
    }

    #[test]
    fn orphaning_is_work_of_its_own() {
        let mut graph = Graph::default();
        graph.upsert(&SETS, &owned("set", &[]));
        let work = graph.upsert(&SETS, &deleted(owned("set", &[]), ORPHAN));
        assert_eq!(work, [Work::AttemptToOrphan("set".to_owned())]);
    }

    #[test]
    fn nodes_do_not_leak() {
        let mut graph = Graph::default();
        graph.upsert(&PODS, &owned("pod", &[("never", true)]));
        graph.upsert(&PODS, &owned("pod", &[]));
        assert!(graph.get("never").is_none());
        assert_eq!(graph.uids_of(&PODS).len(), 1);
        graph.remove("pod");
        assert!(graph.nodes.is_empty());
    }
}
