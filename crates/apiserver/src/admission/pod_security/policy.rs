//! What a namespace's labels ask for: `pod-security.kubernetes.io/{enforce,warn,audit}` and their versions.

use std::fmt;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    meta,
};

/// Of the labels, and of what the audit log is told.
pub(super) const PREFIX: &str = "pod-security.kubernetes.io/";

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

impl Level {
    /// As labels name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// The minor version whose rules hold; none for the latest.
pub(super) type Minor = Option<u32>;

/// A level and the version of its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) minor: Minor,
}

impl fmt::Display for LevelVersion {
    /// `baseline:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.name();
        match self.minor {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl LevelVersion {
    /// Whether it makes no difference which of the two holds.
    fn is_equivalent(self, other: Self) -> bool {
        let free = |of: Self| of.level == Level::Privileged;
        self == other || free(self) && free(other)
    }
}

/// What holds in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: LevelVersion,
    pub(super) audit: LevelVersion,
    pub(super) warn: LevelVersion,
}

impl Policy {
    /// Of a namespace, and what is wrong with its labels; what they leave open is as in `defaults`. As upstream has it, a label that cannot be
    /// read is as strict as can be when it enforces, and nothing when it only warns; who is not warned otherwise is warned of what is
    /// enforced beyond the default.
    pub(super) fn of(namespace: &Object, defaults: Self) -> (Self, ErrorList) {
        let mut errors = ErrorList::new();
        let mut labels = Labels {
            namespace,
            errors: &mut errors,
        };
        let mut policy = defaults;
        let enforced = labels.read("enforce", &mut policy.enforce, Level::Restricted);
        labels.read("audit", &mut policy.audit, Level::Privileged);
        let warned = labels.read("warn", &mut policy.warn, Level::Privileged);
        let stricter = policy.enforce.level > policy.warn.level;
        if warned == Read::Absent && enforced == Read::Valid && stricter {
            policy.warn.level = policy.enforce.level;
            if meta::label(namespace, &format!("{PREFIX}warn-version")).is_none() {
                policy.warn.minor = policy.enforce.minor;
            }
        }
        (policy, errors)
    }

    /// What a namespace's labels ask for beyond nothing: `enforce=baseline:latest, warn=…`.
    pub(super) fn described_by(&self, namespace: &Object) -> String {
        let modes = [
            ("enforce", self.enforce),
            ("audit", self.audit),
            ("warn", self.warn),
        ];
        let is_labelled = |mode: &str| {
            ["", "-version"]
                .iter()
                .any(|suffix| meta::label(namespace, &format!("{PREFIX}{mode}{suffix}")).is_some())
        };
        let described: Vec<String> = modes
            .into_iter()
            .filter(|(mode, level)| level.level != Level::Privileged && is_labelled(mode))
            .map(|(mode, level)| format!("{mode}={level}"))
            .collect();
        described.join(", ")
    }

    /// Whether nothing holds anybody back.
    pub(super) fn is_privileged(&self) -> bool {
        self.is_equivalent(&Self::default())
    }

    /// Whether it makes no difference which of the two holds.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        self.enforce.is_equivalent(other.enforce)
            && self.audit.is_equivalent(other.audit)
            && self.warn.is_equivalent(other.warn)
    }
}

/// Whether the label of a level is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Absent,
    Valid,
    Invalid,
}

struct Labels<'a> {
    namespace: &'a Object,
    errors: &'a mut ErrorList,
}

impl Labels<'_> {
    fn read(&mut self, mode: &str, into: &mut LevelVersion, otherwise: Level) -> Read {
        let level = self.label(&format!("{PREFIX}{mode}"), parse_level);
        let read = match level {
            None => Read::Absent,
            Some(Ok(level)) => {
                into.level = level;
                Read::Valid
            }
            Some(Err(())) => {
                into.level = otherwise;
                Read::Invalid
            }
        };
        if let Some(minor) = self.label(&format!("{PREFIX}{mode}-version"), parse_version) {
            into.minor = minor.unwrap_or_default();
        }
        read
    }

    fn label<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<Result<T, ()>> {
        let value = meta::label(self.namespace, key)?;
        Some(parse(value).map_err(|reason| {
            let at = Path::new("metadata").child("labels").key(key);
            self.errors.push(FieldError::invalid(&at, value, reason));
        }))
    }
}

pub(super) fn parse_level(text: &str) -> Result<Level, &'static str> {
    match text {
        "privileged" => Ok(Level::Privileged),
        "baseline" => Ok(Level::Baseline),
        "restricted" => Ok(Level::Restricted),
        _ => Err("must be one of privileged, baseline, restricted"),
    }
}

pub(super) fn parse_version(text: &str) -> Result<Minor, &'static str> {
    if text == "latest" {
        return Ok(None);
    }
    let digits = text.strip_prefix("v1.").unwrap_or_default();
    let plain = digits == "0"
        || !digits.is_empty()
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
    let minor = plain.then(|| digits.parse().ok()).flatten();
    minor.map(Some).ok_or("must be \"latest\" or \"v1.x\"")
}
