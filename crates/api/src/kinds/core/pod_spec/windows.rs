//! Options of containers on Windows.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::all_containers;
use crate::{fields::Fields, names, validate::text};

const MAX_SPEC_KIB: usize = 64;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;

/// `windowsOptions` of a pod or container.
pub(super) fn options(errors: &mut ErrorList, path: &Path, options: &Object) {
    if let Some(name) = options.text_opt("gmsaCredentialSpecName") {
        let at = path.child("gmsaCredentialSpecName");
        text(errors, &at, name, names::dns1123_subdomain(name));
    }
    if let Some(spec) = options.text_opt("gmsaCredentialSpec") {
        let at = path.child("gmsaCredentialSpec");
        let complaint = if spec.is_empty() {
            Some("gmsaCredentialSpec cannot be an empty string".to_owned())
        } else if spec.len() > MAX_SPEC_KIB * 1024 {
            Some(format!(
                "gmsaCredentialSpec size must be under {MAX_SPEC_KIB} KiB"
            ))
        } else {
            None
        };
        errors.extend(complaint.map(|detail| FieldError::invalid(&at, spec, detail)));
    }
    if let Some(name) = options.text_opt("runAsUserName") {
        text(errors, &path.child("runAsUserName"), name, user_name(name));
    }
}

/// `DOMAIN\USER` or `USER`.
fn user_name(name: &str) -> Vec<String> {
    let said = |complaint: &str| vec![format!("runAsUserName{complaint}")];
    if name.is_empty() {
        return said(" cannot be an empty string");
    }
    if name.bytes().any(|b| b.is_ascii_control()) {
        return said(" cannot contain control characters");
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => {
            return said(" cannot contain more than one backslash");
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut complaints = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= MAX_DOMAIN) {
        complaints.extend(said(&format!(
            "'s Domain length must be under {MAX_DOMAIN} characters"
        )));
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        complaints.extend(said(
            "'s Domain doesn't match the NetBios nor the DNS format",
        ));
    }
    if user.is_empty() {
        complaints.extend(said("'s User cannot be empty"));
    } else if user.len() > MAX_USER {
        complaints.extend(said(&format!(
            "'s User length must not be longer than {MAX_USER} characters"
        )));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        complaints.extend(said("'s User cannot contain only periods or spaces"));
    }
    if user.contains(|c| r#""/\:;|=,+*?<>@[]"#.contains(c)) {
        complaints.extend(said(
            r#"'s User cannot contain the following characters: "/\:;|=,+*?<>@[]"#,
        ));
    }
    complaints
}

fn is_net_bios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|c| r#"\/:*?"<>|"#.contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Containers that are processes of the host: all of a pod's are, or none, and they have the host's network.
pub(super) fn host_processes(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let host_process = |owner: &Object| {
        owner
            .object("securityContext")
            .and_then(|context| context.object("windowsOptions"))
            .and_then(|options| options.bool_opt("hostProcess"))
    };
    let of_pod = host_process(spec);
    let (mut all, mut on_host) = (0, 0);
    for (at, container) in all_containers(path, spec) {
        all += 1;
        let of_container = host_process(container);
        if let (Some(pods), Some(own)) = (of_pod, of_container)
            && pods != own
        {
            let at = at
                .child("securityContext")
                .child("windowsOptions")
                .child("hostProcess");
            let detail = format!(
                "pod hostProcess value must be identical if both are specified, was {pods}"
            );
            errors.push(FieldError::invalid(&at, own, detail));
        }
        on_host += usize::from(of_container.or(of_pod) == Some(true));
    }
    if on_host == 0 {
        return;
    }
    if on_host != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", detail));
    }
    if !spec.is_true("hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(
            &path.child("hostNetwork"),
            false,
            detail,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_a_domain_at_most() {
        for good in ["user", r"DOMAIN\user", r"a.example.com\user"] {
            assert_eq!(user_name(good), [""; 0], "{good}");
        }
        for bad in ["", "a\u{1}", r"a\b\c", r"\user", r"d\", r"d\..", "a:b"] {
            assert_eq!(user_name(bad).len(), 1, "{bad}: {:?}", user_name(bad));
        }
    }
}
