//! Questions to the API server: reviews are created, and their answer is in the object that comes back.

use client::{Client, Request};
use http::Method;

/// Why the API server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] client::ApiError),
    /// It answered something else.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Creates a review and reads the answer.
pub(crate) async fn ask<T>(client: &Client, path: &str, review: &T) -> Result<T, ReviewError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let body = serde_json::to_vec(review)?;
    let answer = client
        .request(Request::json(Method::POST, path, body))
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}
