//! Server-side apply: a PATCH that states what its manager wants to own. Creates what is not there.

use apimachinery::{Object, decode, gvk::GroupVersionKind, meta, status::Status};
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
        let config = self.applied_config(&bytes, &options, &self.endpoint.row.gvk)?;
        let options_object = self.options_object("PatchOptions");
        let part = self.part();
        let mut want = Applied {
            call: self,
            config: &config,
            options: &options,
            part,
        };
        let updated = self
            .update_object(&mut want, part, &options, &options_object)
            .await?;
        let code = if updated.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        self.respond_stored(updated.stored, accept, code).await
    }

    /// The configuration in the body: of the endpoint's kind and name, and nothing filled in.
    pub(super) fn applied_config(
        &self,
        bytes: &[u8],
        options: &WriteOptions,
        gvk: &GroupVersionKind,
    ) -> Result<Object, Status> {
        let bad = |error: String| Status::bad_request(format!("error decoding YAML: {error}"));
        let json = decode::yaml_to_json(bytes, false).map_err(bad)?;
        if let Err(duplicates) = decode::yaml_to_json(bytes, true) {
            if options.field_validation == FieldValidation::Strict {
                let message = format!("error strict decoding YAML: {duplicates}");
                return Err(Status::bad_request(message));
            }
            self.take_findings(vec![duplicates], options)?;
        }
        let (value, _) = decode::untyped(&json).map_err(|error| bad(error.to_string()))?;
        let mut config = match value {
            Value::Object(config) => config,
            _ => Object::new(),
        };
        let (version, kind) = (meta::api_version(&config), meta::kind(&config));
        if version != gvk.group_version().to_string() || kind != gvk.kind.as_ref() {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "invalid object type: {group}/{version}, Kind={kind}"
            )));
        }
        if meta::managed_fields(&config).is_empty() {
            self.set_name(&mut config)?;
        }
        self.set_namespace(&mut config.clone())?;
        Ok(config)
    }
}

/// The object with the configuration merged in.
pub(super) struct Applied<'a> {
    call: &'a Call<'a>,
    config: &'a Object,
    options: &'a WriteOptions,
    part: Part,
}

impl<'a> Applied<'a> {
    /// By this manager, on this part.
    pub(super) fn new(
        call: &'a Call<'a>,
        config: &'a Object,
        options: &'a WriteOptions,
        part: Part,
    ) -> Self {
        Self {
            call,
            config,
            options,
            part,
        }
    }
}

#[async_trait]
impl Want for Applied<'_> {
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status> {
        let call = self.call;
        let uid = meta::uid(self.config);
        if current.is_none() && !uid.is_empty() {
            return Err(Status::conflict(
                &call.endpoint.group_resource(),
                &call.context.info.name,
                format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
            ));
        }
        let merged = call.merge_applied(self.options, self.part, current, self.config)?;
        let json = serde_json::to_vec(&merged).map_err(Status::internal)?;
        let mut findings = Vec::new();
        let gvk = &call.endpoint.row.gvk;
        let mut object = call.decode_json(&json, gvk, &mut findings)?;
        call.take_findings(findings, self.options)?;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        call.endpoint.default(&mut object);
        call.set_namespace(&mut object)?;
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
