//! What a namespace's labels ask for: `pod-security.kubernetes.io/{enforce,warn,audit}` and their versions.

use std::fmt;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    meta,
};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything goes.
    #[default]
    Privileged,
    /// No known way out of the container.
    Baseline,
    /// What hardening recommends.
    Restricted,
}

/// The minor version whose rules hold; none for the latest.
type Minor = Option<u32>;

/// A level and the version of its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) minor: Minor,
}

impl fmt::Display for LevelVersion {
    /// `baseline:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What holds in a namespace. Audit levels are for the audit log, which is written elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: LevelVersion,
    pub(super) warn: LevelVersion,
}

impl Policy {
    /// Of a namespace, and what is wrong with its labels. As upstream has it, a label that cannot be read is as strict as can be when it
    /// enforces, and nothing when it only warns; who is not warned otherwise is warned of what is enforced.
    pub(super) fn of(namespace: &Object) -> (Self, ErrorList) {
        let mut errors = ErrorList::new();
        let enforce = read(namespace, "enforce", Level::Restricted, &mut errors);
        let warn = match meta::label(namespace, &format!("{PREFIX}warn")) {
            Some(_) => read(namespace, "warn", Level::Privileged, &mut errors),
            None => enforce,
        };
        read(namespace, "audit", Level::Privileged, &mut errors);
        (Self { enforce, warn }, errors)
    }
}

fn read(namespace: &Object, mode: &str, otherwise: Level, errors: &mut ErrorList) -> LevelVersion {
    let label = |suffix: &str| {
        let key = format!("{PREFIX}{mode}{suffix}");
        let value = meta::label(namespace, &key)?.to_owned();
        Some((Path::new("metadata").child("labels").key(&key), value))
    };
    let level = label("").map(|(path, value)| match value.as_str() {
        "privileged" => Level::Privileged,
        "baseline" => Level::Baseline,
        "restricted" => Level::Restricted,
        _ => {
            errors.push(FieldError::invalid(
                &path,
                value,
                "must be one of privileged, baseline, restricted",
            ));
            otherwise
        }
    });
    let minor = label("-version").and_then(|(path, value)| match parse_version(&value) {
        Some(minor) => minor,
        None => {
            errors.push(FieldError::invalid(
                &path,
                value,
                "must be \"latest\" or \"v1.x\"",
            ));
            None
        }
    });
    LevelVersion {
        level: level.unwrap_or_default(),
        minor,
    }
}

fn parse_version(text: &str) -> Option<Minor> {
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.")?;
    let plain =
        digits == "0" || !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().map(Some)
}
