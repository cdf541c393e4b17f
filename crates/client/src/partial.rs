//! `PartialObjectMetadata`: any object, reduced to its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::kind::Object;

/// An object of any kind without spec and status. List items may come without `apiVersion` and `kind`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialObjectMetadata {
    /// `meta.k8s.io/v1`, or the object's own when the server answered with the whole object.
    #[serde(default)]
    pub api_version: String,
    /// `PartialObjectMetadata`, or the object's own.
    #[serde(default)]
    pub kind: String,
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

impl PartialObjectMetadata {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Without labels and annotations: what the garbage collector keeps of every object in the cluster.
    pub(crate) fn ownership_from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut object = Self::from_json(json)?;
        object.metadata.labels = None;
        object.metadata.annotations = None;
        Ok(object)
    }
}

impl Object for PartialObjectMetadata {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
