//! What the server serves: aggregated discovery in two requests, or the older documents, one a group version.

use std::collections::{HashMap, HashSet};

use apimachinery::gvk::{GroupVersion, GroupVersionKind, GroupVersionResource};
use serde::Deserialize;

use crate::{
    client::{Client, Request, decode},
    error::ApiError,
};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One served resource in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResource {
    /// Where it is served.
    pub gvr: GroupVersionResource,
    /// The kind of its objects.
    pub gvk: GroupVersionKind,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// `create delete deletecollection get list patch update watch`.
    pub verbs: Vec<String>,
    /// Whether this is the version of its group that the server prefers.
    pub preferred: bool,
}

impl ApiResource {
    /// Whether all of `verbs` are there.
    pub fn supports(&self, verbs: &[&str]) -> bool {
        verbs
            .iter()
            .all(|verb| self.verbs.iter().any(|have| have == verb))
    }
}

/// All that is served, without subresources.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// In the server's order: groups, versions by preference, resources.
    pub resources: Vec<ApiResource>,
    /// Group versions whose resources are not known now (an aggregated server that is down): absence proves nothing there.
    pub failed: HashSet<GroupVersion>,
}

impl Discovery {
    /// Each resource once, in the preferred version of its group (or the best version that has it).
    pub fn preferred(&self) -> Vec<&ApiResource> {
        let mut best: HashMap<(&str, &str), &ApiResource> = HashMap::new();
        let mut order = Vec::new();
        for resource in &self.resources {
            let key = (&*resource.gvr.group, &*resource.gvr.resource);
            match best.get(&key) {
                None => {
                    order.push(key);
                    best.insert(key, resource);
                }
                Some(known) if !known.preferred && resource.preferred => {
                    best.insert(key, resource);
                }
                Some(_) => {}
            }
        }
        order.iter().map(|key| best[key]).collect()
    }

    /// The resource of a kind.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<&ApiResource> {
        let group_version = GroupVersion::parse(api_version)?;
        self.resources
            .iter()
            .find(|r| r.gvk.kind == kind && r.gvk.group_version() == group_version)
    }
}

impl Client {
    /// Asks the server for all it serves. Groups that it cannot tell about now are in [`Discovery::failed`].
    pub async fn discover(&self) -> Result<Discovery, ApiError> {
        let mut discovery = Discovery::default();
        for root in ["/api", "/apis"] {
            let body = self
                .request(Request {
                    accept: AGGREGATED,
                    ..Request::get(root)
                })
                .await?;
            let document: Root = decode(root, serde_json::from_slice(&body))?;
            match document {
                Root {
                    items: Some(groups),
                    ..
                } => groups
                    .into_iter()
                    .for_each(|group| group.add_to(&mut discovery)),
                Root {
                    versions: Some(versions),
                    ..
                } => {
                    for version in versions {
                        let group_version = GroupVersion {
                            group: "".into(),
                            version: version.into(),
                        };
                        self.discover_version(&mut discovery, group_version, true)
                            .await;
                    }
                }
                Root { groups, .. } => {
                    for group in groups.unwrap_or_default() {
                        let preferred =
                            group.preferred_version.map(|version| version.group_version);
                        for version in group.versions {
                            let is_preferred = preferred.as_deref() == Some(&version.group_version);
                            if let Some(group_version) = GroupVersion::parse(&version.group_version)
                            {
                                self.discover_version(&mut discovery, group_version, is_preferred)
                                    .await;
                            }
                        }
                    }
                }
            }
        }
        Ok(discovery)
    }

    async fn discover_version(
        &self,
        discovery: &mut Discovery,
        group_version: GroupVersion,
        preferred: bool,
    ) {
        let path = if group_version.group.is_empty() {
            format!("/api/{}", group_version.version)
        } else {
            format!("/apis/{group_version}")
        };
        let list: Result<ResourceList, ApiError> = match self.request(Request::get(&path)).await {
            Ok(body) => decode(&path, serde_json::from_slice(&body)),
            Err(error) => Err(error),
        };
        let Ok(list) = list else {
            discovery.failed.insert(group_version);
            return;
        };
        for resource in list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
        {
            discovery.resources.push(ApiResource {
                gvr: group_version.resource(resource.name),
                gvk: group_version.kind(resource.kind),
                namespaced: resource.namespaced,
                verbs: resource.verbs,
                preferred,
            });
        }
    }
}

/// `APIGroupDiscoveryList`, `APIVersions` or `APIGroupList`: told apart by the field they have.
#[derive(Deserialize)]
struct Root {
    items: Option<Vec<GroupDiscovery>>,
    versions: Option<Vec<String>>,
    groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct GroupDiscovery {
    #[serde(default)]
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<VersionDiscovery>,
}

#[derive(Default, Deserialize)]
struct GroupName {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct VersionDiscovery {
    version: String,
    #[serde(default)]
    resources: Vec<ResourceDiscovery>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: String,
    response_kind: Option<KindName>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct KindName {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    kind: String,
}

impl GroupDiscovery {
    fn add_to(self, discovery: &mut Discovery) {
        // Versions are sorted by preference.
        for (index, version) in self.versions.into_iter().enumerate() {
            let group_version = GroupVersion {
                group: self.metadata.name.clone().into(),
                version: version.version.into(),
            };
            if version.freshness == "Stale" {
                discovery.failed.insert(group_version.clone());
            }
            for resource in version.resources {
                // Without a kind it is only the parent of subresources.
                let Some(kind) = resource.response_kind.filter(|kind| !kind.kind.is_empty()) else {
                    continue;
                };
                let inherit = |own: String, parent: &str| {
                    if own.is_empty() {
                        parent.to_owned()
                    } else {
                        own
                    }
                };
                discovery.resources.push(ApiResource {
                    gvr: group_version.resource(resource.resource),
                    gvk: GroupVersionKind {
                        // The empty group and version stand for those of the document.
                        group: inherit(kind.group, &group_version.group).into(),
                        version: inherit(kind.version, &group_version.version).into(),
                        kind: kind.kind.into(),
                    },
                    namespaced: resource.scope == "Namespaced",
                    verbs: resource.verbs,
                    preferred: index == 0,
                });
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersionName>,
    preferred_version: Option<GroupVersionName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersionName {
    group_version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<ResourceName>,
}

#[derive(Deserialize)]
struct ResourceName {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_documents() {
        let document = serde_json::json!({
            "kind": "APIGroupDiscoveryList",
            "items": [{
                "metadata": {"name": "autoscaling"},
                "versions": [
                    {"version": "v2", "freshness": "Current", "resources": [{
                        "resource": "horizontalpodautoscalers", "scope": "Namespaced", "verbs": ["get", "list", "delete"],
                        "responseKind": {"group": "", "version": "", "kind": "HorizontalPodAutoscaler"},
                        "subresources": [{"subresource": "status"}],
                    }]},
                    {"version": "v1", "freshness": "Stale", "resources": [{
                        "resource": "horizontalpodautoscalers", "scope": "Namespaced", "verbs": ["get"],
                        "responseKind": {"kind": "HorizontalPodAutoscaler"},
                    }]},
                ],
            }],
        });
        let root: Root = serde_json::from_value(document).unwrap();
        let mut discovery = Discovery::default();
        root.items
            .unwrap()
            .into_iter()
            .for_each(|group| group.add_to(&mut discovery));
        assert_eq!(discovery.resources.len(), 2);
        assert_eq!(discovery.preferred().len(), 1);
        assert_eq!(discovery.preferred()[0].gvr.version, "v2");
        assert!(
            discovery
                .failed
                .contains(&GroupVersion::new("autoscaling", "v1"))
        );
        let found = discovery
            .resource_of("autoscaling/v1", "HorizontalPodAutoscaler")
            .unwrap();
        assert!(found.namespaced && found.supports(&["get"]) && !found.supports(&["list"]));
    }
}
