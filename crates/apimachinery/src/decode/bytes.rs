//! Base64 as Go's `encoding/base64` reads it: line breaks are skipped, bits beyond the last byte do not matter, and errors tell where.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Checks a text; `Some` if Go would write these bytes differently.
///
/// # Errors
/// `illegal base64 data at input byte 4`.
pub(super) fn check(text: &str) -> Result<Option<String>, String> {
    if STANDARD.decode(text).is_ok() {
        return Ok(None);
    }
    match decode(text.as_bytes()) {
        Ok(bytes) => Ok(Some(STANDARD.encode(bytes))),
        Err(at) => Err(format!("illegal base64 data at input byte {at}")),
    }
}

/// The bytes, or the place at which Go's decoder stops.
fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = 0;
    loop {
        let mut quantum = [0u8; 4];
        let mut filled = 0;
        while filled < 4 {
            let Some(byte) = text.get(at) else {
                return if filled == 0 {
                    Ok(out)
                } else {
                    Err(at - filled)
                };
            };
            at += 1;
            match byte {
                b'\n' | b'\r' => {}
                b'=' => {
                    at = padding(text, at, filled)?;
                    out.extend_from_slice(&bytes(quantum)[..filled - 1]);
                    return if at < text.len() { Err(at) } else { Ok(out) };
                }
                _ => {
                    quantum[filled] = value(*byte).ok_or(at - 1)?;
                    filled += 1;
                }
            }
        }
        out.extend_from_slice(&bytes(quantum));
    }
}

/// After the first `=`, with so many digits before it: where the padding ends.
fn padding(text: &[u8], mut at: usize, filled: usize) -> Result<usize, usize> {
    let breaks = |from: usize| {
        let rest = text[from..].iter();
        from + rest.take_while(|b| matches!(b, b'\n' | b'\r')).count()
    };
    match filled {
        0 | 1 => return Err(at - 1),
        2 => {
            at = breaks(at);
            match text.get(at) {
                None => return Err(text.len()),
                Some(b'=') => at += 1,
                Some(_) => return Err(at - 1),
            }
        }
        _ => {}
    }
    Ok(breaks(at))
}

fn bytes([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_would_write_differently_is_written_anew() {
        for (text, kept) in [
            ("", None),
            ("YWJj", None),
            ("YQ==", None),
            ("YW\nJj\r\n", Some("YWJj")),
            ("YR==", Some("YQ==")),
            ("YWJ=", Some("YWI=")),
            ("YQ=\n=\n", Some("YQ==")),
        ] {
            assert_eq!(check(text), Ok(kept.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn errors_tell_the_place() {
        for (text, at) in [
            ("!", 0),
            ("YWJ", 0),
            ("YWJjYQ", 4),
            ("YQ=", 3),
            ("YQ=x", 2),
            ("YQ==x", 4),
            ("YWJjx", 4),
            ("Y===", 1),
            ("YW J", 2),
            ("YQ==YQ==", 4),
        ] {
            let error = format!("illegal base64 data at input byte {at}");
            assert_eq!(check(text), Err(error), "{text:?}");
        }
    }
}
