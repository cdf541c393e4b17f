//! Header blocks: name-value pairs, compressed by one zlib stream a direction for the life of the connection.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Largest header block, uncompressed, in bytes.
const MAX_BLOCK: usize = 64 << 10;

/// Words of the protocol's compression dictionary, each of which stands there behind its length.
const DICTIONARY_WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows the words, without lengths.
const DICTIONARY_TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized",
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,",
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
);

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in DICTIONARY_WORDS {
        put_string(&mut bytes, word);
    }
    bytes.extend_from_slice(DICTIONARY_TAIL.as_bytes());
    bytes
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Headers of a stream: names in lower case.
pub(super) type Headers = Vec<(String, String)>;

/// Compresses the header blocks of one direction.
pub(super) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub(super) fn new() -> io::Result<Self> {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&dictionary())
            .map_err(io::Error::other)?;
        Ok(Self(zlib))
    }

    pub(super) fn write(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = u32::try_from(headers.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        for (name, value) in headers {
            put_string(&mut plain, &name.to_ascii_lowercase());
            put_string(&mut plain, value);
        }
        let mut compressed = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).map_err(io::Error::other)?;
            compressed.reserve(256);
            self.0
                .compress_vec(&plain[consumed..], &mut compressed, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            let all_in = self.0.total_in() - start == plain.len() as u64;
            if all_in && compressed.len() < compressed.capacity() {
                return Ok(compressed);
            }
        }
    }
}

/// Decompresses the header blocks of one direction.
pub(super) struct HeaderReader(Decompress);

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn read(&mut self, compressed: &[u8]) -> io::Result<Headers> {
        parse(&self.decompress(compressed)?)
    }

    fn decompress(&mut self, compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(1024);
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).map_err(io::Error::other)?;
            if plain.len() > MAX_BLOCK {
                return Err(invalid("header block too large"));
            }
            plain.reserve(1024);
            let rest = compressed.get(consumed..).unwrap_or_default();
            match self
                .0
                .decompress_vec(rest, &mut plain, FlushDecompress::Sync)
            {
                Ok(Status::Ok) if rest.is_empty() && plain.len() < plain.capacity() => {
                    return Ok(plain);
                }
                Ok(Status::Ok) => {}
                Ok(Status::BufError | Status::StreamEnd) => return Ok(plain),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&dictionary())
                        .map_err(io::Error::other)?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

fn parse(mut block: &[u8]) -> io::Result<Headers> {
    let count = take_u32(&mut block)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_string(&mut block)?;
        headers.push((name, take_string(&mut block)?));
    }
    Ok(headers)
}

fn take_u32(block: &mut &[u8]) -> io::Result<u32> {
    let (bytes, rest) = block
        .split_first_chunk::<4>()
        .ok_or_else(|| invalid("header block cut short"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes))
}

fn take_string(block: &mut &[u8]) -> io::Result<String> {
    let length = usize::try_from(take_u32(block)?).map_err(io::Error::other)?;
    let (bytes, rest) = block
        .split_at_checked(length)
        .ok_or_else(|| invalid("header block cut short"))?;
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| invalid("header that is not UTF-8"))
}

pub(super) fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in dictionary() {
            a = (a + u32::from(byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(
            b << 16 | a,
            0xe3c6_a7c2,
            "the Adler-32 sum that zlib streams of SPDY/3 name"
        );
    }

    #[test]
    fn blocks_share_one_compression_stream() {
        let (mut writer, mut reader) = (HeaderWriter::new().unwrap(), HeaderReader::new());
        for n in 0..50 {
            let headers = vec![
                ("streamtype".to_owned(), "stdin".to_owned()),
                ("requestid".to_owned(), n.to_string().repeat(n + 1)),
            ];
            let block = writer.write(&headers).unwrap();
            assert_eq!(reader.read(&block).unwrap(), headers);
        }
    }

    #[test]
    fn hostile_blocks_are_refused() {
        for block in [
            &[0_u8, 0, 0][..],
            &[0, 0, 0, 9, 0, 0],
            &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(parse(block).is_err());
        }
        assert!(HeaderReader::new().read(b"no zlib").is_err());
    }
}
