//! Kubernetes' semantic versions: `semver('1.2.3').isLessThan(semver('v1.3', true))`.

use std::cmp::Ordering;

use super::{Opaque, Result, arguments, failed, mismatch, opaque, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "semver", "(string) -> kubernetes.Semver", Cost::Scan, semver;
    "semver", "(string, bool) -> kubernetes.Semver", Cost::Scan, semver;
    "isSemver", "(string) -> bool", Cost::Scan, is_semver;
    "isSemver", "(string, bool) -> bool", Cost::Scan, is_semver;
    "isGreaterThan", "kubernetes.Semver.(kubernetes.Semver) -> bool", Cost::Fixed(1), |args| against(args, |o| Value::Bool(o.is_gt()));
    "isLessThan", "kubernetes.Semver.(kubernetes.Semver) -> bool", Cost::Fixed(1), |args| against(args, |o| Value::Bool(o.is_lt()));
    "compareTo", "kubernetes.Semver.(kubernetes.Semver) -> int", Cost::Fixed(1), |args| against(args, |o| Value::Int(o as i64));
    "major", "kubernetes.Semver.() -> int", Cost::Fixed(1), |args| number(args, 0);
    "minor", "kubernetes.Semver.() -> int", Cost::Fixed(1), |args| number(args, 1);
    "patch", "kubernetes.Semver.() -> int", Cost::Fixed(1), |args| number(args, 2);
}

/// A version.
#[derive(Clone, Debug)]
pub struct Semver {
    numbers: [u64; 3],
    prerelease: Vec<String>,
}

impl Semver {
    /// The order of versions; what is built of them does not count.
    pub(crate) fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.compare_prerelease(other),
            }
        })
    }

    fn compare_prerelease(&self, other: &Self) -> Ordering {
        for (a, b) in self.prerelease.iter().zip(&other.prerelease) {
            let order = match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            };
            if order.is_ne() {
                return order;
            }
        }
        self.prerelease.len().cmp(&other.prerelease.len())
    }
}

/// Drops a leading `v`, leading zeros, and supplies the minor and patch that are missing.
fn normalized(text: &str) -> String {
    let text = text.trim().strip_prefix('v').unwrap_or(text.trim());
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<String> = numbers
        .splitn(3, '.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0".to_owned(),
            stripped if part.bytes().all(|b| b.is_ascii_digit()) => stripped.to_owned(),
            _ => part.to_owned(),
        })
        .collect();
    while parts.len() < 3 && rest.is_empty() {
        parts.push("0".to_owned());
    }
    parts.join(".") + rest
}

fn parse(text: &str) -> std::result::Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (rest, None),
    };
    let (patch, prerelease) = match rest.split_once('-') {
        Some((patch, prerelease)) => (patch, Some(prerelease)),
        None => (rest, None),
    };
    let mut numbers = [0; 3];
    for ((slot, part), name) in numbers
        .iter_mut()
        .zip([major, minor, patch])
        .zip(["Major", "Minor", "Patch"])
    {
        let kind = format!("{name} number");
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "Invalid character(s) found in {} \"{part}\"",
                kind.to_lowercase()
            ));
        }
        if part.len() > 1 && part.starts_with('0') {
            return Err(format!("{kind} must not contain leading zeroes \"{part}\""));
        }
        *slot = part
            .parse()
            .map_err(|_| format!("{kind} is out of range \"{part}\""))?;
    }
    let identifiers = |text: Option<&str>, what: &str| {
        let Some(text) = text else {
            return Ok(Vec::new());
        };
        text.split('.')
            .map(|part| {
                if part.is_empty() {
                    return Err(format!("{what} meta data is empty"));
                }
                if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                    return Err(format!("Invalid character(s) found in {what} \"{part}\""));
                }
                Ok(part.to_owned())
            })
            .collect::<std::result::Result<Vec<_>, String>>()
    };
    let prerelease = identifiers(prerelease, "prerelease")?;
    identifiers(build, "build meta data")?;
    if let Some(part) = prerelease
        .iter()
        .find(|p| p.len() > 1 && p.starts_with('0') && p.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!(
            "Numeric PreRelease version must not contain leading zeroes \"{part}\""
        ));
    }
    Ok(Semver {
        numbers,
        prerelease,
    })
}

/// Reads the arguments of `semver` and `isSemver`.
fn read(args: &[Value<'_>]) -> Option<std::result::Result<Semver, String>> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Some(parse(text)),
        [Value::String(text), Value::Bool(true)] => Some(parse(&normalized(text))),
        _ => None,
    }
}

fn semver<'a>(args: &[Value<'a>]) -> Result<'a> {
    match read(args) {
        Some(Ok(version)) => Ok(Value::opaque(Opaque::Semver(version))),
        Some(Err(message)) => failed(message),
        None => mismatch(),
    }
}

fn is_semver<'a>(args: &[Value<'a>]) -> Result<'a> {
    match read(args) {
        Some(parsed) => Ok(Value::Bool(parsed.is_ok())),
        None => mismatch(),
    }
}

fn against<'a>(args: &[Value<'a>], what: fn(Ordering) -> Value<'static>) -> Result<'a> {
    arguments!(args, [a, b]);
    Ok(what(opaque!(a, Semver).cmp(opaque!(b, Semver))))
}

fn number<'a>(args: &[Value<'a>], at: usize) -> Result<'a> {
    arguments!(args, [value]);
    let number = opaque!(value, Semver).numbers[at];
    Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}
