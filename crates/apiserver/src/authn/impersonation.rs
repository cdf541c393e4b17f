//! Impersonation: who may `impersonate` a user asks as that user (`kubectl --as`).
//!
//! Every part that is claimed (user or service account, uid, each group, each extra) is authorized by itself, as the asker.

use http::{HeaderMap, HeaderName};
use std::collections::BTreeMap;

use apimachinery::{gvk::GroupVersion, status::Status};

use super::service_account;
use crate::{
    authz::{Attributes, Authorizer, Decision, forbidden},
    request_info::RequestInfo,
    user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo},
};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// The user to act as: `None` when the request does not impersonate. The headers are taken out, so that nobody behind acts on them again.
pub async fn impersonate(
    headers: &mut HeaderMap,
    asker: &UserInfo,
    authorizer: &dyn Authorizer,
) -> Result<Option<UserInfo>, Status> {
    let Some(mut user) = claimed(headers)? else {
        return Ok(None);
    };
    for check in checks(&user) {
        let attributes = Attributes {
            user: asker,
            request: &check,
        };
        let (decision, reason) = authorizer.authorize(attributes).await;
        if decision != Decision::Allow {
            return Err(forbidden(attributes, &reason));
        }
    }
    complete_groups(&mut user, headers.contains_key(GROUP));
    strip(headers);
    Ok(Some(user))
}

/// What the headers say; groups without a user are an error.
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
    Err(Status::internal(format!(
        "requested {} without impersonating a user",
        json_like(&user)
    )))
}

/// The asker sees what it sent.
fn json_like(user: &UserInfo) -> String {
    format!(
        "uid={:?} groups={:?} extra={:?}",
        user.uid, user.groups, user.extra
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

fn percent_decode(text: &str) -> String {
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

/// One question to the authorizer for each part.
fn checks(user: &UserInfo) -> Vec<RequestInfo> {
    let core = GroupVersion::new("", "v1");
    let authentication = GroupVersion::new("authentication.k8s.io", "v1");
    let check = |group_version: &GroupVersion,
                 namespace: &str,
                 resource: &str,
                 subresource: &str,
                 name: &str| RequestInfo {
        is_resource: true,
        verb: "impersonate".to_owned(),
        group_version: group_version.clone(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    };
    let mut checks = vec![match service_account::split_username(&user.name) {
        Some((namespace, name)) => check(&core, namespace, "serviceaccounts", "", name),
        None => check(&core, "", "users", "", &user.name),
    }];
    checks.extend(
        user.groups
            .iter()
            .map(|group| check(&core, "", "groups", "", group)),
    );
    for (key, values) in &user.extra {
        checks.extend(
            values
                .iter()
                .map(|value| check(&authentication, "", "userextras", key, value)),
        );
    }
    if !user.uid.is_empty() {
        checks.push(check(&authentication, "", "uids", "", &user.uid));
    }
    checks
}

/// A service account without stated groups has its own; everyone is authenticated but the anonymous.
fn complete_groups(user: &mut UserInfo, stated: bool) {
    if !stated && let Some((namespace, _)) = service_account::split_username(&user.name) {
        user.groups = service_account::groups(namespace);
    }
    let has = |groups: &[String], wanted: &str| groups.iter().any(|group| group == wanted);
    if user.name == ANONYMOUS {
        if !has(&user.groups, UNAUTHENTICATED) {
            user.groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !has(&user.groups, AUTHENTICATED) && !has(&user.groups, UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
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
mod tests {
    use super::*;
    use crate::authz::AlwaysAllow;

    #[tokio::test]
    async fn parts_are_taken_from_the_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(USER, "system:serviceaccount:ns:sa".parse().unwrap());
        headers.append(
            "impersonate-extra-example.com%2fscope",
            "a".parse().unwrap(),
        );
        let user = impersonate(&mut headers, &UserInfo::default(), &AlwaysAllow)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:ns",
                AUTHENTICATED
            ]
        );
        assert_eq!(user.extra["example.com/scope"], ["a"]);
        assert!(headers.is_empty());
    }

    #[tokio::test]
    async fn groups_need_a_user() {
        let mut headers = HeaderMap::new();
        headers.insert(GROUP, "g".parse().unwrap());
        assert_eq!(
            impersonate(&mut headers, &UserInfo::default(), &AlwaysAllow)
                .await
                .unwrap_err()
                .code,
            500
        );
    }
}
