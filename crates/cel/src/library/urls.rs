//! Kubernetes' URLs: `url('https://example.com:80/a?b=c').getHost()`.
//!
//! Read as Go's `net/url` reads them: absolute, or a path from the root.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use apimachinery::quote;

use super::{Opaque, Result, arguments, failed, opaque, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "url", "(string) -> kubernetes.URL", Cost::ScanKeep, url;
    "isURL", "(string) -> bool", Cost::Unit, is_url;
    "getScheme", "kubernetes.URL.() -> string", Cost::Unit, |args| part(args, |u| u.scheme.clone());
    "getHost", "kubernetes.URL.() -> string", Cost::Unit, |args| part(args, |u| u.host.clone());
    "getHostname", "kubernetes.URL.() -> string", Cost::Unit, |args| part(args, |u| split_port(&u.host).0.to_owned());
    "getPort", "kubernetes.URL.() -> string", Cost::Unit, |args| part(args, |u| split_port(&u.host).1.to_owned());
    "getEscapedPath", "kubernetes.URL.() -> string", Cost::Unit, |args| part(args, |u| u.path.clone());
    "getQuery", "kubernetes.URL.() -> map(string, list(string))", Cost::Unit, query;
}

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    /// Escaped.
    path: String,
    query: String,
}

/// Reads a URL.
///
/// # Errors
/// As Go words them: `parse "x": invalid URI for request`.
pub(crate) fn parse(text: &str) -> std::result::Result<Url, String> {
    let wrong = |why: &str| format!("parse {}: {why}", quote(text));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(wrong("net/url: invalid control character in URL"));
    }
    if text.is_empty() {
        return Err(wrong("empty url"));
    }
    let (scheme, rest) = scheme(text).map_err(wrong)?;
    let absolute_path = rest.starts_with('/');
    if !absolute_path {
        // `mailto:x` names nothing that could be asked for, but Go takes what has a scheme.
        if scheme.is_empty() {
            return Err(wrong("invalid URI for request"));
        }
    }
    let before_fragment = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (before_query, query) = before_fragment
        .split_once('?')
        .unwrap_or((before_fragment, ""));
    let (host, path) = match before_query.strip_prefix("//") {
        Some(authority) if !scheme.is_empty() || !before_query.starts_with("///") => {
            let end = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(end);
            (host(authority).map_err(|why| wrong(&why))?, path)
        }
        _ if absolute_path => (String::new(), before_query),
        // Opaque.
        _ => (String::new(), ""),
    };
    check_escapes(path).map_err(|why| wrong(&why))?;
    Ok(Url {
        scheme: scheme.to_ascii_lowercase(),
        host,
        path: escape(path),
        query: query.to_owned(),
    })
}

/// The scheme and what follows its colon.
fn scheme(text: &str) -> std::result::Result<(&str, &str), &'static str> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' => break,
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// The host of an authority, with its port; brackets stay.
fn host(authority: &str) -> std::result::Result<String, String> {
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if !user.bytes().all(is_user_info) => {
            return Err("net/url: invalid userinfo".to_owned());
        }
        Some((_, host)) => host,
        None => authority,
    };
    let port = match host.strip_prefix('[') {
        Some(inside) => match inside.split_once(']') {
            Some((_, after)) => after,
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    let invalid = |b: &u8| {
        !(b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(b) || *b >= 0x80)
    };
    if let Some(bad) = host.bytes().find(|b| invalid(b)) {
        return Err(format!(
            "invalid character {} in host name",
            quote(&char::from(bad).to_string())
        ));
    }
    Ok(host.to_owned())
}

fn is_user_info(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)
}

fn check_escapes(path: &str) -> std::result::Result<(), String> {
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'%' {
            let digits = &bytes[at + 1..bytes.len().min(at + 3)];
            if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                let shown = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
                return Err(format!("invalid URL escape {}", quote(&shown)));
            }
        }
    }
    Ok(())
}

/// The path as it was if that is a way to write it, else escaped.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/%[]".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The name, without brackets, and the port.
fn split_port(host: &str) -> (&str, &str) {
    if let Some(inside) = host.strip_prefix('[') {
        let (name, after) = inside.split_once(']').unwrap_or((inside, ""));
        return (name, after.trim_start_matches(':'));
    }
    host.split_once(':').unwrap_or((host, ""))
}

fn url<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    match parse(text) {
        Ok(url) => Ok(Value::opaque(Opaque::Url(url))),
        Err(message) => failed(format!(
            "URL parse error during conversion from string: {message}"
        )),
    }
}

fn is_url<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    Ok(Value::Bool(parse(text).is_ok()))
}

fn part<'a>(args: &[Value<'a>], part: fn(&Url) -> String) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::from(part(opaque!(value, Url))))
}

fn query<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    let mut values: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for pair in opaque!(value, Url).query.split('&') {
        // As Go's parser, drop what is malformed.
        if pair.is_empty() || pair.contains(';') {
            continue;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (unescape(name), unescape(value)) {
            values.entry(name).or_default().push(Value::from(value));
        }
    }
    Ok(Value::map(values.into_iter().map(|(name, values)| {
        (Arc::from(name), Value::list(values))
    })))
}

fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 2;
            }
            _ => out.push(*byte),
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
