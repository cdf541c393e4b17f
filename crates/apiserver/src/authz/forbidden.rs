//! The refusal that a client reads.

use apimachinery::status::{Status, StatusDetails};

use super::Attributes;

/// 403, worded as upstream words it: who cannot do what, where, and why if an authorizer said.
pub fn forbidden(attributes: Attributes<'_>, reason: &str) -> Status {
    let Attributes { user, request } = attributes;
    let user = &user.name;
    let mut message = if request.is_resource {
        let mut resource = request.resource.clone();
        if !request.subresource.is_empty() {
            resource = format!("{resource}/{}", request.subresource);
        }
        let group = &request.group_version.group;
        let scope = match request.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "User {user:?} cannot {} resource {resource:?} in API group {group:?} {scope}",
            request.verb
        )
    } else {
        format!(
            "User {user:?} cannot {} path {:?}",
            request.verb, request.path
        )
    };
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    if request.is_resource {
        return Status::forbidden(&request.gvr().group_resource(), &request.name, message);
    }
    let mut status = Status::failure(403, "Forbidden", format!("forbidden: {message}"));
    status.details = Some(Box::new(StatusDetails::default()));
    status
}
