//! What the other servers serve, for this server's discovery: learnt from the answers to probes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::Object;
use serde_json::{Value, json};

use super::{Aggregator, Remote, Remotes};
use crate::lookup;

/// One group and version of another server, as discovery lists it.
#[derive(Clone, Debug)]
pub(crate) struct RemoteVersion {
    /// `example.com`
    pub(crate) group: String,
    /// `v1`
    pub(crate) version: String,
    /// Highest first.
    pub(crate) group_priority: i64,
    /// Highest first.
    pub(crate) version_priority: i64,
    /// Its resources, as the aggregated form has them.
    pub(crate) resources: Arc<Vec<Value>>,
    /// Whether that was said lately.
    pub(crate) fresh: bool,
}

/// What was last heard of each group and version.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Moves with each change.
    generation: u64,
    /// By the name of the APIService.
    resources: HashMap<String, Arc<Vec<Value>>>,
    /// What was made of the above, and of which APIServices.
    made: Option<(u64, Arc<Remotes>, Arc<Vec<RemoteVersion>>)>,
}

impl Discovered {
    /// Takes in the discovery document of an APIService's group and version.
    pub(super) fn learn(&self, api_service: &str, document: &Object) {
        let resources = aggregated(document);
        let mut state = self.lock();
        let known = state.resources.get(api_service);
        if known.is_some_and(|known| **known == resources) {
            return;
        }
        state.generation += 1;
        state
            .resources
            .insert(api_service.to_owned(), Arc::new(resources));
    }

    /// Forgets all APIServices but these.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let before = state.resources.len();
        state.resources.retain(|name, _| keep(name));
        state.generation += u64::from(state.resources.len() != before);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Aggregator {
    /// What the other servers serve, in order of priority. The same pointer as long as nothing changes.
    pub(crate) fn remote_versions(&self) -> Arc<Vec<RemoteVersion>> {
        let remotes = self.remotes.get();
        let mut state = self.discovered.lock();
        let generation = state.generation;
        if let Some((of, from, made)) = &state.made
            && *of == generation
            && Arc::ptr_eq(from, &remotes)
        {
            return Arc::clone(made);
        }
        let mut in_order: Vec<&Arc<Remote>> = remotes.by_version.values().collect();
        in_order.sort_by(|a, b| a.before(b));
        let versions: Vec<RemoteVersion> = in_order
            .into_iter()
            .map(|remote| RemoteVersion {
                group: remote.group.clone(),
                version: remote.version.clone(),
                group_priority: remote.group_priority,
                version_priority: remote.version_priority,
                resources: state
                    .resources
                    .get(&remote.name)
                    .cloned()
                    .unwrap_or_default(),
                fresh: remote.available,
            })
            .collect();
        let versions = Arc::new(versions);
        state.made = Some((generation, remotes, Arc::clone(&versions)));
        versions
    }
}

/// The resources of an `APIResourceList` in the aggregated form: subresources stand in their resource.
fn aggregated(document: &Object) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    let listed = || lookup::objects(document, &["resources"]);
    let kind = |entry: &Object| {
        let text = |field: &str| lookup::text(entry, &[field]).to_owned();
        json!({"group": text("group"), "version": text("version"), "kind": text("kind")})
    };
    for entry in listed() {
        let name = lookup::text(entry, &["name"]);
        if name.contains('/') {
            continue;
        }
        let namespaced = lookup::flag(entry, &["namespaced"]).unwrap_or(false);
        let mut resource = json!({
            "resource": name, "responseKind": kind(entry),
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": lookup::text(entry, &["singularName"]), "verbs": lookup::list(entry, &["verbs"]),
        });
        for field in ["shortNames", "categories"] {
            let names = lookup::list(entry, &[field]);
            if !names.is_empty() {
                resource[field] = names.to_vec().into();
            }
        }
        let subresources: Vec<Value> = listed()
            .filter_map(|sub| {
                let (of, subresource) = lookup::text(sub, &["name"]).split_once('/')?;
                (of == name).then(|| {
                    json!({
                        "subresource": subresource, "responseKind": kind(sub), "verbs": lookup::list(sub, &["verbs"]),
                    })
                })
            })
            .collect();
        if !subresources.is_empty() {
            resource["subresources"] = subresources.into();
        }
        resources.push(resource);
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresources_stand_in_their_resource() {
        let document = json!({"resources": [
            {"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get", "list"]},
            {"name": "nodes/status", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get"]},
        ]});
        let resources = aggregated(document.as_object().unwrap());
        assert_eq!(resources.len(), 1);
        assert_eq!(resources[0]["scope"], "Cluster");
        assert_eq!(resources[0]["subresources"][0]["subresource"], "status");
        assert!(resources[0].get("shortNames").is_none());
    }
}
