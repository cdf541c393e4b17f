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

/// A body's parts, made on demand.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

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
    /// Made on demand. The mutex is never locked: it lends `Sync` to a stream that is polled by one owner only.
    Stream(Mutex<Chunks>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Body {
    /// A body made on demand, chunk by chunk.
    pub fn stream(chunks: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self::Stream(Mutex::new(Box::pin(chunks)))
    }

    /// How many bytes it has, of a body that is all there.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// The chunks of a body that is made on demand; any other is given back.
    pub(crate) fn into_chunks(self) -> Result<Chunks, Self> {
        match self {
            Self::Stream(chunks) => Ok(chunks.into_inner().unwrap_or_else(PoisonError::into_inner)),
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
