//! port-forward: connections to ports of a pod, each a pair of streams: its bytes, and what went wrong.

use std::{collections::HashMap, io};

use base::TaskGroup;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use crate::{
    Io,
    negotiate::Protocol,
    spdy::{Spdy, SpdyStream},
    websocket::{self, Channel, Format},
};

/// Pairs of which one stream has come and the other has not.
const MAX_HALF_OPEN: usize = 256;
/// Ports of one connection whose channels are fixed by the request.
const MAX_PORTS: usize = 100;

/// One forwarded connection.
pub struct PortStream {
    /// The pod's port.
    pub port: u16,
    /// The connection's bytes.
    pub data: DuplexStream,
    /// What is written here is shown to the user; shut down without a word when all went well.
    pub error: DuplexStream,
}

/// A client that forwards ports.
pub struct PortForward {
    source: Source,
}

enum Source {
    Spdy {
        connection: Spdy,
        half_open: HashMap<String, SpdyStream>,
    },
    Fixed(Vec<PortStream>),
}

impl PortForward {
    /// Takes over an upgraded connection. `ports` are those in the request's query, which only WebSocket clients of old name there.
    pub async fn accept(
        protocol: Protocol,
        io: impl Io,
        ports: &[u16],
        tasks: &TaskGroup,
    ) -> io::Result<Self> {
        let spdy = |connection| Source::Spdy {
            connection,
            half_open: HashMap::new(),
        };
        let source = match protocol {
            Protocol::Spdy { .. } => spdy(Spdy::server(io, tasks)?),
            Protocol::WebSocketTunnel => {
                spdy(Spdy::server(websocket::tunnel(io, tasks).await, tasks)?)
            }
            Protocol::WebSocketBody { .. } | Protocol::WebSocketMessages => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            Protocol::WebSocket { base64, .. } => {
                let format = Format {
                    base64,
                    can_close: false,
                };
                Source::Fixed(fixed_ports(io, ports, format, tasks).await?)
            }
        };
        Ok(Self { source })
    }

    /// The next connection; `None` when the client has gone.
    pub async fn next(&mut self) -> Option<PortStream> {
        match &mut self.source {
            Source::Fixed(streams) => streams.pop(),
            Source::Spdy {
                connection,
                half_open,
            } => loop {
                let stream = connection.accept().await?;
                if let Some(pair) = pair_up(stream, half_open) {
                    return Some(pair);
                }
            },
        }
    }
}

/// Matches a stream with its other half, which has the same `requestID`. Streams that make no sense are dropped, which resets them.
fn pair_up(stream: SpdyStream, half_open: &mut HashMap<String, SpdyStream>) -> Option<PortStream> {
    let port: u16 = stream
        .header("port")?
        .parse()
        .ok()
        .filter(|port| *port != 0)?;
    let id = stream
        .header("requestid")
        .map_or_else(|| port.to_string(), str::to_owned);
    let is_data = stream.header("streamtype") == Some("data");
    let Some(other) = half_open.remove(&id) else {
        if half_open.len() < MAX_HALF_OPEN {
            half_open.insert(id, stream);
        }
        return None;
    };
    let (data, error) = if is_data {
        (stream.io, other.io)
    } else {
        (other.io, stream.io)
    };
    Some(PortStream { port, data, error })
}

/// The n-th port has the channels 2n for data and 2n+1 for errors; both begin with the port, little-endian.
async fn fixed_ports(
    io: impl Io,
    ports: &[u16],
    format: Format,
    tasks: &TaskGroup,
) -> io::Result<Vec<PortStream>> {
    if ports.is_empty() || ports.len() > MAX_PORTS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "query parameter \"ports\" is required",
        ));
    }
    let numbers = |index: usize| {
        let first = u8::try_from(2 * index).unwrap_or(u8::MAX - 1);
        (first, first + 1)
    };
    let channels: Vec<Channel> = (0..ports.len())
        .flat_map(|index| {
            let (data, error) = numbers(index);
            [
                Channel {
                    number: data,
                    reads: true,
                    writes: true,
                    last: false,
                },
                Channel {
                    number: error,
                    reads: false,
                    writes: true,
                    last: false,
                },
            ]
        })
        .collect();
    let mut streams = websocket::serve_channels(io, &channels, format, tasks).await;
    let mut pairs = Vec::new();
    for (index, &port) in ports.iter().enumerate() {
        let (data, error) = numbers(index);
        if let (Some(mut data), Some(mut error)) = (streams.remove(&data), streams.remove(&error)) {
            data.write_all(&port.to_le_bytes()).await?;
            error.write_all(&port.to_le_bytes()).await?;
            pairs.push(PortStream { port, data, error });
        }
    }
    Ok(pairs)
}
