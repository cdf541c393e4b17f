//! What expressions see of a request: `object`, `oldObject`, `request`, `namespaceObject`, `params`, `authorizer`, `variables`.

use apimachinery::Object;
use cel::{Activation, Composed, Value};
use serde_json::Value as Json;

use super::{
    super::{Admission, admission_request, matching::Invocation},
    RequestAuthorizer,
};

/// The values, held for as long as something is evaluated.
#[derive(Debug)]
pub(in super::super) struct Inputs {
    object: Json,
    old_object: Json,
    request: Json,
    namespace: Json,
}

fn json(object: Option<&Object>) -> Json {
    object.map_or(Json::Null, |object| Json::Object(object.clone()))
}

impl Inputs {
    /// The objects are in the invocation's version.
    pub(in super::super) fn new(
        admission: &Admission<'_>,
        invocation: &Invocation,
        object: Option<&Object>,
        old_object: Option<&Object>,
        namespace: Option<&Object>,
    ) -> Self {
        Self {
            object: json(object),
            old_object: json(old_object),
            request: Json::Object(admission_request::of(admission, invocation)),
            namespace: namespace.map_or(Json::Null, visible),
        }
    }

    /// The variables of one evaluation, or of several that share those of a policy.
    pub(in super::super) fn activation<'a>(
        &'a self,
        params: Option<&'a Json>,
        authorizer: Option<&'a RequestAuthorizer>,
        variables: &'a [Composed],
    ) -> Activation<'a> {
        let value = |json: &'a Json| Value::from_json(json, None);
        let mut activation = Activation::new()
            .with("object", value(&self.object))
            .with("oldObject", value(&self.old_object))
            .with("request", value(&self.request))
            .with("namespaceObject", value(&self.namespace))
            .with("params", params.map_or(Value::Null, value));
        if let Some(authorizer) = authorizer {
            activation.set("authorizer", Value::authorizer(authorizer));
            activation.set(
                "authorizer.requestResource",
                Value::resource_check(authorizer, authorizer.resource.clone()),
            );
        }
        activation.with_composed(variables)
    }
}

/// A Namespace without what is nobody's business.
fn visible(namespace: &Object) -> Json {
    let mut namespace = namespace.clone();
    if let Some(metadata) = namespace.get_mut("metadata").and_then(Json::as_object_mut) {
        for hidden in ["managedFields", "ownerReferences", "selfLink"] {
            metadata.remove(hidden);
        }
    }
    Json::Object(namespace)
}
