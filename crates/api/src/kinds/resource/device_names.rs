//! Names and configurations of devices, which claims, classes and slices share.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{fields::Fields, kinds::core::pod_spec::volumes, names, validate::text};

const MAX_POOL_NAME: usize = 253;
/// Parameters for drivers may take so many bytes.
const MAX_PARAMETERS: usize = 10 * 1024;

/// A driver is named as one for storage is.
pub(super) fn driver(errors: &mut ErrorList, path: &Path, name: &str) {
    volumes::csi_driver_name(errors, path, name);
}

/// Subdomains with slashes between them.
pub(super) fn pool(errors: &mut ErrorList, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > MAX_POOL_NAME {
        errors.push(FieldError::too_long(path, MAX_POOL_NAME));
    }
    for part in name.split('/') {
        text(errors, path, part, names::dns1123_subdomain(part));
    }
}

/// What is handed to a driver: an object that we do not look into.
pub(super) fn configuration(errors: &mut ErrorList, path: &Path, config: &Object) {
    let at = path.child("opaque");
    let Some(opaque) = config.object("opaque") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    driver(errors, &at.child("driver"), opaque.text("driver"));
    let at = at.child("parameters");
    match opaque.value("parameters") {
        None => errors.push(FieldError::required(&at, "")),
        Some(parameters) if !parameters.is_object() => errors.push(FieldError::invalid(
            &at,
            "<value omitted>",
            "must be a valid JSON object",
        )),
        Some(parameters) => {
            if parameters.to_string().len() > MAX_PARAMETERS {
                errors.push(FieldError::too_long(&at, MAX_PARAMETERS));
            }
        }
    }
}
