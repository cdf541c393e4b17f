//! The body of a request is waited for before its seats are.
//!
//! A seat that is held while a client sends at its leisure is nobody else's: two hundred bodies that come at 32 kB/s would close a priority level for as
//! long as they come. So a body is read first, and seats are asked for when there is work to do. What has come and has no seats yet is
//! bounded for all together; beyond that the larger bodies are refused first, and their clients asked to try again (429).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body::Body as _;
use http_body_util::{BodyDataStream, BodyExt as _};

use super::{Refusal, Stage, flow_control};
use crate::{
    body::{Body, BodyError, MAX_REQUEST_BYTES},
    context::Context,
};

/// Of all bodies that have come and whose requests have no seats yet.
const BOUND_BYTES: usize = 128 << 20;
/// Of this, so much is for bodies up to [`SMALL_BYTES`] alone: large ones cannot keep them out.
const RESERVE_BYTES: usize = 32 << 20;
const SMALL_BYTES: usize = 64 << 10;

/// Bodies that have come, of requests that have no seats yet.
#[derive(Default)]
pub(super) struct Arrivals {
    bytes: Arc<AtomicUsize>,
}

/// Too much has come.
#[derive(Debug)]
struct Overflow;

/// One of them; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Arrived {
    bytes: usize,
    of_all: Arc<AtomicUsize>,
}

#[async_trait]
impl Stage for Arrivals {
    fn filter(&self) -> Option<&'static str> {
        None
    }

    async fn enter(
        &self,
        context: &mut Context,
        request: &mut Request<Body>,
    ) -> Result<(), Refusal> {
        let body = std::mem::take(request.body_mut());
        match self.wait_for(context, body).await {
            Ok((body, arrived)) => {
                *request.body_mut() = body;
                context.arrived = arrived;
                Ok(())
            }
            Err(Overflow) => {
                let answer = flow_control::too_many_requests(1);
                Err(Refusal::Answer(Box::new(answer)))
            }
        }
    }
}

impl Arrivals {
    /// The body, all there, if it is one that its handler would wait for. One that breaks off or is too long is passed on as far as it has been read, for the
    /// handler to say what is wrong.
    async fn wait_for(
        &self,
        context: &Context,
        mut body: Body,
    ) -> Result<(Body, Option<Arrived>), Overflow> {
        let is_read_whole = context.info.is_resource && !context.info.is_long_running();
        let is_there = matches!(body, Body::Empty | Body::Full(_));
        let is_too_long = body.size_hint().lower() > MAX_REQUEST_BYTES as u64;
        if !is_read_whole || is_there || is_too_long {
            return Ok((body, None));
        }
        let mut arrived = Arrived {
            bytes: 0,
            of_all: Arc::clone(&self.bytes),
        };
        // Put together as it comes: a frame for each byte would else cost many times what is counted.
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let chunk = match frame.map(|frame| frame.into_data()) {
                Ok(Ok(chunk)) => chunk,
                // Trailers: nobody asks for them.
                Ok(Err(_)) => continue,
                Err(error) => return Ok((broken_off(read.freeze(), error), Some(arrived))),
            };
            arrived.grow(chunk.len())?;
            read.put(chunk);
            if arrived.bytes > MAX_REQUEST_BYTES {
                return Ok((goes_on(read.freeze(), body), Some(arrived)));
            }
            if body.is_end_stream() {
                break;
            }
        }
        Ok((Body::from(read.freeze()), Some(arrived)))
    }
}

impl Arrived {
    fn grow(&mut self, bytes: usize) -> Result<(), Overflow> {
        let bound = match self.bytes + bytes {
            ..=SMALL_BYTES => BOUND_BYTES,
            _ => BOUND_BYTES - RESERVE_BYTES,
        };
        self.bytes += bytes;
        match self.of_all.fetch_add(bytes, Relaxed) + bytes {
            all if all > bound => Err(Overflow),
            _ => Ok(()),
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Relaxed);
    }
}

fn broken_off(read: Bytes, error: BodyError) -> Body {
    Body::stream(stream::iter([Ok(read), Err(error)]))
}

fn goes_on(read: Bytes, rest: Body) -> Body {
    let read = stream::once(std::future::ready(Ok(read.into())));
    Body::stream(read.chain(BodyDataStream::new(rest)))
}

#[cfg(test)]
mod tests {
    use std::iter;

    use http::{Method, Uri};

    use super::*;
    use crate::request_info::RequestInfo;

    fn create() -> Context {
        let uri = Uri::from_static("/api/v1/namespaces/default/configmaps");
        let mut context = Context::default();
        context.info = RequestInfo::parse(&Method::POST, &uri);
        context
    }

    fn body(chunks: impl IntoIterator<Item = Result<Bytes, BodyError>>) -> Body {
        let chunks: Vec<_> = chunks.into_iter().collect();
        Body::stream(stream::iter(chunks))
    }

    fn chunk(bytes: usize) -> Result<Bytes, BodyError> {
        Ok(Bytes::from(vec![b'x'; bytes]))
    }

    async fn read(body: Body) -> Result<usize, BodyError> {
        Ok(body.collect().await?.to_bytes().len())
    }

    #[tokio::test]
    async fn what_has_come_is_passed_on_whole() {
        let arrivals = Arrivals::default();
        let sent = body([chunk(10), chunk(20)]);
        let (whole, arrived) = arrivals.wait_for(&create(), sent).await.unwrap();
        assert!(matches!(&whole, Body::Full(bytes) if bytes.len() == 30));
        assert_eq!(arrivals.bytes.load(Relaxed), 30);
        drop(arrived);
        assert_eq!(arrivals.bytes.load(Relaxed), 0);
        // What is too long or breaks off is for the handler to judge.
        let long = body(iter::repeat_with(|| chunk(1 << 20)).take(9));
        let (long, _arrived) = arrivals.wait_for(&create(), long).await.unwrap();
        assert_eq!(read(long).await.unwrap(), 9 << 20);
        let broken = body([chunk(10), Err("cut".into())]);
        let (broken, _arrived) = arrivals.wait_for(&create(), broken).await.unwrap();
        assert_eq!(read(broken).await.unwrap_err().to_string(), "cut");
    }

    #[tokio::test]
    async fn large_bodies_leave_room_for_small_ones() {
        let arrivals = Arrivals::default();
        let mut kept = Vec::new();
        for _ in 0..(BOUND_BYTES - RESERVE_BYTES) / (3 << 20) {
            let large = body(iter::repeat_with(|| chunk(1 << 20)).take(3));
            kept.push(arrivals.wait_for(&create(), large).await.unwrap());
        }
        let before = arrivals.bytes.load(Relaxed);
        let large = body([chunk(SMALL_BYTES), chunk(3 << 20)]);
        assert!(arrivals.wait_for(&create(), large).await.is_err());
        assert_eq!(arrivals.bytes.load(Relaxed), before);
        for _ in 0..RESERVE_BYTES / SMALL_BYTES {
            let small = body([chunk(SMALL_BYTES)]);
            kept.push(arrivals.wait_for(&create(), small).await.unwrap());
        }
        let small = body([chunk(SMALL_BYTES)]);
        assert!(arrivals.wait_for(&create(), small).await.is_err());
        kept.clear();
        assert_eq!(arrivals.bytes.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_streamed_is_not_waited_for() {
        let mut context = create();
        context.info.subresource = "proxy".to_owned();
        let endless = Body::stream(stream::pending::<Result<Bytes, _>>());
        let (passed, arrived) = Arrivals::default()
            .wait_for(&context, endless)
            .await
            .unwrap();
        assert!(matches!(passed, Body::Stream(_)) && arrived.is_none());
    }
}
