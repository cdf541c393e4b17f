//! Patch: a JSON patch, a merge patch or a strategic merge patch on the object as it is, then an update with what comes out. The
//! patch is applied anew whenever the object changed underneath.

use std::collections::BTreeSet;

use api::internal::{self, Touched};
use apimachinery::{
    Object, decode,
    field::{ErrorList, FieldError, Path},
    go,
    gvk::{GroupVersion, GroupVersionKind},
    managed_fields, meta,
    patch::{self, PatchError},
    status::Status,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::{
    Call, codec,
    options::{FieldValidation, WriteOptions},
    update::Want,
    write::Part,
};
use crate::{
    body::Body,
    negotiation::{Endpoint, content_type, route_status},
};

/// A patch as it was sent. It is read when there is an object to put it to: whoever patches nothing learns that first.
#[derive(Debug)]
pub(super) struct Patch {
    sort: Sort,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// RFC 6902.
    Json,
    /// RFC 7396.
    Merge,
    /// By the merge keys of the schema.
    Strategic,
}

/// An object with a patch put to it, not yet decoded.
struct Outcome {
    tree: Value,
    /// What is dubious about the patch's text.
    findings: Vec<String>,
    /// The members of the top level that may differ; `None`: all.
    touched: Option<BTreeSet<String>>,
    /// What is left of a strategic patch.
    left: Option<Value>,
}

/// The members of an object that a patch of these can change. Directives say something of all.
fn touched_by(patch: &Object) -> Option<BTreeSet<String>> {
    let all = patch.keys().any(|name| name.starts_with('$'));
    (!all).then(|| patch.keys().cloned().collect())
}

/// Puts a patch to an object, with the owned fields as trees if it looks into them.
fn put(
    patch: &mut Object,
    original: &Object,
    apply: impl FnOnce(&mut Object, &mut Object) -> Result<(), PatchError>,
) -> Result<Value, Status> {
    let mut object = original.clone();
    let looks = meta::metadata(patch).is_some_and(|m| m.contains_key("managedFields"));
    if looks {
        managed_fields::spell_out(&mut object);
    }
    apply(&mut object, patch)?;
    if looks {
        managed_fields::disown_text(&mut object);
    }
    Ok(Value::Object(object))
}

fn spelled_out(mut object: Object) -> Value {
    managed_fields::spell_out(&mut object);
    Value::Object(object)
}

impl Call<'_> {
    /// `PATCH …/NAME`
    pub(super) async fn patch(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Endpoint::Object)?;
        if content_type(&context.headers) == "application/apply-patch+yaml" {
            return self.apply(request, accept).await;
        }
        Patch::check_sort(self)?;
        let manager = context.field_manager();
        let options = WriteOptions::parse(&context.query, manager, "PatchOptions", false)?;
        let bytes = self.body(request).await?;
        let patch = Patch::new(self, bytes)?;
        let options_object = self.options_object("PatchOptions");
        let mut want = Patched {
            call: self,
            patch: &patch,
            options: &options,
        };
        let updated = self
            .update_object(
                &mut want,
                self.part(),
                &options,
                &options_object,
                self.keep(accept),
            )
            .await?;
        self.respond_stored(updated.object, accept, StatusCode::OK)
            .await
    }
}

impl Sort {
    /// By the content type. Custom kinds have no strategic merge.
    fn of(call: &Call<'_>) -> Result<Self, Status> {
        const TYPES: [&str; 4] = [
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ];
        let custom = call.endpoint.custom.is_some();
        match content_type(&call.context.headers) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            _ if custom => Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ])),
            // The router takes a list of types, one of which it knows; what comes behind it does not.
            listed if listed.split(',').any(|one| TYPES.contains(&one.trim())) => {
                Err(Status::unsupported_media_type(&TYPES))
            }
            _ => Err(route_status(415, "Unsupported Media Type", None)),
        }
    }
}

/// The object in the body of a merge patch.
fn object_of(bytes: &[u8]) -> Result<(Object, Vec<String>), String> {
    let (value, duplicates) = decode::untyped(bytes).map_err(|error| error.to_string())?;
    match value {
        Value::Object(object) => Ok((object, duplicates)),
        Value::Null => Ok((Object::new(), duplicates)),
        _ => Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            decode::kind_name(bytes)
        )),
    }
}

impl Patch {
    /// Refuses content types that are no patch of the resource's.
    pub(super) fn check_sort(call: &Call<'_>) -> Result<(), Status> {
        Sort::of(call).map(|_| ())
    }

    /// A body, by its content type.
    pub(super) fn new(call: &Call<'_>, bytes: Bytes) -> Result<Self, Status> {
        Ok(Self {
            sort: Sort::of(call)?,
            bytes,
        })
    }

    /// Puts the patch to an object of this kind.
    fn outcome(
        &self,
        original: &Object,
        gvk: &GroupVersionKind,
        strict: bool,
    ) -> Result<Outcome, Status> {
        Ok(match self.sort {
            Sort::Json => {
                let mut patch = patch::JsonPatch::parse(&self.bytes, strict)?;
                let mut tree = patch.apply(spelled_out(original.clone()))?;
                if let Value::Object(object) = &mut tree {
                    managed_fields::disown_text(object);
                }
                Outcome {
                    tree,
                    findings: std::mem::take(&mut patch.findings),
                    touched: None,
                    left: None,
                }
            }
            Sort::Merge => {
                // Who wants strictness is told by the decoder what is wrong with the text, others by the library that merges, which says
                // nothing more, and puts a list in the object's place.
                let invalid = || Status::bad_request("Invalid JSON Patch");
                let (mut patch, findings) = match object_of(&self.bytes) {
                    Ok(_) if decode::kind_name(&self.bytes) == "null" => return Err(invalid()),
                    Ok(read) => read,
                    Err(error) if strict => {
                        return Err(Status::bad_request(format!(
                            "error decoding patch: {error}"
                        )));
                    }
                    Err(_) => match decode::untyped(&self.bytes) {
                        Ok((tree @ Value::Array(_), findings)) => {
                            return Ok(Outcome {
                                tree,
                                findings,
                                touched: None,
                                left: None,
                            });
                        }
                        _ => return Err(invalid()),
                    },
                };
                let touched = touched_by(&patch);
                let tree = put(&mut patch, original, |object, patch| {
                    patch::merge(object, patch);
                    Ok(())
                })?;
                Outcome {
                    tree,
                    findings,
                    touched,
                    left: None,
                }
            }
            Sort::Strategic => {
                let (mut patch, findings) = object_of(&self.bytes).map_err(Status::bad_request)?;
                let ty = api::facts::type_of(gvk)
                    .ok_or_else(|| route_status(415, "Unsupported Media Type", None))?;
                let touched = touched_by(&patch);
                let tree = put(&mut patch, original, |object, patch| {
                    patch::strategic(object, patch, ty)
                })?;
                Outcome {
                    tree,
                    findings,
                    touched,
                    left: Some(Value::Object(patch)),
                }
            }
        })
    }

    /// The patched object, decoded by the schema of its kind.
    pub(super) fn apply_as(
        &self,
        call: &Call<'_>,
        original: &Object,
        gvk: &GroupVersionKind,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        let strict = options.field_validation != FieldValidation::Ignore;
        let Outcome {
            tree,
            mut findings,
            touched,
            left,
        } = self.outcome(original, gvk, strict)?;
        let refuse = |tree: &Value, error: String| {
            let tree = match tree {
                Value::Object(patched) => spelled_out(patched.clone()),
                other => other.clone(),
            };
            let error = FieldError::invalid(
                &Path::new("patch"),
                self.shown(gvk, &tree, left.as_ref()),
                error,
            );
            Err(Status::invalid("", "", "", &vec![error]))
        };
        let Value::Object(patched) = &tree else {
            return refuse(&tree, decode::no_object_error(&tree));
        };
        if self.sort != Sort::Strategic {
            let is_text = |name| {
                patched
                    .get(name)
                    .is_none_or(|v| v.is_string() || v.is_null())
            };
            if !is_text("apiVersion") || !is_text("kind") {
                return refuse(&tree, decode::no_object_error(&tree));
            }
            if call.custom(gvk).is_some() {
                if meta::kind(patched).is_empty() {
                    return refuse(&tree, format!("Object 'Kind' is missing in '{tree}'"));
                }
            } else if meta::api_version(patched).is_empty() && call.endpoint.custom.is_none() {
                // Without a version it is of the internal one, whose fields have no names in JSON, its metadata least of all.
                let kind = meta::kind(patched);
                if !kind.is_empty()
                    && !codec::is_registered(gvk, &gvk.group_version().kind(kind.to_owned()))
                {
                    return refuse(&tree, codec::not_registered(gvk, kind, ""));
                }
                let names = patched.keys().filter(|name| !is_type(name));
                findings.extend(
                    names.map(|name| format!("unknown field {}", apimachinery::quote(name))),
                );
                if options.field_validation == FieldValidation::Strict && !findings.is_empty() {
                    return refuse(&tree, decode::strict_error(&findings));
                }
                call.take_findings(findings, options)?;
                call.check_name(&Object::new())?;
                return Ok(Object::new());
            } else if let Err(error) =
                is_still(patched, original, gvk, call.endpoint.custom.is_some())
            {
                return refuse(&tree, error);
            }
        }
        let part = changed_members(original, patched, touched.as_ref());
        let mut json = Vec::new();
        managed_fields::write(part.iter().copied(), &mut json);
        let kept: Vec<bool> = patched
            .keys()
            .map(|name| part.binary_search_by_key(&name, |(name, _)| name).is_err())
            .collect();
        let mut unknown = Vec::new();
        let mut object = match call.decode_untold(&json, gvk, &mut unknown) {
            Ok(object) => object,
            Err(error) if self.sort == Sort::Strategic => {
                unknown.clear();
                match call.restore(Value::Object(part_of(&part)), gvk, error, &mut unknown) {
                    Ok(object) => object,
                    Err(error) => return refuse(&tree, error),
                }
            }
            Err(error) => return refuse(&tree, error),
        };
        if self.sort == Sort::Strategic && !unknown.is_empty() {
            let ty = api::facts::type_of(gvk);
            unknown = ty.map_or(unknown, |ty| patch::unknown(&part, ty));
            unknown.sort_unstable();
        }
        findings.extend(unknown);
        if options.field_validation == FieldValidation::Strict && !findings.is_empty() {
            return refuse(&tree, decode::strict_error(&findings));
        }
        let Value::Object(patched) = tree else {
            return Ok(object);
        };
        // What a custom resource says it is, is asked when all of it has been read.
        let is_still = match call.custom(gvk) {
            Some(_) => is_still_custom(&patched, gvk, call.part()),
            None => Ok(()),
        };
        let kept = patched.into_iter().zip(kept).filter(|(_, kept)| *kept);
        object.extend(kept.map(|(member, _)| member));
        call.take_findings(findings, options)?;
        is_still?;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        Ok(object)
    }
}

fn is_type(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind")
}

/// A patch may not turn an object into one of a version or kind that nobody knows.
fn is_still(
    patched: &Object,
    original: &Object,
    gvk: &GroupVersionKind,
    of_custom: bool,
) -> Result<(), String> {
    let (version, kind) = (meta::api_version(patched), meta::kind(patched));
    if (version, kind) == (meta::api_version(original), meta::kind(original)) {
        return Ok(());
    }
    let kind = if kind.is_empty() { &gvk.kind } else { kind };
    // Only the Scale of a custom resource comes here without one: its decoder takes the one that it has.
    let own = gvk.group_version().to_string();
    let version = if version.is_empty() { &own } else { version };
    let sent = GroupVersion::parse(version).map(|version| version.kind(kind.to_owned()));
    let known = sent.as_ref().filter(|sent| codec::is_registered(gvk, sent));
    let Some(ty) = known.and_then(api::facts::type_of) else {
        return Err(if of_custom {
            codec::not_registered_for_custom(gvk, kind, version)
        } else {
            codec::not_registered(gvk, kind, version)
        });
    };
    if sent.as_ref() == Some(gvk) {
        return Ok(());
    }
    decode::object(patched, ty).map_err(|error| error.to_string())?;
    let short = version.rsplit('/').next().unwrap_or_default();
    Err(format!(
        "converting ({short}.{kind}) to ({}.{}): unknown conversion",
        gvk.group
            .split('.')
            .next()
            .filter(|g| !g.is_empty())
            .unwrap_or("core"),
        gvk.kind
    ))
}

/// The same of a custom kind, where the rules of the kind tell it.
fn is_still_custom(patched: &Object, gvk: &GroupVersionKind, part: Part) -> Result<(), Status> {
    let (version, kind) = (meta::api_version(patched), meta::kind(patched));
    if version.is_empty() {
        return Err(Status::internal(
            "Object 'apiVersion' is missing in 'object has no apiVersion field'",
        ));
    }
    let own = gvk.group_version().to_string();
    if part == Part::Status && version == own {
        // Of what comes through it the status alone is taken, and judged.
        return Ok(());
    }
    let mut errors = ErrorList::new();
    for (field, sent, own) in [("kind", kind, &*gvk.kind), ("apiVersion", version, &*own)] {
        if sent != own {
            let detail = format!("must be {own}");
            errors.push(FieldError::invalid(&Path::new(field), sent, detail));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    Err(Status::invalid(group, kind, meta::name(patched), &errors))
}

/// What of a patched object is to be decoded by its schema: the members of its top level that the patch changed, since the others were
/// decoded when they came in; all of them where one was removed, since the schema says what then stands in its place. Those that were not `touched` are not
/// looked at.
fn changed_members<'a>(
    original: &Object,
    patched: &'a Object,
    touched: Option<&BTreeSet<String>>,
) -> Vec<(&'a String, &'a Value)> {
    let removed = original.keys().any(|name| !patched.contains_key(name));
    let may_differ = |name: &str| touched.is_none_or(|names| names.contains(name));
    patched
        .iter()
        .filter(|(name, value)| {
            removed || (may_differ(name) && original.get(*name) != Some(*value))
        })
        .collect()
}

impl Patch {
    /// What a refusal shows: what is left of a strategic patch, of others what comes out. The text is read once more, since few patches are refused.
    fn shown(&self, gvk: &GroupVersionKind, tree: &Value, left: Option<&Value>) -> String {
        if let Some(left) = left {
            return go::plain(left);
        }
        let sent = decode::untyped(&self.bytes).map_or(Value::Null, |(sent, _)| sent);
        let touched = match self.sort {
            Sort::Json => Touched::by_operations(&sent),
            Sort::Merge | Sort::Strategic => Touched::by_merge(&sent),
        };
        match api::facts::type_of(gvk) {
            Some(ty) => internal::patched(ty, tree, &touched),
            None => tree.to_string(),
        }
    }
}

fn part_of(part: &[(&String, &Value)]) -> Object {
    let members = part.iter();
    members
        .map(|(name, value)| ((*name).clone(), (*value).clone()))
        .collect()
}

impl Call<'_> {
    /// What could not be decoded, as upstream's converter has it that knows no JSON: either numbers are too great, and are cut off, or it has
    /// words of its own for what is wrong.
    pub(super) fn restore(
        &self,
        mut tree: Value,
        gvk: &GroupVersionKind,
        error: String,
        findings: &mut Vec<String>,
    ) -> Result<Object, String> {
        let Some(ty) = api::facts::type_of(gvk) else {
            return Err(patch::unrestored(error));
        };
        if let Some(unfit) = patch::unfit(&tree, ty) {
            return Err(unfit);
        }
        if !patch::cut_off(&mut tree, ty) {
            return Err(patch::unrestored(error));
        }
        let mut json = Vec::new();
        managed_fields::write(tree.as_object().into_iter().flatten(), &mut json);
        let restored = self.decode_untold(&json, gvk, findings);
        restored.map_err(patch::unrestored)
    }
}

/// The object that is there, patched.
struct Patched<'a> {
    call: &'a Call<'a>,
    patch: &'a Patch,
    options: &'a WriteOptions,
}

#[async_trait]
impl Want for Patched<'_> {
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status> {
        let call = self.call;
        let current = current.ok_or_else(|| call.not_found())?;
        let mut object =
            self.patch
                .apply_as(call, current, &call.endpoint.row.gvk, self.options)?;
        call.endpoint.default(&mut object);
        call.set_namespace(&mut object)?;
        call.check_name(&object)?;
        Ok(object)
    }

    fn may_create(&self) -> bool {
        false
    }
}
