//! `[scheme:]name[:port]`, as proxied pods, services and nodes are named.

/// The parts; scheme and port may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemeNamePort<'a> {
    pub(super) scheme: &'a str,
    pub(super) name: &'a str,
    pub(super) port: &'a str,
}

impl<'a> SchemeNamePort<'a> {
    /// `None` if it is none.
    pub(super) fn parse(id: &'a str) -> Option<Self> {
        let mut parts = id.split(':');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        let (scheme, name, port) = match parts {
            [Some(name), None, ..] => ("", name, ""),
            [Some(name), Some(port), None, _] => ("", name, port),
            [
                Some(scheme @ ("" | "http" | "https")),
                Some(name),
                Some(port),
                None,
            ] => (scheme, name, port),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }

    /// Whether TLS is asked for.
    pub(super) fn is_https(self) -> bool {
        self.scheme == "https"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (id, expected) in [
            ("a", Some(("", "a", ""))),
            ("a:80", Some(("", "a", "80"))),
            ("https:a:web", Some(("https", "a", "web"))),
            ("https:a:", Some(("https", "a", ""))),
            (":a:80", Some(("", "a", "80"))),
            ("ftp:a:80", None),
            ("", None),
            ("http::80", None),
            ("http:a:b:c", None),
        ] {
            let parsed = SchemeNamePort::parse(id).map(|p| (p.scheme, p.name, p.port));
            assert_eq!(parsed, expected, "{id}");
        }
    }
}
