//! Lists in JSON, piece by piece, from the stored bytes of their items.

use std::sync::Arc;

use apimachinery::status::Status;

use super::{Endpoint, list::ChunkBytes, table};
use crate::{
    body::{Chunk, ChunkWriter, PIECE_BYTES},
    cacher::CachedObject,
};

/// Few items are larger.
const ITEM_BYTES: usize = 16 << 10;

/// What an item of a list looks like.
pub(super) enum ItemShape {
    /// The object.
    Item,
    /// Its metadata.
    Metadata,
    /// Its row in a table.
    Row(table::Rows),
}

impl ItemShape {
    fn write(
        &self,
        endpoint: &Endpoint,
        item: &CachedObject,
        out: &mut ChunkWriter,
    ) -> Result<(), Status> {
        match self {
            Self::Item => {
                out.text().push(b'{');
                let rest = endpoint.begin_json_item(item, out.text())?;
                out.put(rest);
            }
            Self::Metadata => table::write_partial_object_metadata(item, out.text()),
            Self::Row(rows) => rows.write(endpoint, item, out.text())?,
        }
        Ok(())
    }
}

/// The chunks of a list.
pub(super) struct JsonList {
    head: Option<Vec<u8>>,
    endpoint: Arc<Endpoint>,
    shape: ItemShape,
    items: std::vec::IntoIter<Arc<CachedObject>>,
    chunk_bytes: ChunkBytes,
    first: bool,
    ended: bool,
}

impl JsonList {
    /// Of these items; `head` precedes them.
    pub(super) fn new(
        head: Vec<u8>,
        endpoint: Arc<Endpoint>,
        shape: ItemShape,
        items: Vec<Arc<CachedObject>>,
    ) -> Self {
        Self {
            head: Some(head),
            endpoint,
            shape,
            items: items.into_iter(),
            chunk_bytes: ChunkBytes::new(),
            first: true,
            ended: false,
        }
    }

    /// Whether its items are sent as they are stored, which is no work. Custom resources may be stored in another version.
    pub(super) fn is_at_hand(&self) -> bool {
        let as_stored = self.endpoint.custom.is_none() && !self.endpoint.is_converted();
        as_stored && matches!(self.shape, ItemShape::Item)
    }

    /// Whether hardly anything of the next items is written: they are large.
    fn is_pieces(&self) -> bool {
        let next = self.items.as_slice().first();
        matches!(self.shape, ItemShape::Item) && next.is_some_and(|item| item.size() > PIECE_BYTES)
    }
}

impl Iterator for JsonList {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.ended {
            return None;
        }
        let chunk_bytes = self.chunk_bytes.next();
        let mut text = self.head.take().unwrap_or_default();
        if !self.is_pieces() {
            text.reserve(chunk_bytes + ITEM_BYTES);
        }
        let mut chunk = ChunkWriter::new(text);
        while chunk.len() < chunk_bytes {
            let Some(item) = self.items.next() else {
                chunk.text().extend_from_slice(b"]}\n");
                self.ended = true;
                break;
            };
            let start = chunk.text().len();
            if !self.first {
                chunk.text().push(b',');
            }
            match self.shape.write(&self.endpoint, &item, &mut chunk) {
                Ok(()) => self.first = false,
                Err(error) => {
                    tracing::error!(%error, "left out of a list");
                    chunk.text().truncate(start);
                }
            }
        }
        Some(chunk.finish())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.ended.then_some(0))
    }
}
