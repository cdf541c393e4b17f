//! The API of one resource, in bytes: paths, verbs and bodies, not generic over the kind.
//!
//! [`crate::Api`] decodes on top of it to typed kinds, [`crate::DynamicApi`] to JSON.

use bytes::Bytes;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    api::{List, Namespace},
    client::{Client, JSON, Request, decode},
    error::ApiError,
    params::{ListParams, Patch, Query, WatchParams, percent_encode},
    watch::{Decode, WatchStream},
};

/// `Accept` for metadata alone.
pub(crate) const PARTIAL_METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// `Accept` for lists of metadata alone.
pub(crate) const PARTIAL_METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

#[derive(Clone)]
pub(crate) struct ResourceClient {
    pub(crate) client: Client,
    /// `/api/v1`, `/apis/apps/v1`.
    pub(crate) root: String,
    /// `pods`.
    pub(crate) resource: String,
    pub(crate) namespace: Namespace,
    pub(crate) metadata_only: bool,
}

impl ResourceClient {
    pub(crate) fn new(
        client: Client,
        group: &str,
        version: &str,
        resource: &str,
        namespace: Namespace,
    ) -> Self {
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        Self {
            client,
            root,
            resource: resource.to_owned(),
            namespace,
            metadata_only: false,
        }
    }

    fn collection_in(&self, namespace: &str) -> String {
        let mut path = self.root.clone();
        if !namespace.is_empty() {
            path.push_str("/namespaces/");
            percent_encode(&mut path, namespace);
        }
        path.push('/');
        path.push_str(&self.resource);
        path
    }

    pub(crate) fn collection(&self) -> String {
        self.collection_in(self.namespace.name())
    }

    fn item_in(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = self.collection_in(namespace);
        path.push('/');
        percent_encode(&mut path, name);
        if !subresource.is_empty() {
            path.push('/');
            path.push_str(subresource);
        }
        path
    }

    pub(crate) fn item(&self, name: &str, subresource: &str) -> String {
        self.item_in(self.namespace.name(), name, subresource)
    }

    fn accept(&self, list: bool) -> &'static str {
        match (self.metadata_only, list) {
            (false, _) => JSON,
            (true, false) => PARTIAL_METADATA,
            (true, true) => PARTIAL_METADATA_LIST,
        }
    }

    pub(crate) async fn get(&self, name: &str, subresource: &str) -> Result<Bytes, ApiError> {
        let request = Request {
            accept: self.accept(false),
            ..Request::get(self.item(name, subresource))
        };
        self.client.request(request).await
    }

    pub(crate) async fn list(&self, params: &ListParams) -> Result<Bytes, ApiError> {
        let uri = params.query().append_to(self.collection());
        self.client
            .request(Request {
                accept: self.accept(true),
                ..Request::get(uri)
            })
            .await
    }

    pub(crate) async fn create(&self, namespace: &str, body: Vec<u8>) -> Result<Bytes, ApiError> {
        self.client
            .request(Request::json(
                Method::POST,
                self.collection_in(namespace),
                body,
            ))
            .await
    }

    pub(crate) async fn create_subresource(
        &self,
        name: &str,
        subresource: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, ApiError> {
        self.client
            .request(Request::json(
                Method::POST,
                self.item(name, subresource),
                body,
            ))
            .await
    }

    pub(crate) async fn update(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, ApiError> {
        let uri = self.item_in(namespace, name, subresource);
        self.client
            .request(Request::json(Method::PUT, uri, body))
            .await
    }

    pub(crate) async fn patch(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
    ) -> Result<Bytes, ApiError> {
        self.client
            .request(Request {
                method: Method::PATCH,
                uri: patch.query().append_to(self.item(name, subresource)),
                content_type: patch.content_type(),
                accept: self.accept(false),
                body: patch.body().into(),
            })
            .await
    }

    pub(crate) async fn delete(
        &self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Bytes, ApiError> {
        let request = Request::json(Method::DELETE, self.item(name, ""), delete_body(options));
        self.client.request(request).await
    }

    pub(crate) async fn delete_collection(
        &self,
        options: &DeleteOptions,
        params: &ListParams,
    ) -> Result<Bytes, ApiError> {
        let uri = params.query().append_to(self.collection());
        self.client
            .request(Request::json(Method::DELETE, uri, delete_body(options)))
            .await
    }

    pub(crate) async fn watch<T>(
        &self,
        params: &WatchParams,
        decode: Decode<T>,
    ) -> Result<WatchStream<T>, ApiError> {
        let uri = params.query().append_to(self.collection());
        let request = Request {
            accept: self.accept(false),
            ..Request::get(uri)
        };
        let describe = format!("WATCH {}", self.collection());
        Ok(WatchStream::new(
            describe,
            self.client.open(request).await?.into_body(),
            decode,
        ))
    }

    pub(crate) async fn log(&self, name: &str, query: Query) -> Result<crate::Body, ApiError> {
        let request = Request {
            accept: "*/*",
            ..Request::get(query.append_to(self.item(name, "log")))
        };
        Ok(self.client.open(request).await?.into_body())
    }

    pub(crate) fn decode<T>(
        &self,
        verb: &str,
        result: Result<T, serde_json::Error>,
    ) -> Result<T, ApiError> {
        decode(&format!("{verb} {}", self.collection()), result)
    }
}

fn delete_body(options: &DeleteOptions) -> Vec<u8> {
    let options = DeleteOptions {
        api_version: Some("v1".to_owned()),
        kind: Some("DeleteOptions".to_owned()),
        ..options.clone()
    };
    serde_json::to_vec(&options).expect("options have string keys and encode without fail")
}

/// Decodes a list item by item, so that serde's list code is not instantiated for each kind.
pub(crate) fn decode_list<T>(body: &[u8], decode: Decode<T>) -> Result<List<T>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(default)]
        metadata: ListMeta,
        #[serde(borrow, default)]
        items: Option<Vec<&'a RawValue>>,
    }
    let raw: Raw<'_> = serde_json::from_slice(body)?;
    let items = raw
        .items
        .unwrap_or_default()
        .into_iter()
        .map(|item| decode(item.get().as_bytes()))
        .collect::<Result<Vec<T>, _>>()?;
    Ok(List {
        metadata: raw.metadata,
        items,
    })
}
