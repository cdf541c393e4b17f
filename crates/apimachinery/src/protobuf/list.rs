//! What stands around the items of a list, for lists that are written piece by piece.
//!
//! A message says its length before its content, and an envelope that of its message: the items' lengths must be known before the first
//! of them is sent.

use super::{
    MAGIC,
    wire::{BYTES, bytes, delimited, key, varint},
    write,
};
use crate::{Object, schema::TypeRef};

/// The frame of a list in its envelope.
#[derive(Clone, Debug)]
pub struct ListFrame {
    envelope: Vec<u8>,
    metadata: Vec<u8>,
    items_tag: u32,
}

impl ListFrame {
    /// Of a list type, which has `metadata` and `items`; `None` for a type that is no list.
    pub fn new(api_version: &str, kind: &str, metadata: &Object, ty: TypeRef<'_>) -> Option<Self> {
        let fields = ty.object()?;
        let (metadata_field, items) = (fields.field("metadata")?, fields.field("items")?);
        let mut envelope = MAGIC.to_vec();
        delimited(1, &mut envelope, |out| {
            bytes(1, api_version.as_bytes(), out);
            bytes(2, kind.as_bytes(), out);
        });
        let mut head = Vec::new();
        delimited(metadata_field.tag, &mut head, |out| {
            write::message(metadata, ty.at(metadata_field.ty), out);
        });
        Some(Self {
            envelope,
            metadata: head,
            items_tag: items.tag,
        })
    }

    /// What precedes the items, whose lengths with [what precedes them](Self::write_item_head) are `items_length` together.
    pub fn head(&self, items_length: usize) -> Vec<u8> {
        let mut out = self.envelope.clone();
        key(2, BYTES, &mut out);
        varint((self.metadata.len() + items_length) as u64, &mut out);
        out.extend_from_slice(&self.metadata);
        out
    }

    /// What precedes an item of this length.
    pub fn write_item_head(&self, length: usize, out: &mut Vec<u8>) {
        key(self.items_tag, BYTES, out);
        varint(length as u64, out);
    }

    /// What follows the items.
    pub fn tail() -> Vec<u8> {
        let mut out = Vec::new();
        bytes(3, b"", &mut out);
        bytes(4, b"", &mut out);
        out
    }
}
