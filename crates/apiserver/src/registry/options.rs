//! The options of lists, watches, gets and writes, as the query gives them, checked as upstream's
//! `ValidateListOptions` and `ValidateCreateOptions` check them.

use std::time::Duration;

use apimachinery::{
    field::{ErrorList, FieldError, Path},
    go,
    status::Status,
};
use etcd::Revision;

use crate::query::Query;

/// How a resourceVersion is to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum VersionMatch {
    /// Nothing said.
    #[default]
    Unset,
    /// As it was then.
    Exact,
    /// Then or later.
    NotOlderThan,
}

/// Which version is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The newest there is when the request comes.
    #[default]
    Consistent,
    /// Whatever the cache has (`resourceVersion=0`).
    Any,
    /// At least this one.
    NotOlderThan(Revision),
    /// This one.
    Exact(Revision),
}

/// Options of a list or watch.
#[derive(Clone, Debug, Default)]
pub(super) struct ListOptions {
    /// `resourceVersion`, as a number; `None` if not given.
    pub resource_version: Option<Revision>,
    /// `resourceVersionMatch`
    pub version_match: VersionMatch,
    /// What a token forbids: that a version but 0 is asked for, whether it is one or not.
    pub version_given: bool,
    /// At most so many; 0 is all.
    pub limit: usize,
    /// Where the page begins.
    pub continue_token: String,
    /// `watch`, as the query has it.
    pub watch: bool,
    /// `allowWatchBookmarks`
    pub bookmarks: bool,
    /// `sendInitialEvents`
    pub send_initial_events: Option<bool>,
    /// Whether the end of the initial events is to be told: where they are asked for, and where a watch has always begun with them.
    pub initial_events_end: bool,
    /// `timeoutSeconds`: how long a watch lives, not at all if that is negative. None or zero leave it to the server.
    pub timeout: Option<Duration>,
}

impl ListOptions {
    /// Reads and checks. `watch` says whether it is to be one; what is one by its path alone is checked as a list, as upstream.
    pub(super) fn parse(query: &Query, watch: bool) -> Result<Self, Status> {
        let timeout = query.integer("timeoutSeconds")?;
        let limit = query.integer("limit")?.unwrap_or(0);
        let version = query.get("resourceVersion").unwrap_or_default();
        let version_match = query.get("resourceVersionMatch").unwrap_or_default();
        let options = Self {
            resource_version: None,
            version_match: match version_match {
                "Exact" => VersionMatch::Exact,
                "NotOlderThan" => VersionMatch::NotOlderThan,
                _ => VersionMatch::Unset,
            },
            version_given: !matches!(version, "" | "0"),
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: query.get("continue").unwrap_or_default().to_owned(),
            watch: query.flag("watch"),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query
                .get("sendInitialEvents")
                .map(|_| query.flag("sendInitialEvents")),
            initial_events_end: false,
            timeout: timeout.and_then(life),
        };
        let errors = options.validate(version, version_match);
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors));
        }
        if !watch && !options.continue_token.is_empty() && options.version_given {
            return Ok(options);
        }
        let resource_version = parse_version(version).map_err(|e| match watch {
            // Upstream finds this out where it looks for no client's fault.
            true => Status::unclassified(e),
            false => Status::bad_request(format!("invalid resource version: {e}")),
        })?;
        let as_ever = options.watch && version_match.is_empty() && !options.version_given;
        Ok(Self {
            resource_version,
            initial_events_end: options.send_initial_events.unwrap_or(as_ever),
            ..options
        })
    }

    fn validate(&self, version: &str, version_match: &str) -> ErrorList {
        let mut errors = Vec::new();
        if self.watch {
            self.validate_watch(&mut errors, version_match);
            return errors;
        }
        if !version_match.is_empty() {
            self.validate_match(&mut errors, version, version_match);
        }
        if self.send_initial_events.is_some() {
            errors.push(FieldError::forbidden(
                &Path::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        }
        errors
    }

    fn validate_match(&self, errors: &mut ErrorList, version: &str, version_match: &str) {
        let path = Path::new("resourceVersionMatch");
        if version.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !self.continue_token.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if self.version_match == VersionMatch::Unset {
            errors.push(FieldError::not_supported(
                &path,
                version_match,
                &["Exact", "NotOlderThan", ""],
            ));
        }
        if self.version_match == VersionMatch::Exact && version == "0" {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }

    fn validate_watch(&self, errors: &mut ErrorList, version_match: &str) {
        let path = Path::new("resourceVersionMatch");
        if self.send_initial_events.is_some() && self.version_match != VersionMatch::NotOlderThan {
            errors.push(FieldError::forbidden(
                &path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if !version_match.is_empty() {
            if self.send_initial_events.is_none() {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if self.version_match != VersionMatch::NotOlderThan {
                errors.push(FieldError::not_supported(
                    &path,
                    version_match,
                    &["NotOlderThan"],
                ));
            }
        }
        if !self.continue_token.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    }

    /// Which version a list wants. A limit with a version and no match means that very version, as upstream.
    pub(super) fn freshness(&self) -> Freshness {
        match (self.resource_version, self.version_match) {
            (None, _) => Freshness::Consistent,
            (Some(Revision(0)), _) => Freshness::Any,
            (Some(revision), VersionMatch::Exact) => Freshness::Exact(revision),
            (Some(revision), VersionMatch::NotOlderThan) => Freshness::NotOlderThan(revision),
            (Some(revision), VersionMatch::Unset) if self.limit > 0 => Freshness::Exact(revision),
            (Some(revision), VersionMatch::Unset) => Freshness::NotOlderThan(revision),
        }
    }
}

/// A resourceVersion as a revision; the empty one is `None`.
pub(super) fn parse_version(version: &str) -> Result<Option<Revision>, String> {
    if version.is_empty() {
        return Ok(None);
    }
    match go::parse_uint::<u64>(version) {
        Ok(number) => Ok(Some(Revision(i64::try_from(number).unwrap_or(i64::MAX)))),
        Err(error) => Err(format!(
            "resourceVersion: Invalid value: {}: {error}",
            apimachinery::quote(version)
        )),
    }
}

/// How strictly unknown and duplicate fields are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped with a warning.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// Options of a create, update or patch.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteOptions {
    /// `dryRun=All`
    pub dry_run: bool,
    /// `fieldManager`, or what stands in for it.
    pub field_manager: String,
    /// `fieldValidation`
    pub field_validation: FieldValidation,
    /// `force`, for apply.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads and checks; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(super) fn parse(
        query: &Query,
        field_manager: String,
        kind: &str,
        apply: bool,
    ) -> Result<Self, Status> {
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        let validation = query.get("fieldValidation").unwrap_or_default();
        let manager = query.get("fieldManager").unwrap_or_default();
        let force = query.get("force").map(|_| query.flag("force"));
        let mut errors = Vec::new();
        if kind == "PatchOptions" {
            if !apply && force.is_some() {
                errors.push(FieldError::forbidden(
                    &Path::new("force"),
                    "may not be specified for non-apply patch",
                ));
            }
            if apply && manager.is_empty() {
                errors.push(FieldError::required(
                    &Path::new("fieldManager"),
                    "is required for apply patch",
                ));
            }
        }
        errors.extend(api::meta::validate_field_manager(
            manager,
            &Path::new("fieldManager"),
        ));
        errors.extend(dry_run_errors(&dry_run));
        if !matches!(validation, "" | "Ignore" | "Warn" | "Strict") {
            errors.push(FieldError::not_supported(
                &Path::new("fieldValidation"),
                validation,
                &["", "Ignore", "Strict", "Warn"],
            ));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        Ok(Self {
            dry_run: !dry_run.is_empty(),
            field_manager,
            field_validation: match validation {
                "Ignore" => FieldValidation::Ignore,
                "Strict" => FieldValidation::Strict,
                _ => FieldValidation::Warn,
            },
            force,
        })
    }
}

/// Complaints about `dryRun`: the one value is `All`.
pub(super) fn dry_run_errors(values: &[&str]) -> ErrorList {
    if values.iter().all(|value| *value == "All") {
        return Vec::new();
    }
    vec![FieldError::not_supported(
        &Path::new("dryRun"),
        serde_json::json!(values),
        &["All"],
    )]
}

/// How long so many seconds are in Go's 64 bits of nanoseconds, which overflow silently. Zero is none.
fn life(seconds: i64) -> Option<Duration> {
    let nanoseconds = seconds.wrapping_mul(1_000_000_000);
    (nanoseconds != 0).then(|| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_as_go_counts_them() {
        let cases = [
            (0, None),
            (5, Some(Duration::from_secs(5))),
            (-1, Some(Duration::ZERO)),
            (9_223_372_036, Some(Duration::from_secs(9_223_372_036))),
            (9_223_372_037, Some(Duration::ZERO)),
            (i64::MAX, Some(Duration::ZERO)),
            (i64::MIN, None),
        ];
        for (seconds, expected) in cases {
            assert_eq!(life(seconds), expected, "{seconds}");
        }
    }
}
