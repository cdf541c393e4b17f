//! Which verb a path and method are for a resource, and which of its routes do not exist: 404 where the path is none of the
//! resource's, 405 where the path is but not with this method.

use apimachinery::status::Status;
use http::{Method, Response, StatusCode};

use super::Endpoint;
use crate::{
    body::Body,
    negotiation::{LIST_SERIALIZERS, LOG_SERIALIZERS, SERIALIZERS, plain_error},
    request_info::RequestInfo,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// One object, or its status.
    Get,
    /// Many.
    List,
    /// Follow.
    Watch,
    /// A new one.
    Create,
    /// Replace one, or its status.
    Update,
    /// Change one, or its status.
    Patch,
    /// Remove one.
    Delete,
    /// Remove many.
    DeleteCollection,
    /// Ask: the resource (or subresource, by name) stores nothing.
    Virtual(String),
    /// `scale`, with `get`, `update` or `patch`.
    Scale(&'static str),
    /// How the control plane is.
    Components,
    /// Assign a pod to a node.
    Bind,
    /// Delete a pod if its disruption budgets allow.
    Evict,
    /// A stream, or a proxied request.
    Connect,
    /// There is nothing at this path, though its resource is known.
    NoPage,
}

impl Route {
    /// What the router has as produced here, and refuses other requests for before any handler sees them; `None` if that is anything.
    pub(super) fn produces(&self, info: &RequestInfo) -> Option<&'static [&'static str]> {
        match self {
            Self::NoPage => None,
            Self::Connect if info.subresource == "log" => Some(&LOG_SERIALIZERS),
            Self::Connect => None,
            Self::List | Self::Watch => Some(&LIST_SERIALIZERS),
            Self::Components if info.name.is_empty() => Some(&LIST_SERIALIZERS),
            _ => Some(&SERIALIZERS),
        }
    }
}

/// Finds the route.
pub(super) fn find(
    endpoint: &Endpoint,
    info: &RequestInfo,
    method: &Method,
) -> Result<Route, Status> {
    if endpoint.custom.is_some() {
        return find_custom(endpoint, info);
    }
    // A name that a selector gives does not stand in the path.
    let by_selector = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection");
    let named = !info.name.is_empty() && (info.by_watch_path || !by_selector);
    let in_namespace = !info.namespace.is_empty();
    // `namespaces/NAME` stands in its own namespace, and nothing of another does: who may do anything there is no one elsewhere.
    let is_own_namespace =
        endpoint.row.gvk.kind == "Namespace" && named && info.name == info.namespace;
    // As clients say who have forgotten the namespace.
    let in_nameless = info.path.contains("/namespaces//");
    if !endpoint.is_namespaced() && in_namespace && !is_own_namespace
        || endpoint.is_namespaced() && !in_namespace && !in_nameless && named
        || info.name.contains('/')
    {
        return Err(Status::unknown_path());
    }
    // Another path of old, which leads nowhere any more.
    if info.verb == "proxy" {
        return Err(Status::unknown_path());
    }
    if info.by_watch_path {
        let watched = endpoint.row.verbs.contains(&"watch") && info.subresource.is_empty();
        return match *method {
            _ if !watched => Err(Status::unknown_path()),
            Method::GET => Ok(Route::Watch),
            _ => Err(Status::method_not_allowed()),
        };
    }
    let route = match info.subresource.is_empty() {
        true => of_object(endpoint, info, method, named),
        false => subresource(endpoint, info, method),
    }?;
    if named {
        path_segment(&info.name, "Name")?;
        if endpoint.is_namespaced() && !in_namespace {
            return Err(Status::bad_request("Namespace parameter required."));
        }
    }
    Ok(route)
}

fn of_object(
    endpoint: &Endpoint,
    info: &RequestInfo,
    method: &Method,
    named: bool,
) -> Result<Route, Status> {
    if !info.rest.is_empty() {
        return Err(Status::unknown_path());
    }
    let across_namespaces = endpoint.is_namespaced() && info.namespace.is_empty() && !named;
    // Questions have no names.
    let is_question = endpoint.cacher.is_none() && endpoint.row.verbs == ["create"];
    if is_question && named || across_namespaces && !endpoint.row.verbs.contains(&"list") {
        return Err(Status::unknown_path());
    }
    let verb = match (method, named) {
        (&Method::GET, _) | (&Method::DELETE, _) => info.verb.as_str(),
        (&Method::POST, false) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        _ => return Err(Status::method_not_allowed()),
    };
    // A list can be asked to be a watch, and says itself that it cannot.
    let served = |verb| endpoint.row.verbs.contains(&verb);
    if verb == "watch" && !served("watch") && served("list") {
        return Ok(Route::Watch);
    }
    if !served(verb) || across_namespaces && !matches!(verb, "list" | "watch") {
        return Err(Status::method_not_allowed());
    }
    if endpoint.cacher.is_none() {
        return Ok(match endpoint.row.gvk.kind.as_ref() {
            "Binding" => Route::Bind,
            "ComponentStatus" => Route::Components,
            _ => Route::Virtual(String::new()),
        });
    }
    Ok(match verb {
        "get" => Route::Get,
        "list" => Route::List,
        "watch" => Route::Watch,
        "create" => Route::Create,
        "update" => Route::Update,
        "patch" => Route::Patch,
        "delete" => Route::Delete,
        _ => Route::DeleteCollection,
    })
}

fn subresource(endpoint: &Endpoint, info: &RequestInfo, method: &Method) -> Result<Route, Status> {
    // Of what lies behind a subresource, only proxies know.
    if !info.rest.is_empty() && info.subresource != "proxy" {
        return Err(Status::unknown_path());
    }
    let facts = endpoint
        .row
        .subresources
        .iter()
        .find(|subresource| subresource.name == info.subresource)
        .ok_or_else(Status::unknown_path)?;
    let verb = match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::HEAD | Method::OPTIONS if facts.name == "proxy" => "get",
        _ => return Err(Status::method_not_allowed()),
    };
    if !facts.verbs.contains(&verb) {
        return Err(Status::method_not_allowed());
    }
    Ok(match facts.name {
        "scale" => Route::Scale(match verb {
            "get" => "get",
            "update" => "update",
            _ => "patch",
        }),
        "binding" => Route::Bind,
        "eviction" => Route::Evict,
        "exec" | "attach" | "portforward" | "log" | "proxy" => Route::Connect,
        name => match verb {
            "get" => Route::Get,
            "update" => Route::Update,
            "patch" => Route::Patch,
            _ => Route::Virtual(name.to_owned()),
        },
    })
}

/// Custom resources have no routes: what is to be done is read off the request, as upstream's `crdHandler` reads it.
fn find_custom(endpoint: &Endpoint, info: &RequestInfo) -> Result<Route, Status> {
    let verb = info.verb.as_str();
    let in_namespace = !info.namespace.is_empty();
    let across_namespaces = endpoint.is_namespaced() && !in_namespace;
    if !endpoint.is_namespaced() && in_namespace
        || across_namespaces && !matches!(verb, "list" | "watch")
    {
        return Ok(Route::NoPage);
    }
    let is_known =
        info.subresource.is_empty() || endpoint.row.subresource(&info.subresource).is_some();
    if is_known && matches!(verb, "get" | "patch" | "delete") && !info.name.is_empty() {
        path_segment(&info.name, "Name")?;
    }
    let resource = endpoint.group_resource();
    let unsupported = || Status::method_not_supported(&resource, verb);
    if !info.subresource.is_empty() {
        let Some(facts) = endpoint.row.subresource(&info.subresource) else {
            return Err(Status::not_found(&resource, &info.name));
        };
        return match (facts.name, verb) {
            ("scale", "get") => Ok(Route::Scale("get")),
            ("scale", "update") => Ok(Route::Scale("update")),
            ("scale", "patch") => Ok(Route::Scale("patch")),
            ("status", "get") => Ok(Route::Get),
            ("status", "update") => Ok(Route::Update),
            ("status", "patch") => Ok(Route::Patch),
            _ => Err(unsupported()),
        };
    }
    if matches!(verb, "update" | "patch" | "delete") && info.name.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    match verb {
        "get" => Ok(Route::Get),
        "list" => Ok(Route::List),
        "watch" => Ok(Route::Watch),
        "create" if !endpoint.row.verbs.contains(&"create") => {
            let mut status = unsupported();
            status.message =
                format!("{verb} not allowed while custom resource definition is terminating");
            Err(status)
        }
        "create" => Ok(Route::Create),
        "update" => Ok(Route::Update),
        "patch" => Ok(Route::Patch),
        "delete" => Ok(Route::Delete),
        "deletecollection" => Ok(Route::DeleteCollection),
        _ => Err(unsupported()),
    }
}

/// Refuses what cannot be a segment of a path.
fn path_segment(name: &str, what: &str) -> Result<(), Status> {
    let complaints = api::names::path_segment_name(name);
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "{what} parameter invalid: {name:?}: {}",
        complaints.join(";")
    )))
}

/// What is no path of the API at all.
pub(crate) fn page_not_found() -> Response<Body> {
    plain_error(StatusCode::NOT_FOUND, "404 page not found")
}
