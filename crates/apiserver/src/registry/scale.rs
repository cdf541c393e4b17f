//! Scale: the replicas of a workload as `autoscaling/v1 Scale`, read and written by those who know nothing else of it.

use apimachinery::{Object, gvk::GroupVersionKind, meta, status::Status};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};

use super::{
    Call,
    admit::Gate,
    body,
    options::{Freshness, WriteOptions},
    patch::Patch,
    update::Want,
    write::Part,
};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Accept, Endpoint as Sort, Transform, respond_object},
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
        let accept = Accept {
            transform: Transform::None,
            ..accept
        };
        let object = match verb {
            "get" => self.scaled().await?,
            _ => self.write_scale(verb, request).await?,
        };
        let scale = match &self.endpoint.custom {
            Some(custom) => custom.scale_of(&object)?,
            None => api::scale::scale_from(&object),
        };
        respond_object(&context.headers, StatusCode::OK, accept, &scale, &SCALE)
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
        let kind = if patch {
            "PatchOptions"
        } else {
            "UpdateOptions"
        };
        let options = WriteOptions::parse(&context.query, context.field_manager(), kind, false)?;
        let bytes = body::read(request.into_body()).await?;
        let change = if patch {
            Change::Patch(Patch::parse(self, &bytes, &options)?)
        } else {
            let mut scale = self.decode_as(&SCALE, &bytes, &options)?;
            self.set_name(&mut scale)?;
            self.set_namespace(&mut scale)?;
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
            .update_object(&mut want, Part::Other, &options, &options_object)
            .await?;
        let mut object = self.endpoint.open(updated.stored.object).await?;
        self.endpoint.from_storage(&mut object);
        Ok(object)
    }
}

enum Change {
    Given(Object),
    Patch(Patch),
}

/// The object with the replicas of a Scale.
struct Scaled<'a> {
    call: &'a Call<'a>,
    options: &'a WriteOptions,
    /// As admission sees them.
    options_object: &'a Object,
    change: Change,
}

#[async_trait]
impl Want for Scaled<'_> {
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status> {
        let current = current.ok_or_else(|| self.call.not_found())?;
        let before = match &self.call.endpoint.custom {
            Some(custom) => custom.scale_or_zero(current)?,
            None => api::scale::scale_from(current),
        };
        let mut scale = match &self.change {
            Change::Given(scale) => scale.clone(),
            Change::Patch(patch) => patch.apply_as(self.call, &before, &SCALE, self.options)?,
        };
        // Admission is about the Scale; the workload behind it is not the client's to change.
        let gate = Gate {
            operation: Operation::Update,
            kind: &SCALE,
            dry_run: self.options.dry_run,
            options: self.options_object,
        };
        self.call
            .admit(gate, Some(&mut scale), Some(&before))
            .await?;
        let mut object = current.clone();
        let version = meta::resource_version(&scale);
        if !version.is_empty() && version != meta::resource_version(current) {
            let resource = self.call.endpoint.group_resource();
            return Err(Status::modified(&resource, &self.call.context.info.name));
        }
        if let Some(custom) = &self.call.endpoint.custom {
            custom.set_scale(&mut object, &scale)?;
            return Ok(object);
        }
        let mut errors = api::scale::validate_scale(&scale);
        errors.extend(api::scale::apply_scale(&mut object, &scale));
        if !errors.is_empty() {
            return Err(Status::invalid_kind(&SCALE, meta::name(&scale), &errors));
        }
        Ok(object)
    }

    fn may_create(&self) -> bool {
        false
    }
}
