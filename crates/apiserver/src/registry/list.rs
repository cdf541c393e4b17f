//! List: a snapshot of the watch cache, filtered, in pages, streamed.

use std::sync::Arc;

use apimachinery::{
    Object,
    status::{ListMeta, Status},
};
use etcd::{KeyRange, KvError, RangeRequest, Revision};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::{
    Call,
    continue_token::ContinueToken,
    json_list::{ItemShape, JsonList},
    options::{Freshness, ListOptions},
    selection::Selection,
};
use crate::{
    body::Body,
    cacher::{CachedObject, Predicate, Snapshot},
    negotiation::{Accept, Encoding, Endpoint as Sort, Transform, maybe_gzip, respond_object},
    pipeline::LARGE_BYTES,
    storage,
};

/// How large a list's chunks are: they grow for a client that takes them, for each costs a turn of two threads. One that takes nothing has the
/// first.
pub(super) struct ChunkBytes(usize);

impl ChunkBytes {
    const FIRST: usize = 64 << 10;
    const MOST: usize = 512 << 10;

    pub(super) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// Of the next one.
    pub(super) fn next(&mut self) -> usize {
        let bytes = self.0;
        self.0 = (4 * bytes).min(Self::MOST);
        bytes
    }
}

/// A page of a list.
pub(super) struct Page {
    pub(super) metadata: ListMeta,
    pub(super) items: Vec<Arc<CachedObject>>,
}

impl Page {
    /// How many bytes its items have as they are stored.
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.size()).sum()
    }
}

impl Call<'_> {
    /// `GET` of a collection.
    pub(super) async fn list(&self) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::List)?;
        let predicate = self.predicate()?;
        let options = ListOptions::parse(&context.query, false)?;
        self.check_fields(&predicate)?;
        let page = self.page(&options, predicate).await?;
        self.respond_page(page, accept).await
    }

    /// What is selected, from the query.
    pub(super) fn predicate(&self) -> Result<Predicate, Status> {
        let query = &self.context.query;
        let labels =
            apimachinery::labels::Selector::parse(query.get("labelSelector").unwrap_or_default())
                .map_err(Status::bad_request)?;
        let fields = query.get("fieldSelector").unwrap_or_default();
        let mut fields =
            apimachinery::fields::Selector::parse(fields).map_err(Status::bad_request)?;
        let strategy = self.endpoint.strategy();
        for requirement in &mut fields.requirements {
            let field = strategy.field_of_label(&requirement.field);
            if field != requirement.field {
                requirement.field = field.to_owned();
            }
        }
        Ok(Predicate {
            namespace: self.namespace().to_owned(),
            name: String::new(),
            labels,
            fields,
        })
    }

    /// The resource must know all fields that are selected by. Asked after the options have been found to be in order, as upstream.
    pub(super) fn check_fields(&self, predicate: &Predicate) -> Result<(), Status> {
        let strategy = self.endpoint.strategy();
        for requirement in &predicate.fields.requirements {
            let field = requirement.field.as_str();
            if strategy.is_selectable(field) {
                continue;
            }
            let message = strategy.unknown_field_label(&self.endpoint.row.gvk, field);
            return Err(Status::bad_request(message));
        }
        Ok(())
    }

    /// The page that the options ask for.
    pub(super) async fn page(
        &self,
        options: &ListOptions,
        predicate: Predicate,
    ) -> Result<Page, Status> {
        let (snapshot, after) = self.list_snapshot(options).await?;
        let from_the_start = options.freshness() == Freshness::Any;
        // What is read from the cache as it happens to be is read whole.
        let limit = if options.limit == 0 || from_the_start {
            usize::MAX
        } else {
            options.limit
        };
        let (items, more) = match Selection::of(self.endpoint, &predicate) {
            Some(selection) => selection.page(&snapshot, after.as_deref(), limit).await?,
            None => {
                let selected = snapshot.select(&predicate, after.as_deref());
                let items: Vec<_> = selected.take(limit).cloned().collect();
                let full = items.last().filter(|_| items.len() == limit);
                // There is more as long as there are objects, selected or not.
                let candidates = predicate.candidates();
                let more = full.is_some_and(|last| {
                    let mut rest = snapshot.select(&candidates, Some(&last.key));
                    rest.next().is_some()
                });
                (items, more)
            }
        };
        if let Some(cacher) = &self.endpoint.cacher {
            let stats = cacher.stats();
            stats.lists.add(1);
            // What the index gave, which is what was selected of it.
            stats.fetched.add(items.len() + usize::from(more));
            stats.returned.add(items.len());
        }
        let mut metadata = ListMeta {
            resource_version: snapshot.revision.to_string(),
            ..ListMeta::default()
        };
        if let Some(last) = items.last().filter(|_| more) {
            let token = ContinueToken {
                revision: Some(snapshot.revision),
                after: last.key.to_vec(),
            };
            metadata.continue_token = token.encode(&predicate.namespace);
            if predicate.is_everything() {
                let left = self.endpoint.cacher()?.count_remaining(
                    &snapshot,
                    &predicate.namespace,
                    after.as_deref(),
                    items.len(),
                    &last.key,
                );
                metadata.remaining_item_count = i64::try_from(left).ok();
            }
        }
        self.endpoint.prepare(&items).await?;
        Ok(Page { metadata, items })
    }

    /// The state to list, and the key after which the page begins.
    async fn list_snapshot(
        &self,
        options: &ListOptions,
    ) -> Result<(Snapshot, Option<Vec<u8>>), Status> {
        if options.continue_token.is_empty() {
            let freshness = options.freshness();
            let Freshness::Exact(revision) = freshness else {
                return Ok((self.snapshot(freshness).await?, None));
            };
            let snapshot = self.snapshot_at(revision).await?;
            return snapshot.map(|snapshot| (snapshot, None)).ok_or_else(|| {
                Status::expired("The resourceVersion for the provided list is too old.")
            });
        }
        let token = ContinueToken::decode(&options.continue_token, self.namespace())?;
        if options.version_given {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let Some(revision) = token.revision else {
            let snapshot = self.snapshot(Freshness::Consistent).await?;
            return Ok((snapshot, Some(token.after)));
        };
        match self.snapshot_at(revision).await? {
            Some(snapshot) => Ok((snapshot, Some(token.after))),
            None => {
                let rest = ContinueToken {
                    revision: None,
                    after: token.after,
                };
                Err(Status::continue_expired(&rest.encode(self.namespace())))
            }
        }
    }

    /// The resource, as fresh as asked for.
    async fn snapshot(&self, freshness: Freshness) -> Result<Snapshot, Status> {
        let cacher = self.endpoint.cacher()?;
        if self.cache_serves(freshness) {
            self.wait_for(freshness).await?;
            return Ok(cacher.snapshot());
        }
        self.present(KeyRange::prefix(cacher.prefix().clone()), freshness)
            .await
    }

    /// The resource as it was at `revision`; `None` if that has been forgotten.
    async fn snapshot_at(&self, revision: Revision) -> Result<Option<Snapshot>, Status> {
        if self.registry.horizon.hides(revision) {
            return Ok(None);
        }
        let freshness = Freshness::Exact(revision);
        if self.cache_serves(freshness) {
            self.wait_for(freshness).await?;
            if let Some(snapshot) = self.endpoint.cacher()?.snapshot_at(revision) {
                return Ok(Some(snapshot));
            }
        }
        self.history(revision).await
    }

    /// A state that the cache no longer has, from the store; `None` if the store has forgotten it too.
    async fn history(&self, revision: Revision) -> Result<Option<Snapshot>, Status> {
        let cacher = self.endpoint.cacher()?;
        let mut request = RangeRequest::new(KeyRange::prefix(cacher.prefix().clone()));
        request.revision = Some(revision);
        let response = match self.registry.kv.range(request).await {
            Ok(response) => response,
            Err(KvError::Compacted { .. }) => return Ok(None),
            Err(KvError::FutureRevision { requested, .. }) => {
                // Not every store says with this where it is.
                let current = self.registry.kv.revision().await;
                let current = current.map_err(storage::status)?;
                return Err(super::get::too_large(requested, current));
            }
            Err(error) => return Err(storage::status(error)),
        };
        cacher.stats().store_lists.add(1);
        cacher.stats().store_objects.add(response.kvs.len());
        Ok(Some(cacher.snapshot_of(&response.kvs, revision)))
    }

    /// Answers with a page.
    pub(super) async fn respond_page(
        &self,
        mut page: Page,
        accept: Accept,
    ) -> Result<Response<Body>, Status> {
        if accept.transform == Transform::PartialObjectMetadata {
            return Err(self.is_a_list());
        }
        if accept.encoding == Encoding::Protobuf && accept.transform == Transform::None {
            page = match self.respond_protobuf_page(page, accept).await? {
                Ok(response) => return Ok(response),
                Err(page) => page,
            };
        }
        let Some((head, shape)) = self.streamed(&page, accept)? else {
            if page.bytes() >= LARGE_BYTES {
                self.context.begin_long_work().await;
            }
            let (object, gvk) = match accept.transform {
                Transform::None => self.list_tree(&page)?,
                Transform::Table => super::table::of_page(self, &page)?,
                _ => super::table::partial_object_metadata_list(self.endpoint, &page),
            };
            return respond_object(&self.context.headers, StatusCode::OK, accept, &object, &gvk);
        };
        let size = head.len() + page.bytes();
        let response = Response::builder().status(StatusCode::OK).header(
            header::CONTENT_TYPE,
            HeaderValue::from_static(accept.encoding.media_type()),
        );
        let list = JsonList::new(head, Arc::clone(self.endpoint), shape, page.items);
        let body = match list.is_at_hand() {
            true => Body::at_hand(list),
            false => Body::made(list),
        };
        maybe_gzip(&self.context.headers, response, size, body).map_err(Status::internal)
    }

    /// 406: the metadata of one object was asked for.
    pub(super) fn is_a_list(&self) -> Status {
        Status::not_acceptable_as(format_args!(
            "you requested PartialObjectMetadata, but the requested object is a list ({}List)",
            self.endpoint.go_type()
        ))
    }

    /// How a page is written piece by piece, if it can be: what precedes the items, and the shape of these.
    fn streamed(
        &self,
        page: &Page,
        accept: Accept,
    ) -> Result<Option<(Vec<u8>, ItemShape)>, Status> {
        if accept.encoding != Encoding::Json || accept.pretty || accept.v1beta1 {
            return Ok(None);
        }
        // What upstream shows where there are no items differs by kind.
        let by_pieces = !page.items.is_empty() && self.endpoint.is_served_as_stored();
        Ok(match accept.transform {
            Transform::None => Some((self.list_head(&page.metadata)?, ItemShape::Item)),
            _ if !by_pieces => None,
            Transform::Table => {
                let head = super::table::json_head(self, &page.metadata)?;
                Some((head, ItemShape::Row(super::table::Rows::of(self)?)))
            }
            _ => {
                let head = super::table::partial_object_metadata_list_head(&page.metadata)?;
                Some((head, ItemShape::Metadata))
            }
        })
    }

    /// `{"kind":"PodList",…,"items":[`
    fn list_head(&self, metadata: &ListMeta) -> Result<Vec<u8>, Status> {
        let row = &self.endpoint.row;
        let metadata = self.list_metadata(metadata)?;
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            row.list_kind,
            row.gvk.group_version()
        );
        Ok(head.into())
    }

    /// Lists of custom resources say even that nothing follows.
    pub(super) fn list_metadata(&self, metadata: &ListMeta) -> Result<Value, Status> {
        let mut value = serde_json::to_value(metadata).map_err(Status::internal)?;
        if self.endpoint.custom.is_some() && metadata.continue_token.is_empty() {
            value["continue"] = "".into();
        }
        Ok(value)
    }

    /// The list as a tree, for encodings that need one.
    fn list_tree(
        &self,
        page: &Page,
    ) -> Result<(Object, apimachinery::gvk::GroupVersionKind), Status> {
        let gvk = self
            .endpoint
            .row
            .gvk
            .group_version()
            .kind(self.endpoint.row.list_kind.clone());
        let items: Vec<Value> = page
            .items
            .iter()
            .map(|item| {
                let mut object = self.endpoint.tree(item);
                if self.endpoint.custom.is_none() {
                    object.remove("kind");
                    object.remove("apiVersion");
                }
                Value::Object(object)
            })
            .collect();
        let mut list = Object::new();
        list.insert("kind".to_owned(), gvk.kind.as_ref().into());
        list.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        let metadata = self.list_metadata(&page.metadata)?;
        list.insert("metadata".to_owned(), metadata);
        list.insert("items".to_owned(), Value::Array(items));
        Ok((list, gvk))
    }
}
