//! Reading a request's body, up to the bound of 3 MiB.

use apimachinery::status::Status;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Call;
use crate::body::Body;

/// As upstream's `MaxRequestBodyBytes`.
pub(super) const LIMIT_BYTES: usize = 3 << 20;

impl Call<'_> {
    /// The whole body, or 413.
    pub(super) async fn body(&self, request: Request<Body>) -> Result<Bytes, Status> {
        let bytes = read(request.into_body()).await?;
        self.context.note_body_bytes(bytes.len());
        Ok(bytes)
    }
}

async fn read(body: Body) -> Result<Bytes, Status> {
    if let Body::Full(bytes) = body {
        return if bytes.len() > LIMIT_BYTES {
            Err(too_large())
        } else {
            Ok(bytes)
        };
    }
    match Limited::new(body, LIMIT_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Status::bad_request(format!(
            "the request body could not be read: {error}"
        ))),
    }
}

fn too_large() -> Status {
    Status::request_larger_than(LIMIT_BYTES)
}
