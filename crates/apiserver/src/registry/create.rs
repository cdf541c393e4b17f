//! Create: POST to a collection.

use apimachinery::{Object, meta, status::Status};
use http::{Request, Response, StatusCode};

use super::{
    Call,
    options::WriteOptions,
    write::{Part, Write},
};
use crate::{
    body::Body,
    negotiation::Endpoint as Sort,
    storage::{Keep, Left, Stored},
};

/// How many names are tried for a `generateName`, as upstream.
const NAME_ATTEMPTS: usize = 8;
/// The letters of generated names: no vowels, so that no words come about.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// A generated name is not longer than a label.
const MAX_PREFIX: usize = 63 - 5;

impl Call<'_> {
    /// `POST …`
    pub(super) async fn create(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Object)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "CreateOptions",
            false,
        )?;
        let bytes = self.body(request).await?;
        let mut object = self.decode(&bytes, &options)?;
        self.dedup_owner_references(&mut object, "");
        let options_object = self.options_object("CreateOptions");
        let left = self
            .create_object(object, &options, &options_object, self.keep(accept))
            .await?;
        self.respond_stored(left, accept, StatusCode::CREATED).await
    }

    /// Creates a decoded object.
    pub(super) async fn create_object(
        &self,
        object: Object,
        options: &WriteOptions,
        options_object: &Object,
        keep: Keep,
    ) -> Result<Left, Status> {
        let mut write = Write::new(self, options, options_object, Part::Spec);
        // Mutating plugins see the object once, without the name that is made up later.
        let object = write.admit_create(object).await?;
        let generated = meta::name(&object).is_empty() && !meta::generate_name(&object).is_empty();
        if !generated {
            return self.try_create(&mut write, object, keep).await;
        }
        let mut refused = None;
        for _ in 0..NAME_ATTEMPTS {
            let mut object = object.clone();
            let name = generate_name(meta::generate_name(&object));
            meta::set_name(&mut object, &name);
            match self.try_create(&mut write, object, keep).await {
                Err(status) if status.is_already_exists() => refused = Some(status),
                other => return other,
            }
        }
        let status = refused.unwrap_or_else(|| Status::internal("no name was tried"));
        let name = status
            .details
            .as_ref()
            .map(|d| d.name.clone())
            .unwrap_or_default();
        Err(Status::generate_name_conflict(
            &self.endpoint.group_resource(),
            &name,
        ))
    }

    async fn try_create(
        &self,
        write: &mut Write<'_>,
        object: Object,
        keep: Keep,
    ) -> Result<Left, Status> {
        let options = write.options;
        // What an attempt before this one took is given back.
        write.reservation = Box::new(super::hooks::NoReservation);
        let mut object = write.prepare_admitted(object).await?;
        let resource = self.endpoint.group_resource();
        let cacher = self.endpoint.cacher()?;
        let name = meta::name(&object).to_owned();
        let key = cacher.key(meta::namespace(&object), &name);
        let exists = |there: &Object| {
            let mut status = Status::already_exists(&resource, &name);
            if meta::is_deleting(there) {
                status.message = format!("object is being deleted: {}", status.message);
            }
            status
        };
        write.settle(&mut object);
        if options.dry_run {
            return match self.registry.store.get(&key).await? {
                Some(there) => Err(exists(&there.object)),
                None => Ok(Left::Tree(Stored::new(object, etcd::Revision(0)))),
            };
        }
        Write::take_version(&mut object)?;
        let object = self.endpoint.seal(object).await?;
        match self
            .registry
            .store
            .insert(&key, object, self.ttl_seconds(), keep)
            .await?
        {
            Some(left) => {
                write.commit();
                Ok(left)
            }
            None => Err(match self.registry.store.get(&key).await? {
                Some(there) => exists(&there.object),
                None => exists(&Object::new()),
            }),
        }
    }

    /// How long objects of this resource live: events for an hour.
    pub(super) fn ttl_seconds(&self) -> Option<i64> {
        (self.endpoint.row.gvr.resource == "events").then_some(self.registry.event_ttl_seconds)
    }
}

/// A name from a prefix: five random letters more.
pub(super) fn generate_name(prefix: &str) -> String {
    let mut end = prefix.len().min(MAX_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    let random = uuid::Uuid::new_v4();
    name.extend(
        random
            .as_bytes()
            .iter()
            .take(5)
            .map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])),
    );
    name
}
