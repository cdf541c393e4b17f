//! WebSocket connections whose messages begin with the number of a channel; and WebSocket connections that carry plain bytes.

use std::{collections::BTreeMap, convert::Infallible, io};

use base::TaskGroup;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::debug;

use crate::{Io, STREAM_BUFFER};

/// Largest message that is read, in bytes.
const MAX_MESSAGE: usize = 1 << 20;
/// Data in one message.
const CHUNK: usize = 16 << 10;
/// Messages that may wait to be written.
const WRITE_QUEUE: usize = 32;
/// In version 5, a message of this channel closes the channel whose number follows.
const CLOSE_CHANNEL: u8 = 255;

pub(crate) async fn open(io: impl Io) -> WebSocketStream<impl Io> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Says that this is the end, as it should be.
pub(crate) async fn close(sink: &mut SplitSink<WebSocketStream<impl Io>, Message>) {
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    // The peer may have gone first.
    let _ = sink.send(Message::Close(Some(normal))).await;
    let _ = sink.close().await;
}

/// One channel of a connection and who may use it.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) number: u8,
    /// The client sends on it; else its messages are dropped.
    pub(crate) reads: bool,
    /// We send on it.
    pub(crate) writes: bool,
    /// What we send on it goes out when all others that we send on have ended: clients take the last word for the end of everything.
    pub(crate) last: bool,
}

/// How messages look.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) base64: bool,
    pub(crate) can_close: bool,
}

impl Format {
    fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            // The channel is a digit, not a byte.
            return Message::text(format!("{channel}{}", STANDARD.encode(data)));
        }
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.extend_from_slice(&[channel]);
        message.extend_from_slice(data);
        Message::Binary(message.freeze())
    }

    fn decode(self, message: &[u8]) -> Option<(u8, Bytes)> {
        let (&channel, data) = message.split_first()?;
        if self.base64 {
            let number = channel.checked_sub(b'0')?;
            return Some((number, STANDARD.decode(data).ok()?.into()));
        }
        Some((channel, Bytes::copy_from_slice(data)))
    }
}

/// Serves `channels` over `io`. Answers the user's ends of their pipes, by number. When all that we write on have been shut down, the
/// connection is closed.
pub(crate) async fn serve_channels(
    io: impl Io,
    channels: &[Channel],
    format: Format,
    tasks: &TaskGroup,
) -> BTreeMap<u8, DuplexStream> {
    let (mut sink, source) = open(io).await.split();
    let (messages, mut queue) = mpsc::channel::<Message>(WRITE_QUEUE);
    let (mut users, mut inputs) = (BTreeMap::new(), BTreeMap::new());
    // Nothing is ever sent on it: that all of its senders are gone is the message.
    let (sending, mut all_sent) = mpsc::channel::<Infallible>(1);
    let mut last_word = None;
    for &Channel {
        number,
        reads,
        writes,
        last,
    } in channels
    {
        let (user, ours) = tokio::io::duplex(STREAM_BUFFER);
        let (from_user, to_user) = tokio::io::split(ours);
        users.insert(number, user);
        if reads {
            inputs.insert(number, to_user);
        }
        if writes && last {
            last_word = Some((number, from_user));
        } else if writes {
            let (messages, sending) = (messages.clone(), sending.clone());
            tasks.spawn_cancellable("websocket-channel", async move {
                // An error says that the connection has ended.
                let _ = pump(number, from_user, messages, format).await;
                drop(sending);
            });
        }
    }
    drop(sending);
    if let Some((number, from_user)) = last_word {
        let messages = messages.clone();
        tasks.spawn_cancellable("websocket-channel", async move {
            let _ = all_sent.recv().await;
            let _ = pump(number, from_user, messages, format).await;
        });
    }
    let pongs = messages.downgrade();
    drop(messages);
    tasks.spawn_cancellable("websocket-write", async move {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        close(&mut sink).await;
    });
    tasks.spawn_cancellable("websocket-read", async move {
        if let Err(error) = read_messages(source, inputs, format, pongs).await {
            debug!(%error, "WebSocket connection ended");
        }
    });
    users
}

async fn pump(
    channel: u8,
    mut from_user: ReadHalf<DuplexStream>,
    messages: mpsc::Sender<Message>,
    format: Format,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from_user.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let message = format.encode(channel, &buffer[..read]);
        messages
            .send(message)
            .await
            .map_err(|_| io::ErrorKind::ConnectionReset)?;
    }
}

/// Hands messages to their channels until the connection ends; then all channels end.
async fn read_messages(
    mut source: SplitStream<WebSocketStream<impl Io>>,
    mut inputs: BTreeMap<u8, WriteHalf<DuplexStream>>,
    format: Format,
    pongs: mpsc::WeakSender<Message>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    while let Some(message) = source.next().await {
        let data = match message? {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Message::Ping(data) => {
                if let Some(pongs) = pongs.upgrade() {
                    // Full or gone: the next ping asks again.
                    let _ = pongs.try_send(Message::Pong(data));
                }
                continue;
            }
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        let Some((channel, data)) = format.decode(&data) else {
            continue;
        };
        if channel == CLOSE_CHANNEL && format.can_close {
            if let Some(mut input) = data.first().and_then(|closed| inputs.remove(closed)) {
                // Nobody reads it any more: as good as closed.
                let _ = input.shutdown().await;
            }
        } else if let Some(input) = inputs.get_mut(&channel)
            && input.write_all(&data).await.is_err()
        {
            inputs.remove(&channel);
        }
    }
    Ok(())
}

/// The bytes of all binary messages as one stream, both ways.
pub(crate) async fn tunnel(io: impl Io, tasks: &TaskGroup) -> DuplexStream {
    let (mut sink, mut source) = open(io).await.split();
    let (user, ours) = tokio::io::duplex(STREAM_BUFFER);
    let (mut from_user, mut to_user) = tokio::io::split(ours);
    tasks.spawn_cancellable("websocket-write", async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_user.read(&mut buffer).await {
            if sink
                .send(Message::Binary(Bytes::copy_from_slice(&buffer[..read])))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = sink.close().await;
    });
    tasks.spawn_cancellable("websocket-read", async move {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(data) if to_user.write_all(&data).await.is_err() => return,
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = to_user.shutdown().await;
    });
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_channel() {
        let plain = Format {
            base64: false,
            can_close: true,
        };
        assert_eq!(plain.encode(1, b"hi"), Message::binary(b"\x01hi".to_vec()));
        assert_eq!(
            plain.decode(b"\x04{}"),
            Some((4, Bytes::from_static(b"{}")))
        );
        assert_eq!(plain.decode(b""), None);
        let text = Format {
            base64: true,
            can_close: false,
        };
        assert_eq!(text.encode(2, b"hi"), Message::text("2aGk="));
        assert_eq!(text.decode(b"0aGk="), Some((0, Bytes::from_static(b"hi"))));
        assert_eq!(text.decode(b"0***"), None);
    }

    #[tokio::test]
    async fn a_closed_channel_is_the_end_of_its_input() {
        let (near, far) = tokio::io::duplex(4096);
        let tasks = TaskGroup::default();
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let channels = [
            Channel {
                number: 0,
                reads: true,
                writes: false,
                last: false,
            },
            Channel {
                number: 1,
                reads: false,
                writes: true,
                last: false,
            },
        ];
        let format = Format {
            base64: false,
            can_close: true,
        };
        let mut users = serve_channels(far, &channels, format, &tasks).await;
        client
            .send(Message::binary(b"\0input".to_vec()))
            .await
            .unwrap();
        client.send(Message::binary(vec![255, 0])).await.unwrap();
        let mut input = String::new();
        users
            .get_mut(&0)
            .unwrap()
            .read_to_string(&mut input)
            .await
            .unwrap();
        assert_eq!(input, "input");
        users
            .get_mut(&1)
            .unwrap()
            .write_all(b"output")
            .await
            .unwrap();
        users.clear();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(b"\x01output".to_vec())
        );
        assert!(
            client.next().await.unwrap().unwrap().is_close(),
            "closed when nobody can write any more"
        );
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn the_last_word_comes_after_everything_else() {
        let (near, far) = tokio::io::duplex(4096);
        let tasks = TaskGroup::default();
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let output = |number, last| Channel {
            number,
            reads: false,
            writes: true,
            last,
        };
        let format = Format {
            base64: false,
            can_close: true,
        };
        let channels = [output(3, true), output(1, false), output(2, false)];
        let mut users = serve_channels(far, &channels, format, &tasks).await;
        let output = vec![b'x'; STREAM_BUFFER];
        for (number, data) in [(3, b"ended".as_slice()), (1, &output), (2, &output)] {
            let user = users.get_mut(&number).unwrap();
            user.write_all(data).await.unwrap();
            user.shutdown().await.unwrap();
        }
        let mut received = 0;
        loop {
            let Message::Binary(message) = client.next().await.unwrap().unwrap() else {
                panic!("the status must come before the end");
            };
            if message[0] == 3 {
                break;
            }
            received += message.len() - 1;
        }
        assert_eq!(received, 2 * STREAM_BUFFER);
        tasks.shutdown().await;
    }
}
