//! Server-side apply: a PATCH that states what its manager wants to own. Creates what is not there.

use std::borrow::Cow;

use apimachinery::{
    Object, decode,
    gvk::{GroupVersion, GroupVersionKind},
    meta,
    status::Status,
};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::{
    Call,
    options::{FieldValidation, WriteOptions},
    update::Want,
    write::Part,
};
use crate::{body::Body, negotiation::Accept};

impl Call<'_> {
    /// `PATCH` with `application/apply-patch+yaml`.
    pub(super) async fn apply(
        &self,
        request: Request<Body>,
        accept: Accept,
    ) -> Result<Response<Body>, Status> {
        let context = self.context;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "PatchOptions",
            true,
        )?;
        let bytes = self.body(request).await?;
        let options_object = self.options_object("PatchOptions");
        let part = self.part();
        let mut want = Applied {
            call: self,
            configuration: Configuration::Text(&bytes),
            options: &options,
            part,
        };
        let updated = self
            .update_object(
                &mut want,
                part,
                &options,
                &options_object,
                self.keep(accept),
            )
            .await?;
        let code = if updated.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        self.respond_stored(updated.object, accept, code).await
    }

    /// The configuration in the body: of this kind, and nothing filled in.
    pub(super) fn applied_config(
        &self,
        bytes: &[u8],
        gvk: &GroupVersionKind,
    ) -> Result<Object, Status> {
        let bad = |error: String| Status::bad_request(format!("error decoding YAML: {error}"));
        let json = decode::yaml_to_json(bytes, false).map_err(bad)?;
        let (value, _) = decode::untyped(&json).map_err(|error| bad(error.to_string()))?;
        let config = match value {
            Value::Object(config) => config,
            Value::Null => Object::new(),
            _ => {
                return Err(bad(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    decode::kind_name(&json)
                )));
            }
        };
        let given = GroupVersion::parse(meta::api_version(&config));
        let same = given
            .as_ref()
            .is_some_and(|version| *version == gvk.group_version());
        if !same || meta::kind(&config) != gvk.kind.as_ref() {
            let given = given.map(|version| version.kind(meta::kind(&config).to_owned()));
            let (group, version, kind) = match &given {
                Some(given) => (&*given.group, &*given.version, &*given.kind),
                None => ("", "", ""),
            };
            return Err(Status::bad_request(format!(
                "invalid object type: {group}/{version}, Kind={kind}"
            )));
        }
        Ok(config)
    }

    /// Refuses or warns of keys that stand twice in a configuration.
    pub(super) fn check_applied_text(
        &self,
        bytes: &[u8],
        options: &WriteOptions,
    ) -> Result<(), Status> {
        if options.field_validation == FieldValidation::Ignore {
            return Ok(());
        }
        match decode::yaml_to_json(bytes, true) {
            Err(duplicates) if options.field_validation == FieldValidation::Strict => Err(
                Status::bad_request(format!("error strict decoding YAML: {duplicates}")),
            ),
            Err(duplicates) => self.take_findings(vec![duplicates], options),
            Ok(_) => Ok(()),
        }
    }
}

/// What is to be applied.
#[derive(Clone, Copy)]
pub(super) enum Configuration<'a> {
    /// As it was sent, read when it is known what it is put to.
    Text(&'a [u8]),
    /// From this server itself.
    Tree(&'a Object),
}

/// The object with the configuration merged in.
pub(super) struct Applied<'a> {
    call: &'a Call<'a>,
    configuration: Configuration<'a>,
    options: &'a WriteOptions,
    part: Part,
}

impl<'a> Applied<'a> {
    /// By this manager, on this part.
    pub(super) fn new(
        call: &'a Call<'a>,
        configuration: Configuration<'a>,
        options: &'a WriteOptions,
        part: Part,
    ) -> Self {
        Self {
            call,
            configuration,
            options,
            part,
        }
    }
}

/// Puts nulls back that the decoder dropped: upstream decodes no custom resource that was applied, and has validation judge them.
fn restore_nulls(object: &mut Object, applied: Object) {
    for (name, applied) in applied {
        match (object.get_mut(&name), applied) {
            // Its metadata is decoded there as well.
            _ if name == "metadata" => {}
            (None, Value::Null) => _ = object.insert(name, Value::Null),
            (Some(value), applied) => restore_nulls_within(value, applied),
            (None, _) => {}
        }
    }
}

fn restore_nulls_within(value: &mut Value, applied: Value) {
    match (value, applied) {
        (Value::Object(object), Value::Object(applied)) => restore_nulls(object, applied),
        (Value::Array(items), Value::Array(applied)) => {
            for (item, applied) in items.iter_mut().zip(applied) {
                restore_nulls_within(item, applied);
            }
        }
        _ => {}
    }
}

/// What was merged does not fit Go's structs, which shows late.
fn unconvertible(config: &Object, gvk: &GroupVersionKind, reason: &str) -> Status {
    Status::unclassified(format!(
        "failed to convert new object ({}/{}; {gvk}) to proper version: unable to convert unstructured object to {gvk}: {reason}",
        meta::namespace(config),
        meta::name(config),
    ))
}

#[async_trait]
impl Want for Applied<'_> {
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status> {
        let call = self.call;
        if current.is_none() && self.part != Part::Spec {
            return Err(call.not_found());
        }
        let config = match self.configuration {
            Configuration::Text(text) => {
                Cow::Owned(call.applied_config(text, &call.endpoint.row.gvk)?)
            }
            Configuration::Tree(config) => Cow::Borrowed(config),
        };
        let merged = call.merge_applied(self.options, self.part, current, &config)?;
        let json = serde_json::to_vec(&merged).map_err(Status::internal)?;
        let mut findings = Vec::new();
        let gvk = &call.endpoint.row.gvk;
        let mut object = match call.decode_untold(&json, gvk, &mut findings) {
            Ok(mut object) => {
                if call.endpoint.custom.is_some() {
                    restore_nulls(&mut object, merged);
                }
                object
            }
            Err(error) => {
                findings.clear();
                call.restore(Value::Object(merged), gvk, error, &mut findings)
                    .map_err(|reason| unconvertible(&config, gvk, &reason))?
            }
        };
        if let Configuration::Text(text) = self.configuration {
            call.check_applied_text(text, self.options)?;
        }
        let uid = meta::uid(&config);
        if current.is_none() && !uid.is_empty() {
            return Err(Status::conflict(
                &call.endpoint.group_resource(),
                &call.context.info.name,
                format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
            ));
        }
        call.take_findings(findings, self.options)?;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        call.default(&mut object);
        call.set_namespace(&mut object)?;
        call.check_name(&object)?;
        if current.is_none() {
            meta::set_resource_version(&mut object, "");
        }
        Ok(object)
    }

    fn may_create(&self) -> bool {
        self.part == Part::Spec
    }

    fn books_itself(&self) -> bool {
        true
    }
}
