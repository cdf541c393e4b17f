//! Fields as Go names them: so they stand in the errors of generated decoders, and where a whole struct is printed.

use std::borrow::Cow;

/// First words of JSON names that are abbreviations, and stand in capitals in Go; others begin with one.
const ABBREVIATIONS: &[&str] = &[
    "api", "aws", "ca", "cel", "cidr", "cpu", "csi", "dns", "fc", "fs", "gce", "gmsa", "grpc",
    "http", "id", "ip", "iqn", "iscsi", "nfs", "os", "pid", "qos", "rbd", "se", "tcp", "tls",
    "tty", "ttl", "uid", "uri", "url", "uuid",
];

/// Go's name of a field of this struct, where it has another there than everywhere else.
fn renamed(type_name: &str, name: &str) -> Option<&'static str> {
    let renamed = match (type_name.rsplit('.').next()?, name) {
        ("GlusterfsVolumeSource" | "GlusterfsPersistentVolumeSource", "endpoints") => {
            "EndpointsName"
        }
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "image") => "RBDImage",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "pool") => "RBDPool",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "user") => "RadosUser",
        ("CephFSVolumeSource" | "CephFSPersistentVolumeSource", "monitors") => "Monitors",
        ("ScaleIOVolumeSource" | "ScaleIOPersistentVolumeSource", "sslEnabled") => "SSLEnabled",
        ("ContainerStatus", "lastState") => "LastTerminationState",
        ("LinuxContainerUser", "gid") => "GID",
        _ => return None,
    };
    Some(renamed)
}

/// Go's name of a field of a struct that JSON calls so: `ownerReferences` is `OwnerReferences`, `uid` is `UID`.
pub fn field_name<'n>(type_name: &str, name: &'n str) -> Cow<'n, str> {
    if let Some(renamed) = renamed(type_name, name) {
        return Cow::Borrowed(renamed);
    }
    let special = match name {
        // Embedded, and so named after its type.
        "metadata" => "ObjectMeta",
        "cephfs" => "CephFS",
        "chapAuthDiscovery" => "DiscoveryCHAPAuth",
        "chapAuthSession" => "SessionCHAPAuth",
        "diskURI" => "DataDiskURI",
        "monitors" => "CephMonitors",
        "pdName" => "PDName",
        "storageos" => "StorageOS",
        "wwids" => "WWIDs",
        _ => "",
    };
    if !special.is_empty() {
        return Cow::Borrowed(special);
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
    use super::field_name;

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
            ("cephfs", "CephFS"),
            ("", ""),
        ] {
            assert_eq!(field_name("R", json), go);
        }
        let renamed = field_name("io.k8s.api.core.v1.ContainerStatus", "lastState");
        assert_eq!(renamed, "LastTerminationState");
    }
}
