//! Scale: the replicas of a workload as `autoscaling/v1 Scale`, read and written by those who know nothing else of it.
//!
//! A write makes the Scale of the object as it is, with the owners of its replicas; changes that as any object is changed; and puts
//! replicas and owners back (see `managed_fields::of_scale`).

use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind},
    managed_fields::{self, FieldSet, OneVersion, Write},
    meta,
    status::Status,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::{
    Call,
    admit::Gate,
    options::{Freshness, WriteOptions},
    patch::Patch,
    table,
    update::Want,
    write::{Part, version_number, without_version},
};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Endpoint as Sort, Transform, content_type, respond_object},
    storage::Keep,
};

pub(super) static SCALE: GroupVersionKind = GroupVersionKind::new("autoscaling", "v1", "Scale");

impl Call<'_> {
    /// `…/NAME/scale`
    pub(super) async fn scale(
        &self,
        verb: &'static str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Object)?;
        let object = match verb {
            "get" => self.scaled().await?,
            _ => self.write_scale(verb, request).await?,
        };
        let scale = match &self.endpoint.custom {
            Some(custom) => custom.scale_of(&object)?,
            None => api::scale::scale_from(&object),
        };
        let (scale, gvk) = match accept.transform {
            Transform::None => (scale, SCALE.clone()),
            Transform::Table => table::of_scale(self, &scale)?,
            Transform::PartialObjectMetadata | Transform::PartialObjectMetadataList => {
                table::partial_object_metadata(&scale)
            }
        };
        respond_object(&context.headers, StatusCode::OK, accept, &scale, &gvk)
    }

    /// The object as it is.
    async fn scaled(&self) -> Result<Object, Status> {
        self.wait_for(Freshness::Consistent).await?;
        let cacher = self.endpoint.cacher()?;
        let cached = cacher.get(self.namespace(), &self.context.info.name);
        let cached = cached.ok_or_else(|| self.not_found())?;
        self.endpoint.prepare(std::slice::from_ref(&cached)).await?;
        Ok(self.endpoint.tree(&cached))
    }

    async fn write_scale(&self, verb: &str, request: Request<Body>) -> Result<Object, Status> {
        let context = self.context;
        let patch = verb == "patch";
        let apply = patch && content_type(&context.headers) == "application/apply-patch+yaml";
        let kind = if patch {
            "PatchOptions"
        } else {
            "UpdateOptions"
        };
        if patch && !apply {
            Patch::check_sort(self)?;
        }
        let options = WriteOptions::parse(&context.query, context.field_manager(), kind, apply)?;
        let bytes = self.body(request).await?;
        let change = if apply {
            Change::Apply(bytes)
        } else if patch {
            Change::Patch(Patch::new(self, bytes)?)
        } else {
            let mut scale = self.decode_as(&SCALE, &bytes, &options)?;
            self.set_namespace(&mut scale)?;
            self.check_name(&scale)?;
            Change::Given(scale)
        };
        let options_object = self.options_object("UpdateOptions");
        let mut want = Scaled {
            call: self,
            options: &options,
            options_object: &options_object,
            change,
        };
        let updated = self
            .update_object(
                &mut want,
                Part::Other,
                &options,
                &options_object,
                Keep::Tree,
            )
            .await?;
        let mut object = self
            .endpoint
            .open(updated.object.into_stored()?.object)
            .await?;
        self.endpoint.from_storage(&mut object);
        Ok(object)
    }
}

enum Change {
    Given(Object),
    Patch(Patch),
    Apply(Bytes),
}

/// The object with the replicas of a Scale.
struct Scaled<'a> {
    call: &'a Call<'a>,
    options: &'a WriteOptions,
    /// As admission sees them.
    options_object: &'a Object,
    change: Change,
}

fn unconvertible(what: &str) -> Status {
    Status::unclassified(format!(
        "{what}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1"
    ))
}

impl Scaled<'_> {
    /// The Scale wanted, with its owners.
    fn scale(&self, before: &Object) -> Result<Object, Status> {
        let (call, options) = (self.call, self.options);
        let ty =
            api::facts::type_of(&SCALE).ok_or_else(|| Status::internal("Scale has no schema"))?;
        let write = Write {
            manager: &options.field_manager,
            subresource: "scale",
            api_version: "autoscaling/v1",
            now: call.registry.clock.now(),
            ignored: &FieldSet::default(),
            versions: &OneVersion,
        };
        let mut scale = match &self.change {
            Change::Given(scale) => scale.clone(),
            Change::Patch(patch) => {
                let mut scale = patch.apply_as(call, before, &SCALE, options)?;
                call.set_namespace(&mut scale)?;
                call.check_name(&scale)?;
                scale
            }
            Change::Apply(bytes) => {
                let force = options.force.unwrap_or(false);
                let config = call.applied_config(bytes, &SCALE)?;
                let custom = call.endpoint.custom.is_some();
                // Upstream cannot make a custom resource of a Scale, which it needs where nobody owns the replicas yet, and where they change.
                if custom && meta::managed_fields(before).is_empty() {
                    let what = "failed to create manager for existing fields: failed to convert live object (/";
                    return Err(unconvertible(what));
                }
                let applied = managed_fields::apply(ty, Some(before), &config, force, &write)?;
                if custom && !managed_fields::equal_but_owners(&applied.object, before) {
                    let (namespace, name) = (meta::namespace(&config), meta::name(&config));
                    let what = format!("failed to convert new object ({namespace}/{name}");
                    return Err(unconvertible(&what));
                }
                call.check_applied_text(bytes, options)?;
                let mut scale = applied.object;
                call.set_namespace(&mut scale)?;
                call.check_name(&scale)?;
                return Ok(scale);
            }
        };
        managed_fields::update(ty, Some(before), &mut scale, &write);
        Ok(scale)
    }
}

#[async_trait]
impl Want for Scaled<'_> {
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status> {
        let call = self.call;
        let current = current.ok_or_else(|| call.not_found())?;
        let mut before = match &call.endpoint.custom {
            Some(custom) => custom.scale_or_zero(current)?,
            None => api::scale::scale_from(current),
        };
        let path = match &call.endpoint.custom {
            Some(custom) => custom.replicas_path(),
            None => "spec.replicas",
        };
        let owners = managed_fields::of_scale(meta::managed_fields(current), path);
        meta::set_managed_fields(&mut before, owners);
        let mut scale = self.scale(&before)?;
        // Admission is about the Scale; the workload behind it is not the client's to change.
        let gate = Gate {
            operation: Operation::Update,
            kind: &SCALE,
            dry_run: self.options.dry_run,
            options: self.options_object,
        };
        call.admit(gate, Some(&mut scale), Some(&before)).await?;
        let mut object = current.clone();
        let resource = call.endpoint.group_resource();
        let name = &call.context.info.name;
        if let Some(custom) = &self.call.endpoint.custom {
            custom.set_scale(&mut object, &scale)?;
        } else {
            let (wanted, uid) = (meta::uid(&scale), meta::uid(current));
            let is_another = !wanted.is_empty() && wanted != uid;
            // Of a Scale that was sent whole the store asks first; of a patched one the scale alone.
            if is_another && matches!(self.change, Change::Given(_)) {
                return Err(call.of_another_uid(wanted, current, self.options.dry_run)?);
            }
            let errors = api::scale::validate_scale(&scale);
            if !errors.is_empty() {
                return Err(Status::invalid_kind(&SCALE, meta::name(&scale), &errors));
            }
            if is_another {
                let what = format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
                );
                let resource = GroupResource {
                    group: resource.group,
                    resource: format!("{}/scale", resource.resource).into(),
                };
                return Err(Status::conflict(&resource, name, what));
            }
            api::scale::apply_scale(&mut object, &scale);
        }
        let version = version_number(&scale)?;
        if version == 0
            && call.endpoint.custom.is_some()
            && !meta::resource_version(&scale).is_empty()
        {
            return Err(without_version(&resource, name));
        }
        if version != 0 && version != version_number(current)? {
            return Err(Status::modified(&resource, name));
        }
        let version = call.endpoint.row.gvk.group_version().to_string();
        let owners = managed_fields::of_parent(
            meta::managed_fields(current),
            meta::managed_fields(&scale),
            &version,
            path,
        );
        meta::set_managed_fields(&mut object, owners);
        Ok(object)
    }

    fn may_create(&self) -> bool {
        false
    }

    fn books_itself(&self) -> bool {
        true
    }
}
