//! exec and attach: standard streams, terminal sizes, and how it ended.

use std::{io, time::Duration};

use base::TaskGroup;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
};

use crate::{
    Io,
    negotiate::Protocol,
    spdy::Spdy,
    websocket::{self, Channel, Format},
};

/// A client that has been let in opens its streams within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The channel that tells how it ended.
const STATUS: u8 = 3;
/// Sizes that may wait; the newest counts, so older ones can be dropped.
const SIZE_QUEUE: usize = 16;
/// Longest description of a size, in bytes.
const MAX_SIZE_TEXT: usize = 256;

/// Which streams the request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; never together with a terminal.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    #[serde(rename = "Width")]
    pub width: u16,
    /// Rows.
    #[serde(rename = "Height")]
    pub height: u16,
}

/// A command's streams, as asked for.
pub struct RemoteCommand {
    /// To be read.
    pub stdin: Option<DuplexStream>,
    /// To be written.
    pub stdout: Option<DuplexStream>,
    /// To be written.
    pub stderr: Option<DuplexStream>,
    /// Sizes of the client's terminal; none without a terminal.
    pub sizes: Option<mpsc::Receiver<TerminalSize>>,
    error: DuplexStream,
    has_status: bool,
    /// Keeps a SPDY connection open for as long as the command runs.
    _connection: Option<Spdy>,
}

impl RemoteCommand {
    /// Takes the streams that `options` name from an upgraded connection. Its tasks run in `tasks` until the connection ends.
    pub async fn accept(
        protocol: Protocol,
        io: impl Io,
        options: StreamOptions,
        tasks: &TaskGroup,
    ) -> io::Result<Self> {
        let options = StreamOptions {
            stderr: options.stderr && !options.tty,
            ..options
        };
        match protocol {
            Protocol::WebSocket {
                base64,
                can_close,
                has_status,
            } => {
                let format = Format { base64, can_close };
                Ok(Self::over_websocket(io, options, format, has_status, tasks).await)
            }
            Protocol::Spdy { has_status } => {
                let streams = Self::over_spdy(io, options, has_status, tasks);
                tokio::time::timeout(PATIENCE, streams)
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)?
            }
            Protocol::WebSocketTunnel
            | Protocol::WebSocketBody { .. }
            | Protocol::WebSocketMessages => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn over_websocket(
        io: impl Io,
        options: StreamOptions,
        format: Format,
        has_status: bool,
        tasks: &TaskGroup,
    ) -> Self {
        let output = |number| Channel {
            number,
            reads: false,
            writes: true,
            last: number == STATUS,
        };
        let input = |number| Channel {
            number,
            reads: true,
            writes: false,
            last: false,
        };
        let channels = [input(0), output(1), output(2), output(STATUS), input(4)];
        let mut streams = websocket::serve_channels(io, &channels, format, tasks).await;
        let mut take = |number, wanted: bool| streams.remove(&number).filter(|_| wanted);
        let sizes = take(4, options.tty);
        let error = take(STATUS, true).expect("the channel is in the list above");
        Self {
            stdin: take(0, options.stdin),
            stdout: take(1, options.stdout),
            stderr: take(2, options.stderr),
            sizes: sizes.map(|stream| read_sizes(stream, tasks)),
            error,
            has_status,
            _connection: None,
        }
    }

    async fn over_spdy(
        io: impl Io,
        options: StreamOptions,
        has_status: bool,
        tasks: &TaskGroup,
    ) -> io::Result<Self> {
        let mut connection = Spdy::server(io, tasks)?;
        let StreamOptions {
            stdin,
            stdout,
            stderr,
            tty,
        } = options;
        let mut expected = 1 + [stdin, stdout, stderr, tty]
            .into_iter()
            .filter(|wanted| *wanted)
            .count();
        let (mut error, mut streams, mut sizes) = (None, [None, None, None], None);
        while expected > 0 {
            let stream = connection
                .accept()
                .await
                .ok_or(io::ErrorKind::ConnectionReset)?;
            let place = match stream.header("streamtype") {
                Some("error") => &mut error,
                Some("stdin") => &mut streams[0],
                Some("stdout") => &mut streams[1],
                Some("stderr") => &mut streams[2],
                Some("resize") => &mut sizes,
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "stream of an unknown type",
                    ));
                }
            };
            if place.replace(stream.io).is_none() {
                expected -= 1;
            }
        }
        let [stdin, stdout, stderr] = streams;
        Ok(Self {
            stdin,
            stdout,
            stderr,
            sizes: sizes.map(|stream| read_sizes(stream, tasks)),
            error: error.ok_or(io::ErrorKind::InvalidData)?,
            has_status,
            _connection: Some(connection),
        })
    }

    /// Tells the client how it ended: `status` is a `meta/v1 Status`; older clients are told its message, if it is a failure. The output
    /// streams must have been shut down before, so that all of their bytes come first.
    pub async fn finish(mut self, status: &Value) -> io::Result<()> {
        drop((self.stdout.take(), self.stderr.take(), self.stdin.take()));
        let text = if self.has_status {
            status.to_string()
        } else if status["status"] == "Success" {
            String::new()
        } else {
            status["message"].as_str().unwrap_or_default().to_owned()
        };
        self.error.write_all(text.as_bytes()).await?;
        self.error.shutdown().await?;
        // The client closes the connection when it has read everything; closing first could overtake it.
        let gone = async {
            let mut rest = Vec::new();
            if let Some(connection) = &mut self._connection {
                while connection.accept().await.is_some() {}
            } else {
                self.error.read_to_end(&mut rest).await?;
            }
            Ok::<(), io::Error>(())
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap_or(Ok(()))
    }
}

/// Sizes are JSON objects, one after the other.
fn read_sizes(mut stream: DuplexStream, tasks: &TaskGroup) -> mpsc::Receiver<TerminalSize> {
    let (send, receive) = mpsc::channel(SIZE_QUEUE);
    tasks.spawn_cancellable("terminal-sizes", async move {
        let mut text = Vec::new();
        while text.len() < MAX_SIZE_TEXT && matches!(stream.read_buf(&mut text).await, Ok(1..)) {
            let mut sizes = serde_json::Deserializer::from_slice(&text).into_iter();
            let mut last = None;
            let mut read = 0;
            while let Some(Ok(size)) = sizes.next() {
                last = Some(size);
                read = sizes.byte_offset();
            }
            text.drain(..read);
            if let Some(size) = last
                && send.send(size).await.is_err()
            {
                return;
            }
        }
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_over_spdy() {
        let (near, far) = tokio::io::duplex(4096);
        let tasks = TaskGroup::default();
        let client_tasks = tasks.clone();
        let client = async {
            let connection = Spdy::client(near, &client_tasks).unwrap();
            let mut streams = Vec::new();
            for name in ["error", "stdin", "stdout", "resize"] {
                streams.push(
                    connection
                        .open(vec![("streamType".into(), name.into())])
                        .await
                        .unwrap(),
                );
            }
            let [error, stdin, stdout, resize] = streams.try_into().ok().unwrap();
            let (mut error, mut stdin, mut stdout, mut resize) =
                (error.io, stdin.io, stdout.io, resize.io);
            resize
                .write_all(br#"{"Width":80,"Height":24}"#)
                .await
                .unwrap();
            stdin.write_all(b"in").await.unwrap();
            stdin.shutdown().await.unwrap();
            let (mut out, mut status) = (String::new(), String::new());
            stdout.read_to_string(&mut out).await.unwrap();
            error.read_to_string(&mut status).await.unwrap();
            (out, status)
        };
        let options = StreamOptions {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: true,
        };
        let server = async {
            let protocol = Protocol::Spdy { has_status: true };
            let mut command = RemoteCommand::accept(protocol, far, options, &tasks)
                .await
                .unwrap();
            let size = command.sizes.as_mut().unwrap().recv().await.unwrap();
            assert_eq!(
                size,
                TerminalSize {
                    width: 80,
                    height: 24
                }
            );
            let mut input = String::new();
            command
                .stdin
                .as_mut()
                .unwrap()
                .read_to_string(&mut input)
                .await
                .unwrap();
            let stdout = command.stdout.as_mut().unwrap();
            stdout.write_all(input.as_bytes()).await.unwrap();
            stdout.shutdown().await.unwrap();
            assert!(
                command.stderr.is_none(),
                "a terminal has no standard error of its own"
            );
            command
                .finish(&serde_json::json!({ "status": "Success" }))
                .await
                .unwrap();
        };
        let ((out, status), ()) = tokio::join!(client, async {
            let _ = tokio::time::timeout(Duration::from_secs(5), server).await;
        });
        assert_eq!(
            (out.as_str(), status.as_str()),
            ("in", r#"{"status":"Success"}"#)
        );
        tasks.shutdown().await;
    }
}
