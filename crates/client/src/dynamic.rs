//! Any resource, as JSON: for those who work on kinds they do not know (namespace deletion, garbage collection, `kubectl`).

use apimachinery::{Object as JsonObject, gvk::GroupVersionResource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use crate::{
    api::{List, Namespace},
    client::Client,
    error::ApiError,
    params::{ListParams, Patch, WatchParams},
    partial::PartialObjectMetadata,
    resource::{ResourceClient, decode_list},
    watch::WatchStream,
};

/// The verbs of a resource named at run time.
#[derive(Clone)]
pub struct DynamicApi {
    resource: ResourceClient,
}

/// Decodes one object to a tree.
fn tree(json: &[u8]) -> Result<JsonObject, serde_json::Error> {
    serde_json::from_slice(json)
}

impl Client {
    /// The API of any resource, in one namespace or all.
    pub fn dynamic(
        &self,
        gvr: &GroupVersionResource,
        namespace: impl Into<Namespace>,
    ) -> DynamicApi {
        let namespace = namespace.into();
        let resource = ResourceClient::new(
            self.clone(),
            &gvr.group,
            &gvr.version,
            &gvr.resource,
            namespace,
        );
        DynamicApi { resource }
    }
}

impl DynamicApi {
    fn metadata_only(&self) -> ResourceClient {
        ResourceClient {
            metadata_only: true,
            ..self.resource.clone()
        }
    }

    /// One object.
    pub async fn get(&self, name: &str) -> Result<JsonObject, ApiError> {
        let body = self.resource.get(name, "").await?;
        self.resource.decode("GET", tree(&body))
    }

    /// One object's metadata.
    pub async fn get_metadata(&self, name: &str) -> Result<PartialObjectMetadata, ApiError> {
        let body = self.metadata_only().get(name, "").await?;
        self.resource
            .decode("GET", PartialObjectMetadata::from_json(&body))
    }

    /// Objects, in key order.
    pub async fn list(&self, params: &ListParams) -> Result<List<JsonObject>, ApiError> {
        let body = self.resource.list(params).await?;
        self.resource.decode("LIST", decode_list(&body, tree))
    }

    /// Objects' metadata, in key order.
    pub async fn list_metadata(
        &self,
        params: &ListParams,
    ) -> Result<List<PartialObjectMetadata>, ApiError> {
        let body = self.metadata_only().list(params).await?;
        self.resource
            .decode("LIST", decode_list(&body, PartialObjectMetadata::from_json))
    }

    /// Creates an object.
    pub async fn create(&self, object: &JsonObject) -> Result<JsonObject, ApiError> {
        let body = self
            .resource
            .create(self.resource.namespace.name(), encode(object))
            .await?;
        self.resource.decode("POST", tree(&body))
    }

    /// Replaces an object, or with a subresource what that covers; `subresource` is empty for the object.
    pub async fn update(
        &self,
        name: &str,
        subresource: &str,
        object: &JsonObject,
    ) -> Result<JsonObject, ApiError> {
        let namespace = self.resource.namespace.name();
        let body = self
            .resource
            .update(namespace, name, subresource, encode(object))
            .await?;
        self.resource.decode("PUT", tree(&body))
    }

    /// Patches an object; `subresource` is empty for the object.
    pub async fn patch(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
    ) -> Result<JsonObject, ApiError> {
        let body = self.resource.patch(name, subresource, patch).await?;
        self.resource.decode("PATCH", tree(&body))
    }

    /// Patches an object, and takes its metadata alone as the answer.
    pub async fn patch_metadata(
        &self,
        name: &str,
        patch: &Patch,
    ) -> Result<PartialObjectMetadata, ApiError> {
        let body = self.metadata_only().patch(name, "", patch).await?;
        self.resource
            .decode("PATCH", PartialObjectMetadata::from_json(&body))
    }

    /// Begins the deletion of an object.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<(), ApiError> {
        self.resource.delete(name, options).await.map(drop)
    }

    /// Begins the deletion of all that `params` selects.
    pub async fn delete_collection(
        &self,
        options: &DeleteOptions,
        params: &ListParams,
    ) -> Result<(), ApiError> {
        self.resource
            .delete_collection(options, params)
            .await
            .map(drop)
    }

    /// Watches for changes.
    pub async fn watch(&self, params: &WatchParams) -> Result<WatchStream<JsonObject>, ApiError> {
        self.resource.watch(params, tree).await
    }
}

fn encode(object: &JsonObject) -> Vec<u8> {
    serde_json::to_vec(object).expect("objects have string keys and encode without fail")
}
