//! `spec.conversion`: a webhook needs an address and versions that the server speaks; without one, neither may be said.

use api::{fields::Fields, names};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{one_of, spec::Options};

pub(super) fn validate(
    errors: &mut ErrorList,
    conversion: &Object,
    path: &Path,
    options: &Options<'_>,
) {
    let strategy = conversion.text("strategy");
    one_of(
        errors,
        &path.child("strategy"),
        strategy,
        &["None", "Webhook"],
    );
    let webhook = conversion.object("webhook");
    let client = webhook.and_then(|w| w.object("clientConfig"));
    let versions: Vec<&str> = webhook
        .map(|w| w.texts("conversionReviewVersions").collect())
        .unwrap_or_default();
    let client_path = path.child("webhookClientConfig");
    let versions_path = path.child("conversionReviewVersions");
    if strategy != "Webhook" {
        const UNUSED: &str = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(FieldError::forbidden(&client_path, UNUSED));
        }
        if !versions.is_empty() {
            errors.push(FieldError::forbidden(&versions_path, UNUSED));
        }
        return;
    }
    match client {
        None => errors.push(FieldError::required(
            &client_path,
            "required when strategy is set to Webhook",
        )),
        Some(client) => client_config(errors, client, &client_path, options),
    }
    review_versions(errors, &versions, &versions_path, options);
}

fn client_config(errors: &mut ErrorList, client: &Object, path: &Path, options: &Options<'_>) {
    match (client.text_opt("url"), client.object("service")) {
        (Some(_), Some(_)) | (None, None) => errors.push(FieldError::required(
            path,
            "exactly one of url or service is required",
        )),
        (Some(address), None) => url(errors, address, &path.child("url")),
        (None, Some(target)) => service(errors, target, &path.child("service")),
    }
    let bundle = client.text("caBundle");
    if !bundle.is_empty() && !options.allows_invalid_ca_bundle && !is_ca_bundle(bundle) {
        errors.push(FieldError::invalid(
            &path.child("caBundle"),
            bundle,
            "unable to load root certificates: unable to parse bytes as PEM block",
        ));
    }
}

/// Whether a bundle holds a certificate in PEM, as far as its form tells.
pub(super) fn is_ca_bundle(encoded: &str) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let Ok(bytes) = BASE64.decode(encoded) else {
        return false;
    };
    let text = String::from_utf8_lossy(&bytes);
    text.split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .is_some_and(|(body, _)| {
            let body: String = body.split_whitespace().collect();
            // A certificate is a DER sequence.
            BASE64
                .decode(body)
                .is_ok_and(|der| der.first() == Some(&0x30))
        })
}

/// A webhook's URL: `https`, a host, and nothing but a path.
fn url(errors: &mut ErrorList, address: &str, path: &Path) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (before, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (before, query) = before.split_once('?').unwrap_or((before, ""));
    let scheme = before
        .split_once(':')
        .map(|(scheme, _)| scheme)
        .filter(|s| {
            s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
    if scheme.is_none()
        && (before.starts_with(':') || address.bytes().any(|b| b < 0x20 || b == 0x7f))
    {
        let what = if before.starts_with(':') {
            "missing protocol scheme"
        } else {
            "net/url: invalid control character in URL"
        };
        let message = format!(
            "url must be a valid URL: parse {}: {what}{FORM}",
            apimachinery::quote(address)
        );
        errors.push(FieldError::required(path, message));
        return;
    }
    let rest = scheme.map_or(before, |s| &before[s.len() + 1..]);
    let authority = rest
        .strip_prefix("//")
        .map_or("", |after| after.split('/').next().unwrap_or_default());
    let (user, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(u, h)| (Some(u), h));
    let scheme = scheme.unwrap_or_default().to_lowercase();
    if scheme != "https" {
        errors.push(FieldError::invalid(
            path,
            scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        ));
    }
    if host.is_empty() {
        errors.push(FieldError::invalid(
            path,
            "",
            format!("host must be specified{FORM}"),
        ));
    }
    if let Some(user) = user {
        errors.push(FieldError::invalid(
            path,
            user,
            "user information is not permitted in the URL",
        ));
    }
    if !fragment.is_empty() {
        errors.push(FieldError::invalid(
            path,
            fragment,
            "fragments are not permitted in the URL",
        ));
    }
    if !query.is_empty() {
        errors.push(FieldError::invalid(
            path,
            query,
            "query parameters are not permitted in the URL",
        ));
    }
}

/// A webhook behind a Service. Upstream hands name and namespace over in the wrong order, and so names the one where the other is missing.
fn service(errors: &mut ErrorList, service: &Object, path: &Path) {
    for (missing, named) in [("namespace", "name"), ("name", "namespace")] {
        if service.text(missing).is_empty() {
            errors.push(FieldError::required(&path.child(named), ""));
        }
    }
    let port = service.int("port").unwrap_or(443);
    let complaints = names::port_number(port);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(
            &path.child("port"),
            port,
            format!("port is not valid: {}", complaints.join(", ")),
        ));
    }
    let url_path = service.text("path");
    let at = path.child("path");
    if url_path.is_empty() || url_path == "/" {
        return;
    }
    let mut invalid = |detail: String| errors.push(FieldError::invalid(&at, url_path, detail));
    if url_path == "//" {
        invalid("segment[0] may not be empty".to_owned());
        return;
    }
    if !url_path.starts_with('/') {
        invalid("must start with a '/'".to_owned());
    }
    let mut rest = url_path.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, segment) in rest
        .strip_suffix('/')
        .unwrap_or(rest)
        .split('/')
        .enumerate()
    {
        if segment.is_empty() {
            invalid(format!("segment[{index}] may not be empty"));
            continue;
        }
        for complaint in names::dns1123_subdomain(segment) {
            invalid(format!("segment[{index}]: {complaint}"));
        }
    }
}

fn review_versions(errors: &mut ErrorList, versions: &[&str], path: &Path, options: &Options<'_>) {
    if versions.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.push(FieldError::invalid(
                &path.index(index),
                *version,
                "duplicate version",
            ));
            continue;
        }
        for complaint in names::dns1035_label(version) {
            errors.push(FieldError::invalid(&path.index(index), *version, complaint));
        }
    }
    if options.requires_recognized_review_version && !has_recognized(versions) {
        errors.push(FieldError::invalid(
            path,
            versions.to_vec(),
            "must include at least one of v1, v1beta1",
        ));
    }
}

/// Whether one of the versions is one that the server speaks.
pub(super) fn has_recognized(versions: &[&str]) -> bool {
    versions.iter().any(|v| matches!(*v, "v1" | "v1beta1"))
}
