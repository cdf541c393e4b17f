//! gzip for large answers: over 128 KiB, at the fastest level, as upstream.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::Body;

/// Answers up to this size are sent as they are.
pub(super) const THRESHOLD: usize = 128 << 10;
/// So much is compressed without looking whether it is enough for a chunk.
const PORTION: usize = 256 << 10;

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
        return response.body(Body::made(chunks));
    }
    if let Some(headers) = response.headers_mut() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoding = HeaderValue::from_static("Accept-Encoding");
        if !headers.get_all(header::VARY).iter().any(|v| *v == encoding) {
            headers.append(header::VARY, encoding);
        }
    }
    response.body(Body::made(Gzip {
        chunks,
        rest: Bytes::new(),
        encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
    }))
}

struct Gzip<I> {
    chunks: I,
    /// What is left of a chunk.
    rest: Bytes,
    /// None at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Gzip<I> {
    fn next_portion(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.rest = self.chunks.next()?;
        }
        let portion = self.rest.len().min(PORTION);
        Some(self.rest.split_to(portion))
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.encoder.is_some() {
            let Some(portion) = self.next_portion() else {
                return self.encoder.take()?.finish().ok().map(Bytes::from);
            };
            let encoder = self.encoder.as_mut()?;
            // Writing to a vector does not fail.
            encoder.write_all(&portion).ok()?;
            if encoder.get_ref().len() >= 16 << 10 {
                return Some(Bytes::from(std::mem::take(encoder.get_mut())));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.encoder.is_none().then_some(0))
    }
}
