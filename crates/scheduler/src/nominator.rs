//! Nominations: pods without a node for which preemption is making room on one. Others of lower or equal priority leave that room alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::pod_info::PodInfo;

/// Which pods wait for which node. Bounded by the pods without a node.
#[derive(Debug, Default)]
pub(crate) struct Nominator {
    by_node: HashMap<String, BTreeMap<String, Arc<PodInfo>>>,
    node_of: HashMap<String, String>,
}

impl Nominator {
    /// The pods that wait for `node`.
    pub(crate) fn on(&self, node: &str) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.by_node
            .get(node)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The node that a pod waits for.
    pub(crate) fn node_of(&self, uid: &str) -> Option<&str> {
        self.node_of.get(uid).map(String::as_str)
    }

    /// The pod waits for `node` from now on.
    pub(crate) fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.withdraw(&pod.uid);
        self.node_of.insert(pod.uid.clone(), node.to_owned());
        self.by_node
            .entry(node.to_owned())
            .or_default()
            .insert(pod.uid.clone(), pod);
    }

    /// The pod waits for no node any more. Answers whether it did.
    pub(crate) fn withdraw(&mut self, uid: &str) -> bool {
        let Some(node) = self.node_of.remove(uid) else {
            return false;
        };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
        true
    }

    /// A pod without a node came or changed. Its status is believed where it says something; where it says nothing it may simply
    /// not have been written yet, so that a nomination of our own stands until the status had one and lost it.
    pub(crate) fn follow(&mut self, old: Option<&PodInfo>, new: &Arc<PodInfo>) {
        let said = |pod: &PodInfo| pod.nominated_node().map(str::to_owned);
        match (old.and_then(said), said(new)) {
            (_, Some(node)) => self.nominate(Arc::clone(new), &node),
            (Some(_), None) => {
                self.withdraw(&new.uid);
            }
            (None, None) => {
                if let Some(node) = self.node_of.get(&new.uid).cloned() {
                    self.nominate(Arc::clone(new), &node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_nomination_stands_until_the_status_had_it_and_lost_it() {
        let mut nominator = Nominator::default();
        let bare = testing::pod("a").info();
        let written = testing::pod("a").nominated("n1").info();
        nominator.nominate(Arc::clone(&bare), "n1");
        nominator.follow(Some(&bare), &bare);
        assert_eq!(nominator.node_of("uid-a"), Some("n1"));
        nominator.follow(Some(&bare), &written);
        assert_eq!(nominator.on("n1").count(), 1);
        nominator.follow(Some(&written), &bare);
        assert_eq!(nominator.node_of("uid-a"), None);
        assert_eq!(nominator.on("n1").count(), 0);
    }
}
