//! `authorizer` in expressions: the server's own authorizers, asked on behalf of the request's user or of a service account.
//!
//! Evaluation is synchronous. RBAC and the node authorizer answer at once; one that has to wait (a webhook) is waited for where the runtime
//! allows it, and is an error of the expression where it does not.

use std::sync::Arc;

use cel::{Attributes, Authorize, Decision as Answer};
use futures_util::FutureExt as _;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{
    admission::Admission,
    authz::{self, Authorizer, Decision},
    request_info::RequestInfo,
    user::{AUTHENTICATED, UserInfo},
};

/// Answers for one request.
pub(in super::super) struct RequestAuthorizer {
    authorizer: Arc<dyn Authorizer>,
    user: UserInfo,
    /// What `authorizer.requestResource` is about.
    pub(super) resource: Attributes,
}

impl RequestAuthorizer {
    pub(in super::super) fn new(
        authorizer: Arc<dyn Authorizer>,
        admission: &Admission<'_>,
    ) -> Self {
        let info = admission.request;
        Self {
            authorizer,
            user: admission.user.clone(),
            resource: Attributes {
                group: info.group_version.group.to_string(),
                resource: info.resource.clone(),
                subresource: info.subresource.clone(),
                namespace: admission.namespace().to_owned(),
                name: admission.object_name().to_owned(),
                ..Attributes::default()
            },
        }
    }
}

fn service_account(namespace: &str, name: &str) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.to_owned(),
        ],
        ..UserInfo::default()
    }
}

fn request(attributes: &Attributes) -> RequestInfo {
    let mut request = RequestInfo {
        verb: attributes.verb.clone(),
        ..RequestInfo::default()
    };
    if let Some(path) = &attributes.non_resource {
        request.path.clone_from(&path.path);
        return request;
    }
    request.is_resource = true;
    request.group_version.group = attributes.group.clone().into();
    request.group_version.version = "*".into();
    request.resource.clone_from(&attributes.resource);
    request.subresource.clone_from(&attributes.subresource);
    request.namespace.clone_from(&attributes.namespace);
    request.name.clone_from(&attributes.name);
    request.field_selector = attributes.field_selector.clone().unwrap_or_default();
    request.label_selector = attributes.label_selector.clone().unwrap_or_default();
    request
}

impl Authorize for RequestAuthorizer {
    fn authorize(&self, attributes: &Attributes) -> Answer {
        let user = attributes
            .service_account
            .as_ref()
            .map(|(namespace, name)| service_account(namespace, name));
        let user = user.as_ref().unwrap_or(&self.user);
        let request = request(attributes);
        let asked = authz::Attributes {
            user,
            request: &request,
        };
        let decided = self.authorizer.authorize(asked).now_or_never().or_else(|| {
            let handle = Handle::try_current().ok()?;
            (handle.runtime_flavor() == RuntimeFlavor::MultiThread).then(|| {
                tokio::task::block_in_place(|| handle.block_on(self.authorizer.authorize(asked)))
            })
        });
        match decided {
            Some((decision, reason)) => Answer {
                allowed: decision == Decision::Allow,
                reason,
                error: None,
            },
            None => Answer {
                error: Some("the authorizer has to be waited for".to_owned()),
                ..Answer::default()
            },
        }
    }
}
