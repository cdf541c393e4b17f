//! NodeRestriction: a kubelet writes its own Node, its own pods and their statuses, and tokens of its pods' accounts. A node taken over
//! stays one node.
//!
//! The Node authorizer has let the request through by its verb and resource; what is in the object is decided here.

use std::sync::Arc;

use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersion},
    meta,
    status::Status,
};
use async_trait::async_trait;
use serde_json::Value;

use super::{Admission, Operation, Plugin, certificate_identity};
use crate::{
    authz::{
        Attributes, Authorizer, Decision,
        node::{config_maps, node_of, secrets},
    },
    lookup,
    reader::ObjectReader,
    request_info::RequestInfo,
};

const PODS: GroupResource = GroupResource::new("", "pods");
const NODES: GroupResource = GroupResource::new("", "nodes");
const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
const VOLUMES: GroupResource = GroupResource::new("", "persistentvolumes");
const CSI_DRIVERS: GroupResource = GroupResource::new("storage.k8s.io", "csidrivers");
/// As upstream's caches call what they do not have.
const POD: GroupResource = GroupResource::new("", "pod");
const NODE: GroupResource = GroupResource::new("", "node");
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Labels of kubernetes.io and k8s.io that a kubelet may set on its node.
const KUBELET_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const KUBELET_LABEL_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Volumes that are made of what is in the API.
const VOLUMES_OF_THE_API: &[(&str, &str)] = &[
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    (
        "ephemeral",
        "persistentvolumeclaims (via ephemeral volumes)",
    ),
    ("azureFile", "secrets (via azureFile volumes)"),
];
const PROJECTIONS_OF_THE_API: &[(&str, &str)] = &[
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    (
        "serviceAccountToken",
        "serviceaccounts (via projected volumes)",
    ),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

type Verdict = Result<(), Status>;

pub(super) struct NodeRestriction {
    reader: Arc<dyn ObjectReader>,
    authorizer: Arc<dyn Authorizer>,
}

impl NodeRestriction {
    pub(super) fn new(reader: Arc<dyn ObjectReader>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { reader, authorizer }
    }
}

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(
            operation,
            Operation::Create | Operation::Update | Operation::Delete
        )
    }

    // Before webhooks, and before what only validates.
    async fn admit(&self, admission: &mut Admission<'_>) -> Verdict {
        let admission = &*admission;
        let Some(node) = node_of(admission.user) else {
            return Ok(());
        };
        if node.is_empty() {
            let user = &admission.user.name;
            return Err(admission.forbidden(format!("could not determine node from user {user:?}")));
        }
        let request = admission.request;
        match (
            &*request.group_version.group,
            request.resource.as_str(),
            request.subresource.as_str(),
        ) {
            ("", "pods", "") => self.pod(admission, node).await,
            ("", "pods", "status") => self.pod_status(admission, node),
            ("", "pods", "eviction") => self.eviction(admission, node),
            ("", "pods", other) => Err(admission.forbidden(format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            ))),
            ("", "nodes", _) => node_object(admission, node),
            ("", "persistentvolumeclaims", sub) => claim(admission, node, sub),
            ("", "serviceaccounts", "token") => self.token(admission, node).await,
            ("coordination.k8s.io", "leases", _) => lease(admission, node),
            ("storage.k8s.io", "csinodes", _) => csi_node(admission, node),
            ("resource.k8s.io", "resourceslices", _) => resource_slice(admission, node),
            ("certificates.k8s.io", "certificatesigningrequests", "") => {
                certificate_request(admission, node)
            }
            _ => Ok(()),
        }
    }
}

impl NodeRestriction {
    async fn pod(&self, admission: &Admission<'_>, node: &str) -> Verdict {
        match admission.operation {
            Operation::Create => self.mirror_pod(admission, node).await,
            Operation::Delete => {
                let deleted = admission.old_object.cloned().map(Arc::new);
                match deleted.or_else(|| self.pod_of(admission)) {
                    Some(pod) => on_node(admission, &pod, node, "node {node} can only delete pods with spec.nodeName set to itself"),
                    None => Ok(()),
                }
            }
            _ => Err(admission.forbidden(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))),
        }
    }

    /// Static pods' mirrors are all that a kubelet creates, and they may use nothing of the API.
    async fn mirror_pod(&self, admission: &Admission<'_>, node: &str) -> Verdict {
        let Some(pod) = admission.new_object() else {
            return Ok(());
        };
        let refuse = |reason: String| Err(admission.forbidden(reason));
        if meta::annotation(pod, MIRROR_ANNOTATION).is_none() {
            return refuse(format!(
                "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        on_node(
            admission,
            pod,
            node,
            "node {node} can only create pods with spec.nodeName set to itself",
        )?;
        let only = |what: &str| {
            admission.forbidden(format!(
                "node {node:?} can only create pods with {what} set to itself"
            ))
        };
        let owners: Vec<_> = meta::owner_references(pod).collect();
        let owner = match owners.as_slice() {
            [owner] if owner.api_version == "v1" && owner.kind == "Node" && owner.name == node => {
                owner
            }
            [_] | [] => return Err(only("an owner reference")),
            _ => return Err(only("a single owner reference")),
        };
        if !owner.controller {
            return Err(only("a controller owner reference"));
        }
        if owner.block_owner_deletion {
            return refuse(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let live = match self.reader.get(&NODES, "", node) {
            Some(live) => Some(live),
            None => self.reader.get_fresh(&NODES, "", node).await?,
        };
        let Some(live) = live else {
            return Err(Status::not_found(&NODE, node));
        };
        if meta::uid(&live) != owner.uid {
            return refuse(format!(
                "node {node} UID mismatch: expected {} got {}",
                owner.uid,
                meta::uid(&live)
            ));
        }
        match referenced(pod) {
            Some(what) => refuse(format!(
                "node {node:?} can not create pods that reference {what}"
            )),
            None => Ok(()),
        }
    }

    fn pod_status(&self, admission: &Admission<'_>, node: &str) -> Verdict {
        if admission.operation != Operation::Update {
            return Err(
                admission.forbidden(format!("unexpected operation {:?}", admission.operation))
            );
        }
        let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
            return Ok(());
        };
        on_node(
            admission,
            old,
            node,
            "node {node} can only update pod status for pods with spec.nodeName set to itself",
        )?;
        let labels = |pod: &Object| lookup::value(pod, &["metadata", "labels"]).cloned();
        if labels(old) != labels(new) {
            return Err(admission.forbidden(format!(
                "node {node:?} cannot update labels through pod status"
            )));
        }
        for (field, what) in [
            ("resourceClaimStatuses", "resource claim statues"),
            (
                "extendedResourceClaimStatus",
                "extended resource claim status",
            ),
        ] {
            let claims = |pod: &Object| lookup::value(pod, &["status", field]).cloned();
            if claims(old) != claims(new) {
                return Err(admission.forbidden(format!("node {node:?} cannot update {what}")));
            }
        }
        Ok(())
    }

    fn eviction(&self, admission: &Admission<'_>, node: &str) -> Verdict {
        if admission.operation != Operation::Create {
            return Err(
                admission.forbidden(format!("unexpected operation {:?}", admission.operation))
            );
        }
        let Some(pod) = self.pod_of(admission) else {
            return Err(Status::not_found(&POD, admission.name()));
        };
        if lookup::text(&pod, &["spec", "nodeName"]) == node {
            return Ok(());
        }
        Err(admission.forbidden(format!(
            "node {node} can only evict pods with spec.nodeName set to itself"
        )))
    }

    /// A token that the kubelet asks for is bound to a pod on its node that runs as the account.
    async fn token(&self, admission: &Admission<'_>, node: &str) -> Verdict {
        let Some(request) = admission.new_object() else {
            return Ok(());
        };
        let reference = lookup::map(request, &["spec", "boundObjectRef"]);
        let Some(reference) = reference
            .filter(|reference| {
                lookup::text(reference, &["apiVersion"]) == "v1"
                    && lookup::text(reference, &["kind"]) == "Pod"
            })
            .filter(|reference| !lookup::text(reference, &["name"]).is_empty())
        else {
            return Err(admission.forbidden("node requested token not bound to a pod"));
        };
        let uid = lookup::text(reference, &["uid"]);
        if uid.is_empty() {
            return Err(
                admission.forbidden("node requested token with a pod binding without a uid")
            );
        }
        let name = lookup::text(reference, &["name"]);
        let Some(pod) = self.reader.get(&PODS, &admission.request.namespace, name) else {
            return Err(Status::not_found(&POD, name));
        };
        if meta::uid(&pod) != uid {
            return Err(admission.forbidden(format!("the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated")));
        }
        on_node(
            admission,
            &pod,
            node,
            "node requested token bound to a pod scheduled on a different node",
        )?;
        self.audience(admission, request, &pod).await
    }

    /// The token is for somebody whom the pod speaks to: an audience that its volumes name. Others are for those who are allowed them
    /// by name (KEP-4935).
    async fn audience(&self, admission: &Admission<'_>, request: &Object, pod: &Object) -> Verdict {
        let audiences = lookup::strings(request, &["spec", "audiences"]);
        let audience = match audiences.as_slice() {
            [] => "",
            [one] => one.as_str(),
            _ => return Err(admission.forbidden("node may only request 0 or 1 audiences")),
        };
        if self.pod_names_audience(pod, audience) {
            return Ok(());
        }
        let question = RequestInfo {
            is_resource: true,
            verb: "request-serviceaccounts-token-audience".to_owned(),
            group_version: GroupVersion::new("", "v1"),
            namespace: admission.request.namespace.clone(),
            resource: audience.to_owned(),
            name: admission.request.name.clone(),
            ..RequestInfo::default()
        };
        let attributes = Attributes {
            user: admission.user,
            request: &question,
        };
        if self.authorizer.authorize(attributes).await.0 == Decision::Allow {
            return Ok(());
        }
        Err(admission.forbidden(format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            admission.user.name
        )))
    }

    fn pod_names_audience(&self, pod: &Object, audience: &str) -> bool {
        let driver_wants = |driver: &str| {
            let driver = self.reader.get(&CSI_DRIVERS, "", driver);
            driver.is_some_and(|driver| {
                lookup::objects(&driver, &["spec", "tokenRequests"])
                    .any(|one| lookup::text(one, &["audience"]) == audience)
            })
        };
        lookup::objects(pod, &["spec", "volumes"]).any(|volume| {
            let projected = lookup::objects(volume, &["projected", "sources"])
                .filter_map(|source| lookup::map(source, &["serviceAccountToken"]))
                .any(|token| lookup::text(token, &["audience"]) == audience);
            if projected {
                return true;
            }
            let inline = lookup::text(volume, &["csi", "driver"]);
            if !inline.is_empty() {
                return driver_wants(inline);
            }
            self.driver_of_claim(pod, volume)
                .is_some_and(|driver| driver_wants(&driver))
        })
    }

    /// The CSI driver of the volume that a pod's claim, named or its own, is bound to.
    fn driver_of_claim(&self, pod: &Object, volume: &Object) -> Option<String> {
        let named = lookup::text(volume, &["persistentVolumeClaim", "claimName"]);
        let name = match named {
            "" if volume.contains_key("ephemeral") => {
                format!("{}-{}", meta::name(pod), lookup::text(volume, &["name"]))
            }
            "" => return None,
            named => named.to_owned(),
        };
        let claim = self.reader.get(&CLAIMS, meta::namespace(pod), &name)?;
        let bound = lookup::text(&claim, &["spec", "volumeName"]);
        let bound = self.reader.get(&VOLUMES, "", bound)?;
        Some(lookup::text(&bound, &["spec", "csi", "driver"]).to_owned())
    }

    fn pod_of(&self, admission: &Admission<'_>) -> Option<Arc<Object>> {
        self.reader
            .get(&PODS, &admission.request.namespace, admission.name())
    }
}

/// What of the API a pod refers to, if to anything.
fn referenced(pod: &Object) -> Option<&'static str> {
    if !lookup::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Some("serviceaccounts");
    }
    if secrets(pod).next().is_some() {
        return Some("secrets");
    }
    if config_maps(pod).next().is_some() {
        return Some("configmaps");
    }
    if !lookup::list(pod, &["spec", "resourceClaims"]).is_empty() {
        return Some("resourceclaims");
    }
    let has = |object: &Object, rows: &[(&str, &'static str)]| {
        let row = rows.iter().find(|(field, _)| object.contains_key(*field));
        row.map(|(_, what)| *what)
    };
    lookup::objects(pod, &["spec", "volumes"]).find_map(|volume| {
        has(volume, VOLUMES_OF_THE_API).or_else(|| {
            lookup::objects(volume, &["projected", "sources"])
                .find_map(|source| has(source, PROJECTIONS_OF_THE_API))
        })
    })
}

/// Refuses pods of other nodes; `{node}` in the message is the asker.
fn on_node(admission: &Admission<'_>, pod: &Object, node: &str, message: &str) -> Verdict {
    if lookup::text(pod, &["spec", "nodeName"]) == node {
        return Ok(());
    }
    Err(admission.forbidden(message.replace("{node}", &format!("{node:?}"))))
}

fn node_object(admission: &Admission<'_>, node: &str) -> Verdict {
    let name = admission.name();
    if name != node {
        return Err(admission.forbidden(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        )));
    }
    let Some(new) = admission.new_object() else {
        return Ok(());
    };
    if admission.operation == Operation::Create {
        if config_source(new).is_some() {
            return Err(admission.forbidden(format!(
                "node {node:?} is not allowed to create pods with a non-nil configSource"
            )));
        }
        let labels = meta::labels(new).into_iter().flatten();
        let forbidden = forbidden_labels(labels.map(|(key, _)| key.as_str()));
        return match forbidden.as_str() {
            "" => Ok(()),
            labels => Err(admission.forbidden(format!(
                "node {node:?} is not allowed to set the following labels: {labels}"
            ))),
        };
    }
    let Some(old) = admission
        .old_object
        .filter(|_| admission.operation == Operation::Update)
    else {
        return Ok(());
    };
    if config_source(new).is_some_and(|given| config_source(old) != Some(given)) {
        return Err(admission.forbidden(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        )));
    }
    let taints = |object: &Object| lookup::value(object, &["spec", "taints"]).cloned();
    if taints(old) != taints(new) {
        return Err(admission.forbidden(format!("node {node:?} is not allowed to modify taints")));
    }
    let owners = |object: &Object| lookup::value(object, &["metadata", "ownerReferences"]).cloned();
    if owners(old) != owners(new) {
        return Err(admission.forbidden(format!(
            "node {node:?} is not allowed to modify ownerReferences"
        )));
    }
    let mut changed: Vec<&str> = Vec::new();
    for (one, other) in [(old, new), (new, old)] {
        for (key, value) in meta::labels(one).into_iter().flatten() {
            if meta::label(other, key) != value.as_str() && !changed.contains(&key.as_str()) {
                changed.push(key);
            }
        }
    }
    match forbidden_labels(changed.into_iter()).as_str() {
        "" => Ok(()),
        labels => Err(admission.forbidden(format!("is not allowed to modify labels: {labels}"))),
    }
}

/// What a node may read more by, as it was once: the kubelet's configuration.
fn config_source(node: &Object) -> Option<&Value> {
    lookup::value(node, &["spec", "configSource"])
}

/// Those of the labels that are not a kubelet's to set.
fn forbidden_labels<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let mut forbidden: Vec<&str> = labels.filter(|label| !kubelet_may_set(label)).collect();
    forbidden.sort_unstable();
    forbidden.join(", ")
}

/// Labels under kubernetes.io and k8s.io are reserved, but for a few; those of `node-restriction.kubernetes.io` are never the kubelet's.
fn kubelet_may_set(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let under = |domain: &str| {
        namespace == domain
            || namespace
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if under("node-restriction.kubernetes.io") {
        return false;
    }
    if !under("kubernetes.io") && !under("k8s.io") {
        return true;
    }
    KUBELET_LABELS.contains(&label) || KUBELET_LABEL_NAMESPACES.iter().any(|domain| under(domain))
}

/// A kubelet reports the progress of a volume's expansion, and nothing else of a claim.
fn claim(admission: &Admission<'_>, node: &str, subresource: &str) -> Verdict {
    if subresource != "status" || admission.operation != Operation::Update {
        return Err(admission.forbidden("may only update PVC status"));
    }
    let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
        return Ok(());
    };
    let rest = |object: &Object| {
        let mut object = object.clone();
        meta::remove(&mut object, "resourceVersion");
        meta::remove(&mut object, "managedFields");
        for field in [
            "capacity",
            "conditions",
            "allocatedResources",
            "allocatedResourceStatuses",
        ] {
            lookup::map_mut(&mut object, &["status"]).remove(field);
        }
        object
    };
    if rest(old) == rest(new) {
        return Ok(());
    }
    Err(admission.forbidden(format!(
        "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
    )))
}

fn lease(admission: &Admission<'_>, node: &str) -> Verdict {
    if admission.request.namespace != "kube-node-lease" {
        return Err(admission.forbidden(format!(
            "can only access leases in the {:?} system namespace",
            "kube-node-lease"
        )));
    }
    if admission.name() == node {
        return Ok(());
    }
    Err(admission.forbidden("can only access node lease with the same name as the requesting node"))
}

/// A kubelet asks for its own certificates, not for another node's.
fn certificate_request(admission: &Admission<'_>, node: &str) -> Verdict {
    const OF_KUBELETS: [&str; 2] = [
        "kubernetes.io/kubelet-serving",
        "kubernetes.io/kube-apiserver-client-kubelet",
    ];
    let Some(request) = admission.new_object() else {
        return Ok(());
    };
    let signer = lookup::text(request, &["spec", "signerName"]);
    if admission.operation != Operation::Create || !OF_KUBELETS.contains(&signer) {
        return Ok(());
    }
    let user = format!("system:node:{node}");
    match certificate_identity::common_name(lookup::text(request, &["spec", "request"])) {
        Err(why) => Err(admission.forbidden(format!("unable to parse csr: {why}"))),
        Ok(name) if name == user => Ok(()),
        Ok(_) => Err(admission.forbidden(format!("can only create a node CSR with CN={user}"))),
    }
}

fn csi_node(admission: &Admission<'_>, node: &str) -> Verdict {
    if admission.name() == node {
        return Ok(());
    }
    Err(admission.forbidden("can only access CSINode with the same name as the requesting node"))
}

/// The authorizer sees neither what is created nor each of what a collection's deletion deletes.
fn resource_slice(admission: &Admission<'_>, node: &str) -> Verdict {
    let (slice, verb) = match admission.operation {
        Operation::Create => (admission.new_object(), "create"),
        Operation::Delete => (admission.old_object, "delete"),
        _ => return Ok(()),
    };
    let own = |slice: &Object| lookup::text(slice, &["spec", "nodeName"]) == node;
    if slice.is_none_or(own) {
        return Ok(());
    }
    Err(admission.forbidden(format!(
        "can only {verb} ResourceSlice with the same NodeName as the requesting node"
    )))
}
