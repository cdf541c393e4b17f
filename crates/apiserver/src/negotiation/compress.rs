//! gzip for large answers: over 128 KiB, at the fastest level, as upstream.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::Body;

/// Answers up to this size are sent as they are.
pub(super) const THRESHOLD: usize = 128 << 10;

/// Whether the client takes gzip.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
        })
}

/// Makes the body of a response from chunks: streamed as they are, or compressed as they go if they are large and the client can
/// take it.
pub fn maybe_gzip(
    request: &HeaderMap,
    mut response: http::response::Builder,
    size: usize,
    chunks: impl Iterator<Item = Bytes> + Send + 'static,
) -> http::Result<Response<Body>> {
    if size <= THRESHOLD || !accepts_gzip(request) {
        return response.body(stream(chunks));
    }
    if let Some(headers) = response.headers_mut() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoding = HeaderValue::from_static("Accept-Encoding");
        if !headers.get_all(header::VARY).iter().any(|v| *v == encoding) {
            headers.append(header::VARY, encoding);
        }
    }
    response.body(stream(Gzip {
        chunks,
        encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
    }))
}

fn stream(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::stream(futures_util::stream::iter(chunks.map(Ok)))
}

struct Gzip<I> {
    chunks: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            match self.chunks.next() {
                // Writing to a vector does not fail.
                Some(chunk) => {
                    encoder.write_all(&chunk).ok()?;
                    if encoder.get_ref().len() >= 16 << 10 {
                        return Some(Bytes::from(std::mem::take(encoder.get_mut())));
                    }
                }
                None => return self.encoder.take()?.finish().ok().map(Bytes::from),
            }
        }
    }
}
