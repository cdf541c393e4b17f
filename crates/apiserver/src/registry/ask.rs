//! Resources that only answer: a POST with a question, answered by a [`crate::virtual_resource::VirtualResource`].

use apimachinery::{managed_fields, status::Status};
use http::{Request, Response, StatusCode};

use super::{Call, admit::Gate, options::WriteOptions, table, write::Part};
use crate::{
    admission::Operation,
    body::Body,
    negotiation::{Accept, Endpoint as Sort, Transform, respond_object},
    virtual_resource::Question,
};

impl Call<'_> {
    /// `POST` to the resource, or to its subresource.
    pub(super) async fn ask(
        &self,
        request: Request<Body>,
        subresource: &str,
    ) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = Accept::negotiate(&context.headers, &context.query, Sort::Answer)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "CreateOptions",
            false,
        )?;
        let gvk = match self
            .endpoint
            .row
            .subresources
            .iter()
            .find(|s| s.name == subresource)
        {
            Some(facts) => &facts.gvk,
            None => &self.endpoint.row.gvk,
        };
        let key = (self.endpoint.group_resource(), subresource.to_owned());
        let answerer = self.registry.plugs().virtual_resources.get(&key).cloned();
        let answerer = answerer.ok_or_else(Status::unknown_path)?;
        let bytes = self.body(request).await?;
        let mut object = self.decode_as(gvk, &bytes, &options)?;
        answerer.default(&mut object);
        // A token request may say the uid of the account it is for.
        if subresource.is_empty() {
            super::write::wipe_system_fields(&mut object);
        }
        self.set_namespace(&mut object)?;
        self.track_as(gvk, &options, Part::Other, None, &mut object);
        let create_options = self.options_object("CreateOptions");
        let gate = Gate {
            operation: Operation::Create,
            kind: gvk,
            dry_run: options.dry_run,
            options: &create_options,
        };
        self.admit(gate, Some(&mut object), None).await?;
        self.validate_admission(gate, Some(&mut object), None)
            .await?;
        managed_fields::spell_out(&mut object);
        let question = Question {
            user: &context.user,
            request: &context.info,
            object,
        };
        let answer = answerer.create(question).await?;
        let (answer, gvk) = match accept.transform {
            Transform::PartialObjectMetadata => table::partial_object_metadata(&answer),
            _ => (answer, gvk.clone()),
        };
        respond_object(&context.headers, StatusCode::CREATED, accept, &answer, &gvk)
    }
}
