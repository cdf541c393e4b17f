//! What create, update, patch and the subresources share: from a decoded object to one that may be stored, and the answer.

use api::{Scope, Strategy};
use apimachinery::{
    Object, decode,
    field::{ErrorList, FieldError, Path},
    go,
    gvk::{GroupResource, GroupVersionKind},
    meta,
    status::Status,
};
use http::{Response, StatusCode};

use super::{
    Call, admin_access,
    admit::Gate,
    hooks::{NoReservation, Reservation},
    options::WriteOptions,
};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Accept, Encoding, Transform, respond_bytes, respond_object},
    storage::{Keep, Left, Stored},
};

/// Which part of the object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All but the status.
    Spec,
    /// The status.
    Status,
    /// A subresource with rules of its own (`ephemeralcontainers`, `resize`, `approval`): it changes what the caller changed, and
    /// is judged by the strategy as a whole.
    Other,
}

/// A write under way: what was asked, and what is taken for it.
pub(super) struct Write<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) options: &'a WriteOptions,
    /// The kind that admission sees: the object's, or the subresource's.
    pub(super) kind: &'a GroupVersionKind,
    /// The options as admission sees them: of a create or of an update, whatever the verb was.
    create_options: Object,
    update_options: Object,
    pub(super) part: Part,
    /// Whether it is booked in `metadata.managedFields` here; an apply has done so by itself.
    pub(super) books: bool,
    /// Whether a uid that was sent is a precondition.
    pub(super) demands_uid: bool,
    /// What hooks took; given back unless committed.
    pub(super) reservation: Box<dyn Reservation>,
}

impl<'a> Write<'a> {
    pub(super) fn new(
        call: &'a Call<'a>,
        options: &'a WriteOptions,
        options_object: &'a Object,
        part: Part,
    ) -> Self {
        let is_scale = call.context.info.subresource == "scale";
        Self {
            call,
            options,
            kind: if is_scale {
                &super::scale::SCALE
            } else {
                &call.endpoint.row.gvk
            },
            create_options: options_of("CreateOptions", options_object),
            update_options: options_of("UpdateOptions", options_object),
            part,
            books: true,
            demands_uid: false,
            reservation: Box::new(NoReservation),
        }
    }

    fn strategy(&self) -> &'a dyn Strategy {
        self.call.endpoint.strategy()
    }

    fn gate(&self, operation: Operation) -> Gate<'_> {
        Gate {
            operation,
            kind: self.kind,
            dry_run: self.options.dry_run,
            options: match operation {
                Operation::Create => &self.create_options,
                _ => &self.update_options,
            },
        }
    }

    /// From a decoded, defaulted new object to the one to store.
    pub(super) async fn prepare_create(&mut self, object: Object) -> Result<Object, Status> {
        let object = self.admit_create(object).await?;
        self.prepare_admitted(object).await
    }

    /// A decoded, defaulted new object, booked and through the mutating phase.
    pub(super) async fn admit_create(&mut self, mut object: Object) -> Result<Object, Status> {
        let call = self.call;
        call.set_namespace(&mut object)?;
        wipe_system_fields(&mut object);
        let now = call.registry.now();
        self.strategy().default_times(&mut object, &now);
        if self.books {
            call.track(self.options, self.part, None, &mut object);
        }
        call.admit(self.gate(Operation::Create), Some(&mut object), None)
            .await?;
        // A mutating plugin moves nothing to another namespace.
        call.set_namespace(&mut object)?;
        call.dedup_owner_references(&mut object, " after mutating admission happens");
        Ok(object)
    }

    /// From there to the one to store.
    pub(super) async fn prepare_admitted(&mut self, mut object: Object) -> Result<Object, Status> {
        let call = self.call;
        let strategy = self.strategy();
        fill_system_fields(&mut object, &call.registry.now());
        call.endpoint.to_storage(&mut object);
        strategy.prepare_for_create(&mut object);
        if call.context.shares_labels() {
            strategy.share_labels(&mut object);
        }
        if strategy.names_the_nameless() && meta::name(&object).is_empty() {
            meta::set_name(&mut object, &uuid::Uuid::new_v4().to_string());
        }
        self.reserve_create(&mut object).await?;
        let resource = call.endpoint.group_resource();
        let mut errors = ErrorList::new();
        errors.extend(admin_access::complaint(
            call.registry.as_ref(),
            &resource,
            &object,
        ));
        errors.extend(strategy.validate_before_metadata(&object));
        let judges = strategy.judges_new_metadata();
        if judges {
            errors.extend(validate_new_metadata(call, &object));
        }
        errors.extend(strategy.validate(&object));
        call.refuse_invalid(&object, &errors)?;
        if !judges {
            let namespaced = call.endpoint.is_namespaced();
            call.refuse_invalid(&object, &api::meta::validate_any(&object, namespaced))?;
        }
        call.warn_all(strategy.warnings(&object, None));
        self.validating(Operation::Create, &mut object, None)
            .await?;
        Ok(object)
    }

    /// From a decoded, defaulted changed object and the stored one to the one to store.
    pub(super) async fn prepare_update(
        &mut self,
        mut new: Object,
        current: &Stored,
    ) -> Result<Object, Status> {
        let call = self.call;
        let strategy = self.strategy();
        let old = &current.object;
        let old_view = call.endpoint.view(old);
        self.check_preconditions(&mut new, old)?;
        strategy.default_times(&mut new, &call.registry.now());
        if self.books {
            call.track(self.options, self.part, Some(&old_view), &mut new);
        }
        // What goes through `scale` was admitted as a Scale.
        if !self.is_scale() {
            let gate = self.gate(Operation::Update);
            call.admit(gate, Some(&mut new), Some(&old_view)).await?;
            call.set_namespace(&mut new)?;
        }
        call.dedup_owner_references(&mut new, " after mutating admission happens");
        carry_metadata(&mut new, old);
        let subresource = call.context.info.subresource.as_str();
        call.endpoint.to_storage(&mut new);
        let old_generation = meta::generation(old);
        meta::set_generation(&mut new, old_generation);
        match self.part {
            Part::Status => {
                strategy.prepare_for_status_update(&mut new, old);
                strategy.stamp_status(&mut new, old, &call.registry.now());
            }
            Part::Spec => strategy.prepare_for_update(&mut new, old),
            Part::Other => strategy.prepare_for_subresource_update(subresource, &mut new, old),
        }
        self.reserve_update(&mut new, old).await?;
        let row = &call.endpoint.row;
        let mut errors = api::meta::validate_any(&new, row.scope == Scope::Namespaced);
        let of_update = api::meta::validate_object_meta_update(&new, old, &Path::new("metadata"));
        errors.extend(of_update.clone());
        let repeats = match self.part {
            Part::Status => strategy.status_repeats_metadata_rules(),
            Part::Spec | Part::Other => strategy.repeats_metadata_rules(),
        };
        if self.part == Part::Spec {
            errors.extend(strategy.validate_before_metadata(&new));
        }
        if repeats {
            errors.extend(of_update);
            if strategy.demands_qualified_finalizers() {
                errors.extend(api::meta::unqualified_finalizers(&new));
            }
        }
        if self.part == Part::Spec && strategy.repeats_creation_rules() {
            errors.extend(validate_new_metadata(call, &new));
        }
        let mut excused = Vec::new();
        errors.extend(match self.part {
            Part::Status => strategy.judge_status_update(&new, old, &mut excused),
            Part::Spec => strategy.judge_update(&new, old, &mut excused),
            Part::Other => strategy.validate_subresource_update(subresource, &new, old),
        });
        call.warn_all(excused);
        call.refuse_invalid(&new, &errors)?;
        if self.part != Part::Status {
            call.warn_all(strategy.warnings(&new, Some(old)));
        }
        self.validating(Operation::Update, &mut new, Some(&old_view))
            .await?;
        Ok(new)
    }

    /// Uid and resourceVersion of what was sent, against what is there.
    fn check_preconditions(&self, new: &mut Object, old: &Object) -> Result<(), Status> {
        let call = self.call;
        let resource = call.endpoint.group_resource();
        let name = &call.context.info.name;
        let uid = meta::uid(new);
        if self.demands_uid && !uid.is_empty() && uid != meta::uid(old) {
            return Err(call.of_another_uid(uid, old, self.options.dry_run)?);
        }
        let version = version_number(new)?;
        if version == 0 {
            if !self.strategy().allow_unconditional_update() {
                return Err(without_version(&resource, name));
            }
            let version = meta::resource_version(old).to_owned();
            meta::set_resource_version(new, &version);
        } else if version != version_number(old)? {
            return Err(Status::modified(&resource, name));
        }
        Ok(())
    }

    async fn validating(
        &self,
        operation: Operation,
        object: &mut Object,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let (call, gate) = (self.call, self.gate(operation));
        if call.endpoint.is_stored_as_served(object) && !self.is_scale() {
            return call.validate_admission(gate, Some(object), old).await;
        }
        let mut view = object.clone();
        call.endpoint.from_storage(&mut view);
        if self.is_scale() {
            let mut scale = self.scale_of(&view)?;
            let old = old.map(|old| self.scale_of(old)).transpose()?;
            return call
                .validate_admission(gate, Some(&mut scale), old.as_ref())
                .await;
        }
        call.validate_admission(gate, Some(&mut view), old).await
    }

    /// The Scale of what is written, as it is served.
    fn scale_of(&self, object: &Object) -> Result<Object, Status> {
        match &self.call.endpoint.custom {
            Some(custom) => custom.scale_or_zero(object),
            None => Ok(api::scale::scale_from(object)),
        }
    }

    fn is_scale(&self) -> bool {
        *self.kind == super::scale::SCALE
    }

    async fn reserve_create(&mut self, object: &mut Object) -> Result<(), Status> {
        if let Some(hook) = self
            .call
            .registry
            .hook(&self.call.endpoint.group_resource())
        {
            self.reservation = hook.begin_create(object, self.options.dry_run).await?;
        }
        Ok(())
    }

    async fn reserve_update(&mut self, new: &mut Object, old: &Object) -> Result<(), Status> {
        if self.part == Part::Status {
            return Ok(());
        }
        if let Some(hook) = self
            .call
            .registry
            .hook(&self.call.endpoint.group_resource())
        {
            self.reservation = hook.begin_update(new, old, self.options.dry_run).await?;
        }
        Ok(())
    }

    /// A new object that has passed comes to the store, which gives it its resourceVersion: one that it has already is refused if it is a
    /// number, and lost if not.
    pub(super) fn take_version(object: &mut Object) -> Result<(), Status> {
        let version: u64 = meta::resource_version(object).parse().unwrap_or_default();
        meta::remove(object, "resourceVersion");
        if version == 0 {
            return Ok(());
        }
        Err(Status::unclassified(
            "resourceVersion should not be set on objects to be created",
        ))
    }

    /// What storage does not tell from nothing goes.
    pub(super) fn settle(&self, object: &mut Object) {
        let call = self.call;
        if call.context.kept_empty()
            && let Some(ty) = api::facts::type_of(call.endpoint.stored_kind())
        {
            if self.strategy().is_stored_as_json() {
                return decode::hide(object, ty);
            }
            decode::settle(object, ty);
            // What is read back has the defaults of what is not there.
            if !call.endpoint.is_converted() {
                call.endpoint.default(object);
            }
        }
    }

    /// The write stands: what was taken for it is kept.
    pub(super) fn commit(&mut self) {
        std::mem::replace(&mut self.reservation, Box::new(NoReservation)).commit();
    }
}

impl Call<'_> {
    /// The store's refusal of a write that is meant for an object of another uid.
    pub(super) fn of_another_uid(
        &self,
        uid: &str,
        old: &Object,
        dry_run: bool,
    ) -> Result<Status, Status> {
        let name = &self.context.info.name;
        let key = self.endpoint.cacher()?.key(meta::namespace(old), name);
        let key = String::from_utf8_lossy(&key).into_owned();
        // A dry run is stopped before the store's prefix is put before the key.
        let key = match key.strip_prefix("/registry") {
            Some(key) if dry_run => key,
            _ => &key,
        };
        let reason = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            key,
            meta::uid(old)
        );
        let resource = self.endpoint.group_resource();
        Ok(Status::conflict(&resource, name, reason))
    }

    /// The namespace of an object in a body is the path's, or empty, which means the path's.
    pub(super) fn set_namespace(&self, object: &mut Object) -> Result<(), Status> {
        let wanted = self.namespace();
        let given = meta::namespace(object);
        if given == wanted {
            return Ok(());
        }
        if !given.is_empty() && !wanted.is_empty() {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        meta::set_namespace(object, wanted);
        Ok(())
    }

    /// The name of a changed object is the path's.
    pub(super) fn check_name(&self, object: &Object) -> Result<(), Status> {
        let wanted = &self.context.info.name;
        match meta::name(object) {
            "" => Err(Status::bad_request(format!(
                "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
            ))),
            given if given != wanted => Err(Status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({wanted})"
            ))),
            _ => Ok(()),
        }
    }

    /// Drops owner references that stand twice, with a warning that says when they were found.
    pub(super) fn dedup_owner_references(&self, object: &mut Object, when: &str) {
        let twice = api::meta::remove_duplicate_owner_references(object);
        if !twice.is_empty() {
            self.context.warn(format!(
                ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
                twice.join(", ")
            ));
        }
    }

    pub(super) fn refuse_invalid(&self, object: &Object, errors: &ErrorList) -> Result<(), Status> {
        if errors.is_empty() {
            return Ok(());
        }
        let gvk = self.endpoint.stored_kind();
        // A custom object may say that it is of another kind, which is what is wrong with it then.
        let kind = match self.endpoint.custom {
            Some(_) => meta::kind(object),
            None => &gvk.kind,
        };
        Err(Status::invalid(
            &gvk.group,
            kind,
            meta::name(object),
            errors,
        ))
    }

    pub(super) fn warn_all(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.context.warn(warning);
        }
    }

    /// What an answer with an object that is being written needs of it.
    pub(super) fn keep(&self, accept: Accept) -> Keep {
        let plain = accept.encoding == Encoding::Json
            && accept.transform == Transform::None
            && !accept.pretty;
        match plain && self.endpoint.answers_as_stored() {
            true => Keep::Json,
            false => Keep::Tree,
        }
    }

    /// Answers with a stored object.
    pub(super) async fn respond_stored(
        &self,
        left: Left,
        accept: Accept,
        code: StatusCode,
    ) -> Result<Response<Body>, Status> {
        if self.keep(accept) == Keep::Json
            && let Some(json) = left.json(self.endpoint.json_head())
        {
            return respond_bytes(&self.context.headers, code, accept, json);
        }
        let mut object = self.endpoint.open(left.into_stored()?.object).await?;
        self.endpoint.from_storage(&mut object);
        self.respond_tree(object, accept, code)
    }

    /// Answers with an object of the endpoint's version, in the shape that is asked for.
    pub(super) fn respond_tree(
        &self,
        object: Object,
        accept: Accept,
        code: StatusCode,
    ) -> Result<Response<Body>, Status> {
        let (object, gvk) = match accept.transform {
            Transform::None => (object, self.endpoint.row.gvk.clone()),
            Transform::Table => super::table::of_object(self, &object)?,
            Transform::PartialObjectMetadata => super::table::metadata_of(self.endpoint, &object),
            Transform::PartialObjectMetadataList if self.endpoint.custom.is_some() => {
                return Err(Status::unclassified("content is not a list"));
            }
            Transform::PartialObjectMetadataList => {
                return Err(Status::not_acceptable_as(format_args!(
                    "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                    self.endpoint.go_type()
                )));
            }
        };
        respond_object(&self.context.headers, code, accept, &object, &gvk)
    }
}

/// The resourceVersion of an object: a number, 0 if there is none.
pub(super) fn version_number(object: &Object) -> Result<u64, Status> {
    let version = meta::resource_version(object);
    if version.is_empty() {
        return Ok(0);
    }
    go::parse_uint(version).map_err(Status::unclassified)
}

fn options_of(kind: &str, options: &Object) -> Object {
    let mut options = options.clone();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    options
}

/// Uid and creation time of a new object.
fn fill_system_fields(object: &mut Object, now: &str) {
    // Whoever mutated it may have set them again.
    wipe_system_fields(object);
    meta::set_creation_timestamp(object, now);
    meta::set_uid(object, &uuid::Uuid::new_v4().to_string());
}

/// What only the server may say of a new object is cleared; whether it has a resourceVersion is asked when it is stored.
pub(super) fn wipe_system_fields(object: &mut Object) {
    for field in [
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        meta::remove(object, field);
    }
}

/// What an update does not say stays as it is; what it may not say is judged by validation.
fn carry_metadata(new: &mut Object, old: &Object) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let absent = meta::metadata(new).is_none_or(|m| m.get(field).is_none_or(|v| v.is_null()));
        // When an object was made is not a client's to say, and not worth a refusal.
        let ours = absent || field == "creationTimestamp";
        if ours && let Some(value) = meta::metadata(old).and_then(|m| m.get(field)) {
            meta::metadata_mut(new).insert(field.to_owned(), value.clone());
        }
    }
    meta::remove(new, "selfLink");
}

/// The complaint about an update of no version. Here upstream names the resource where it names the kind elsewhere.
pub(super) fn without_version(resource: &GroupResource, name: &str) -> Status {
    let path = Path::new("metadata").child("resourceVersion");
    let error = FieldError::invalid(&path, 0, "must be specified for an update");
    Status::invalid(&resource.group, &resource.resource, name, &vec![error])
}

fn validate_new_metadata(call: &Call<'_>, object: &Object) -> ErrorList {
    let strategy = call.endpoint.strategy();
    let mut errors = api::meta::validate_object_meta(
        object,
        call.endpoint.is_namespaced(),
        &|name, prefix| strategy.validate_name(name, prefix),
        &Path::new("metadata"),
    );
    if strategy.demands_qualified_finalizers() {
        errors.extend(api::meta::unqualified_finalizers(object));
    }
    errors
}
