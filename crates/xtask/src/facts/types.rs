//! One table for each API package: its types, their fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{
    go::{self, Declaration, Sources},
    openapi::Documents,
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// Types that the documents do not show because no body of the REST API has them at its top.
const UNDOCUMENTED: &[&str] = &[
    "CreateOptions",
    "GetOptions",
    "ListOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "PatchOptions",
    "Table",
    "TableColumnDefinition",
    "TableOptions",
    "TableRow",
    "TableRowCondition",
    "UpdateOptions",
];

/// Types with formats of their own: full name and the scalar's.
fn scalar(name: &str) -> Option<&'static str> {
    Some(match name {
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => "time",
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => "micro-time",
        "io.k8s.apimachinery.pkg.apis.meta.v1.Duration" => "duration",
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1" => "fields-v1",
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => "raw",
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => "quantity",
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => "int-or-string",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "json",
        "any" | "interface{}" => "json",
        "string" => "string",
        "bool" => "bool",
        "int32" => "int32",
        "int" | "int64" | "uint64" => "int64",
        "float64" => "float64",
        "[]byte" => "bytes",
        // Declared outside of the packages read: `types.UID` and the like.
        _ if name.starts_with("io.k8s.apimachinery.pkg.types.") => "string",
        _ => return None,
    })
}

struct Tables<'a> {
    openapi: &'a Documents,
    go: &'a Sources,
    numbers: &'a Value,
}

/// Package → table.
pub(super) fn tables(
    openapi: &Documents,
    go: &Sources,
    numbers: &Value,
) -> anyhow::Result<BTreeMap<String, String>> {
    let tables = Tables {
        openapi,
        go,
        numbers,
    };
    let mut names: BTreeSet<String> = openapi.schemas.keys().cloned().collect();
    names.extend(UNDOCUMENTED.iter().map(|n| format!("{META}.{n}")));
    // Structs that are inlined do not show in the documents, but are messages of their own in protobuf.
    let mut queue: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        let Some(Declaration::Struct(fields)) = go.get(&name) else {
            continue;
        };
        for field in fields {
            let inner = field.ty.trim_start_matches(['*', '[', ']']);
            if scalar(inner).is_none()
                && matches!(go.get(inner), Some(Declaration::Struct(_)))
                && !inner.ends_with(".TypeMeta")
                && names.insert(inner.to_owned())
            {
                queue.push(inner.to_owned());
            }
        }
    }
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for name in &names {
        if scalar(name).is_some() || name.ends_with(".Patch") {
            continue;
        }
        let (package, local) = name.rsplit_once('.').context("a name without a package")?;
        let text = out
            .entry(package.to_owned())
            .or_insert_with(|| format!("package {package}\n"));
        tables
            .ty(name, package, local, text)
            .with_context(|| name.clone())?;
    }
    Ok(out)
}

impl Tables<'_> {
    fn ty(&self, name: &str, package: &str, local: &str, out: &mut String) -> anyhow::Result<()> {
        let shape = match local.strip_prefix("JSONSchemaPropsOr") {
            Some("Array") if package == EXTENSIONS => Some("list"),
            Some("Bool") if package == EXTENSIONS => Some("bool"),
            Some("StringArray") if package == EXTENSIONS => Some("strings"),
            _ => None,
        };
        if let Some(shape) = shape {
            writeln!(out, "either {local} {shape} JSONSchemaProps")?;
            return Ok(());
        }
        let schema = self.openapi.schemas.get(name).unwrap_or(&Value::Null);
        write!(out, "type {local}")?;
        if schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic") {
            out.push_str(" atomic");
        }
        if let Some([union]) = schema
            .get("x-kubernetes-unions")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        {
            let discriminator = union.get("discriminator").and_then(Value::as_str);
            let fields = union
                .get("fields-to-discriminateBy")
                .and_then(Value::as_object);
            let fields: Vec<&str> = fields.into_iter().flatten().map(|(f, _)| &**f).collect();
            let fields = fields.join(",");
            write!(out, " union={}:{fields}", discriminator.unwrap_or_default())?;
        }
        let kinds = schema
            .get("x-kubernetes-group-version-kind")
            .and_then(Value::as_array);
        let text = |gvk: &Value, key| {
            gvk.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        // Options of requests belong to every group; their one kind is of the meta package.
        if let Some([gvk]) = kinds.map(Vec::as_slice) {
            write!(
                out,
                " kind={}/{}/{}",
                text(gvk, "group"),
                text(gvk, "version"),
                text(gvk, "kind")
            )?;
        }
        out.push('\n');
        let mut seen = BTreeSet::new();
        self.fields(name, name, package, false, true, &mut seen, out)?;
        let documented = schema.get("properties").and_then(Value::as_object);
        for property in documented.into_iter().flatten().map(|(name, _)| name) {
            ensure!(
                seen.contains(property),
                "{property} is documented but not declared"
            );
        }
        Ok(())
    }

    /// `of` is the struct whose fields are written, `name` the type they end up in.
    #[expect(
        clippy::too_many_arguments,
        reason = "a recursive walk with its accumulators"
    )]
    fn fields(
        &self,
        name: &str,
        of: &str,
        package: &str,
        inlined: bool,
        tagged: bool,
        seen: &mut BTreeSet<String>,
        out: &mut String,
    ) -> anyhow::Result<()> {
        let Some(Declaration::Struct(fields)) = self.go.get(of) else {
            bail!("{of} is not declared")
        };
        for field in fields {
            if field.inline {
                let inner = field.ty.trim_start_matches('*');
                if field.tag != 0 && !inlined {
                    writeln!(out, "  ~ {} {}", shorten(inner, package), field.tag)?;
                }
                self.fields(name, inner, package, true, field.tag != 0, seen, out)?;
            } else if seen.insert(field.name.clone()) {
                if tagged {
                    self.check_number(of, field)?;
                }
                self.field(name, field, package, inlined, tagged, out)
                    .with_context(|| field.name.clone())?;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        name: &str,
        field: &go::Field,
        package: &str,
        inlined: bool,
        tagged: bool,
        out: &mut String,
    ) -> anyhow::Result<()> {
        let null = Value::Null;
        let property = self.openapi.property(name, &field.name).unwrap_or(&null);
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let mut wrapped = false;
        let ty = self.go_type(&field.ty, package, &mut wrapped)?;
        let tag = if tagged { field.tag } else { 0 };
        write!(out, "  {} {ty} {tag}", field.name)?;
        if field.omit_zero {
            out.push_str(" omitzero");
        } else if field.omit_empty {
            out.push_str(" omitempty");
        }
        if let Some(container) = self.container_name(&field.ty) {
            write!(out, " go={container}")?;
        }
        if inlined {
            out.push_str(" inlined");
        }
        if wrapped {
            out.push_str(" wrapped");
        }
        let required = self
            .openapi
            .schemas
            .get(name)
            .and_then(|s| s.get("required"));
        if required
            .and_then(Value::as_array)
            .is_some_and(|r| r.iter().any(|f| *f == field.name))
        {
            out.push_str(" required");
        }
        let keys = || -> Vec<&str> {
            let keys = property
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            keys.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        match text("x-kubernetes-list-type") {
            Some("set") => out.push_str(" list=set"),
            Some("map") => write!(out, " list=map:{}", keys().join(","))?,
            _ => {}
        }
        if text("x-kubernetes-map-type") == Some("atomic") {
            out.push_str(" map=atomic");
        }
        if text("x-kubernetes-map-type") == Some("granular") {
            out.push_str(" map=granular");
        }
        if let Some(strategy) = text("x-kubernetes-patch-strategy") {
            write!(out, " patch={strategy}")?;
        }
        if let Some(key) = text("x-kubernetes-patch-merge-key") {
            write!(out, " key={key}")?;
        }
        let mut inner = ["items", "additionalProperties"].iter();
        let inner = inner.find_map(|inner| property.get(*inner)?.get("enum"));
        if let Some(values) = property.get("enum").or(inner).and_then(Value::as_array) {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            write!(out, " enum={}", values.join(",").replace(' ', "_"))?;
        }
        let shown = !field.omit_zero && !field.omit_empty && !field.ty.starts_with('*');
        match property.get("default") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(zero) if *zero == "" || *zero == 0 || *zero == false => {
                out.push_str(if shown { "" } else { " zero" });
            }
            Some(default) => write!(out, " default={default}")?,
        }
        out.push('\n');
        Ok(())
    }

    /// `*int32`, `[]Container`, `map[string]quantity`, `string:v1.PullPolicy`.
    fn go_type(&self, ty: &str, package: &str, wrapped: &mut bool) -> anyhow::Result<String> {
        if let Some(scalar) = scalar(ty) {
            let own = ty.starts_with("io.k8s.apimachinery.pkg.types.");
            return Ok(if own {
                format!("{scalar}:{}", go_name(ty))
            } else {
                scalar.to_owned()
            });
        }
        if let Some(inner) = ty.strip_prefix('*') {
            return Ok(format!("*{}", self.go_type(inner, package, wrapped)?));
        }
        if let Some(inner) = ty.strip_prefix("[]") {
            return Ok(format!("[]{}", self.go_type(inner, package, wrapped)?));
        }
        if let Some((_, values)) = ty.strip_prefix("map[").and_then(|t| t.split_once(']')) {
            return Ok(format!("map[]{}", self.go_type(values, package, wrapped)?));
        }
        match self.go.get(ty) {
            Some(Declaration::Struct(_)) => Ok(shorten(ty, package)),
            Some(Declaration::Other(right)) => {
                let right = self.go_type(right, package, wrapped)?;
                // A named list is a message that wraps it; a named map is just a map.
                *wrapped |= right.starts_with("[]");
                let is_scalar = matches!(right.as_str(), "string" | "bool" | "int32" | "int64");
                Ok(if is_scalar {
                    format!("{right}:{}", go_name(ty))
                } else {
                    right
                })
            }
            None => bail!("{ty} is not declared"),
        }
    }

    /// Go's name of a list or map type where the shape does not tell it: `v1.ResourceList`, `map[string]v1.ExtraValue`.
    fn container_name(&self, ty: &str) -> Option<String> {
        let ty = ty.trim_start_matches('*');
        if let Some(items) = ty.strip_prefix("[]") {
            return Some(format!("[]{}", self.container_name(items)?));
        }
        if let Some((key, values)) = ty.strip_prefix("map[").and_then(|t| t.split_once(']')) {
            let inner = self.container_name(values);
            if key == "string" && inner.is_none() {
                return None;
            }
            let printed = |ty: &str| {
                if ty.contains('.') {
                    go_name(ty)
                } else {
                    ty.to_owned()
                }
            };
            let values = inner.unwrap_or_else(|| printed(values));
            return Some(format!("map[{}]{values}", printed(key)));
        }
        match self.go.get(ty)? {
            Declaration::Other(right) if right.starts_with("[]") || right.starts_with("map[") => {
                Some(go_name(ty))
            }
            _ => None,
        }
    }

    /// The numbers that the reference server states must be those of the declarations.
    fn check_number(&self, of: &str, field: &go::Field) -> anyhow::Result<()> {
        let Some((package, local)) = of.rsplit_once('.') else {
            return Ok(());
        };
        let package = package.strip_prefix("io.").unwrap_or(package);
        let stated = self
            .numbers
            .get(package)
            .and_then(|p| p.get(local))
            .and_then(Value::as_array);
        let Some(stated) = stated else { return Ok(()) };
        let number = stated
            .iter()
            .find(|row| row[0] == *field.proto_name)
            .map(|row| &row[1]);
        if let Some(number) = number {
            ensure!(
                *number == field.tag,
                "{of}.{} has number {} and {number}",
                field.name,
                field.tag
            );
        }
        Ok(())
    }
}

/// `v1.PullPolicy`, as Go prints the type.
fn go_name(full: &str) -> String {
    let mut parts = full.rsplit('.');
    let name = parts.next().unwrap_or_default();
    format!("{}.{name}", parts.next().unwrap_or_default())
}

/// Without the package if it is this one.
fn shorten(full: &str, package: &str) -> String {
    match full.rsplit_once('.') {
        Some((of, local)) if of == package => local.to_owned(),
        _ => full.to_owned(),
    }
}
