//! The one body type, of requests and of answers: empty, whole, as it comes off the connection, or streamed.
//!
//! Streams are pulled: nothing is produced before the client has taken what was there, so that a slow client costs a cursor
//! and never a queue.

mod chunk;

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;

pub use chunk::Chunk;
pub(crate) use chunk::{ChunkWriter, PIECE_BYTES};

/// Bytes of a request's body at most. As upstream's `MaxRequestBodyBytes`.
pub(crate) const MAX_REQUEST_BYTES: usize = 3 << 20;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body's parts as they come.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, BodyError>> + Send>>;

/// A body's parts, each of which is work. An empty one: there is nothing to send yet. An upper bound of none left: the last one has been made.
pub(crate) type Making = Box<dyn Iterator<Item = Chunk> + Send>;

/// A body. `Send + Sync`, so that it fits every client's boxed body.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// All of it.
    Full(Bytes),
    /// As it comes off the connection.
    Incoming(hyper::body::Incoming),
    /// As it comes. The mutex is never locked: it lends `Sync` to a stream that is polled by one owner only.
    Stream(Mutex<Chunks>),
    /// Made while it is sent, without waiting for anything, which is work: a table. The mutex as above.
    Made(Mutex<Making>),
    /// Likewise, but hardly anything is left to do: a list. The mutex as above.
    AtHand(Mutex<Making>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Stream(_) => "Stream",
            Self::Made(_) => "Made",
            Self::AtHand(_) => "AtHand",
        })
    }
}

impl Body {
    /// A body that comes chunk by chunk.
    pub fn stream<C: Into<Chunk> + 'static>(
        chunks: impl Stream<Item = Result<C, BodyError>> + Send + 'static,
    ) -> Self {
        Self::Stream(Mutex::new(Box::pin(chunks.map_ok(Into::into))))
    }

    /// A body that is made chunk by chunk, each when the one before has been taken.
    pub(crate) fn made<C: Into<Chunk> + 'static>(
        chunks: impl Iterator<Item = C> + Send + 'static,
    ) -> Self {
        Self::Made(Mutex::new(Box::new(chunks.map(Into::into))))
    }

    /// A body whose chunks are as good as there.
    pub(crate) fn at_hand<C: Into<Chunk> + 'static>(
        chunks: impl Iterator<Item = C> + Send + 'static,
    ) -> Self {
        Self::AtHand(Mutex::new(Box::new(chunks.map(Into::into))))
    }

    /// The same body; `look` sees each chunk before it is sent.
    pub(crate) fn inspect(self, mut look: impl FnMut(&Chunk) + Send + 'static) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Full(bytes) => {
                look(&bytes.clone().into());
                Self::Full(bytes)
            }
            Self::Made(making) => Self::made(unlocked(making).inspect(move |chunk| look(chunk))),
            Self::AtHand(making) => {
                Self::at_hand(unlocked(making).inspect(move |chunk| look(chunk)))
            }
            Self::Stream(chunks) => Self::stream(unlocked(chunks).inspect_ok(look)),
            incoming @ Self::Incoming(_) => {
                Self::stream(BodyDataStream::new(incoming).inspect_ok(look))
            }
        }
    }

    /// How many bytes it has, of a body that is all there.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// Whether the end is not known before the rest has been taken.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Made(_) | Self::AtHand(_))
    }

    /// The chunks of a body that comes chunk by chunk; any other is given back.
    pub(crate) fn into_chunks(self) -> Result<Chunks, Self> {
        match self {
            Self::Stream(chunks) => Ok(unlocked(chunks)),
            Self::AtHand(making) => Ok(Box::pin(stream::iter(unlocked(making).map(Ok)))),
            other => Err(other),
        }
    }

    /// What makes a body that is made or at hand; any other is given back.
    pub(crate) fn into_making(self) -> Result<Making, Self> {
        match self {
            Self::Made(making) | Self::AtHand(making) => Ok(unlocked(making)),
            other => Err(other),
        }
    }
}

fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            Self::Empty
        } else {
            Self::Incoming(incoming)
        }
    }
}

impl http_body::Body for Body {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
            }
            Self::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map(|f| f.map_data(Chunk::from)).map_err(Into::into))),
            Self::Stream(chunks) => chunks
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut()
                .poll_next(cx)
                .map(|chunk| chunk.map(|c| c.map(Frame::data))),
            Self::Made(making) | Self::AtHand(making) => {
                let making = making.get_mut().unwrap_or_else(PoisonError::into_inner);
                Poll::Ready(making.next().map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Stream(_) | Self::Made(_) | Self::AtHand(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Stream(_) | Self::Made(_) | Self::AtHand(_) => SizeHint::default(),
        }
    }
}
