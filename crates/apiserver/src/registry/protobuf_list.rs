//! Lists in protobuf, piece by piece.
//!
//! A message says its length before its content, so every item is encoded once to be measured. A short list keeps what was encoded for
//! sending; a long one is encoded again while it is sent, item by item, so that its client's pace bounds nothing but its own stream, and
//! no list is ever held whole.

use std::sync::Arc;

use apimachinery::{
    TypeRef,
    protobuf::{self, ListFrame},
    status::Status,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    Call, Endpoint,
    list::{ChunkBytes, Page},
};
use crate::{
    body::{Body, Chunk, ChunkWriter},
    cacher::CachedObject,
    negotiation::{Accept, maybe_gzip},
    pace::Pace,
};

/// Lists up to this size are kept as they were measured.
const KEPT_BYTES: usize = 1 << 20;
/// Others get their turn each time so much has been measured.
const BREATH_BYTES: usize = 256 << 10;

impl Endpoint {
    /// Writes an object's message, without envelope.
    fn write_protobuf(
        &self,
        cached: &CachedObject,
        ty: TypeRef<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        protobuf::transcode_message(&self.json(cached)?, ty, out).map_err(Status::internal)
    }

    /// An object with its envelope; "not acceptable" for kinds that protobuf does not have.
    pub(super) fn protobuf(&self, cached: &CachedObject) -> Result<Bytes, Status> {
        let gvk = &self.row.gvk;
        let ty = api::facts::type_of(gvk)
            .ok_or_else(|| Status::not_acceptable(&["application/json", "application/yaml"]))?;
        let version = gvk.group_version().to_string();
        protobuf::transcode(&self.json(cached)?, ty, &version, &gvk.kind)
            .map(Bytes::from)
            .map_err(Status::internal)
    }
}

impl Call<'_> {
    /// Answers with a page in protobuf, or gives it back if its kind has no such message.
    pub(super) async fn respond_protobuf_page(
        &self,
        page: Page,
        accept: Accept,
    ) -> Result<Result<Response<Body>, Page>, Status> {
        let row = &self.endpoint.row;
        let gvk = row.gvk.group_version().kind(row.list_kind.clone());
        let types = (
            api::facts::type_of(&gvk),
            api::facts::type_of(&row.gvk).filter(|_| self.endpoint.custom.is_none()),
        );
        let (Some(list), Some(item)) = types else {
            return Ok(Err(page));
        };
        let metadata = self.list_metadata(&page.metadata)?;
        let metadata = metadata.as_object().cloned().unwrap_or_default();
        let version = gvk.group_version().to_string();
        let Some(frame) = ListFrame::new(&version, &gvk.kind, &metadata, list) else {
            return Ok(Err(page));
        };
        if page.bytes() >= KEPT_BYTES {
            self.context.begin_long_work().await;
        }
        let pace = self.context.pace();
        let measured = Measured::of(&page.items, self.endpoint, item, &frame, pace).await?;
        let head = frame.head(measured.length);
        let size = head.len() + measured.length;
        let chunks = ProtobufList {
            head: Some(head),
            frame,
            endpoint: Arc::clone(self.endpoint),
            kept: measured.kept,
            chunk_bytes: ChunkBytes::new(),
            items: page.items.into_iter().zip(measured.lengths),
            ended: false,
        };
        let response = Response::builder().status(StatusCode::OK).header(
            header::CONTENT_TYPE,
            HeaderValue::from_static(accept.encoding.media_type()),
        );
        maybe_gzip(&self.context.headers, response, size, Body::made(chunks))
            .map(Ok)
            .map_err(Status::internal)
    }
}

/// How long a list's items are, and the items themselves if that is not much.
struct Measured {
    /// Of all items with their heads.
    length: usize,
    /// Of each message, without its head.
    lengths: Vec<u32>,
    kept: Option<Bytes>,
}

impl Measured {
    async fn of(
        items: &[Arc<CachedObject>],
        endpoint: &Endpoint,
        ty: TypeRef<'_>,
        frame: &ListFrame,
        pace: Pace,
    ) -> Result<Self, Status> {
        let (mut length, mut breath) = (0, 0);
        let mut lengths = Vec::with_capacity(items.len());
        let (mut message, mut all) = (Vec::new(), Some(Vec::new()));
        let mut head = Vec::new();
        for item in items {
            message.clear();
            endpoint.write_protobuf(item, ty, &mut message)?;
            head.clear();
            frame.write_item_head(message.len(), &mut head);
            lengths.push(u32::try_from(message.len()).map_err(Status::internal)?);
            length += head.len() + message.len();
            breath += message.len();
            if let Some(kept) = all.as_mut().filter(|_| length <= KEPT_BYTES) {
                kept.extend_from_slice(&head);
                kept.extend_from_slice(&message);
            } else {
                all = None;
            }
            if breath >= BREATH_BYTES {
                breath = 0;
                pace.give_way().await;
            }
        }
        Ok(Self {
            length,
            lengths,
            kept: all.map(Bytes::from),
        })
    }
}

/// The bytes of a list, chunk by chunk.
struct ProtobufList {
    head: Option<Vec<u8>>,
    frame: ListFrame,
    endpoint: Arc<Endpoint>,
    kept: Option<Bytes>,
    chunk_bytes: ChunkBytes,
    items: std::iter::Zip<std::vec::IntoIter<Arc<CachedObject>>, std::vec::IntoIter<u32>>,
    ended: bool,
}

impl ProtobufList {
    /// The next item is as long as it was when it was measured: it is the same version of the same object in the same version of its kind.
    fn write_item(&self, item: &CachedObject, length: u32, out: &mut Vec<u8>) {
        let Some(ty) = api::facts::type_of(&self.endpoint.row.gvk) else {
            return;
        };
        self.frame.write_item_head(length as usize, out);
        if let Err(error) = self.endpoint.write_protobuf(item, ty, out) {
            tracing::error!(%error, "an item that was measured cannot be encoded");
        }
    }
}

impl Iterator for ProtobufList {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.ended {
            return None;
        }
        let mut chunk = ChunkWriter::new(self.head.take().unwrap_or_default());
        if let Some(kept) = self.kept.take() {
            chunk.put(kept);
            self.items = Vec::new().into_iter().zip(Vec::new());
        }
        let chunk_bytes = self.chunk_bytes.next();
        while chunk.len() < chunk_bytes {
            let Some((item, length)) = self.items.next() else {
                chunk.text().extend_from_slice(&ListFrame::tail());
                self.ended = true;
                break;
            };
            self.write_item(&item, length, chunk.text());
        }
        Some(chunk.finish())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.ended.then_some(0))
    }
}
