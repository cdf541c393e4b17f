//! `serviceaccounts/<name>/token`: a token for that account, bound to what the request names (KEP-1205).

use std::sync::Arc;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::GroupResource,
    meta,
    status::Status,
};
use async_trait::async_trait;
use serde_json::{Value, json};

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

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let Question {
            request: info,
            object: mut request,
            ..
        } = question;
        let account = self
            .find(&SERVICE_ACCOUNTS, &info.namespace, &info.name)
            .await?;
        name_from_url(&mut request, "name", &info.name)?;
        name_from_url(&mut request, "namespace", &info.namespace)?;
        let errors = self.default_and_validate(&mut request);
        if !errors.is_empty() {
            return Err(Status::invalid(
                "authentication.k8s.io",
                "TokenRequest",
                &info.name,
                &errors,
            ));
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
        let now = self.issuer.clock.now();
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
        lookup::set(
            &mut request,
            &["metadata", "creationTimestamp"],
            seconds(now),
        );
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
        if lookup::number(request, &["spec", "expirationSeconds"]).is_none() {
            lookup::set(request, &["spec", "expirationSeconds"], DEFAULT_SECONDS);
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
        let (kind, api_version, name) = (field("kind"), field("apiVersion"), field("name"));
        let (resource, namespace) = match (api_version, kind) {
            ("v1", "Pod") => (PODS, bindings.namespace.as_str()),
            ("v1", "Secret") => (SECRETS, bindings.namespace.as_str()),
            ("v1", "Node") => (NODES, ""),
            _ => {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                let message =
                    format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(Status::bad_request(message));
            }
        };
        let object = self.find(&resource, namespace, name).await?;
        let uid = meta::uid(&object);
        let bound = Reference {
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        let asked_uid = field("uid");
        if !asked_uid.is_empty() && asked_uid != uid {
            let message = format!(
                "the UID in the bound object reference ({asked_uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&resource, name, message));
        }
        match kind {
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
            None => self.reader.get_fresh(resource, namespace, name).await,
        };
        found.ok_or_else(|| Status::not_found(resource, name))
    }
}

/// Name and namespace come from the path; a body that says otherwise is refused.
fn name_from_url(request: &mut Object, field: &str, from_url: &str) -> Result<(), Status> {
    let given = lookup::text(request, &["metadata", field]);
    if !given.is_empty() && given != from_url {
        let message = match field {
            "name" => format!("name on the request ({given}) does not match the name on the URL ({from_url})"),
            _ => "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
        };
        return Err(Status::bad_request(message));
    }
    lookup::set(request, &["metadata", field], Value::from(from_url));
    Ok(())
}

/// RFC 3339 to the second.
fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
