//! Reading a request's body, up to the bound of 3 MiB.

use std::time::Duration;

use apimachinery::status::Status;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Call;
use crate::{
    body::{Body, Chunk, MAX_REQUEST_BYTES},
    pipeline::LARGE_BYTES,
};

/// So much of what is beyond the bound is read to be thrown away, and for so long.
const DISCARD_BYTES: usize = 256 << 10;
const DISCARD_TIME: Duration = Duration::from_millis(500);

impl Call<'_> {
    /// The whole body, or 413.
    pub(super) async fn body(&self, request: Request<Body>) -> Result<Bytes, Status> {
        let bytes = read(request.into_body()).await?;
        self.context.note_body_bytes(bytes.len());
        if bytes.len() >= LARGE_BYTES {
            self.context.begin_long_work().await;
        }
        Ok(bytes)
    }
}

async fn read(mut body: Body) -> Result<Bytes, Status> {
    if let Body::Full(bytes) = body {
        return if bytes.len() > MAX_REQUEST_BYTES {
            Err(too_large())
        } else {
            Ok(bytes)
        };
    }
    match Limited::new(&mut body, MAX_REQUEST_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let _ = tokio::time::timeout(DISCARD_TIME, discard(&mut body)).await;
            Err(too_large())
        }
        Err(error) => Err(Status::bad_request(format!(
            "the request body could not be read: {error}"
        ))),
    }
}

/// Reads what is left of a body that is refused, if it is little: whoever still sends when the connection is closed may never see the answer.
/// Go's server does the same.
async fn discard(body: &mut Body) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Chunk::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

fn too_large() -> Status {
    Status::request_larger_than(MAX_REQUEST_BYTES)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures_util::{StreamExt as _, stream};

    use super::*;

    /// A body of so many frames, and how many of them have been taken.
    fn frames(count: usize, bytes: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let frame = Bytes::from(vec![b'x'; bytes]);
        let frames = stream::repeat(frame).take(count).map(move |frame| {
            counted.fetch_add(1, SeqCst);
            Ok(frame)
        });
        (Body::stream(frames), taken)
    }

    #[tokio::test]
    async fn a_little_too_much_is_read_to_its_end_and_much_is_not() {
        const FRAME: usize = 64 << 10;
        let bound = MAX_REQUEST_BYTES / FRAME;
        let (body, _) = frames(bound, FRAME);
        assert_eq!(read(body).await.unwrap().len(), MAX_REQUEST_BYTES);
        let (body, taken) = frames(bound + 3, FRAME);
        assert_eq!(read(body).await.unwrap_err().code, 413);
        assert_eq!(taken.load(SeqCst), bound + 3);
        let (body, taken) = frames(10 * bound, FRAME);
        assert_eq!(read(body).await.unwrap_err().code, 413);
        assert!(taken.load(SeqCst) <= bound + DISCARD_BYTES / FRAME + 2);
    }
}
