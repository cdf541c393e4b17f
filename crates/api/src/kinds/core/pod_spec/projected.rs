//! Sources of a projected volume: several in one directory, whose files do not collide.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::volumes::{downward_file, key_to_path, non_reserved_path};
use crate::{fields::Fields, kinds::core::volume_source::required};

/// `projected.sources`; `path` is that of the volume.
///
/// Trust bundles and pod certificates belong to gates that 1.36 leaves closed, and are dropped before (`disabled.rs`).
pub(super) fn validate(errors: &mut ErrorList, path: &Path, volume: &Object) {
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (index, source) in volume.objects("sources") {
        let at = path.child("sources").index(index);
        let mut found = 0;
        for field in ["secret", "configMap"] {
            let Some(part) = source.object(field) else {
                continue;
            };
            found += 1;
            let at = at.child(field);
            required(errors, &at, part, &["name"]);
            for (i, item) in part.objects("items") {
                key_to_path(errors, &at.child("items").index(i), item);
                // Upstream shows the name of the source instead of the path.
                take(
                    errors,
                    path,
                    item.text("path"),
                    part.text("name"),
                    &mut taken,
                );
            }
        }
        if let Some(part) = source.object("downwardAPI") {
            found += 1;
            for (_, file) in part.objects("items") {
                downward_file(errors, &at.child("downwardAPI"), file);
                let file = file.text("path");
                take(errors, path, file, file, &mut taken);
            }
        }
        if let Some(token) = source.object("serviceAccountToken") {
            found += 1;
            service_account_token(errors, path, &at.child("serviceAccountToken"), token);
        }
        if found > 1 {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
}

fn take<'a>(
    errors: &mut ErrorList,
    path: &Path,
    file: &'a str,
    shown: &str,
    taken: &mut BTreeSet<&'a str>,
) {
    if file.is_empty() {
        return;
    }
    if !taken.insert(file) {
        errors.push(FieldError::invalid(
            path,
            shown,
            "conflicting duplicate paths",
        ));
    }
}

/// A token that lives ten minutes at least; the path of its file is, upstream, the volume's.
fn service_account_token(errors: &mut ErrorList, volume: &Path, path: &Path, token: &Object) {
    let seconds = token.int("expirationSeconds").unwrap_or(0);
    let at = path.child("expirationSeconds");
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(&at, seconds, detail));
    }
    if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(&at, seconds, detail));
    }
    let at = volume.child("path");
    match token.text("path") {
        "" => errors.push(FieldError::required(&at, "")),
        file => non_reserved_path(errors, &at, file),
    }
}
