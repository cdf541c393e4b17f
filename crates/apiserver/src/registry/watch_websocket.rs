//! A watch over WebSocket, as browsers ask for it: each event is a message, text where the encoding is text, else binary and without the length
//! that stands before frames elsewhere. The watch itself is the one that everybody has.

use apimachinery::status::Status;
use base::TaskGroup;
use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use httpstream::{NegotiationError, Upgrade, send_messages};
use hyper_util::rt::TokioIo;

use crate::{
    body::{Body, BodyError},
    context::Context,
    upgraded::Upgraded,
};

/// How events lie one after the other in what a watch sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Text, each ended by a line feed, which belongs to it.
    Lines,
    /// Bytes, their number before them in four bytes.
    Counted,
}

/// Joins the client's connection, when it has been upgraded, with `events`. What is wrong with the handshake is told without words, as upstream
/// tells it.
pub(super) fn serve(
    context: &Context,
    mut request: Request<Body>,
    tasks: &TaskGroup,
    framing: Framing,
    events: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
) -> Result<Response<Body>, Status> {
    let response = match Upgrade::messages(&context.headers) {
        Ok(upgrade) => upgrade.response,
        Err(error) => {
            let code = match error {
                NegotiationError::NoOrigin => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            let refused = Response::builder().status(code).body(Body::Empty);
            return refused.map_err(Status::internal);
        }
    };
    let client = hyper::upgrade::on(&mut request);
    let upgraded = Upgraded::default();
    let held = upgraded.clone();
    tasks.spawn_cancellable("watch-websocket", async move {
        let _held = held;
        match client.await {
            Ok(client) => {
                let text = framing == Framing::Lines;
                send_messages(TokioIo::new(client), text, single(events, framing)).await;
            }
            Err(error) => tracing::debug!(%error, "the upgrade did not come about"),
        }
    });
    let mut response = response.map(|()| Body::Empty);
    response.extensions_mut().insert(upgraded);
    Ok(response)
}

/// Event by event what comes several at a time.
fn single(
    events: impl Stream<Item = Result<Bytes, BodyError>> + Send,
    framing: Framing,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    events.flat_map(move |batch| {
        stream::iter(match batch {
            Ok(batch) => split(batch, framing).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    })
}

/// The events of a batch; none is ever cut in two.
fn split(mut batch: Bytes, framing: Framing) -> Vec<Bytes> {
    let mut events = Vec::new();
    while !batch.is_empty() {
        let length = match framing {
            Framing::Lines => {
                let end = batch.iter().position(|byte| *byte == b'\n');
                end.map_or(batch.len(), |end| end + 1)
            }
            Framing::Counted => match batch.try_get_u32() {
                Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
                Err(_) => batch.len(),
            },
        };
        events.push(batch.split_to(length.min(batch.len())));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_taken_apart() {
        let lines = Bytes::from_static(b"{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(
            split(lines, Framing::Lines),
            [&b"{\"a\":1}\n"[..], b"{\"b\":2}\n"]
        );
        let counted = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\x01c");
        assert_eq!(split(counted, Framing::Counted), [&b"ab"[..], b"c"]);
        let broken = Bytes::from_static(b"\0\0\0\x09ab");
        assert_eq!(split(broken, Framing::Counted), [&b"ab"[..]]);
    }
}
