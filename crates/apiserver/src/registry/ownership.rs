//! Who set which field: `metadata.managedFields`, kept up at every write, for whoever applies later.
//!
//! Fields that an endpoint resets anyway belong to nobody through it: `status` through the object itself, `spec` through `status`.

use std::sync::LazyLock;

use apimachinery::{
    Object,
    gvk::GroupVersionKind,
    managed_fields::{self, ApplyError, FieldSet, Write},
    status::Status,
};

use super::{Call, options::WriteOptions, write::Part};

static NOTHING: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_paths(&[]));
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_paths(&["status"]));
static SPEC_AND_STATUS: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_paths(&["spec", "status"]));
static SPEC_AND_CONDITIONS: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_paths(&["spec", "status.conditions"]));
static SPEC_AND_CERTIFICATE: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_paths(&["spec", "status.certificate"]));
static SPEC: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_paths(&["spec"]));

/// What a write through this part of the endpoint cannot own.
fn ignored(call: &Call<'_>, part: Part) -> &'static FieldSet {
    let has_status = call
        .endpoint
        .row
        .subresources
        .iter()
        .any(|s| s.name == "status");
    let is_certificate_request = call.endpoint.row.gvk.kind == "CertificateSigningRequest";
    match part {
        Part::Status if is_certificate_request => &SPEC_AND_CONDITIONS,
        Part::Status => &SPEC,
        // What is requested cannot be changed by anybody.
        Part::Spec if is_certificate_request => &SPEC_AND_STATUS,
        Part::Other if is_certificate_request => &SPEC_AND_CERTIFICATE,
        Part::Spec if has_status => &STATUS,
        Part::Spec | Part::Other => &NOTHING,
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
            managed_fields::update(ty, live, new, write)
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
        use_write(&Write {
            manager: &options.field_manager,
            subresource: &self.context.info.subresource,
            api_version: &gvk.group_version().to_string(),
            now: self.registry.clock.now(),
            ignored: ignored(self, part),
        })
    }
}
