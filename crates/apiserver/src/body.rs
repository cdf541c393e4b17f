//! The one body type, of requests and of answers: empty, whole, as it comes off the connection, or streamed.
//!
//! Streams are pulled: nothing is produced before the client has taken what was there, so that a slow client costs a cursor
//! and never a queue.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

/// Bytes of a request's body at most. As upstream's `MaxRequestBodyBytes`.
pub(crate) const MAX_REQUEST_BYTES: usize = 3 << 20;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body's parts as they come.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// A body's parts, each of which is work. An empty one: there is nothing to send yet. An upper bound of none left: the last one has been made.
pub(crate) type Making = Box<dyn Iterator<Item = Bytes> + Send>;

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
    /// Made while it is sent, without waiting for anything: a list. The mutex as above.
    Made(Mutex<Making>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Stream(_) => "Stream",
            Self::Made(_) => "Made",
        })
    }
}

impl Body {
    /// A body that comes chunk by chunk.
    pub fn stream(chunks: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self::Stream(Mutex::new(Box::pin(chunks)))
    }

    /// A body that is made chunk by chunk, each when the one before has been taken.
    pub(crate) fn made(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self::Made(Mutex::new(Box::new(chunks)))
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
        matches!(self, Self::Stream(_) | Self::Made(_))
    }

    /// The chunks of a body that comes chunk by chunk; any other is given back.
    pub(crate) fn into_chunks(self) -> Result<Chunks, Self> {
        match self {
            Self::Stream(chunks) => Ok(chunks.into_inner().unwrap_or_else(PoisonError::into_inner)),
            other => Err(other),
        }
    }

    /// What makes a body that is made; any other is given back.
    pub(crate) fn into_making(self) -> Result<Making, Self> {
        match self {
            Self::Made(making) => Ok(making.into_inner().unwrap_or_else(PoisonError::into_inner)),
            other => Err(other),
        }
    }
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
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(Into::into))),
            Self::Stream(chunks) => chunks
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut()
                .poll_next(cx)
                .map(|chunk| chunk.map(|c| c.map(Frame::data))),
            Self::Made(making) => {
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
            Self::Stream(_) | Self::Made(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Stream(_) | Self::Made(_) => SizeHint::default(),
        }
    }
}
