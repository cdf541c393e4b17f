//! Links in proxied pages: a page knows nothing of the path under which it is served here, so links to its own host are put under it.
//!
//! The page is rewritten as it passes, tag by tag; what is no tag with a link goes through as it is. A tag that is longer than
//! [`MAX_TAG`] is taken for text. Compressed pages pass as they are: who asks for a page is not told to compress.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;

use crate::body::{Body, BodyError, Chunk};

/// How much of a tag is waited for, in bytes.
const MAX_TAG: usize = 64 << 10;

/// Attributes that hold links, by element (HTML 4 and 5).
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text, tags or not.
const RAW_TEXT: &[&str] = &[
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "script",
    "style",
    "title",
    "textarea",
    "xmp",
];

/// Whether the client may want a page that has to be read here.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Rewrites the links of an answer that is a page; `rewrite` answers the new link where it is to be another.
pub(super) fn rewrite(
    response: Response<Body>,
    rewrite: impl Fn(&str) -> Option<String> + Send + 'static,
) -> Response<Body> {
    let headers = response.headers();
    let text = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or("");
    let is_page = kind.trim() == "text/html" && text(header::CONTENT_ENCODING).is_empty();
    if !is_page {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let pages = Pages {
        input: Box::pin(body.into_data_stream().map_ok(Chunk::into_bytes)),
        page: Page::new(rewrite),
        ended: false,
    };
    let chunks = stream::unfold(pages, |mut pages| async move {
        let chunk = pages.next().await?;
        Some((chunk, pages))
    });
    Response::from_parts(parts, Body::stream(chunks))
}

struct Pages<F> {
    input: Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>,
    page: Page<F>,
    ended: bool,
}

impl<F: Fn(&str) -> Option<String>> Pages<F> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        while !self.ended {
            let out = match self.input.next().await {
                Some(Ok(chunk)) => self.page.take(&chunk),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => {
                    self.ended = true;
                    self.page.rest()
                }
            };
            if !out.is_empty() {
                return Some(Ok(out));
            }
        }
        None
    }
}

/// A page that comes in pieces.
struct Page<F> {
    rewrite: F,
    /// What may be the beginning of a tag.
    held: BytesMut,
    /// The element whose text we are in.
    raw: Option<&'static str>,
}

impl<F: Fn(&str) -> Option<String>> Page<F> {
    fn new(rewrite: F) -> Self {
        Self {
            rewrite,
            held: BytesMut::new(),
            raw: None,
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Bytes {
        self.held.extend_from_slice(chunk);
        let mut out = BytesMut::with_capacity(self.held.len());
        while let Some(at) = self.held.iter().position(|byte| *byte == b'<') {
            out.extend_from_slice(&self.held.split_to(at));
            let end = match tag_end(&self.held) {
                Some(end) => end,
                None if self.held.len() > MAX_TAG => 1,
                None => return out.freeze(),
            };
            let tag = self.held.split_to(end);
            self.tag(&tag, &mut out);
        }
        out.extend_from_slice(&self.held.split());
        out.freeze()
    }

    fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    fn tag(&mut self, tag: &[u8], out: &mut BytesMut) {
        let text = std::str::from_utf8(tag).unwrap_or_default();
        let name_of = |text: &str| -> String {
            let mut name = text.split(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>');
            name.next().unwrap_or("").to_ascii_lowercase()
        };
        if let Some(raw) = self.raw {
            if text.strip_prefix("</").map(name_of).as_deref() == Some(raw) {
                self.raw = None;
            }
            return out.extend_from_slice(tag);
        }
        let inner = text.strip_prefix('<').unwrap_or_default();
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return out.extend_from_slice(tag);
        }
        let name = name_of(inner);
        self.raw = RAW_TEXT.iter().copied().find(|raw| *raw == name);
        let Some((_, attributes)) = LINKS.iter().find(|(element, _)| *element == name) else {
            return out.extend_from_slice(tag);
        };
        let mut copied = 0;
        for link in links(text, 1 + name.len(), attributes) {
            if let Some(new) = (self.rewrite)(&text[link.clone()]) {
                out.extend_from_slice(&tag[copied..link.start]);
                out.extend_from_slice(new.as_bytes());
                copied = link.end;
            }
        }
        out.extend_from_slice(&tag[copied..]);
    }
}

/// Where what begins with `<` ends: behind its `>`, which does not count in quotes. A comment ends with `-->`. What is no tag is one byte.
fn tag_end(text: &[u8]) -> Option<usize> {
    let second = *text.get(1)?;
    if text.starts_with(b"<!--") {
        let end = text.windows(3).skip(4).position(|three| three == b"-->");
        return end.map(|at| at + 4 + 3);
    }
    if !(second.is_ascii_alphabetic() || matches!(second, b'/' | b'!' | b'?')) {
        return Some(1);
    }
    let mut quote = None;
    for (index, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(index + 1),
            (None, b'"' | b'\'') if second.is_ascii_alphabetic() => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// The places of the values of these attributes in a tag, whose name ends at `from`.
fn links(tag: &str, from: usize, attributes: &[&str]) -> Vec<std::ops::Range<usize>> {
    let bytes = tag.as_bytes();
    let mut found = Vec::new();
    let mut at = from;
    let skip = |mut at: usize, what: fn(u8) -> bool| {
        while bytes.get(at).is_some_and(|byte| what(*byte)) {
            at += 1;
        }
        at
    };
    let blank = |byte: u8| byte.is_ascii_whitespace();
    while at < bytes.len() {
        at = skip(at, |byte| byte.is_ascii_whitespace() || byte == b'/');
        let name_from = at;
        at = skip(at, |byte| {
            !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/')
        });
        let name = tag.get(name_from..at).unwrap_or("").to_ascii_lowercase();
        let equals = skip(at, blank);
        if bytes.get(equals) != Some(&b'=') {
            // An attribute without a value, or the end.
            at = at.max(name_from + 1);
            continue;
        }
        let value_from = skip(equals + 1, blank);
        let value = match bytes.get(value_from) {
            Some(quote @ (b'"' | b'\'')) => {
                let from = value_from + 1;
                let end = bytes[from..].iter().position(|byte| byte == quote);
                let end = end.map_or(bytes.len(), |end| from + end);
                at = end + 1;
                from..end
            }
            _ => {
                at = skip(value_from, |byte| {
                    !byte.is_ascii_whitespace() && byte != b'>'
                });
                value_from..at
            }
        };
        if attributes.contains(&name.as_str()) && !value.is_empty() {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(page: &str, piece: usize) -> String {
        let rewrite = |link: &str| link.starts_with('/').then(|| format!("/p{link}"));
        let mut page_out = Page::new(rewrite);
        let mut out = Vec::new();
        for chunk in page.as_bytes().chunks(piece) {
            out.extend_from_slice(&page_out.take(chunk));
        }
        out.extend_from_slice(&page_out.rest());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_are_rewritten_wherever_the_pieces_end() {
        for (page, expected) in [
            (r#"<a href="/x">t</a>"#, r#"<a href="/p/x">t</a>"#),
            (r#"<A HREF='/x' b>t"#, r#"<A HREF='/p/x' b>t"#),
            (
                "<img src=/i.png alt='a > b'/>",
                "<img src=/p/i.png alt='a > b'/>",
            ),
            (r#"<a href="x">"#, r#"<a href="x">"#),
            (r#"<b href="/x">"#, r#"<b href="/x">"#),
            (
                r#"<script src="/s">"<a href='/x'>"</script><a href="/y">"#,
                r#"<script src="/p/s">"<a href='/x'>"</script><a href="/p/y">"#,
            ),
            (
                r#"<!-- <a href="/x"> --><a  href = "/y" >"#,
                r#"<!-- <a href="/x"> --><a  href = "/p/y" >"#,
            ),
            ("1 < 2 <", "1 < 2 <"),
            ("<a href=\"/x", "<a href=\"/x"),
            ("<input/formaction=/f>", "<input/formaction=/p/f>"),
        ] {
            for piece in [1, 3, 1000] {
                assert_eq!(rewritten(page, piece), expected, "in pieces of {piece}");
            }
        }
        // Nothing is waited for without end.
        let endless = format!("<a {}", "x".repeat(3 * MAX_TAG));
        assert_eq!(rewritten(&endless, 1000), endless);
    }
}
