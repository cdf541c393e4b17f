//! Patch: a JSON patch, a merge patch or a strategic merge patch on the object as it is, then an update with what comes out. The
//! patch is applied anew whenever the object changed underneath.

use std::collections::BTreeMap;

use api::internal::{self, Touched};
use apimachinery::{
    Object, decode,
    field::{FieldError, Path},
    gvk::GroupVersionKind,
    patch,
    status::Status,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::{
    Call,
    options::{FieldValidation, WriteOptions},
    update::Want,
};
use crate::{
    body::Body,
    negotiation::{Endpoint, content_type, route_status},
};

/// A patch, read.
#[derive(Debug)]
pub(super) struct Patch {
    sort: Sort,
    /// Fields that stand twice in it.
    duplicates: Vec<String>,
}

#[derive(Debug)]
enum Sort {
    /// RFC 6902, as it was sent.
    Json(Bytes),
    /// RFC 7396.
    Merge(Object),
    /// By the merge keys of the schema.
    Strategic(Object),
}

impl Call<'_> {
    /// `PATCH …/NAME`
    pub(super) async fn patch(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Endpoint::Object)?;
        if content_type(&context.headers) == "application/apply-patch+yaml" {
            return self.apply(request, accept).await;
        }
        Patch::check_type(self)?;
        let manager = context.field_manager();
        let options = WriteOptions::parse(&context.query, manager, "PatchOptions", false)?;
        let bytes = self.body(request).await?;
        let patch = Patch::parse(self, &bytes)?;
        let options_object = self.options_object("PatchOptions");
        let mut want = Patched {
            call: self,
            patch: &patch,
            options: &options,
        };
        let updated = self
            .update_object(&mut want, self.part(), &options, &options_object)
            .await?;
        self.respond_stored(updated.stored, accept, StatusCode::OK)
            .await
    }
}

impl Patch {
    /// Custom kinds have no strategic merge.
    fn check_type(call: &Call<'_>) -> Result<(), Status> {
        let custom = call.endpoint.custom.is_some();
        match content_type(&call.context.headers) {
            "application/json-patch+json" | "application/merge-patch+json" => Ok(()),
            "application/strategic-merge-patch+json" if !custom => Ok(()),
            _ if custom => Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ])),
            _ => Err(route_status(415, "Unsupported Media Type", None)),
        }
    }

    /// Reads the body by its content type.
    pub(super) fn parse(call: &Call<'_>, bytes: &Bytes) -> Result<Self, Status> {
        Self::check_type(call)?;
        let media_type = content_type(&call.context.headers);
        if media_type == "application/json-patch+json" {
            return Ok(Self {
                sort: Sort::Json(bytes.clone()),
                duplicates: Vec::new(),
            });
        }
        let bad = |message: String| Status::bad_request(message);
        let (value, duplicates) =
            decode::untyped(bytes).map_err(|e| bad(format!("error decoding patch: {e}")))?;
        let object = match value {
            Value::Object(object) => object,
            Value::Null => Object::new(),
            _ => return Err(bad("error decoding patch: it is no JSON object".to_owned())),
        };
        let sort = match media_type {
            "application/merge-patch+json" => Sort::Merge(object),
            _ => Sort::Strategic(object),
        };
        Ok(Self { sort, duplicates })
    }

    /// The patched object, decoded by the schema of its kind.
    pub(super) fn apply_as(
        &self,
        call: &Call<'_>,
        original: &Object,
        gvk: &GroupVersionKind,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        let patched = match &self.sort {
            Sort::Json(patch) => patch::json(original, patch)?,
            Sort::Merge(patch) => {
                let mut object = original.clone();
                patch::merge(&mut object, patch);
                object
            }
            Sort::Strategic(patch) => {
                let ty = api::facts::type_of(gvk)
                    .ok_or_else(|| route_status(415, "Unsupported Media Type", None))?;
                let mut object = original.clone();
                patch::strategic(&mut object, patch.clone(), ty)?;
                object
            }
        };
        let part = changed_members(original, &patched);
        let json = serde_json::to_vec(&part).map_err(Status::internal)?;
        let kept: Vec<bool> = patched
            .keys()
            .map(|name| !part.contains_key(&**name))
            .collect();
        let mut findings = self.duplicates.clone();
        let mut object = call.decode_json(&json, gvk, &mut findings)?;
        if options.field_validation == FieldValidation::Strict && !findings.is_empty() {
            let shown = self.shown(gvk, &patched);
            let error =
                FieldError::invalid(&Path::new("patch"), shown, decode::strict_error(&findings));
            return Err(Status::invalid("", "", "", &vec![error]));
        }
        let kept = patched.into_iter().zip(kept).filter(|(_, kept)| *kept);
        object.extend(kept.map(|(member, _)| member));
        call.take_findings(findings, options)?;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        Ok(object)
    }
}

/// What of a patched object is to be decoded by its schema: the members of its top level that the patch changed, since the others were
/// decoded when they came in; all of them where one was removed, since the schema says what then stands in its place.
fn changed_members<'a>(original: &Object, patched: &'a Object) -> BTreeMap<&'a str, &'a Value> {
    let removed = original.keys().any(|name| !patched.contains_key(name));
    let members = patched.iter().map(|(name, value)| (&**name, value));
    members
        .filter(|(name, value)| removed || original.get(*name) != Some(value))
        .collect()
}

impl Patch {
    /// What a refusal shows: a strategic patch itself, of others what comes out.
    fn shown(&self, gvk: &GroupVersionKind, patched: &Object) -> String {
        let touched = match &self.sort {
            Sort::Strategic(patch) => return patch::go_value(&Value::Object(patch.clone())),
            Sort::Merge(patch) => Touched::by_merge(&Value::Object(patch.clone())),
            Sort::Json(patch) => {
                Touched::by_operations(&serde_json::from_slice(patch).unwrap_or_default())
            }
        };
        let patched = Value::Object(patched.clone());
        match api::facts::type_of(gvk) {
            Some(ty) => internal::patched(ty, &patched, &touched),
            None => patched.to_string(),
        }
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
        call.set_name(&mut object)?;
        call.set_namespace(&mut object)?;
        Ok(object)
    }

    fn may_create(&self) -> bool {
        false
    }
}
