//! A watch: a long answer of JSON events, one a line.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{ApiError, BoxError},
    transport::Body,
};

/// Decodes one object.
pub(crate) type Decode<T> = fn(&[u8]) -> Result<T, serde_json::Error>;

/// Upper bound of one event; the server's own bound of an object is far below.
const MAX_EVENT_BYTES: usize = 64 << 20;

/// One event of a watch. An `ERROR` event is an `Err` of [`WatchStream::next`].
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent<T> {
    /// New, or there when a watch without a resourceVersion began.
    Added(T),
    /// Changed; this is its new state.
    Modified(T),
    /// Gone (or no longer selected); this is its last state.
    Deleted(T),
    /// Nothing changed, and the watch has come this far.
    Bookmark {
        /// Resume here.
        resource_version: String,
    },
}

/// An open watch. Dropping it ends it.
pub struct WatchStream<T> {
    request: String,
    frames: Frames,
    decode: Decode<T>,
}

impl<T> WatchStream<T> {
    pub(crate) fn new(request: String, body: Body, decode: Decode<T>) -> Self {
        Self {
            request,
            frames: Frames {
                body,
                chunk: Bytes::new(),
                partial: BytesMut::new(),
            },
            decode,
        }
    }

    /// The next event; nothing when the server has ended the watch. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<WatchEvent<T>, ApiError>> {
        let frame = match self.frames.next().await? {
            Ok(frame) => frame,
            Err(source) => {
                return Some(Err(ApiError::Decode {
                    request: self.request.clone(),
                    source,
                }));
            }
        };
        Some(self.event(&frame))
    }

    fn event(&self, frame: &[u8]) -> Result<WatchEvent<T>, ApiError> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            r#type: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let wrap = |error: serde_json::Error| ApiError::Decode {
            request: self.request.clone(),
            source: error.into(),
        };
        let raw: Raw<'_> = serde_json::from_slice(frame).map_err(wrap)?;
        let object = raw.object.get().as_bytes();
        match raw.r#type {
            "ADDED" => (self.decode)(object).map(WatchEvent::Added).map_err(wrap),
            "MODIFIED" => (self.decode)(object)
                .map(WatchEvent::Modified)
                .map_err(wrap),
            "DELETED" => (self.decode)(object).map(WatchEvent::Deleted).map_err(wrap),
            "BOOKMARK" => bookmark(object).map_err(wrap),
            "ERROR" => {
                let status: Status = serde_json::from_slice(object).map_err(wrap)?;
                Err(ApiError::Status(Box::new(status)))
            }
            other => Err(ApiError::Decode {
                request: self.request.clone(),
                source: format!("unknown event type {other:?}").into(),
            }),
        }
    }
}

fn bookmark<T>(object: &[u8]) -> Result<WatchEvent<T>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        resource_version: String,
    }
    #[derive(Deserialize)]
    struct Bookmark {
        metadata: Meta,
    }
    let Bookmark { metadata } = serde_json::from_slice(object)?;
    Ok(WatchEvent::Bookmark {
        resource_version: metadata.resource_version,
    })
}

/// Lines of a body. A line that lies within one chunk, as nearly all do, is not copied.
struct Frames {
    body: Body,
    /// Received and not yet looked through.
    chunk: Bytes,
    /// The beginning of a line whose end has not come.
    partial: BytesMut,
}

impl Frames {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(end) = self.chunk.iter().position(|&byte| byte == b'\n') {
                let line = self.chunk.split_to(end + 1);
                let line = if self.partial.is_empty() {
                    line
                } else {
                    self.partial.extend_from_slice(&line);
                    self.partial.split().freeze()
                };
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(Ok(line));
            }
            self.partial
                .extend_from_slice(&std::mem::take(&mut self.chunk));
            if self.partial.len() > MAX_EVENT_BYTES {
                return Some(Err(format!(
                    "an event of more than {MAX_EVENT_BYTES} bytes"
                )
                .into()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Some(Err(error)),
                None if self.partial.iter().all(u8::is_ascii_whitespace) => return None,
                None => {
                    self.partial.clear();
                    return Some(Err("the watch ended within an event".into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn stream_of(chunks: &[&'static str]) -> WatchStream<serde_json::Value> {
        let frames: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        let body = StreamBody::new(stream::iter(frames)).map_err(|never| match never {});
        WatchStream::new("WATCH /test".to_owned(), Body::new(body), |json| {
            serde_json::from_slice(json)
        })
    }

    #[tokio::test]
    async fn events_may_be_cut_anywhere() {
        let mut watch = stream_of(&[
            "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"type\":\"MOD",
            "IFIED\",\"object\":{\"a\":2}}",
            "\n\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n",
        ]);
        assert_eq!(
            watch.next().await.unwrap().unwrap(),
            WatchEvent::Added(serde_json::json!({"a": 1}))
        );
        assert_eq!(
            watch.next().await.unwrap().unwrap(),
            WatchEvent::Modified(serde_json::json!({"a": 2}))
        );
        assert_eq!(
            watch.next().await.unwrap().unwrap(),
            WatchEvent::Bookmark {
                resource_version: "7".to_owned()
            }
        );
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn an_error_event_is_an_error() {
        let mut watch = stream_of(&[
            "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"code\":410,\"reason\":\"Expired\"}}\n",
        ]);
        assert!(watch.next().await.unwrap().unwrap_err().is_expired());
    }

    #[tokio::test]
    async fn a_torn_event_is_an_error() {
        let mut watch = stream_of(&["{\"type\":\"ADDED\","]);
        assert!(watch.next().await.unwrap().is_err());
        assert!(watch.next().await.is_none());
    }
}
