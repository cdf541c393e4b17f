//! Fields as Go names them, which is how the errors of generated decoders name them.

use std::borrow::Cow;

/// First words of JSON names that are abbreviations, and stand in capitals in Go; others begin with one.
const ABBREVIATIONS: &[&str] = &[
    "api", "aws", "ca", "cidr", "cpu", "csi", "dns", "fc", "fs", "gce", "gmsa", "grpc", "http",
    "id", "ip", "iscsi", "nfs", "os", "pid", "qos", "rbd", "se", "tcp", "tls", "tty", "ttl", "uid",
    "uri", "url", "uuid",
];

/// The Go name of the field that JSON calls so: `ownerReferences` is `OwnerReferences`, `uid` is `UID`.
pub(super) fn go_field(name: &str) -> Cow<'_, str> {
    // Embedded, and so named after its type.
    if name == "metadata" {
        return Cow::Borrowed("ObjectMeta");
    }
    let end = name.find(|c: char| !c.is_ascii_lowercase());
    let (first, rest) = name.split_at(end.unwrap_or(name.len()));
    if ABBREVIATIONS.contains(&first) {
        return Cow::Owned(first.to_ascii_uppercase() + rest);
    }
    let mut letters = name.chars();
    let capital = letters.next().map(|c| c.to_ascii_uppercase());
    Cow::Owned(capital.into_iter().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::go_field;

    #[test]
    fn fields_are_named_as_in_go() {
        for (json, go) in [
            ("metadata", "ObjectMeta"),
            ("ownerReferences", "OwnerReferences"),
            ("uid", "UID"),
            ("dnsPolicy", "DNSPolicy"),
            ("hostIPC", "HostIPC"),
            ("seLinuxOptions", "SELinuxOptions"),
            ("identity", "Identity"),
            ("", ""),
        ] {
            assert_eq!(go_field(json), go);
        }
    }
}
