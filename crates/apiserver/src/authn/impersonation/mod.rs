//! Impersonation: who may `impersonate` a user asks as that user (`kubectl --as`).
//!
//! The headers say whom; [`mode`] asks the authorizer, in one of five ways (KEP-5284, on by default since 1.36). The narrower ways come
//! first, and the way that last let an asker through is tried before all others, so that what is paid is one way's questions.

mod metrics;
mod mode;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use apimachinery::status::Status;
use http::{HeaderMap, HeaderName};

use crate::{authz::Authorizer, request_info::RequestInfo, user::UserInfo};
use metrics::Counted;
pub use metrics::ImpersonationMetrics;
use mode::Mode;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// So many askers' ways are remembered; when there are more, all are forgotten.
const REMEMBERED_ASKERS: usize = 1024;

/// Lets askers act as others.
pub struct Impersonator {
    authorizer: Arc<dyn Authorizer>,
    metrics: ImpersonationMetrics,
    /// The way that last let an asker through, by the asker's name. Bounded by [`REMEMBERED_ASKERS`].
    last: Mutex<HashMap<String, Mode>>,
}

/// Who is acted as.
#[derive(Debug)]
pub struct Impersonated {
    /// The user from here on.
    pub user: UserInfo,
    /// The verb that allowed it where the asker is constrained to what it may do as that user; for the audit log.
    pub constraint: Option<String>,
}

impl Impersonator {
    /// Asks `authorizer`.
    pub fn new(authorizer: Arc<dyn Authorizer>, metrics: ImpersonationMetrics) -> Self {
        Self {
            authorizer,
            metrics,
            last: Mutex::default(),
        }
    }

    /// The user to act as: `None` when the request does not impersonate. The headers are taken out, so that nobody behind acts on
    /// them again.
    pub async fn impersonate(
        &self,
        headers: &mut HeaderMap,
        asker: &UserInfo,
        request: &RequestInfo,
    ) -> Result<Option<Impersonated>, Status> {
        let Some(wanted) = claimed(headers)? else {
            return Ok(None);
        };
        strip(headers);
        let start = Instant::now();
        let outcome = self.try_all(&wanted, asker, request).await;
        let mode = outcome.as_ref().ok().map(|(mode, _)| *mode);
        self.metrics.attempted(mode, start.elapsed());
        outcome.map(|(_, found)| Some(found))
    }

    /// The first way that leads from `asker` to `wanted`; the refusal of the first one that was tried if none does.
    async fn try_all(
        &self,
        wanted: &UserInfo,
        asker: &UserInfo,
        request: &RequestInfo,
    ) -> Result<(Mode, Impersonated), Status> {
        let last = self.last_mode(&asker.name);
        let ways = last
            .into_iter()
            .chain(Mode::ALL.into_iter().filter(|mode| Some(*mode) != last));
        let mut first_refusal = None;
        for mode in ways {
            if !mode.applies(wanted, asker) {
                continue;
            }
            let authorizer = Counted {
                authorizer: &*self.authorizer,
                mode,
                metrics: &self.metrics,
            };
            match mode.check(&authorizer, wanted, asker, request).await {
                Ok(user) => {
                    self.remember(&asker.name, mode);
                    let constraint = mode.constraint();
                    return Ok((mode, Impersonated { user, constraint }));
                }
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        Err(first_refusal.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
    }

    fn last_mode(&self, asker: &str) -> Option<Mode> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(asker).copied()
    }

    fn remember(&self, asker: &str, mode: Mode) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(asker) == Some(&mode) {
            return;
        }
        if last.len() >= REMEMBERED_ASKERS {
            last.clear();
        }
        last.insert(asker.to_owned(), mode);
    }
}

/// What the headers say; anything without a user's name is an error.
fn claimed(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    let values = |name: &HeaderName| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let user = UserInfo {
        name: values(&USER).into_iter().next().unwrap_or_default(),
        uid: values(&UID).into_iter().next().unwrap_or_default(),
        groups: values(&GROUP),
        extra: extra(headers),
    };
    if !user.name.is_empty() {
        return Ok(Some(user));
    }
    if user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty() {
        return Ok(None);
    }
    Err(Status::bad_request(format!(
        "requested {} without impersonating a user name",
        shown(&user)
    )))
}

/// The asker sees what it sent, as upstream's type prints.
fn shown(user: &UserInfo) -> String {
    let list = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[]string{{{}}}", values.join(", "))
    };
    let groups = match user.groups.as_slice() {
        [] => "[]string(nil)".to_owned(),
        groups => list(groups),
    };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let entries = user.extra.iter();
        let entries = entries.map(|(key, values)| format!("{key:?}:{}", list(values)));
        format!(
            "map[string][]string{{{}}}",
            entries.collect::<Vec<_>>().join(", ")
        )
    };
    format!(
        "&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        user.uid
    )
}

/// Header `Impersonate-Extra-Some%2fKey: value` claims `some/key`.
fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else {
            continue;
        };
        if let Ok(value) = value.to_str() {
            extra
                .entry(percent_decode(key))
                .or_default()
                .push(value.to_owned());
        }
    }
    extra
}

pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) if first == b'%' => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_or_else(|_| text.to_owned(), |text| text.to_ascii_lowercase())
}

fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
