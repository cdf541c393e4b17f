//! A connection: one task reads frames and hands their data to streams, one writes frames, one a stream turns what the stream's user
//! writes into frames.

use std::{collections::HashMap, io, sync::Arc};

use base::TaskGroup;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf,
        WriteHalf,
    },
    sync::{Mutex, mpsc},
};
use tracing::debug;

use super::{
    frame::{self, Frame},
    headers::{HeaderReader, HeaderWriter, Headers},
};
use crate::{Io, STREAM_BUFFER};

/// Frames that may wait to be written.
const WRITE_QUEUE: usize = 32;
/// Streams that may wait to be accepted.
const ACCEPT_QUEUE: usize = 32;
/// Streams open at the same time on one connection.
const MAX_STREAMS: usize = 1024;
/// Data in one frame.
const CHUNK: usize = 16 << 10;

/// A stream of a connection. Reading ends when the peer has closed its side; shutting the writing side down closes ours; dropping it
/// resets it.
pub struct SpdyStream {
    headers: Headers,
    /// The bytes.
    pub io: DuplexStream,
}

impl SpdyStream {
    /// A header that the stream was opened with.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// An upgraded connection, from the server's or the client's side.
pub struct Spdy {
    accepted: mpsc::Receiver<SpdyStream>,
    frames: mpsc::Sender<Frame>,
    shared: Arc<Shared>,
}

struct Shared {
    tasks: TaskGroup,
    /// Open streams: where their data goes.
    streams: Mutex<HashMap<u32, WriteHalf<DuplexStream>>>,
    header_writer: Mutex<(HeaderWriter, u32)>,
}

impl Spdy {
    /// The server's side: streams that the client opens come out of [`Spdy::accept`]. Tasks run in `tasks` until the connection ends.
    pub fn server(io: impl Io, tasks: &TaskGroup) -> io::Result<Self> {
        Self::start(io, tasks, 2)
    }

    /// The client's side: streams are opened with [`Spdy::open`].
    pub fn client(io: impl Io, tasks: &TaskGroup) -> io::Result<Self> {
        Self::start(io, tasks, 1)
    }

    fn start(io: impl Io, tasks: &TaskGroup, first_id: u32) -> io::Result<Self> {
        let (read, write) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(WRITE_QUEUE);
        let (accept, accepted) = mpsc::channel(ACCEPT_QUEUE);
        let shared = Arc::new(Shared {
            tasks: tasks.clone(),
            streams: Mutex::default(),
            header_writer: Mutex::new((HeaderWriter::new()?, first_id)),
        });
        tasks.spawn_cancellable("spdy-write", write_frames(write, queue));
        let reader = Reader {
            shared: Arc::clone(&shared),
            frames: frames.clone(),
            accept,
        };
        tasks.spawn_cancellable("spdy-read", async move {
            if let Err(error) = reader.run(read).await {
                debug!(%error, "SPDY connection ended");
            }
        });
        Ok(Self {
            accepted,
            frames,
            shared,
        })
    }

    /// The next stream that the peer opens; `None` when the connection has ended. Cancel safe.
    pub async fn accept(&mut self) -> Option<SpdyStream> {
        self.accepted.recv().await
    }

    /// Opens a stream.
    pub async fn open(&self, headers: Vec<(String, String)>) -> io::Result<SpdyStream> {
        let mut writer = self.shared.header_writer.lock().await;
        let stream = writer.1;
        writer.1 += 2;
        let block = Bytes::from(writer.0.write(&headers)?);
        let io = self.shared.add_stream(stream, &self.frames, false).await;
        // Queued under the lock: blocks must go out in the order in which they were compressed.
        let sent = self
            .frames
            .send(Frame::SynStream {
                stream,
                fin: false,
                block,
            })
            .await;
        sent.map_err(|_| io::ErrorKind::ConnectionReset)?;
        Ok(SpdyStream { headers, io })
    }
}

impl Drop for Spdy {
    /// Says goodbye; what has been queued before still goes out.
    fn drop(&mut self) {
        // A full queue is that of a peer that does not read: it learns when the connection's tasks end.
        let _ = self.frames.try_send(Frame::GoAway);
    }
}

impl Shared {
    /// Makes the stream's pipe and starts its pump. Answers the user's end.
    async fn add_stream(
        self: &Arc<Self>,
        stream: u32,
        frames: &mpsc::Sender<Frame>,
        peer_is_done: bool,
    ) -> DuplexStream {
        let (user, ours) = tokio::io::duplex(STREAM_BUFFER);
        let (from_user, to_user) = tokio::io::split(ours);
        if !peer_is_done {
            self.streams.lock().await.insert(stream, to_user);
        }
        let (shared, frames) = (Arc::clone(self), frames.clone());
        self.tasks.spawn_cancellable("spdy-stream", async move {
            // An error says that the connection has ended; its streams end with it.
            let _ = shared.pump(stream, from_user, frames).await;
        });
        user
    }

    /// What the user writes becomes data frames, and its end the last of them.
    async fn pump(
        &self,
        stream: u32,
        mut from_user: ReadHalf<DuplexStream>,
        frames: mpsc::Sender<Frame>,
    ) -> io::Result<()> {
        loop {
            let mut buffer = BytesMut::with_capacity(CHUNK);
            let read = from_user.read_buf(&mut buffer).await?;
            let frame = Frame::Data {
                stream,
                fin: read == 0,
                data: buffer.freeze(),
            };
            frames
                .send(frame)
                .await
                .map_err(|_| io::ErrorKind::ConnectionReset)?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

async fn write_frames(mut io: impl AsyncWrite + Send + Unpin, mut queue: mpsc::Receiver<Frame>) {
    while let Some(frame) = queue.recv().await {
        let (head, payload) = frame.encode();
        let written = async {
            io.write_all(&head).await?;
            io.write_all(&payload).await?;
            if queue.is_empty() || frame == Frame::GoAway {
                io.flush().await?;
            }
            Ok::<(), io::Error>(())
        };
        if let Err(error) = written.await {
            debug!(%error, "SPDY connection ended");
            return;
        }
        if frame == Frame::GoAway {
            break;
        }
    }
    // The peer learns by the end of the connection; there is nobody left to tell more.
    let _ = io.shutdown().await;
}

/// The end of what a stream's user can read. A dropped half alone would not be: the pump holds the other.
async fn end(mut to_user: WriteHalf<DuplexStream>) {
    // A user that is not there any more does not mind.
    let _ = to_user.shutdown().await;
}

struct Reader {
    shared: Arc<Shared>,
    frames: mpsc::Sender<Frame>,
    accept: mpsc::Sender<SpdyStream>,
}

impl Reader {
    async fn run(self, mut io: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut headers = HeaderReader::new();
        let result = loop {
            match frame::read(&mut io).await {
                Ok(Some(Frame::GoAway) | None) => break Ok(()),
                Ok(Some(frame)) => self.take(frame, &mut headers).await?,
                Err(error) => break Err(error),
            }
        };
        // Whoever reads a stream has read all there is.
        for (_, to_user) in self.shared.streams.lock().await.drain() {
            end(to_user).await;
        }
        result
    }

    async fn take(&self, frame: Frame, headers: &mut HeaderReader) -> io::Result<()> {
        match frame {
            Frame::SynStream { stream, fin, block } => {
                let opened = headers.read(&block)?;
                if self.shared.streams.lock().await.len() >= MAX_STREAMS {
                    return self.send(Frame::RstStream { stream }).await;
                }
                let io = self.shared.add_stream(stream, &self.frames, fin).await;
                let mut writer = self.shared.header_writer.lock().await;
                let block = Bytes::from(writer.0.write(&Headers::new())?);
                self.send(Frame::SynReply { stream, block }).await?;
                drop(writer);
                // Nobody accepts any more: the stream ends with its user's end of the pipe.
                let _ = self
                    .accept
                    .send(SpdyStream {
                        headers: opened,
                        io,
                    })
                    .await;
            }
            // Replies carry nothing that is needed, but their headers are part of the compression stream.
            Frame::SynReply { block, .. } => drop(headers.read(&block)?),
            Frame::Data { stream, fin, data } => self.deliver(stream, fin, &data).await?,
            Frame::RstStream { stream } => {
                let reset = self.shared.streams.lock().await.remove(&stream);
                if let Some(to_user) = reset {
                    end(to_user).await;
                }
            }
            Frame::Ping { id } => self.send(Frame::Ping { id }).await?,
            Frame::GoAway | Frame::Ignored => {}
        }
        Ok(())
    }

    /// Hands data to a stream; waits while the stream's buffer is full.
    async fn deliver(&self, stream: u32, fin: bool, data: &[u8]) -> io::Result<()> {
        let Some(mut to_user) = self.shared.streams.lock().await.remove(&stream) else {
            return Ok(());
        };
        if !data.is_empty() && to_user.write_all(data).await.is_err() {
            // The user has dropped the stream.
            return self.send(Frame::RstStream { stream }).await;
        }
        if fin {
            end(to_user).await;
        } else {
            self.shared.streams.lock().await.insert(stream, to_user);
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) -> io::Result<()> {
        self.frames
            .send(frame)
            .await
            .map_err(|_| io::ErrorKind::ConnectionReset.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_carry_bytes_both_ways_and_close_by_halves() {
        let (near, far) = tokio::io::duplex(1024);
        let tasks = TaskGroup::default();
        let client = Spdy::client(near, &tasks).unwrap();
        let mut server = Spdy::server(far, &tasks).unwrap();
        for n in 0..3 {
            let headers = vec![("streamType".to_owned(), format!("s{n}"))];
            let mut stream = client.open(headers).await.unwrap();
            let mut accepted = server.accept().await.unwrap();
            assert_eq!(
                accepted.header("StreamType"),
                Some(format!("s{n}").as_str())
            );
            let sent = vec![n; 200_000];
            let write = async {
                stream.io.write_all(&sent).await.unwrap();
                stream.io.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let (_, read) = tokio::join!(write, accepted.io.read_to_end(&mut got));
            read.unwrap();
            assert_eq!(got, sent);
            accepted.io.write_all(b"answer").await.unwrap();
            drop(accepted);
            let mut answer = String::new();
            stream.io.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "answer");
        }
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn the_end_of_the_connection_ends_its_streams() {
        let (near, far) = tokio::io::duplex(1024);
        let (near_tasks, far_tasks) = (TaskGroup::default(), TaskGroup::default());
        let client = Spdy::client(near, &near_tasks).unwrap();
        let mut server = Spdy::server(far, &far_tasks).unwrap();
        let stream = client.open(Vec::new()).await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        drop((stream, client));
        near_tasks.shutdown().await;
        let mut rest = Vec::new();
        accepted.io.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        assert!(server.accept().await.is_none());
        far_tasks.shutdown().await;
    }
}
