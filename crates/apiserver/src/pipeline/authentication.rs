//! Who asks. Bad credentials, and none where anonymous requests are off, end in 401 "Unauthorized" without a reason.

use std::{sync::Arc, time::Instant};

use apimachinery::status::Status;
use async_trait::async_trait;
use http::Request;

use super::{Refusal, Stage};
use crate::{
    authn::{AuthenticationMetrics, Authenticator},
    body::Body,
    context::Context,
};

pub(super) struct Authentication {
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) metrics: AuthenticationMetrics,
}

#[async_trait]
impl Stage for Authentication {
    fn filter(&self) -> Option<&'static str> {
        Some("authentication")
    }

    async fn enter(&self, context: &mut Context, _: &mut Request<Body>) -> Result<(), Refusal> {
        let start = Instant::now();
        let Context {
            headers,
            peer,
            info,
            ..
        } = context;
        let found = self.authenticator.authenticate(headers, peer, &info.path);
        match found.await {
            Ok(Some(authenticated)) => {
                let name = &authenticated.user.name;
                self.metrics.succeeded(name, start.elapsed());
                context.user = authenticated.user;
                for (key, value) in authenticated.annotations {
                    context.annotate(key, value);
                }
                for warning in authenticated.warnings {
                    context.warn(warning);
                }
                // Nobody behind this stage has a use for the credentials, and a proxy must not pass them on.
                self.authenticator.strip(&mut context.headers);
                Ok(())
            }
            Ok(None) => {
                self.metrics.failed(start.elapsed());
                Err(Status::unauthorized("Unauthorized").into())
            }
            Err(error) => {
                self.metrics.refused(start.elapsed());
                tracing::debug!(%error, path = context.info.path, "authentication failed");
                Err(Status::unauthorized("Unauthorized").into())
            }
        }
    }
}
