//! The typed API of one kind.

use std::marker::PhantomData;

use bytes::Bytes;
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequest, core::v1::Binding, core::v1::Pod,
        core::v1::ServiceAccount, policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta},
};

use crate::{
    client::Client,
    error::ApiError,
    kind::Kind,
    params::{ListParams, Patch, Query, WatchParams},
    resource::{ResourceClient, decode_list},
    transport::Body,
    watch::WatchStream,
};

/// One namespace, or all of them (and the only choice for cluster-scoped kinds).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// All namespaces.
    #[default]
    All,
    /// This one.
    Named(String),
}

impl Namespace {
    /// Its name; empty for all.
    pub fn name(&self) -> &str {
        match self {
            Self::All => "",
            Self::Named(name) => name,
        }
    }
}

impl From<&str> for Namespace {
    /// The empty name is all namespaces.
    fn from(name: &str) -> Self {
        if name.is_empty() {
            Self::All
        } else {
            Self::Named(name.to_owned())
        }
    }
}

impl From<&String> for Namespace {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

/// A list of objects, or one page of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List<T> {
    /// `resourceVersion` of the list, `continue` where more pages follow.
    pub metadata: ListMeta,
    /// The items, in key order.
    pub items: Vec<T>,
}

/// The verbs of a kind, in one namespace or all. Cheap to make and to clone.
pub struct Api<K> {
    pub(crate) resource: ResourceClient,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Kind> Api<K> {
    pub(crate) fn new(client: Client, namespace: Namespace) -> Self {
        let resource = ResourceClient::new(client, K::GROUP, K::VERSION, K::RESOURCE, namespace);
        Self {
            resource,
            kind: PhantomData,
        }
    }

    fn decode(&self, verb: &str, body: &[u8]) -> Result<K, ApiError> {
        self.resource.decode(verb, K::from_json(body))
    }

    /// The namespace for a write: the API's own, or the object's when the API is that of all namespaces.
    fn namespace_of<'a>(&'a self, object: &'a K) -> &'a str {
        match &self.resource.namespace {
            Namespace::All => object.namespace(),
            Namespace::Named(name) => name,
        }
    }

    /// One object.
    pub async fn get(&self, name: &str) -> Result<K, ApiError> {
        let body = self.resource.get(name, "").await?;
        self.decode("GET", &body)
    }

    /// One object, if it is there.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, ApiError> {
        ApiError::not_found_is_none(self.get(name).await)
    }

    /// Objects, in key order; one page if `limit` is set.
    pub async fn list(&self, params: &ListParams) -> Result<List<K>, ApiError> {
        let body = self.resource.list(params).await?;
        self.resource
            .decode("LIST", decode_list(&body, K::from_json))
    }

    /// Creates an object; the answer is what was stored.
    pub async fn create(&self, object: &K) -> Result<K, ApiError> {
        let body = self
            .resource
            .create(self.namespace_of(object), object.to_json())
            .await?;
        self.decode("POST", &body)
    }

    /// Replaces an object; `metadata.resourceVersion` is the precondition when set.
    pub async fn update(&self, object: &K) -> Result<K, ApiError> {
        self.update_subresource("", object).await
    }

    /// Replaces an object's status.
    pub async fn update_status(&self, object: &K) -> Result<K, ApiError> {
        self.update_subresource("status", object).await
    }

    /// Replaces what a subresource (`status`, `finalize`, `approval`) covers.
    pub async fn update_subresource(&self, subresource: &str, object: &K) -> Result<K, ApiError> {
        let namespace = self.namespace_of(object);
        let body = self
            .resource
            .update(namespace, object.name(), subresource, object.to_json())
            .await?;
        self.decode("PUT", &body)
    }

    /// Patches an object.
    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K, ApiError> {
        self.patch_subresource(name, "", patch).await
    }

    /// Patches an object's status.
    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<K, ApiError> {
        self.patch_subresource(name, "status", patch).await
    }

    /// Patches what a subresource covers.
    pub async fn patch_subresource(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
    ) -> Result<K, ApiError> {
        let body = self.resource.patch(name, subresource, patch).await?;
        self.decode("PATCH", &body)
    }

    /// Begins the deletion of an object. Whether it is gone already is the server's affair (grace, finalizers).
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

    /// Posts to a subresource of an object; the answer as it came.
    pub async fn create_subresource<S: Kind>(
        &self,
        name: &str,
        subresource: &str,
        body: &S,
    ) -> Result<Bytes, ApiError> {
        self.resource
            .create_subresource(name, subresource, body.to_json())
            .await
    }

    /// Watches for changes.
    pub async fn watch(&self, params: &WatchParams) -> Result<WatchStream<K>, ApiError> {
        self.resource.watch(params, K::from_json).await
    }
}

/// What `GET …/log` shows.
#[derive(Clone, Debug, Default)]
pub struct LogParams {
    /// Which container; needed if there are several.
    pub container: Option<String>,
    /// Whether to wait for more.
    pub follow: bool,
    /// The container's run before this one.
    pub previous: bool,
    /// The last so many lines.
    pub tail_lines: Option<u64>,
}

impl Api<Pod> {
    /// Binds a pod to a node.
    pub async fn bind(&self, name: &str, binding: &Binding) -> Result<(), ApiError> {
        self.create_subresource(name, "binding", binding)
            .await
            .map(drop)
    }

    /// Deletes a pod if its disruption budgets allow it; 429 otherwise.
    pub async fn evict(&self, name: &str, eviction: &Eviction) -> Result<(), ApiError> {
        self.create_subresource(name, "eviction", eviction)
            .await
            .map(drop)
    }

    /// A container's log.
    pub async fn log(&self, name: &str, params: &LogParams) -> Result<Body, ApiError> {
        let mut query = Query::default();
        query.optional("container", params.container.as_deref());
        query.optional("follow", params.follow.then_some("true"));
        query.optional("previous", params.previous.then_some("true"));
        query.optional(
            "tailLines",
            params.tail_lines.map(|lines| lines.to_string()).as_deref(),
        );
        self.resource.log(name, query).await
    }
}

impl Api<ServiceAccount> {
    /// A token of a service account.
    pub async fn create_token(
        &self,
        name: &str,
        request: &TokenRequest,
    ) -> Result<TokenRequest, ApiError> {
        let body = self.create_subresource(name, "token", request).await?;
        self.resource.decode("POST", TokenRequest::from_json(&body))
    }
}
