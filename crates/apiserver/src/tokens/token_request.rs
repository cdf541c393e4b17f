//! `serviceaccounts/<name>/token`: a token for that account, bound to what the request names (KEP-1205).

use std::sync::Arc;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::GroupResource,
    meta, names, quote,
    status::Status,
};
use async_trait::async_trait;
use serde_json::json;

use super::{
    Issuer,
    claims::{Bindings, Reference},
};
use crate::{
    lookup,
    reader::ObjectReader,
    virtual_resource::{Question, VirtualResource},
};

const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const PODS: GroupResource = GroupResource::new("", "pods");
const NODES: GroupResource = GroupResource::new("", "nodes");
const SECRETS: GroupResource = GroupResource::new("", "secrets");

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3600;
/// What the token volume of a pod asks for; nobody else asks for so odd a number.
const INJECTED_SECONDS: i64 = 3607;
/// How long such a token lasts in truth, so that clients that never read their token again keep working (KEP-1205).
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// The handler.
pub struct TokenRequest {
    /// Signs.
    pub issuer: Arc<Issuer>,
    /// `--api-audiences`: for whom a token is when the request does not say.
    pub audiences: Vec<String>,
    /// `--service-account-max-token-expiration`.
    pub max_seconds: Option<i64>,
    /// `--service-account-extend-token-expiration`.
    pub extend_expiration: bool,
    /// Where accounts, pods, secrets and nodes are.
    pub reader: Arc<dyn ObjectReader>,
}

#[async_trait]
impl VirtualResource for TokenRequest {
    fn resource(&self) -> GroupResource {
        SERVICE_ACCOUNTS
    }

    fn subresource(&self) -> &'static str {
        "token"
    }

    fn default(&self, request: &mut Object) {
        if lookup::number(request, &["spec", "expirationSeconds"]).is_none() {
            lookup::set(request, &["spec", "expirationSeconds"], DEFAULT_SECONDS);
        }
    }

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let Question {
            request: info,
            object: mut request,
            ..
        } = question;
        check_name(&request, &info.name)?;
        let account = self
            .find(&SERVICE_ACCOUNTS, &info.namespace, &info.name)
            .await?;
        identify(&mut request, &account)?;
        request.remove("status");
        let now = self.issuer.clock.now();
        meta::set_creation_timestamp(&mut request, &seconds(now));
        let errors = self.default_and_validate(&mut request);
        if !errors.is_empty() {
            // Upstream names the kind alone.
            return Err(Status::invalid(GROUP, KIND, "", &errors));
        }
        let asked =
            lookup::number(&request, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_SECONDS);
        let granted = self.max_seconds.map_or(asked, |max| asked.min(max));
        let audiences = lookup::strings(&request, &["spec", "audiences"]);

        let mut bindings = Bindings {
            namespace: info.namespace.clone(),
            service_account: Reference {
                name: info.name.clone(),
                uid: meta::uid(&account).to_owned(),
            },
            ..Bindings::default()
        };
        self.bind(&request, &mut bindings).await?;
        let mut lifetime = granted;
        if self.extend_expiration
            && bindings.pod.is_some()
            && asked == INJECTED_SECONDS
            && audiences
                .iter()
                .all(|audience| self.audiences.contains(audience))
        {
            bindings.warn_after = Some(now.as_second() + granted);
            lifetime = EXTENDED_SECONDS;
        }
        let token = self
            .issuer
            .issue(bindings, &audiences, lifetime)
            .map_err(Status::internal)?;
        // The client is told the expiry it asked for, and refreshes in time for it.
        let expires =
            jiff::Timestamp::from_second(now.as_second() + granted).map_err(Status::internal)?;
        lookup::set(&mut request, &["spec", "expirationSeconds"], granted);
        request.insert(
            "status".to_owned(),
            json!({"token": token, "expirationTimestamp": seconds(expires)}),
        );
        Ok(request)
    }
}

impl TokenRequest {
    fn default_and_validate(&self, request: &mut Object) -> ErrorList {
        if lookup::list(request, &["spec", "audiences"]).is_empty() {
            lookup::set(request, &["spec", "audiences"], self.audiences.clone());
        }
        let seconds = lookup::number(request, &["spec", "expirationSeconds"]).unwrap_or_default();
        let path = Path::new("spec").child("expirationSeconds");
        let mut errors = ErrorList::new();
        if seconds < MIN_SECONDS {
            errors.push(FieldError::invalid(
                &path,
                seconds,
                "may not specify a duration less than 10 minutes",
            ));
        }
        if seconds > MAX_SECONDS {
            errors.push(FieldError::invalid(
                &path,
                seconds,
                "may not specify a duration larger than 2^32 seconds",
            ));
        }
        errors
    }

    async fn bind(&self, request: &Object, bindings: &mut Bindings) -> Result<(), Status> {
        let Some(reference) = lookup::map(request, &["spec", "boundObjectRef"]) else {
            return Ok(());
        };
        let field = |name| lookup::text(reference, &[name]);
        let (kind, name) = (field("kind"), field("name"));
        let (group, version) = group_and_version(field("apiVersion"));
        // Any version of these kinds will do.
        let (resource, namespace) = match (group, kind) {
            ("", "Pod") => (PODS, bindings.namespace.as_str()),
            ("", "Secret") => (SECRETS, bindings.namespace.as_str()),
            ("", "Node") => (NODES, ""),
            _ => {
                let message =
                    format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(Status::bad_request(message));
            }
        };
        if name.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        if let Some(complaint) = names::path_segment_name(name).first() {
            let message = format!("Name parameter invalid: {}: {complaint}", quote(name));
            return Err(Status::bad_request(message));
        }
        let object = self.find(&resource, namespace, name).await?;
        let uid = meta::uid(&object);
        let bound = Reference {
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        let asked_uid = field("uid");
        let conflict = || {
            let message = format!(
                "the UID in the bound object reference ({asked_uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            // Upstream takes the kind for the resource.
            let kind = GroupResource {
                resource: kind.to_owned().into(),
                ..resource.clone()
            };
            Status::conflict(&kind, name, message)
        };
        let is_other = !asked_uid.is_empty() && asked_uid != uid;
        match kind {
            "Secret" | "Node" if is_other => return Err(conflict()),
            "Secret" => bindings.secret = Some(bound),
            "Node" => bindings.node = Some(bound),
            _ => {
                let account = &bindings.service_account.name;
                if lookup::text(&object, &["spec", "serviceAccountName"]) != account {
                    let message = format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    );
                    return Err(Status::bad_request(message));
                }
                if is_other {
                    return Err(conflict());
                }
                bindings.pod = Some(bound);
                let node = lookup::text(&object, &["spec", "nodeName"]);
                if !node.is_empty() {
                    // A node that is gone leaves its name: the token says where the pod was.
                    let uid = self
                        .find(&NODES, "", node)
                        .await
                        .map(|node| meta::uid(&node).to_owned());
                    bindings.node = Some(Reference {
                        name: node.to_owned(),
                        uid: uid.unwrap_or_default(),
                    });
                }
            }
        }
        Ok(())
    }

    async fn find(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let found = match self.reader.get(resource, namespace, name) {
            Some(object) => Some(object),
            None => self.reader.get_fresh(resource, namespace, name).await?,
        };
        found.ok_or_else(|| Status::not_found(resource, name))
    }
}

/// Group and version of an `apiVersion`; neither of what is none.
fn group_and_version(api_version: &str) -> (&str, &str) {
    match api_version.split_once('/') {
        None => ("", api_version),
        Some((_, version)) if version.contains('/') => ("", ""),
        Some(both) => both,
    }
}

/// The name comes from the path; a body that says otherwise is refused.
fn check_name(request: &Object, from_url: &str) -> Result<(), Status> {
    let given = meta::name(request);
    if given.is_empty() || given == from_url {
        return Ok(());
    }
    let errors = vec![FieldError::invalid(
        &Path::new("metadata").child("name"),
        given,
        "must match the service account name if specified",
    )];
    Err(Status::invalid(GROUP, KIND, from_url, &errors))
}

/// The request bears name, namespace and uid of its account; whoever gives a uid means that very one.
fn identify(request: &mut Object, account: &Object) -> Result<(), Status> {
    let (name, uid) = (meta::name(account), meta::uid(account));
    let given = meta::uid(request);
    if !given.is_empty() && given != uid {
        let message = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict(
            &GroupResource::new(GROUP, KIND),
            name,
            message,
        ));
    }
    meta::set_name(request, name);
    meta::set_namespace(request, meta::namespace(account));
    meta::set_uid(request, uid);
    Ok(())
}

/// RFC 3339 to the second.
fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: serde_json::Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_request_is_of_its_account() {
        let account = object(json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}}));
        let mut request = object(json!({"metadata": {"labels": {"x": "y"}}}));
        identify(&mut request, &account).unwrap();
        assert_eq!(
            request["metadata"],
            json!({"labels": {"x": "y"}, "name": "a", "namespace": "n", "uid": "u"})
        );
        let mut other = object(json!({"metadata": {"uid": "v"}}));
        let refused = identify(&mut other, &account).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                409,
                "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"a\": the UID in the token request (v) does not match the UID of the service account (u)"
            )
        );
        let named = object(json!({"metadata": {"name": "b"}}));
        let refused = check_name(&named, "a").unwrap_err();
        assert_eq!(
            refused.message,
            "TokenRequest.authentication.k8s.io \"a\" is invalid: metadata.name: Invalid value: \"b\": must match the service account name if specified"
        );
    }

    #[test]
    fn api_versions_are_taken_apart() {
        for (text, expected) in [
            ("v1", ("", "v1")),
            ("apps/v1", ("apps", "v1")),
            ("a/b/c", ("", "")),
            ("", ("", "")),
        ] {
            assert_eq!(group_and_version(text), expected);
        }
    }
}
