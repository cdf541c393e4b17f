//! A body as WebSocket messages, for browsers: what a request answers with (a log), message by message, and then the end.

use std::pin::pin;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, future::Either};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{Io, websocket::open};

/// Sends `chunks` until they end or the client goes; what the client sends is ignored. Messages are base64 text if `base64`. As upstream, the
/// first message is empty: it tells the client that the connection works before there is anything to say.
pub async fn send_body<E>(
    io: impl Io,
    base64: bool,
    chunks: impl Stream<Item = Result<Bytes, E>> + Send,
) {
    let (mut sink, mut source) = open(io).await.split();
    let message = |data: &Bytes| {
        if base64 {
            Message::text(STANDARD.encode(data))
        } else {
            Message::Binary(data.clone())
        }
    };
    let mut chunks = pin!(chunks);
    if sink.send(message(&Bytes::new())).await.is_err() {
        return;
    }
    loop {
        let chunk = match futures_util::future::select(chunks.next(), source.next()).await {
            Either::Left((Some(Ok(chunk)), _)) => chunk,
            // The end of the body, or its breaking off: there is no other word for it here.
            Either::Left(_) => break,
            Either::Right((Some(Ok(Message::Close(_)) | Err(_)) | None, _)) => return,
            Either::Right(_) => continue,
        };
        if sink.send(message(&chunk)).await.is_err() {
            return;
        }
    }
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    // The client may have gone first.
    let _ = sink.send(Message::Close(Some(close))).await;
    let _ = sink.close().await;
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;

    #[tokio::test]
    async fn a_body_is_sent_message_by_message_and_then_closed() {
        let (near, far) = tokio::io::duplex(4096);
        let chunks = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let body = stream::iter(chunks.map(Ok::<_, std::convert::Infallible>));
        let client = async {
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let mut messages = Vec::new();
            while let Some(Ok(message)) = client.next().await {
                messages.push(message);
            }
            messages
        };
        let ((), messages) = tokio::join!(send_body(far, true, body), client);
        assert_eq!(
            messages[..3],
            [
                Message::text(""),
                Message::text("b25l"),
                Message::text("dHdv")
            ]
        );
        assert!(messages[3].is_close());
    }
}
