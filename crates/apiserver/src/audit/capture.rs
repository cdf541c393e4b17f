//! Bodies as they go by: their bytes are shared with the audit record, never copied, up to a bound.

use std::sync::{Arc, Mutex, PoisonError};

use apimachinery::{decode, gvk::GroupVersionKind, protobuf};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::body::{Body, Chunk};

/// So much of a body is kept; of one that is larger nothing is written.
const LIMIT_BYTES: usize = 16 << 20;

/// What a body has held so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Capture(Arc<Mutex<Captured>>);

#[derive(Debug, Default)]
struct Captured {
    chunks: Vec<Chunk>,
    bytes: usize,
    media_type: String,
    gzip: bool,
    too_large: bool,
}

impl Capture {
    /// The body, listened to.
    pub(super) fn listen(&self, headers: &HeaderMap, body: Body) -> Body {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        {
            let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let media_type = text(header::CONTENT_TYPE);
            media_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .clone_into(&mut captured.media_type);
            captured.gzip = text(header::CONTENT_ENCODING) == "gzip";
        }
        let capture = self.clone();
        body.inspect(move |chunk| capture.add(chunk))
    }

    fn add(&self, chunk: &Chunk) {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        captured.bytes += chunk.len();
        if captured.bytes > LIMIT_BYTES {
            captured.too_large = true;
            captured.chunks.clear();
        } else {
            captured.chunks.push(chunk.clone());
        }
    }

    /// The object in the body, in JSON; none if there was none, or none that can be read.
    pub(super) fn object(&self) -> Option<Value> {
        let captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if captured.too_large || captured.chunks.is_empty() {
            return None;
        }
        let mut body = match captured.chunks.as_slice() {
            [only] => only.clone().into_bytes(),
            chunks => {
                let mut joined = BytesMut::with_capacity(captured.bytes);
                chunks.iter().for_each(|chunk| joined.put(chunk.clone()));
                joined.freeze()
            }
        };
        if captured.gzip {
            body = inflate(&body)?;
        }
        read(&captured.media_type, &body)
    }
}

fn inflate(body: &[u8]) -> Option<Bytes> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body).take(LIMIT_BYTES as u64);
    reader.read_to_end(&mut out).ok()?;
    Some(out.into())
}

fn read(media_type: &str, body: &[u8]) -> Option<Value> {
    if media_type.contains("protobuf") {
        let envelope = protobuf::open(body).ok()?;
        let (group, version) = envelope
            .api_version
            .split_once('/')
            .unwrap_or(("", envelope.api_version));
        let gvk = GroupVersionKind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: envelope.kind.to_owned().into(),
        };
        let ty = api::facts::type_of(&gvk)?;
        let object =
            protobuf::decode(envelope.raw, ty, envelope.api_version, envelope.kind).ok()?;
        return Some(Value::Object(object));
    }
    if media_type.contains("yaml") {
        let json = decode::yaml_to_json(body, false).ok()?;
        return serde_json::from_slice(&json).ok();
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    fn headers(media_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn what_goes_by_is_kept() {
        let capture = Capture::default();
        let chunks = ["{\"a\"", ":1}"].map(|chunk| Ok(Bytes::from(chunk)));
        let body = Body::stream(futures_util::stream::iter(chunks));
        let body = capture.listen(&headers("application/json; charset=utf-8"), body);
        assert_eq!(capture.object(), None);
        let passed = body.collect().await.unwrap().to_bytes();
        assert_eq!(passed, "{\"a\":1}");
        assert_eq!(capture.object(), Some(json!({"a": 1})));
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_is_too_large_is_not_written() {
        let capture = Capture::default();
        let _ = capture.listen(&headers("application/json"), Body::from(vec![0xff; 8]));
        assert_eq!(capture.object(), None);
        let capture = Capture::default();
        let chunk = Bytes::from(vec![b' '; 1 << 20]);
        let chunks = futures_util::stream::repeat(chunk);
        let chunks = futures_util::StreamExt::take(chunks, 20);
        let chunks = futures_util::StreamExt::map(chunks, Ok);
        let body = capture.listen(&headers("application/json"), Body::stream(chunks));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 20 << 20);
        assert!(capture.0.lock().unwrap().chunks.is_empty());
    }

    #[test]
    fn yaml_is_read_too() {
        let capture = Capture::default();
        let _ = capture.listen(
            &headers("application/yaml"),
            Body::from("a: [1]".to_owned()),
        );
        assert_eq!(capture.object(), Some(json!({"a": [1]})));
    }
}
