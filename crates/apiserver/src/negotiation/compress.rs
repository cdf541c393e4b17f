//! gzip for large answers: over 128 KiB, at the fastest level, as upstream.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::{Body, Chunk, Making};

/// Answers up to this size are sent as they are.
pub(super) const THRESHOLD: usize = 128 << 10;
/// So much is compressed at once: what compresses well would else take long before there is anything to send.
const PORTION: usize = 256 << 10;
/// Compressed bytes go out from so many on.
const CHUNK: usize = 16 << 10;

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

/// A response with this body: as it is, or compressed as it goes if it is large, `size` bytes, and the client can take it.
pub fn maybe_gzip(
    request: &HeaderMap,
    mut response: http::response::Builder,
    size: usize,
    body: Body,
) -> http::Result<Response<Body>> {
    if size <= THRESHOLD || !accepts_gzip(request) {
        return response.body(body);
    }
    let chunks = match body.into_making() {
        Ok(chunks) => chunks,
        Err(body) => return response.body(body),
    };
    if let Some(headers) = response.headers_mut() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoding = HeaderValue::from_static("Accept-Encoding");
        if !headers.get_all(header::VARY).iter().any(|v| *v == encoding) {
            headers.append(header::VARY, encoding);
        }
    }
    response.body(Body::made(Gzip {
        chunks,
        rest: Chunk::default(),
        encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
    }))
}

struct Gzip {
    chunks: Making,
    /// What is left of a chunk.
    rest: Chunk,
    /// None at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Iterator for Gzip {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        if self.rest.is_empty() {
            let Some(chunk) = self.chunks.next() else {
                return self.encoder.take()?.finish().ok().map(Bytes::from);
            };
            self.rest = chunk;
        }
        // In one piece: many small ones compress more slowly.
        let portion = self.rest.copy_to_bytes(self.rest.len().min(PORTION));
        // Writing to a vector does not fail.
        encoder.write_all(&portion).ok()?;
        if encoder.get_ref().len() < CHUNK {
            return Some(Bytes::new());
        }
        Some(Bytes::from(std::mem::take(encoder.get_mut())))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.encoder.is_none().then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_compresses_well_is_made_portion_by_portion() {
        let zeros = Bytes::from(vec![0; 8 * PORTION]);
        let mut gzip = Gzip {
            chunks: Box::new(std::iter::repeat_n(zeros.clone(), 4).map(Chunk::from)),
            rest: Chunk::default(),
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let made: Vec<Bytes> = gzip.by_ref().collect();
        assert_eq!(gzip.size_hint(), (0, Some(0)));
        assert_eq!(made.len(), 4 * 8 + 1);
        let (mut whole, made) = (Vec::new(), made.concat());
        let mut reader = flate2::read::GzDecoder::new(&*made);
        reader.read_to_end(&mut whole).unwrap();
        assert_eq!(whole.len(), 4 * zeros.len());
    }
}
