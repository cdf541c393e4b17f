//! Objects in other shapes: tables for people (`as=Table`), metadata for those who need no more (`as=PartialObjectMetadata`).

use apimachinery::{
    Object,
    field::{FieldError, Path},
    gvk::GroupVersionKind,
    meta,
    status::{ListMeta, Status},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Endpoint, list::Page, watch::INITIAL_EVENTS_END};
use crate::{cacher::CachedObject, query::Query};

const TABLE: GroupVersionKind = GroupVersionKind::new("meta.k8s.io", "v1", "Table");
const PARTIAL: GroupVersionKind =
    GroupVersionKind::new("meta.k8s.io", "v1", "PartialObjectMetadata");
const PARTIAL_LIST: GroupVersionKind =
    GroupVersionKind::new("meta.k8s.io", "v1", "PartialObjectMetadataList");

/// `includeObject=`: what of its object a row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum IncludeObject {
    #[default]
    Metadata,
    None,
    Object,
}

/// How tables are made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableOptions {
    include: IncludeObject,
}

impl TableOptions {
    pub(super) fn of(query: &Query) -> Result<Self, Status> {
        let include = match query.get("includeObject") {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            None | Some("" | "Metadata") => IncludeObject::Metadata,
            Some(other) => {
                let error = FieldError::invalid(
                    &Path::new("includeObject"),
                    other,
                    "must be 'Metadata', 'Object', 'None', or empty",
                );
                return Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: {error}"
                )));
            }
        };
        Ok(Self { include })
    }
}

/// A table of one object.
pub(super) fn of_object(
    call: &Call<'_>,
    object: &Object,
) -> Result<(Object, GroupVersionKind), Status> {
    let options = TableOptions::of(&call.context.query)?;
    let metadata = match meta::resource_version(object) {
        "" => json!({}),
        version => json!({ "resourceVersion": version }),
    };
    let row = row(call.endpoint, options, object, call.registry.clock.now());
    Ok((table(metadata, columns(call.endpoint), vec![row]), TABLE))
}

/// A table of an object that is not stored, or of a list of such.
pub(super) fn of_objects(
    call: &Call<'_>,
    object: &Object,
) -> Result<(Object, GroupVersionKind), Status> {
    let options = TableOptions::of(&call.context.query)?;
    let now = call.registry.clock.now();
    let row = |object: &Object| row(call.endpoint, options, object, now);
    let rows = match object.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().filter_map(Value::as_object).map(row).collect(),
        None => vec![row(object)],
    };
    Ok((table(json!({}), columns(call.endpoint), rows), TABLE))
}

/// A table of a Scale, whose columns are its own.
pub(super) fn of_scale(
    call: &Call<'_>,
    scale: &Object,
) -> Result<(Object, GroupVersionKind), Status> {
    let options = TableOptions::of(&call.context.query)?;
    let replicas = |part: &str| {
        let replicas = scale.get(part).and_then(|part| part.get("replicas"));
        replicas.cloned().unwrap_or_else(|| 0.into())
    };
    let age = api::printers::age_of(scale, call.registry.clock.now());
    let mut row =
        json!({ "cells": [meta::name(scale), replicas("spec"), replicas("status"), age] });
    row["object"] = included(options, call.endpoint, scale);
    let columns: Value = api::scale::columns().iter().map(column).collect();
    let metadata = json!({ "resourceVersion": meta::resource_version(scale) });
    Ok((table(metadata, columns, vec![row]), TABLE))
}

/// A table of a page of a list.
pub(super) fn of_page(call: &Call<'_>, page: &Page) -> Result<(Object, GroupVersionKind), Status> {
    let options = TableOptions::of(&call.context.query)?;
    let now = call.registry.clock.now();
    let rows = page
        .items
        .iter()
        .map(|item| row(call.endpoint, options, &call.endpoint.tree(item), now))
        .collect();
    let metadata = serde_json::to_value(&page.metadata).map_err(Status::internal)?;
    let mut table = table(metadata, columns(call.endpoint), rows);
    // Upstream's table for kinds without columns of their own appends to nothing.
    let plain = api::facts::columns(&call.endpoint.row.gvr)
        .is_none_or(|columns| columns.get(1).is_some_and(|c| c.name == "Created At"));
    if page.items.is_empty() && plain && call.endpoint.custom.is_none() {
        table.insert("rows".to_owned(), Value::Null);
    }
    Ok((table, TABLE))
}

/// A table of the object of a watch event; columns come with the first.
pub(super) fn of_event(
    endpoint: &Endpoint,
    options: &TableOptions,
    object: &Object,
    with_columns: bool,
    now: Timestamp,
) -> Result<Object, Status> {
    let metadata = json!({ "resourceVersion": meta::resource_version(object) });
    let columns = if with_columns {
        columns(endpoint)
    } else {
        Value::Null
    };
    let mut options = *options;
    // The end of the initial events is told by an annotation, whatever else is wanted of the object.
    if options.include == IncludeObject::None
        && meta::annotation(object, INITIAL_EVENTS_END).is_some()
    {
        options.include = IncludeObject::Metadata;
    }
    let row = row(endpoint, options, object, now);
    Ok(table(metadata, columns, vec![row]))
}

fn table(metadata: Value, columns: Value, rows: Vec<Value>) -> Object {
    let mut table = Object::new();
    table.insert("kind".to_owned(), "Table".into());
    table.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    table.insert("metadata".to_owned(), metadata);
    table.insert("columnDefinitions".to_owned(), columns);
    table.insert("rows".to_owned(), Value::Array(rows));
    table
}

fn row(endpoint: &Endpoint, options: TableOptions, object: &Object, now: Timestamp) -> Value {
    // Printers know the stored version.
    let mut stored = std::borrow::Cow::Borrowed(object);
    if endpoint.is_converted() {
        endpoint.to_storage(stored.to_mut());
    }
    let stored = stored.as_ref();
    let (cells, conditions) = cells(endpoint, stored, now);
    let mut row = json!({ "cells": cells });
    if !conditions.is_empty() {
        row["conditions"] = Value::Array(conditions);
    }
    row["object"] = included(options, endpoint, object);
    row
}

/// The cells and conditions of a row.
fn cells(endpoint: &Endpoint, stored: &Object, now: Timestamp) -> (Vec<Value>, Vec<Value>) {
    if let Some(custom) = &endpoint.custom {
        return (custom.cells(stored, now), Vec::new());
    }
    (
        endpoint.printer.cells(stored, now),
        endpoint.printer.conditions(stored),
    )
}

/// What a table of a list begins with, up to its rows.
pub(super) fn json_head(call: &Call<'_>, metadata: &ListMeta) -> Result<Vec<u8>, Status> {
    let metadata = serde_json::to_string(metadata).map_err(Status::internal)?;
    let columns = columns(call.endpoint);
    let head = format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"columnDefinitions":{columns},"rows":["#
    );
    Ok(head.into())
}

/// Writes the table of the object of a watch event, which is stored as it is served; columns come with the first.
pub(super) fn write_event(
    endpoint: &Endpoint,
    options: TableOptions,
    item: &CachedObject,
    with_columns: bool,
    now: Timestamp,
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    let columns = match with_columns {
        true => columns(endpoint),
        false => Value::Null,
    };
    let head = format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{}"}},"columnDefinitions":{columns},"rows":["#,
        item.revision
    );
    out.extend_from_slice(head.as_bytes());
    Rows { options, now }.write(endpoint, item, out)?;
    out.extend_from_slice(b"]}");
    Ok(())
}

/// The rows of a table, written one by one: of an object no more is read than its cells need.
pub(super) struct Rows {
    options: TableOptions,
    now: Timestamp,
}

impl Rows {
    pub(super) fn of(call: &Call<'_>) -> Result<Self, Status> {
        Ok(Self {
            options: TableOptions::of(&call.context.query)?,
            now: call.registry.clock.now(),
        })
    }

    /// Writes the row of an object that is stored as it is served.
    pub(super) fn write(
        &self,
        endpoint: &Endpoint,
        item: &CachedObject,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let object = match &endpoint.custom {
            Some(_) => endpoint.tree(item),
            None => item.project(endpoint.printer.projection()),
        };
        let (cells, conditions) = cells(endpoint, &object, self.now);
        out.extend_from_slice(b"{\"cells\":");
        serde_json::to_writer(&mut *out, &cells).map_err(Status::internal)?;
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            serde_json::to_writer(&mut *out, &conditions).map_err(Status::internal)?;
        }
        out.extend_from_slice(b",\"object\":");
        match self.options.include {
            IncludeObject::None => out.extend_from_slice(b"null"),
            IncludeObject::Object => endpoint.write_json(item, out)?,
            IncludeObject::Metadata => write_partial_object_metadata(item, out),
        }
        out.push(b'}');
        Ok(())
    }
}

fn included(options: TableOptions, endpoint: &Endpoint, object: &Object) -> Value {
    match options.include {
        IncludeObject::None => Value::Null,
        IncludeObject::Object => Value::Object(object.clone()),
        IncludeObject::Metadata => Value::Object(metadata_of(endpoint, object).0),
    }
}

/// The columns of a resource; those that print nothing of their own show when the object was made.
fn columns(endpoint: &Endpoint) -> Value {
    if let Some(custom) = &endpoint.custom {
        return custom.column_definitions();
    }
    let bare = |name: &str, kind: &str, format: &str| json!({ "name": name, "type": kind, "format": format, "description": "", "priority": 0 });
    match api::facts::columns(&endpoint.row.gvr) {
        Some(columns) => columns.iter().map(column).collect(),
        None => json!([
            bare("Name", "string", "name"),
            bare("Created At", "date", "")
        ]),
    }
}

fn column(column: &api::facts::Column) -> Value {
    json!({
        "name": column.name, "type": column.column_type, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

/// The metadata of an object alone.
pub(super) fn metadata_of(endpoint: &Endpoint, object: &Object) -> (Object, GroupVersionKind) {
    let annotations = endpoint.strategy().annotations_of_version();
    if annotations.is_empty() {
        return partial_object_metadata(object);
    }
    let mut metadata = Object::new();
    metadata.insert(
        "metadata".to_owned(),
        object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    );
    for annotation in annotations {
        meta::set_annotation(&mut metadata, annotation, None);
    }
    partial_object_metadata(&metadata)
}

/// The metadata of an object alone, with all its annotations.
pub(super) fn partial_object_metadata(object: &Object) -> (Object, GroupVersionKind) {
    let mut partial = Object::new();
    partial.insert("kind".to_owned(), PARTIAL.kind.as_ref().into());
    partial.insert(
        "apiVersion".to_owned(),
        PARTIAL.group_version().to_string().into(),
    );
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    partial.insert("metadata".to_owned(), metadata);
    (partial, PARTIAL)
}

/// Writes the metadata of an object that is stored as it is served.
pub(super) fn write_partial_object_metadata(item: &CachedObject, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#);
    item.write_json_metadata(out);
    out.push(b'}');
}

/// What a list of metadata begins with, up to its items.
pub(super) fn partial_object_metadata_list_head(metadata: &ListMeta) -> Result<Vec<u8>, Status> {
    let metadata = serde_json::to_string(metadata).map_err(Status::internal)?;
    let head = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":["#
    );
    Ok(head.into())
}

/// The metadata of the objects of a page.
pub(super) fn partial_object_metadata_list(
    endpoint: &Endpoint,
    page: &Page,
) -> (Object, GroupVersionKind) {
    let items = page.items.iter().map(|item| item.parse_metadata());
    let items = items.map(|item| metadata_of(endpoint, &item).0).collect();
    let metadata = serde_json::to_value(&page.metadata).unwrap_or_default();
    metadata_list(items, metadata)
}

/// A list of what [`metadata_of`] gives.
pub(super) fn metadata_list(items: Vec<Object>, metadata: Value) -> (Object, GroupVersionKind) {
    let mut list = Object::new();
    list.insert("kind".to_owned(), PARTIAL_LIST.kind.as_ref().into());
    list.insert(
        "apiVersion".to_owned(),
        PARTIAL_LIST.group_version().to_string().into(),
    );
    list.insert("metadata".to_owned(), metadata);
    // Upstream appends to an empty slice: without items it stays null.
    let items = if items.is_empty() {
        Value::Null
    } else {
        items.into_iter().map(Value::Object).collect()
    };
    list.insert("items".to_owned(), items);
    (list, PARTIAL_LIST)
}
