//! What requests the built-in signers are for, and what they must look like. Wording is upstream's.

use super::x509::Request;

/// Clients of the API server.
pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Kubelets as clients of the API server.
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Kubelets as servers.
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// What was asked for before signers had names.
pub(super) const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

/// Whether the signer, which is one of ours, may sign it; why not otherwise.
pub(super) fn judge(signer: &str, request: &Request, usages: &[String]) -> Result<(), String> {
    match signer {
        KUBELET_SERVING => kubelet_serving(request, usages),
        KUBELET_CLIENT => kubelet_client(request, usages),
        CLIENT => client(usages),
        _ => Ok(()),
    }
}

fn kubelet_serving(request: &Request, usages: &[String]) -> Result<(), String> {
    of_node(request)?;
    if request.dns_names == 0 && request.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    no_more_names(request)?;
    exactly(usages, SERVER_AUTH)
}

/// A kubelet's own client certificate.
pub(super) fn kubelet_client(request: &Request, usages: &[String]) -> Result<(), String> {
    of_node(request)?;
    if request.dns_names > 0 {
        return Err("DNS subjectAltNames are not allowed".to_owned());
    }
    no_more_names(request)?;
    if request.addresses > 0 {
        return Err("IP subjectAltNames are not allowed".to_owned());
    }
    exactly(usages, CLIENT_AUTH)
}

fn of_node(request: &Request) -> Result<(), String> {
    if request.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    if !request.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:".to_owned());
    }
    Ok(())
}

fn no_more_names(request: &Request) -> Result<(), String> {
    if request.emails > 0 {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if request.uris > 0 {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    Ok(())
}

/// Signatures, this purpose, and perhaps the encipherment of keys (which RSA alone can do).
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let has = |wanted: &str| usages.iter().any(|usage| usage == wanted);
    let known = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, purpose];
    let nothing_else = usages.iter().all(|usage| known.contains(&usage.as_str()));
    if has(DIGITAL_SIGNATURE) && has(purpose) && nothing_else {
        return Ok(());
    }
    let mut usages = usages.to_vec();
    usages.sort_unstable();
    Err(format!(
        "usages did not match [{purpose} {DIGITAL_SIGNATURE}] or [{purpose} {DIGITAL_SIGNATURE} {KEY_ENCIPHERMENT}]: [{}]",
        usages.join(" ")
    ))
}

fn client(usages: &[String]) -> Result<(), String> {
    let known = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH];
    if let Some(usage) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(format!("{usage:?} is not allowed for this signer"));
    }
    if usages.iter().any(|usage| usage == CLIENT_AUTH) {
        Ok(())
    } else {
        Err(format!("usages must include {CLIENT_AUTH:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_get_what_is_theirs() {
        let node = Request {
            common_name: "system:node:n1".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            ..Request::default()
        };
        let serving = Request {
            dns_names: 1,
            ..node.clone()
        };
        let masters = Request {
            organizations: vec!["system:nodes".to_owned(), "system:masters".to_owned()],
            ..node.clone()
        };
        let alice = Request {
            common_name: "alice".to_owned(),
            ..node.clone()
        };
        for (signer, request, usages, ok) in [
            (KUBELET_CLIENT, &node, "digital signature,client auth", true),
            (
                KUBELET_CLIENT,
                &node,
                "digital signature,key encipherment,client auth",
                true,
            ),
            (
                KUBELET_CLIENT,
                &node,
                "digital signature,server auth",
                false,
            ),
            (
                KUBELET_CLIENT,
                &node,
                "digital signature,client auth,server auth",
                false,
            ),
            (
                KUBELET_CLIENT,
                &serving,
                "digital signature,client auth",
                false,
            ),
            (
                KUBELET_CLIENT,
                &masters,
                "digital signature,client auth",
                false,
            ),
            (
                KUBELET_CLIENT,
                &alice,
                "digital signature,client auth",
                false,
            ),
            (
                KUBELET_SERVING,
                &serving,
                "digital signature,server auth",
                true,
            ),
            (
                KUBELET_SERVING,
                &node,
                "digital signature,server auth",
                false,
            ),
            (CLIENT, &alice, "client auth", true),
            (CLIENT, &alice, "digital signature", false),
            (CLIENT, &alice, "client auth,server auth", false),
            (LEGACY_UNKNOWN, &alice, "server auth", true),
        ] {
            let usages: Vec<String> = usages.split(',').map(str::to_owned).collect();
            assert_eq!(
                judge(signer, request, &usages).is_ok(),
                ok,
                "{signer} {usages:?}"
            );
        }
    }
}
