//! Deletecollection: every object that a list would give, each by its own delete; the answer is that list.

use apimachinery::status::Status;
use http::{Request, Response};

use super::{Call, delete_options::DeleteOptions, options::ListOptions};
use crate::{body::Body, negotiation::Endpoint as Sort};

/// How many deletes run at once.
const WORKERS: usize = 16;

impl Call<'_> {
    /// `DELETE` of a collection.
    pub(super) async fn delete_collection(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::List)?;
        let predicate = self.predicate()?;
        let list_options = ListOptions::parse(&context.query, false)?;
        self.check_fields(&predicate)?;
        let bytes = self.body(request).await?;
        let options = DeleteOptions::parse(&context.headers, &context.query, &bytes)?;
        self.warn_of_delete(&options);
        let page = self.page(&list_options, predicate).await?;
        for batch in page.items.chunks(WORKERS) {
            let deletes = batch.iter().map(|item| async {
                let (namespace, name) = item.namespace_and_name();
                match self.delete_in(namespace, name, &options).await {
                    Ok(_) => Ok(()),
                    Err(status) if status.is_not_found() => Ok(()),
                    Err(status) => Err(status),
                }
            });
            for result in futures_util::future::join_all(deletes).await {
                result?;
            }
        }
        self.respond_page(page, accept).await
    }
}
