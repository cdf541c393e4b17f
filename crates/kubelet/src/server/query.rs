//! The query of a URL, and the segments of its path, decoded.

/// Decoded parameters in their order. A name may stand more than once.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark; parameters with bad escapes are left out, as Go does.
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name, true)?, decode(value, true)?))
            });
        Self(pairs.collect())
    }

    /// The first value of a parameter; empty ones count as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Decodes a segment of a path; a bad escape stays as it is.
pub(super) fn path_segment(segment: &str) -> String {
    decode(segment, false).unwrap_or_else(|| segment.to_owned())
}

fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse("command=sh&command=-c&command=a%20b+c&tty=1&bad=%zz&none=");
        assert_eq!(
            query.all("command").collect::<Vec<_>>(),
            ["sh", "-c", "a b c"]
        );
        assert_eq!(
            (query.get("tty"), query.get("bad"), query.get("none")),
            (Some("1"), None, None)
        );
        assert_eq!(path_segment("a%2Fb+c"), "a/b+c");
    }
}
