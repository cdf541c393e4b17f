//! Where a webhook is: a URL, or a Service. Admission webhooks, conversion of custom resources and aggregated APIs share these rules.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::text;
use crate::{fields::Fields, names};

const FORM: &str = "; desired format: https://host[/path]";

/// `clientConfig`: exactly one of `url` and `service`.
pub fn client_config(errors: &mut ErrorList, path: &Path, config: &Object) {
    match (config.text_opt("url"), config.object("service")) {
        (Some(address), None) => url(errors, &path.child("url"), address),
        (None, Some(reference)) => {
            // Upstream hands over name and namespace in the wrong order: the complaint names the other field.
            let (name, namespace) = (reference.text("namespace"), reference.text("name"));
            service(errors, &path.child("service"), namespace, name, reference);
        }
        _ => errors.push(FieldError::required(
            path,
            "exactly one of url or service is required",
        )),
    }
}

/// A URL with `https`, a host, perhaps a path, and nothing else.
pub fn url(errors: &mut ErrorList, path: &Path, address: &str) {
    let parsed = match Url::parse(address) {
        Ok(parsed) => parsed,
        Err(reason) => {
            let detail = format!("url must be a valid URL: parse {address:?}: {reason}{FORM}");
            errors.push(FieldError::required(path, detail));
            return;
        }
    };
    let mut refuse = |value: &str, detail: String| {
        errors.push(FieldError::invalid(path, value, detail));
    };
    if parsed.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        refuse(&parsed.scheme, detail);
    }
    if parsed.host.is_empty() {
        refuse("", format!("host must be specified{FORM}"));
    }
    if let Some(user) = parsed.user {
        let detail = "user information is not permitted in the URL";
        refuse(user, detail.to_owned());
    }
    if !parsed.fragment.is_empty() {
        let detail = "fragments are not permitted in the URL";
        refuse(parsed.fragment, detail.to_owned());
    }
    if !parsed.query.is_empty() {
        let detail = "query parameters are not permitted in the URL";
        refuse(parsed.query, detail.to_owned());
    }
}

/// A Service: its name, namespace, port and a path of DNS subdomains.
pub fn service(errors: &mut ErrorList, path: &Path, namespace: &str, name: &str, service: &Object) {
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    if namespace.is_empty() {
        errors.push(FieldError::required(&path.child("namespace"), ""));
    }
    let port = service.int("port").unwrap_or(0);
    let complaints = names::port_number(port);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(
            &path.child("port"),
            port,
            format!("port is not valid: {}", complaints.join(", ")),
        ));
    }
    if let Some(value) = service.text_opt("path") {
        text(errors, &path.child("path"), value, path_complaints(value));
    }
}

fn path_complaints(path: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if matches!(path, "" | "/") {
        return complaints;
    }
    if path == "//" {
        return vec!["segment[0] may not be empty".to_owned()];
    }
    if !path.starts_with('/') {
        complaints.push("must start with a '/'".to_owned());
    }
    // As upstream, the first character is taken off whatever it is.
    let mut characters = path.chars();
    characters.next();
    let rest = characters.as_str();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() {
            complaints.push(format!("segment[{index}] may not be empty"));
            continue;
        }
        let failures = names::dns1123_subdomain(segment);
        complaints.extend(
            failures
                .into_iter()
                .map(|failure| format!("segment[{index}]: {failure}")),
        );
    }
    complaints
}

/// The parts of a URL, as Go's `url.Parse` takes it apart.
struct Url<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        if rest.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, rest) = scheme(rest)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, host) = match rest.strip_prefix("//") {
            Some(rest) => authority(rest.split('/').next().unwrap_or_default())?,
            None if scheme.is_empty()
                && rest
                    .split('/')
                    .next()
                    .is_some_and(|segment| segment.contains(':')) =>
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
            None => (None, ""),
        };
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            host,
            query,
            fragment,
        })
    }
}

/// What stands before the first colon, if it can be a scheme.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (index, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..index], &text[index + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn authority(text: &str) -> Result<(Option<&str>, &str), String> {
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    };
    if host.contains(' ') {
        return Err("invalid character \" \" in host name".to_owned());
    }
    let port = match host.rsplit_once(']') {
        Some((_, after)) => after,
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if !is_port {
        return Err(format!("invalid port {port:?} after host"));
    }
    Ok((user, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(address: &str) -> Vec<String> {
        let mut errors = Vec::new();
        url(&mut errors, &Path::new("url"), address);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn urls_are_https_and_plain() {
        for good in [
            "https://example.com",
            "https://1.2.3.4:8443/a/b",
            "https://[::1]:443/x",
        ] {
            assert_eq!(complaints(good), [""; 0], "{good}");
        }
        let cases = [
            (
                "http://h",
                "url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                "https:///p",
                "url: Invalid value: \"\": host must be specified; desired format: https://host[/path]",
            ),
            (
                "https://u:p@h",
                "url: Invalid value: \"u:p\": user information is not permitted in the URL",
            ),
            (
                "https://h?q=1",
                "url: Invalid value: \"q=1\": query parameters are not permitted in the URL",
            ),
            (
                "https://h#f",
                "url: Invalid value: \"f\": fragments are not permitted in the URL",
            ),
            (
                "https://h:x",
                "url: Required value: url must be a valid URL: parse \"https://h:x\": invalid port \":x\" after host; desired format: https://host[/path]",
            ),
        ];
        for (address, expected) in cases {
            assert_eq!(complaints(address), [expected], "{address}");
        }
    }

    #[test]
    fn paths_are_made_of_subdomains() {
        assert_eq!(path_complaints("/a/b.c/"), [""; 0]);
        assert_eq!(path_complaints("//"), ["segment[0] may not be empty"]);
        assert_eq!(path_complaints("/a//b"), ["segment[1] may not be empty"]);
        assert_eq!(path_complaints("xa"), ["must start with a '/'"]);
        assert!(path_complaints("/A")[0].starts_with("segment[0]: a lowercase RFC 1123 subdomain"));
    }
}
