//! Finalize: PUT of a namespace to its `finalize`: `spec.finalizers` alone is taken over, and with the last of them a namespace that
//! is being deleted goes.

use apimachinery::{Object, meta, status::Status};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, admit::Gate, body, options::WriteOptions};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Accept, Endpoint as Sort},
    storage::{Next, Outcome, Stored, Update},
};

impl Call<'_> {
    /// `PUT …/namespaces/NAME/finalize`
    pub(super) async fn finalize(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = Accept::negotiate(&context.headers, &context.query, Sort::Object)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "UpdateOptions",
            false,
        )?;
        let bytes = body::read(request.into_body()).await?;
        let mut wanted = self.decode(&bytes, &options)?;
        self.set_name(&mut wanted)?;
        let cacher = self.endpoint.cacher()?;
        let name = &context.info.name;
        let key = cacher.key("", name);
        let cached = cacher
            .get("", name)
            .map(|cached| Stored::new(cached.parse(), cached.revision));
        let update_options = self.options_object("UpdateOptions");
        let mut change = Finalizers {
            call: self,
            wanted: &wanted,
            options: &update_options,
            dry_run: options.dry_run,
            result: None,
        };
        let resource = self.endpoint.group_resource();
        let outcome = self
            .registry
            .store
            .guaranteed_update(&key, &resource, cached, None, &mut change)
            .await?;
        let mut stored = match outcome {
            Outcome::Written(stored) | Outcome::Deleted(stored) => stored,
            Outcome::Kept(stored) => stored.ok_or_else(|| self.not_found())?,
        };
        if let Some(object) = change.result {
            let revision = stored.revision.to_string();
            stored.object = object;
            meta::set_resource_version(&mut stored.object, &revision);
        }
        self.respond_stored(stored, accept, StatusCode::OK).await
    }
}

struct Finalizers<'a> {
    call: &'a Call<'a>,
    wanted: &'a Object,
    /// As admission sees them.
    options: &'a Object,
    dry_run: bool,
    result: Option<Object>,
}

#[async_trait]
impl Update for Finalizers<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        let Some(current) = current else {
            return Err(self.call.not_found());
        };
        let version = meta::resource_version(self.wanted);
        if !version.is_empty() && version != meta::resource_version(&current.object) {
            let resource = self.call.endpoint.group_resource();
            return Err(Status::modified(&resource, &self.call.context.info.name));
        }
        let call = self.call;
        let gate = Gate {
            operation: Operation::Update,
            kind: &call.endpoint.row.gvk,
            dry_run: self.dry_run,
            options: self.options,
        };
        let mut old = current.object.clone();
        call.endpoint.from_storage(&mut old);
        let mut wanted = self.wanted.clone();
        call.admit(gate, Some(&mut wanted), Some(&old)).await?;
        let mut object = current.object.clone();
        let finalizers = wanted
            .get("spec")
            .and_then(|spec| spec.get("finalizers"))
            .cloned();
        let left = finalizers
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
        let spec = object.entry("spec").or_insert_with(|| json!({}));
        if let Some(spec) = spec.as_object_mut() {
            match finalizers {
                Some(finalizers) if left => spec.insert("finalizers".to_owned(), finalizers),
                _ => spec.remove("finalizers"),
            };
        }
        let mut view = object.clone();
        call.endpoint.from_storage(&mut view);
        call.validate_admission(gate, Some(&mut view), Some(&old))
            .await?;
        let ends =
            meta::is_deleting(&object) && !left && meta::finalizers(&object).next().is_none();
        if self.dry_run || ends {
            self.result = Some(object.clone());
        }
        Ok(match (self.dry_run, ends) {
            (true, _) => Next::Keep,
            (false, true) => Next::Delete,
            (false, false) if object == current.object => Next::Keep,
            (false, false) => Next::Put(object),
        })
    }
}
