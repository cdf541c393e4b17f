//! Typed kinds: what generic code (API, informers, queues) needs of an object, implemented for all kinds the components use.
//!
//! The methods that decode and encode are not generic, so that the large serde code of `k8s-openapi` is instantiated once, in
//! this crate, and not again in every component. Adding a kind is one row in [`kinds!`] below.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::nulls;

/// Anything with metadata; all that stores and informers need.
pub trait Object: Send + Sync + 'static {
    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// Its metadata, to change.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;

    /// `metadata.name`, empty when unset.
    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`, empty when cluster-scoped.
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`, empty before creation.
    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// `metadata.resourceVersion`: opaque, compared for equality alone.
    fn resource_version(&self) -> &str {
        self.metadata()
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }

    /// `metadata.generation`, 0 when unset.
    fn generation(&self) -> i64 {
        self.metadata().generation.unwrap_or_default()
    }

    /// One label.
    fn label(&self, key: &str) -> Option<&str> {
        self.metadata()
            .labels
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// One annotation.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata()
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// All labels.
    fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.metadata().labels.as_ref().unwrap_or(&NONE)
    }

    /// All annotations.
    fn annotations(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.metadata().annotations.as_ref().unwrap_or(&NONE)
    }

    /// All owners.
    fn owner_references(&self) -> &[OwnerReference] {
        self.metadata()
            .owner_references
            .as_deref()
            .unwrap_or_default()
    }

    /// The owner that controls it, of which there is at most one.
    fn controller_ref(&self) -> Option<&OwnerReference> {
        self.owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))
    }

    /// Whether its deletion has begun.
    fn is_being_deleted(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// Namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey {
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }
}

/// Namespace and name of an object; the key of most work queues. Prints as `namespace/name`, or `name` when cluster-scoped.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Of the two.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A built-in kind in one version.
pub trait Kind: Object + Clone + Debug + PartialEq + Default {
    /// API group; empty for the core group.
    const GROUP: &'static str;
    /// Version in the group.
    const VERSION: &'static str;
    /// Plural resource name.
    const RESOURCE: &'static str;
    /// Kind.
    const KIND: &'static str;
    /// `v1`, `apps/v1`.
    const API_VERSION: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;

    /// Decodes one object; unknown fields are dropped.
    fn from_json(json: &[u8]) -> Result<Self, serde_json::Error>;
    /// Encodes it, with `apiVersion` and `kind`.
    fn to_json(&self) -> Vec<u8>;

    /// A controller reference to this object, as `NewControllerRef` makes it.
    fn controller_owner_reference(&self) -> OwnerReference {
        OwnerReference {
            block_owner_deletion: Some(true),
            controller: Some(true),
            ..self.owner_reference()
        }
    }

    /// A plain reference to this object as an owner.
    fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: Self::API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            block_owner_deletion: None,
            controller: None,
        }
    }
}

/// How a scope marker of `k8s-openapi` answers [`Kind::NAMESPACED`].
trait ScopeMarker {
    const NAMESPACED: bool;
}
impl ScopeMarker for k8s_openapi::NamespaceResourceScope {
    const NAMESPACED: bool = true;
}
impl ScopeMarker for k8s_openapi::ClusterResourceScope {
    const NAMESPACED: bool = false;
}
impl ScopeMarker for k8s_openapi::SubResourceScope {
    const NAMESPACED: bool = true;
}

macro_rules! kinds {
    ($($module:ident :: $version:ident :: { $($kind:ident),+ $(,)? }),+ $(,)?) => {
        $($(
            impl Object for k8s_openapi::api::$module::$version::$kind {
                fn metadata(&self) -> &ObjectMeta {
                    &self.metadata
                }
                fn metadata_mut(&mut self) -> &mut ObjectMeta {
                    &mut self.metadata
                }
            }
            impl Kind for k8s_openapi::api::$module::$version::$kind {
                const GROUP: &'static str = <Self as k8s_openapi::Resource>::GROUP;
                const VERSION: &'static str = <Self as k8s_openapi::Resource>::VERSION;
                const RESOURCE: &'static str = <Self as k8s_openapi::Resource>::URL_PATH_SEGMENT;
                const KIND: &'static str = <Self as k8s_openapi::Resource>::KIND;
                const API_VERSION: &'static str = <Self as k8s_openapi::Resource>::API_VERSION;
                const NAMESPACED: bool = <<Self as k8s_openapi::Resource>::Scope as ScopeMarker>::NAMESPACED;

                fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
                    serde_json::from_slice(json).or_else(|error| match nulls::without(json) {
                        Some(json) => serde_json::from_slice(&json),
                        None => Err(error),
                    })
                }
                fn to_json(&self) -> Vec<u8> {
                    serde_json::to_vec(self).expect("objects have string keys and encode without fail")
                }
            }
        )+)+
    };
}

kinds! {
    core::v1::{
        Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
        ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
    },
    admissionregistration::v1::{ValidatingAdmissionPolicy},
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    authentication::v1::{TokenRequest, TokenReview},
    authorization::v1::{SubjectAccessReview},
    autoscaling::v1::{Scale},
    autoscaling::v2::{HorizontalPodAutoscaler},
    batch::v1::{CronJob, Job},
    certificates::v1::{CertificateSigningRequest},
    coordination::v1::{Lease},
    discovery::v1::{EndpointSlice},
    networking::v1::{IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR},
    node::v1::{RuntimeClass},
    policy::v1::{Eviction, PodDisruptionBudget},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    resource::v1::{ResourceClaim},
    scheduling::v1::{PriorityClass},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass},
}
