//! What a server alone has to say, as WebSocket messages for browsers: the events of a watch, the pieces of a log, and then the end.

use std::pin::pin;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, future::Either, stream};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::{
    Io,
    websocket::{close, open},
};

/// Sends each of `messages`, until they end or the client goes; what the client sends is ignored. As text if `text`, where it is text.
pub async fn send_messages<E>(
    io: impl Io,
    text: bool,
    messages: impl Stream<Item = Result<Bytes, E>> + Send,
) {
    send(
        io,
        messages.map(|message| message.map(|data| framed(data, text))),
    )
    .await;
}

/// Sends the `chunks` of a body until they end or the client goes; what the client sends is ignored. Messages are base64 text if `base64`. As
/// upstream, the first message is empty: it tells the client that the connection works before there is anything to say.
pub async fn send_body<E>(
    io: impl Io,
    base64: bool,
    chunks: impl Stream<Item = Result<Bytes, E>> + Send,
) {
    let encoded = |data: Bytes| match base64 {
        true => Message::text(STANDARD.encode(data)),
        false => Message::Binary(data),
    };
    let chunks = stream::iter([Ok(Bytes::new())]).chain(chunks);
    send(io, chunks.map(|chunk| chunk.map(encoded))).await;
}

async fn send<E>(io: impl Io, messages: impl Stream<Item = Result<Message, E>>) {
    let (mut sink, mut source) = open(io).await.split();
    let mut messages = pin!(messages);
    loop {
        let next = futures_util::future::select(messages.next(), source.next()).await;
        let message = match next {
            Either::Left((Some(Ok(message)), _)) => message,
            // The end, or a breaking off: there is no other word for it here.
            Either::Left(_) => return close(&mut sink).await,
            Either::Right((Some(Ok(Message::Close(_)) | Err(_)) | None, _)) => {
                // The answer to a close lies ready, and goes out with this.
                let _ = sink.close().await;
                return;
            }
            Either::Right(_) => continue,
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
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
    use std::{convert::Infallible, future};

    use tokio::io::DuplexStream;
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::protocol::{Role, frame::coding::CloseCode},
    };

    use super::*;

    fn one_and_two() -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::iter([Bytes::from_static(b"one"), Bytes::from_static(b"two")].map(Ok))
    }

    async fn received(near: DuplexStream) -> Vec<Message> {
        let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let messages = client.take_while(|message| future::ready(message.is_ok()));
        messages
            .filter_map(|message| future::ready(message.ok()))
            .collect()
            .await
    }

    fn is_normal_end(message: &Message) -> bool {
        matches!(message, Message::Close(Some(close)) if close.code == CloseCode::Normal)
    }

    #[tokio::test]
    async fn messages_are_sent_whole_and_the_end_is_told() {
        for text in [true, false] {
            let (near, far) = tokio::io::duplex(4096);
            let sending = send_messages(far, text, one_and_two());
            let ((), messages) = tokio::join!(sending, received(near));
            let expected = match text {
                true => [Message::text("one"), Message::text("two")],
                false => [Message::binary("one"), Message::binary("two")],
            };
            assert_eq!(messages[..2], expected);
            assert!(is_normal_end(&messages[2]));
        }
    }

    #[tokio::test]
    async fn a_body_begins_with_nothing() {
        let (near, far) = tokio::io::duplex(4096);
        let sending = send_body(far, true, one_and_two());
        let ((), messages) = tokio::join!(sending, received(near));
        assert_eq!(messages[..3], ["", "b25l", "dHdv"].map(Message::text));
        assert!(is_normal_end(&messages[3]));
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_it() {
        let (near, far) = tokio::io::duplex(4096);
        let silence = stream::pending::<Result<Bytes, Infallible>>();
        let client = async {
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            client.send(Message::text("ignored")).await.unwrap();
            client.close(None).await.unwrap();
            while let Some(Ok(_)) = client.next().await {}
        };
        tokio::join!(send_messages(far, true, silence), client);
    }
}
