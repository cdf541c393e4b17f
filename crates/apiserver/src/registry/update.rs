//! Update: PUT to an object or one of its parts.

use apimachinery::{Object, managed_fields, meta, status::Status};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};

use super::{
    Call,
    options::WriteOptions,
    write::{Part, Write},
};
use crate::{
    body::Body,
    negotiation::Endpoint as Sort,
    storage::{Keep, Left, Next, Outcome, Stored, Update},
};

/// What an update came to.
pub(super) struct Updated {
    /// How the object stands, or last stood.
    pub(super) object: Left,
    /// Whether it was not there before.
    pub(super) created: bool,
}

/// Makes the wanted object out of the one that is there. Asked again when that one changed underneath.
#[async_trait]
pub(super) trait Want: Send {
    /// The object wanted, in the endpoint's version, decoded and defaulted.
    async fn wanted(&mut self, current: Option<&Object>) -> Result<Object, Status>;
    /// Whether it may come into being by this.
    fn may_create(&self) -> bool;
    /// Whether a uid in the wanted object is a precondition, rather than an attempt to change it.
    fn demands_uid(&self) -> bool {
        false
    }
    /// Whether the wanted object says already who owns what in it.
    fn books_itself(&self) -> bool {
        false
    }
}

impl Call<'_> {
    /// Which part of the object the path names.
    pub(super) fn part(&self) -> Part {
        match self.context.info.subresource.as_str() {
            "" => Part::Spec,
            "status" => Part::Status,
            _ => Part::Other,
        }
    }

    /// `PUT …/NAME`
    pub(super) async fn update(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Object)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "UpdateOptions",
            false,
        )?;
        let bytes = self.body(request).await?;
        let mut object = self.decode(&bytes, &options)?;
        self.set_namespace(&mut object)?;
        self.check_name(&object)?;
        self.dedup_owner_references(&mut object, "");
        let options_object = self.options_object("UpdateOptions");
        let part = self.part();
        let may_create = part == Part::Spec && self.endpoint.strategy().allow_create_on_update();
        let mut want = Given { object, may_create };
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

    /// Changes the object that the path names.
    pub(super) async fn update_object(
        &self,
        want: &mut dyn Want,
        part: Part,
        options: &WriteOptions,
        options_object: &Object,
        keep: Keep,
    ) -> Result<Updated, Status> {
        let cacher = self.endpoint.cacher()?;
        let name = &self.context.info.name;
        let key = cacher.key(self.namespace(), name);
        let cached = cacher
            .get(self.namespace(), name)
            .map(|cached| cached.parse_for_change());
        let mut change = Change {
            want,
            write: Write::new(self, options, options_object, part),
            result: None,
            created: false,
            deleted: None,
        };
        let resource = self.endpoint.group_resource();
        let ttl = self.ttl_seconds();
        let outcome = self
            .registry
            .store
            .guaranteed_update(&key, &resource, cached, ttl, keep, &mut change)
            .await?;
        let created = change.created;
        let object = match outcome {
            Outcome::Written(left) => {
                change.write.commit();
                left
            }
            Outcome::Deleted(last) => {
                if let Some(hook) = self.registry.hook(&resource) {
                    hook.after_delete(&last.object).await;
                }
                let mut object = change.deleted.unwrap_or(last.object);
                meta::set_resource_version(&mut object, &last.revision.to_string());
                Left::Tree(Stored::new(object, last.revision))
            }
            Outcome::Kept(current) => {
                let object = change
                    .result
                    .or_else(|| current.as_ref().map(|c| c.object.clone()));
                let revision = current.map_or(etcd::Revision(0), |c| c.revision);
                let object = object.ok_or_else(|| self.not_found())?;
                Left::Tree(Stored::new(object, revision))
            }
        };
        Ok(Updated { object, created })
    }
}

impl Call<'_> {
    /// Whether an object is to be written though nothing changes, because it is encrypted with a key that is on its way out.
    async fn is_stale(&self, object: &Object) -> Result<bool, Status> {
        let key = self
            .endpoint
            .cacher()?
            .key(meta::namespace(object), meta::name(object));
        self.registry.is_stale(&key).await
    }
}

struct Change<'a> {
    want: &'a mut dyn Want,
    write: Write<'a>,
    /// What a dry run would have stored.
    result: Option<Object>,
    created: bool,
    /// How it would stand, had this update not been the end of it.
    deleted: Option<Object>,
}

#[async_trait]
impl Update for Change<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        let call = self.write.call;
        // What an attempt before this one took is given back.
        self.write.reservation = Box::new(super::hooks::NoReservation);
        self.write.books = !self.want.books_itself();
        self.write.demands_uid = self.want.demands_uid();
        let Some(current) = current else {
            if !self.want.may_create() {
                return Err(call.not_found());
            }
            self.created = true;
            let mut wanted = self.want.wanted(None).await?;
            if super::write::version_number(&wanted)? != 0 {
                return Err(Status::modified(
                    &call.endpoint.group_resource(),
                    &call.context.info.name,
                ));
            }
            meta::remove(&mut wanted, "resourceVersion");
            let mut object = self.write.prepare_create(wanted).await?;
            self.write.settle(&mut object);
            return self.store(object).await;
        };
        self.created = false;
        let outdated = call.endpoint.is_outdated(&current.object);
        let opened;
        let current = if call.endpoint.custom.is_some() {
            let object = call.endpoint.open(current.object.clone()).await?;
            opened = Stored::new(object, current.revision);
            &opened
        } else {
            current
        };
        let view = call.endpoint.view(&current.object);
        let wanted = self.want.wanted(Some(&view)).await?;
        drop(view);
        let mut object = self.write.prepare_update(wanted, current).await?;
        self.write.settle(&mut object);
        if ends_here(&object, &current.object) {
            self.deleted = Some(object.clone());
            if self.write.options.dry_run {
                self.result = Some(object);
                return Ok(Next::Keep);
            }
            return Ok(Next::Delete);
        }
        if !outdated && same(&object, &current.object) {
            let stale = !self.write.options.dry_run && call.is_stale(&current.object).await?;
            if !stale {
                self.result = None;
                return Ok(Next::Keep);
            }
        }
        self.store(object).await
    }
}

impl Change<'_> {
    async fn store(&mut self, object: Object) -> Result<Next, Status> {
        if self.write.options.dry_run {
            self.result = Some(object);
            return Ok(Next::Keep);
        }
        let object = self.write.call.endpoint.seal(object).await?;
        Ok(Next::Put(object))
    }
}

/// An object that is being deleted, has no time left and has lost its last finalizer goes with the update that took it.
fn ends_here(new: &Object, old: &Object) -> bool {
    if !meta::is_deleting(old) || meta::finalizers(new).next().is_some() {
        return false;
    }
    // Namespaces have no grace period, but finalizers of their own.
    if meta::kind(new) == "Namespace" && meta::api_version(new) == "v1" {
        return crate::lookup::list(new, &["spec", "finalizers"]).is_empty();
    }
    meta::deletion_grace_period_seconds(old) == Some(0)
}

/// Whether nothing would change; times in managed fields do not count, as upstream.
fn same(new: &Object, old: &Object) -> bool {
    managed_fields::equal_but_times(new, old)
}

/// The object as it was sent.
pub(super) struct Given {
    object: Object,
    may_create: bool,
}

impl Given {
    /// In place of one that must be there.
    pub(super) fn new(object: Object) -> Self {
        Self {
            object,
            may_create: false,
        }
    }
}

#[async_trait]
impl Want for Given {
    async fn wanted(&mut self, _current: Option<&Object>) -> Result<Object, Status> {
        Ok(self.object.clone())
    }

    fn may_create(&self) -> bool {
        self.may_create
    }

    fn demands_uid(&self) -> bool {
        true
    }
}
