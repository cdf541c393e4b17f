//! What is whole by itself, one WebSocket message each: the events of a watch.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, future::Either};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{Io, websocket::open};

/// Sends each of `messages`, until they end or the client goes; what the client sends is ignored. As text if `text`, where it is text.
pub async fn send_messages<E>(
    io: impl Io,
    text: bool,
    messages: impl Stream<Item = Result<Bytes, E>> + Send,
) {
    let (mut sink, mut source) = open(io).await.split();
    let mut messages = pin!(messages);
    loop {
        let next = futures_util::future::select(messages.next(), source.next()).await;
        let message = match next {
            Either::Left((Some(Ok(message)), _)) => message,
            // The end, or a breaking off: there is no other word for it here.
            Either::Left(_) => break,
            Either::Right((Some(Ok(Message::Close(_)) | Err(_)) | None, _)) => {
                // The answer to a close lies ready, and goes out with this.
                let _ = sink.close().await;
                return;
            }
            Either::Right(_) => continue,
        };
        if sink.send(framed(message, text)).await.is_err() {
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

fn framed(message: Bytes, text: bool) -> Message {
    if !text {
        return Message::Binary(message);
    }
    match Utf8Bytes::try_from(message.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(message),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;

    async fn received(text: bool) -> Vec<Message> {
        let (near, far) = tokio::io::duplex(4096);
        let events = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let events = stream::iter(events.map(Ok::<_, std::convert::Infallible>));
        let client = async {
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let mut messages = Vec::new();
            while let Some(Ok(message)) = client.next().await {
                messages.push(message);
            }
            messages
        };
        tokio::join!(send_messages(far, text, events), client).1
    }

    #[tokio::test]
    async fn messages_are_sent_whole_and_the_end_is_told() {
        let messages = received(true).await;
        assert_eq!(messages[..2], [Message::text("one"), Message::text("two")]);
        assert!(
            matches!(&messages[2], Message::Close(Some(close)) if close.code == CloseCode::Normal)
        );
        let messages = received(false).await;
        assert_eq!(messages[0], Message::binary("one"));
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_it() {
        let (near, far) = tokio::io::duplex(4096);
        let silence = stream::pending::<Result<Bytes, std::convert::Infallible>>();
        let client = async {
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            client.send(Message::text("ignored")).await.unwrap();
            client.close(None).await.unwrap();
            while let Some(Ok(_)) = client.next().await {}
        };
        tokio::join!(send_messages(far, true, silence), client);
    }
}
