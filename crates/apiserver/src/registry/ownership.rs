//! Who set which field: `metadata.managedFields`, kept up at every write, for whoever applies later.
//!
//! Fields that an endpoint resets anyway belong to nobody through it: `status` through the object itself, `spec` through `status`.

use std::sync::Arc;

use apimachinery::{
    Object, decode,
    gvk::{GroupVersion, GroupVersionKind},
    managed_fields::{self, ApplyError, Converted, FieldSet, Versions, Write},
    meta,
    status::Status,
};

use super::{Call, Endpoint, options::WriteOptions, write::Part};

/// What a write through this part of the endpoint cannot own.
fn ignored(call: &Call<'_>, part: Part) -> FieldSet {
    let row = &call.endpoint.row;
    let has_status = row.subresources.iter().any(|s| s.name == "status");
    match part {
        Part::Status => FieldSet::of_paths(row.strategy.status_resets()),
        Part::Spec => FieldSet::of_paths(row.strategy.resets(has_status)),
        Part::Other => {
            let subresource = call.context.info.subresource.as_str();
            FieldSet::of_paths(row.strategy.subresource_resets(subresource))
        }
    }
}

impl Call<'_> {
    /// The endpoint of the same resource in another version. Another group that shares the resource is no version of it.
    fn in_version(&self, api_version: &str) -> Option<Arc<Endpoint>> {
        let row = &self.endpoint.row;
        let group_version =
            GroupVersion::parse(api_version).filter(|version| version.group == row.gvr.group)?;
        self.registry
            .endpoint(&group_version.resource(row.gvr.resource.clone()))
    }
}

impl Versions for Call<'_> {
    fn convert(&self, object: &Object, from: &str, to: &str) -> Converted {
        let (Some(from), Some(to)) = (self.in_version(from), self.in_version(to)) else {
            return Converted::Missing;
        };
        if !from.is_converted() && !to.is_converted() {
            return Converted::Same;
        }
        let Some(ty) = api::facts::type_of(&to.row.gvk) else {
            return Converted::Same;
        };
        let mut object = object.clone();
        from.to_storage(&mut object);
        to.from_storage(&mut object);
        Converted::Object(ty, object)
    }
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Call").field(&self.endpoint.row.gvr).finish()
    }
}

impl Call<'_> {
    /// Books a create (`live` is `None`) or an update under the manager of the request.
    pub(super) fn track(
        &self,
        options: &WriteOptions,
        part: Part,
        live: Option<&Object>,
        new: &mut Object,
    ) {
        self.track_as(&self.endpoint.row.gvk, options, part, live, new);
    }

    /// The same for an object of another kind than the endpoint's, which a subresource takes.
    pub(super) fn track_as(
        &self,
        gvk: &GroupVersionKind,
        options: &WriteOptions,
        part: Part,
        live: Option<&Object>,
        new: &mut Object,
    ) {
        let Some(ty) = self.endpoint.ty_of(gvk) else {
            return;
        };
        self.with_write(gvk, options, part, |write| {
            let is_converted = self.endpoint.is_converted() && *gvk == self.endpoint.row.gvk;
            if is_converted || self.context.kept_empty() {
                // What is owned is what the version shows of the object once it is kept in another.
                let mut shown = new.clone();
                decode::hide(&mut shown, ty);
                if is_converted {
                    self.endpoint.to_storage(&mut shown);
                    self.endpoint.from_storage(&mut shown);
                }
                managed_fields::update(ty, live, &mut shown, write);
                let owners = meta::managed_fields(&shown).to_vec();
                meta::set_managed_fields(new, owners);
            } else {
                managed_fields::update(ty, live, new, write);
            }
            if self.endpoint.custom.is_some() {
                // A webhook may be asked to convert it.
                managed_fields::spell_out(new);
            }
        });
    }

    /// Server-side apply of a configuration on the live object, or on none.
    pub(super) fn merge_applied(
        &self,
        options: &WriteOptions,
        part: Part,
        live: Option<&Object>,
        config: &Object,
    ) -> Result<Object, Status> {
        let ty = self
            .endpoint
            .ty()
            .ok_or_else(|| Status::unclassified("this kind has no schema to apply by"))?;
        let force = options.force.unwrap_or(false);
        let applied: Result<_, ApplyError> =
            self.with_write(&self.endpoint.row.gvk, options, part, |write| {
                managed_fields::apply(ty, live, config, force, write)
            });
        Ok(applied?.object)
    }

    fn with_write<T>(
        &self,
        gvk: &GroupVersionKind,
        options: &WriteOptions,
        part: Part,
        use_write: impl FnOnce(&Write<'_>) -> T,
    ) -> T {
        let ignored = ignored(self, part);
        use_write(&Write {
            manager: &options.field_manager,
            subresource: &self.context.info.subresource,
            api_version: &gvk.group_version().to_string(),
            now: self.registry.clock.now(),
            ignored: &ignored,
            versions: self,
        })
    }
}
