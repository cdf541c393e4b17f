//! The query of a URL, as Go's `url.Values` reads it.

use std::borrow::Cow;

use apimachinery::{go, status::Status};

/// Decoded parameters in their order. A name may stand more than once.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark. Parameters that Go refuses (a bad escape, a semicolon) are left out, as there.
    pub fn parse(query: &str) -> Self {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((unescape(name)?, unescape(value)?))
            })
            .collect();
        Self(pairs)
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A boolean as upstream converts query parameters: absent, `false` and `0` are false (in any case), all else is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    /// An integer. One that is given and empty is none.
    ///
    /// # Errors
    /// 400, in Go's words.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        let text = self.get(name);
        text.map(|text| go::parse_int(text).map_err(Status::bad_request))
            .transpose()
    }

    /// The name in `fieldSelector=metadata.name=NAME`, when the selector says so and the name can be one.
    pub fn single_name(&self) -> Option<String> {
        let selector = self.get("fieldSelector")?;
        selector.split(',').find_map(|term| {
            let value = term.strip_prefix("metadata.name=")?;
            let value = value.strip_prefix('=').unwrap_or(value);
            (!value.is_empty() && !value.contains('/') && !value.contains('%'))
                .then(|| value.to_owned())
        })
    }
}

/// Decodes the percent escapes of a path segment; bad ones stay as they are.
pub fn percent_decode(segment: &str) -> String {
    decode(segment, false).map_or_else(|| segment.to_owned(), Cow::into_owned)
}

fn unescape(text: &str) -> Option<String> {
    decode(text, true).map(Cow::into_owned)
}

fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let escaped = text.contains('%') || (plus_is_space && text.contains('+'));
    if !escaped {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
                continue;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_bad_ones_left_out() {
        let query = Query::parse("a=1&b=x%20y+z&a=2&bad=%zz&c&watch=False");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("bad"), None);
        assert_eq!(query.get("c"), Some(""));
        assert!(query.flag("c") && !query.flag("watch") && !query.flag("absent"));
    }

    #[test]
    fn an_integer_that_is_given_is_one() {
        let query = Query::parse("limit=5&timeoutSeconds=&x=1.5");
        assert_eq!(query.integer("limit").unwrap(), Some(5));
        assert_eq!(query.integer("absent").unwrap(), None);
        for (name, text) in [("timeoutSeconds", ""), ("x", "1.5")] {
            assert_eq!(
                query.integer(name).unwrap_err().message,
                format!("strconv.ParseInt: parsing {text:?}: invalid syntax")
            );
        }
    }

    #[test]
    fn a_selector_on_the_name_names_it() {
        let name = |q: &str| Query::parse(q).single_name();
        assert_eq!(
            name("fieldSelector=metadata.name%3Da"),
            Some("a".to_owned())
        );
        assert_eq!(
            name("fieldSelector=metadata.name%3D%3Da,spec.x%3D1"),
            Some("a".to_owned())
        );
        assert_eq!(name("fieldSelector=metadata.name!%3Da"), None);
    }
}
