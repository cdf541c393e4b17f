//! The Node authorizer: a kubelet may read what the pods bound to its node refer to, and nothing else of the kind.
//!
//! Upstream keeps a graph of pods, secrets, config maps, claims and volumes. Here the watch cache's index of pods by node is the graph's
//! first edge, and the rest is read off the few pods of that node, when it is asked: nothing to keep in step, nothing to lag behind.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, meta};
use async_trait::async_trait;

use super::{
    Attributes, Authorizer, Decision,
    rbac::{PolicyRule, Resolved},
};
use crate::{
    bootstrap::policy, lookup, reader::ObjectReader, request_info::RequestInfo, user::UserInfo,
};

const PODS: GroupResource = GroupResource::new("", "pods");
const PERSISTENT_VOLUME_CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
const PERSISTENT_VOLUMES: GroupResource = GroupResource::new("", "persistentvolumes");
const VOLUME_ATTACHMENTS: GroupResource = GroupResource::new("storage.k8s.io", "volumeattachments");
const RESOURCE_SLICES: GroupResource = GroupResource::new("resource.k8s.io", "resourceslices");

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node that a user is, if it is one: `system:node:<name>` in group `system:nodes`.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    let in_group = user.groups.iter().any(|group| group == "system:nodes");
    user.name.strip_prefix("system:node:").filter(|_| in_group)
}

/// The authorizer of mode `Node`.
pub struct NodeAuthorizer {
    reader: Arc<dyn ObjectReader>,
    /// What every node may do: the rules of cluster role `system:node`.
    rules: Vec<PolicyRule>,
}

/// `None` allows; otherwise there is no opinion, for this reason.
type Verdict = Option<String>;

fn no(reason: &str) -> Verdict {
    Some(reason.to_owned())
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let Some(node) = node_of(attributes.user) else {
            return (Decision::NoOpinion, String::new());
        };
        let verdict = if node.is_empty() {
            Some(format!("unknown node for user {:?}", attributes.user.name))
        } else {
            self.decide(node, attributes.request)
        };
        match verdict {
            None => (Decision::Allow, String::new()),
            Some(reason) => (Decision::NoOpinion, reason),
        }
    }

    fn rules_for(&self, user: &UserInfo, _namespace: &str) -> Resolved {
        match node_of(user) {
            Some(node) if !node.is_empty() => {
                Resolved::unlisted("node authorizer does not support user rule resolution")
            }
            _ => Resolved::default(),
        }
    }
}

impl NodeAuthorizer {
    /// Over the pods, claims and volumes of `reader`.
    pub fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            reader,
            rules: policy::node_rules(),
        }
    }

    fn decide(&self, node: &str, request: &RequestInfo) -> Verdict {
        if request.is_resource {
            match (&*request.group_version.group, request.resource.as_str()) {
                ("", "secrets" | "configmaps") => return self.read_namespaced(node, request),
                ("", "persistentvolumeclaims") if request.subresource == "status" => {
                    return self.update_status(node, request);
                }
                ("", "persistentvolumeclaims" | "persistentvolumes")
                | ("storage.k8s.io", "volumeattachments")
                | ("resource.k8s.io", "resourceclaims") => return self.get(node, request),
                // Of its pods' accounts it may know what the credential providers ask for.
                ("", "serviceaccounts")
                    if request.verb == "get" && request.subresource.is_empty() =>
                {
                    return self.read_namespaced(node, request);
                }
                ("", "serviceaccounts") => return self.create_token(node, request),
                ("coordination.k8s.io", "leases") => return lease(node, request),
                ("storage.k8s.io", "csinodes") => return csi_node(node, request),
                ("resource.k8s.io", "resourceslices") => return self.resource_slice(node, request),
                ("", "nodes") => {
                    if let Some(verdict) = node_object(node, request) {
                        return verdict;
                    }
                }
                ("", "pods") => {
                    if let Some(verdict) = self.pod(node, request) {
                        return verdict;
                    }
                }
                _ => {}
            }
        }
        if self.rules.iter().any(|rule| rule.allows(request)) {
            None
        } else {
            no("")
        }
    }

    fn read_namespaced(&self, node: &str, request: &RequestInfo) -> Verdict {
        if !matches!(request.verb.as_str(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !request.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if request.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, request)
    }

    fn get(&self, node: &str, request: &RequestInfo) -> Verdict {
        if request.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !request.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, request)
    }

    fn update_status(&self, node: &str, request: &RequestInfo) -> Verdict {
        if !matches!(request.verb.as_str(), "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(node, request)
    }

    fn create_token(&self, node: &str, request: &RequestInfo) -> Verdict {
        if request.verb != "create" || request.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if request.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, request)
    }

    /// `None` where the general rules decide.
    fn pod(&self, node: &str, request: &RequestInfo) -> Option<Verdict> {
        match (request.subresource.as_str(), request.verb.as_str()) {
            ("", "get") => Some(self.get(node, request)),
            ("", "list" | "watch") => {
                let own = format!("spec.nodeName={node}");
                let narrowed = request
                    .field_selector
                    .replace("==", "=")
                    .split(',')
                    .any(|term| term.trim() == own);
                Some(if narrowed {
                    None
                } else {
                    no("can only list/watch pods with spec.nodeName field selector")
                })
            }
            // Mirror pods; NodeRestriction keeps it to the node's own.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Some(None)
            }
            _ => None,
        }
    }

    fn related(&self, node: &str, request: &RequestInfo) -> Verdict {
        if request.name.is_empty() {
            return no("No Object name found");
        }
        if self.is_related(node, request) {
            return None;
        }
        Some(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }

    fn resource_slice(&self, node: &str, request: &RequestInfo) -> Verdict {
        if !request.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match request.verb.as_str() {
            // NodeRestriction compares the new object's node name.
            "create" => None,
            "get" | "update" | "patch" | "delete" => self.related(node, request),
            "list" | "watch" | "deletecollection" => {
                let own = format!("spec.nodeName={node}");
                if request.field_selector.split(',').any(|term| term == own) {
                    return None;
                }
                no(
                    "can only list/watch/deletecollection resourceslices with nodeName field selector",
                )
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn is_related(&self, node: &str, request: &RequestInfo) -> bool {
        let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
        let any_pod = |refers: &dyn Fn(&Object) -> bool| {
            self.pods(node, namespace).iter().any(|pod| refers(pod))
        };
        match request.resource.as_str() {
            "secrets" => {
                any_pod(&|pod| secrets(pod).any(|secret| secret == name))
                    || self.volumes(node, |volume| volume_secret(volume, namespace, name))
            }
            "configmaps" => any_pod(&|pod| config_maps(pod).any(|map| map == name)),
            "serviceaccounts" => any_pod(&|pod| service_account(pod) == name),
            "persistentvolumeclaims" => any_pod(&|pod| claims(pod).any(|claim| claim == name)),
            "resourceclaims" => any_pod(&|pod| resource_claims(pod).any(|claim| claim == name)),
            "pods" => any_pod(&|pod| meta::name(pod) == name),
            "persistentvolumes" => self.volumes(node, |volume| meta::name(volume) == name),
            "volumeattachments" => {
                let attachment = self.reader.get(&VOLUME_ATTACHMENTS, "", name);
                attachment.is_some_and(|attachment| {
                    lookup::text(&attachment, &["spec", "nodeName"]) == node
                })
            }
            "resourceslices" => {
                let slice = self.reader.get(&RESOURCE_SLICES, "", name);
                slice.is_some_and(|slice| lookup::text(&slice, &["spec", "nodeName"]) == node)
            }
            _ => false,
        }
    }

    /// Pods bound to the node; static pods' mirrors refer to nothing that the node did not know before.
    fn pods(&self, node: &str, namespace: &str) -> Vec<Arc<Object>> {
        let mut pods = self
            .reader
            .list_by_field(&PODS, namespace, "spec.nodeName", node);
        pods.retain(|pod| meta::annotation(pod, "kubernetes.io/config.mirror").is_none());
        pods
    }

    /// Whether a volume that a claim of one of the node's pods is bound to is wanted.
    fn volumes(&self, node: &str, wanted: impl Fn(&Object) -> bool) -> bool {
        self.pods(node, "").iter().any(|pod| {
            claims(pod).any(|claim| {
                let namespace = meta::namespace(pod);
                let Some(claim) = self
                    .reader
                    .get(&PERSISTENT_VOLUME_CLAIMS, namespace, &claim)
                else {
                    return false;
                };
                let volume = lookup::text(&claim, &["spec", "volumeName"]);
                if volume.is_empty() {
                    return false;
                }
                self.reader
                    .get(&PERSISTENT_VOLUMES, "", volume)
                    .is_some_and(|volume| {
                        // A volume is the claim's only if both say so.
                        let bound = lookup::text(&volume, &["spec", "claimRef", "namespace"])
                            == namespace
                            && lookup::text(&volume, &["spec", "claimRef", "name"])
                                == meta::name(&claim);
                        bound && wanted(&volume)
                    })
            })
        })
    }
}

fn lease(node: &str, request: &RequestInfo) -> Verdict {
    if !matches!(
        request.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if request.namespace != LEASE_NAMESPACE {
        return Some(format!(
            "can only access leases in the {LEASE_NAMESPACE:?} system namespace"
        ));
    }
    // The name is not known at creation; NodeRestriction checks it.
    if request.verb != "create" && request.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    None
}

fn csi_node(node: &str, request: &RequestInfo) -> Verdict {
    if !matches!(
        request.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !request.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if request.verb != "create" && request.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    None
}

/// `None` where the general rules decide.
fn node_object(node: &str, request: &RequestInfo) -> Option<Verdict> {
    match (request.subresource.as_str(), request.verb.as_str()) {
        // NodeRestriction keeps it to the node's own object.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Some(None),
        ("", "get" | "list" | "watch") => Some(match request.name.as_str() {
            name if name == node => None,
            "" => Some(format!(
                "node '{node}' cannot read all nodes, only its own Node object"
            )),
            other => Some(format!(
                "node '{node}' cannot read '{other}', only its own Node object"
            )),
        }),
        _ => None,
    }
}

fn service_account(pod: &Object) -> &str {
    lookup::text(pod, &["spec", "serviceAccountName"])
}

fn volumes(pod: &Object) -> impl Iterator<Item = &Object> {
    lookup::objects(pod, &["spec", "volumes"])
}

/// All containers, whatever their sort.
fn containers(pod: &Object) -> impl Iterator<Item = &Object> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| lookup::objects(pod, &["spec", field]))
}

fn in_environment<'a>(
    pod: &'a Object,
    from: &'a str,
    key: &'a str,
) -> impl Iterator<Item = &'a str> {
    containers(pod).flat_map(move |container| {
        let whole = lookup::objects(container, &["envFrom"])
            .map(move |source| lookup::text(source, &[from, "name"]));
        let single = lookup::objects(container, &["env"])
            .map(move |variable| lookup::text(variable, &["valueFrom", key, "name"]));
        whole.chain(single)
    })
}

fn in_projection<'a>(pod: &'a Object, source: &'a str) -> impl Iterator<Item = &'a str> {
    volumes(pod)
        .flat_map(|volume| lookup::objects(volume, &["projected", "sources"]))
        .map(move |one| lookup::text(one, &[source, "name"]))
}

/// Volume types that name a secret of the pod's namespace, and where.
const SECRET_VOLUMES: &[&[&str]] = &[
    &["secret", "secretName"],
    &["azureFile", "secretName"],
    &["cephfs", "secretRef", "name"],
    &["cinder", "secretRef", "name"],
    &["flexVolume", "secretRef", "name"],
    &["rbd", "secretRef", "name"],
    &["scaleIO", "secretRef", "name"],
    &["iscsi", "secretRef", "name"],
    &["storageos", "secretRef", "name"],
    &["csi", "nodePublishSecretRef", "name"],
];

/// The secrets that a pod names.
pub(crate) fn secrets(pod: &Object) -> impl Iterator<Item = &str> {
    let mounted = volumes(pod)
        .flat_map(|volume| SECRET_VOLUMES.iter().map(|path| lookup::text(volume, path)));
    let pulling = lookup::objects(pod, &["spec", "imagePullSecrets"])
        .map(|secret| lookup::text(secret, &["name"]));
    mounted
        .chain(in_projection(pod, "secret"))
        .chain(in_environment(pod, "secretRef", "secretKeyRef"))
        .chain(pulling)
        .filter(|name| !name.is_empty())
}

/// The ConfigMaps that a pod names.
pub(crate) fn config_maps(pod: &Object) -> impl Iterator<Item = &str> {
    volumes(pod)
        .map(|volume| lookup::text(volume, &["configMap", "name"]))
        .chain(in_projection(pod, "configMap"))
        .chain(in_environment(pod, "configMapRef", "configMapKeyRef"))
        .filter(|name| !name.is_empty())
}

/// Claims by name; an ephemeral volume's is named after pod and volume.
fn claims(pod: &Object) -> impl Iterator<Item = String> {
    volumes(pod).filter_map(|volume| {
        if lookup::map(volume, &["ephemeral"]).is_some() {
            return Some(format!(
                "{}-{}",
                meta::name(pod),
                lookup::text(volume, &["name"])
            ));
        }
        let claim = lookup::text(volume, &["persistentVolumeClaim", "claimName"]);
        (!claim.is_empty()).then(|| claim.to_owned())
    })
}

/// Resource claims, named in the spec or generated from a template.
fn resource_claims(pod: &Object) -> impl Iterator<Item = &str> {
    let named = lookup::objects(pod, &["spec", "resourceClaims"])
        .map(|claim| lookup::text(claim, &["resourceClaimName"]));
    let generated = lookup::objects(pod, &["status", "resourceClaimStatuses"])
        .map(|claim| lookup::text(claim, &["resourceClaimName"]));
    let extended = lookup::text(
        pod,
        &["status", "extendedResourceClaimStatus", "resourceClaimName"],
    );
    named
        .chain(generated)
        .chain([extended])
        .filter(|name| !name.is_empty())
}

/// Whether the volume needs this secret on the node.
fn volume_secret(volume: &Object, namespace: &str, name: &str) -> bool {
    const REFERENCES: &[&[&str]] = &[
        &["cephfs", "secretRef"],
        &["cinder", "secretRef"],
        &["flexVolume", "secretRef"],
        &["rbd", "secretRef"],
        &["scaleIO", "secretRef"],
        &["iscsi", "secretRef"],
        &["storageos", "secretRef"],
        &["csi", "controllerPublishSecretRef"],
        &["csi", "nodePublishSecretRef"],
        &["csi", "nodeStageSecretRef"],
        &["csi", "nodeExpandSecretRef"],
    ];
    REFERENCES.iter().any(|path| {
        let reference = |field| {
            let path: Vec<&str> = ["spec"]
                .iter()
                .chain(*path)
                .copied()
                .chain([field])
                .collect();
            lookup::text(volume, &path)
        };
        let home = reference("namespace");
        let home = if home.is_empty() {
            lookup::text(volume, &["spec", "claimRef", "namespace"])
        } else {
            home
        };
        reference("name") == name && home == namespace
    })
}
