//! What can be done with the resources, in no document's syntax.

use std::sync::Arc;

use ::apiextensions::openapi::model_name;
use api::{Scope, ServedResource, StrategyRef, served::ServedSubresource};
use apimachinery::gvk::GroupVersionKind;

use super::{
    names::{Names, camel, lower_first, upper_first},
    parameters::{self, Parameter},
};

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// A path and what can be done at it.
#[derive(Debug)]
pub(super) struct PathItem {
    pub(super) path: String,
    /// Of all operations.
    pub(super) parameters: Vec<Parameter>,
    pub(super) operations: Vec<Operation>,
}

/// One thing that can be done.
#[derive(Debug)]
pub(super) struct Operation {
    /// `get`, `put`, …
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) description: String,
    /// `x-kubernetes-action`; empty for none.
    pub(super) action: &'static str,
    pub(super) kind: Option<GroupVersionKind>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Body,
    pub(super) answer: Answer,
    /// Of a custom resource, which is taken in fewer media types.
    pub(super) custom: bool,
}

/// What an operation takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    /// An object of this schema.
    Object(String),
    DeleteOptions,
    Patch,
}

/// What an operation gives.
#[derive(Debug)]
pub(super) struct Answer {
    /// The schema's name; text where it is empty.
    pub(super) schema: String,
    pub(super) codes: &'static [u16],
    pub(super) media: Media,
}

/// In which media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// The three encodings.
    Objects,
    /// The three encodings, and two of them as streams.
    Streams,
    /// The three encodings and plain text.
    Log,
    /// Anything.
    Any,
    /// JSON alone.
    Json,
    /// A JSON Web Key Set.
    KeySet,
    /// The encodings for people: those of custom resources.
    Text,
}

impl Operation {
    fn new(
        method: &'static str,
        id: String,
        tag: &str,
        description: String,
        answer: Answer,
    ) -> Self {
        Self {
            method,
            id,
            tag: tag.to_owned(),
            description,
            action: "",
            kind: None,
            parameters: Vec::new(),
            body: Body::None,
            answer,
            custom: false,
        }
    }
}

/// The paths of a group's version.
pub(super) fn of_version(
    group: &str,
    version: &str,
    rows: &[Arc<ServedResource>],
) -> Vec<PathItem> {
    let names = Names::of(group, version);
    let mut items = vec![discovery(
        format!("{}/", names.root),
        format!("get{}APIResources", names.camel),
        &names.tag,
        "get available resources",
        "APIResourceList",
    )];
    for row in rows
        .iter()
        .filter(|row| row.gvr.group == group && row.gvr.version == version)
    {
        items.extend(Rows { row, names: &names }.items());
    }
    items
}

/// The paths of custom resources.
pub(super) fn of_custom(group: &str, version: &str, rows: &[Arc<ServedResource>]) -> Vec<PathItem> {
    let names = Names::of(group, version);
    let items = rows.iter().map(|row| Rows { row, names: &names }.items());
    items.flatten().collect()
}

/// Whether a user defined a resource.
pub(super) fn is_custom(row: &ServedResource) -> bool {
    matches!(row.strategy, StrategyRef::Shared(_))
}

/// The paths that belong to no version: `api`, `apis`, `apis/apps`, `version`, …
pub(super) fn of_root(name: &str) -> Vec<PathItem> {
    let item = match name {
        "api" => discovery(
            "/api/".into(),
            "getCoreAPIVersions".into(),
            "core",
            "get available API versions",
            "APIVersions",
        ),
        "apis" => discovery(
            "/apis/".into(),
            "getAPIVersions".into(),
            "apis",
            "get available API versions",
            "APIGroupList",
        ),
        "version" => {
            let answer = Answer {
                schema: "io.k8s.apimachinery.pkg.version.Info".into(),
                codes: &[200],
                media: Media::Json,
            };
            let description = "get the version information for this server".to_owned();
            let operation = Operation::new(
                "get",
                "getCodeVersion".into(),
                "version",
                description,
                answer,
            );
            PathItem {
                path: "/version/".into(),
                parameters: Vec::new(),
                operations: vec![operation],
            }
        }
        ".well-known/openid-configuration" => text(
            name,
            "getServiceAccountIssuerOpenIDConfiguration",
            "WellKnown",
            Media::Json,
        ),
        "openid/v1/jwks" => text(
            name,
            "getServiceAccountIssuerOpenIDKeyset",
            "openid",
            Media::KeySet,
        ),
        other => match other.strip_prefix("apis/") {
            Some(group) => {
                let camel = camel(group);
                let path = format!("/apis/{group}/");
                discovery(
                    path,
                    format!("get{camel}APIGroup"),
                    &lower_first(&camel),
                    "get information of a group",
                    "APIGroup",
                )
            }
            None => return Vec::new(),
        },
    };
    vec![item]
}

fn discovery(path: String, id: String, tag: &str, description: &str, kind: &str) -> PathItem {
    let answer = Answer {
        schema: format!("{META}.{kind}"),
        codes: &[200],
        media: Media::Objects,
    };
    let operation = Operation::new("get", id, tag, description.to_owned(), answer);
    PathItem {
        path,
        parameters: Vec::new(),
        operations: vec![operation],
    }
}

fn text(name: &str, id: &str, tag: &str, media: Media) -> PathItem {
    let answer = Answer {
        schema: String::new(),
        codes: &[200],
        media,
    };
    let operation = Operation::new("get", id.to_owned(), tag, String::new(), answer);
    PathItem {
        path: format!("/{name}/"),
        parameters: Vec::new(),
        operations: vec![operation],
    }
}

/// Resources whose deletion answers with the deleted object; all others answer with a Status.
const RETURN_DELETED: &[&str] = &[
    "csidrivers",
    "csinodes",
    "deviceclasses",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcequotas",
    "resourceslices",
    "serviceaccounts",
    "services",
    "storageclasses",
    "volumeattachments",
    "volumeattributesclasses",
];

/// The paths of one row.
struct Rows<'a> {
    row: &'a ServedResource,
    names: &'a Names,
}

impl Rows<'_> {
    fn items(&self) -> Vec<PathItem> {
        let mut items = Vec::new();
        if !self.row.verbs.is_empty() {
            items.push(self.collection());
            items.push(self.object());
            if self.namespaced() {
                items.push(self.everywhere());
            }
            items.extend(self.watches());
        }
        for subresource in &self.row.subresources {
            items.extend(self.subresource(subresource));
        }
        items.retain(|item| !item.operations.is_empty());
        items
    }

    fn namespaced(&self) -> bool {
        self.row.scope == Scope::Namespaced
    }

    fn has(&self, verb: &str) -> bool {
        self.row.verbs.contains(&verb)
    }

    fn kind(&self) -> &str {
        &self.row.gvk.kind
    }

    fn collection_path(&self, prefix: &str) -> String {
        let scope = if self.namespaced() {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!(
            "{}{prefix}{scope}/{}",
            self.names.root, self.row.gvr.resource
        )
    }

    /// `readAppsV1NamespacedDeploymentScale`; `middle` stands before the scope (`Collection`).
    fn id(&self, verb: &str, middle: &str, suffix: &str) -> String {
        let scope = if self.namespaced() { "Namespaced" } else { "" };
        format!(
            "{verb}{}{middle}{scope}{}{suffix}",
            self.names.camel,
            self.kind()
        )
    }

    fn operation(
        &self,
        (method, action): (&'static str, &'static str),
        id: String,
        description: String,
        kind: &GroupVersionKind,
        answer: Answer,
    ) -> Operation {
        let mut operation = Operation::new(method, id, &self.names.tag, description, answer);
        operation.action = action;
        operation.kind = Some(kind.clone());
        operation.custom = self.custom();
        operation
    }

    /// Whether a user defined it.
    fn custom(&self) -> bool {
        is_custom(self.row)
    }

    fn media(&self, built_in: Media) -> Media {
        if self.custom() { Media::Text } else { built_in }
    }

    fn schema(&self, gvk: &GroupVersionKind) -> String {
        if self.custom() && gvk.group == self.row.gvk.group {
            return model_name(&gvk.group, &gvk.version, &gvk.kind);
        }
        api::facts::schema()
            .type_of(gvk)
            .and_then(|ty| ty.object())
            .map(|object| object.name.to_string())
            .unwrap_or_default()
    }

    fn objects(&self, gvk: &GroupVersionKind, codes: &'static [u16]) -> Answer {
        Answer {
            schema: self.schema(gvk),
            codes,
            media: self.media(Media::Objects),
        }
    }

    fn list_answer(&self) -> Answer {
        let mut gvk = self.row.gvk.clone();
        gvk.kind = self.row.list_kind.clone();
        Answer {
            schema: self.schema(&gvk),
            codes: &[200],
            media: self.media(Media::Streams),
        }
    }

    fn status(&self, codes: &'static [u16]) -> Answer {
        Answer {
            schema: format!("{META}.Status"),
            codes,
            media: self.media(Media::Objects),
        }
    }

    /// Hoists what all operations share, and adds what the path and every answer have.
    fn item(&self, path: String, operations: Vec<Operation>, own: Vec<Parameter>) -> PathItem {
        PathItem {
            path,
            parameters: own,
            operations,
        }
        .hoisted()
    }

    fn namespace(&self) -> Option<Parameter> {
        let description = "object name and auth scope, such as for teams and projects";
        self.namespaced()
            .then(|| parameters::path("namespace", description.to_owned()))
    }

    fn name(&self, kind: &str) -> Parameter {
        parameters::path("name", format!("name of the {kind}"))
    }

    fn listed(&self) -> String {
        let verbs = if self.custom() || !self.has("watch") {
            "list"
        } else {
            "list or watch"
        };
        format!("{verbs} objects of kind {}", self.kind())
    }

    fn collection(&self) -> PathItem {
        let (row, kind) = (self.row, self.kind());
        let mut operations = Vec::new();
        if self.has("list") {
            let description = self.listed();
            let mut list = self.operation(
                ("get", "list"),
                self.id("list", "", ""),
                description,
                &row.gvk,
                self.list_answer(),
            );
            list.parameters = parameters::list();
            operations.push(list);
        }
        if self.has("create") {
            let answer = self.objects(&row.gvk, &[200, 201, 202]);
            let mut create = self.operation(
                ("post", "post"),
                self.id("create", "", ""),
                format!("create {}", article(kind)),
                &row.gvk,
                answer,
            );
            create.parameters = parameters::write();
            create.body = Body::Object(self.schema(&row.gvk));
            operations.push(create);
        }
        if self.has("deletecollection") {
            let id = self.id("delete", "Collection", "");
            let description = format!("delete collection of {kind}");
            let mut delete = self.operation(
                ("delete", "deletecollection"),
                id,
                description,
                &row.gvk,
                self.status(&[200]),
            );
            // Upstream's documents do not tell what the deletion of custom resources takes besides.
            if self.custom() {
                delete.parameters = parameters::list();
            } else {
                delete.parameters = parameters::delete_collection();
                delete.body = Body::DeleteOptions;
            }
            operations.push(delete);
        }
        let own = self
            .namespace()
            .into_iter()
            .chain([parameters::pretty()])
            .collect();
        self.item(self.collection_path(""), operations, own)
    }

    fn object(&self) -> PathItem {
        let (row, kind) = (self.row, self.kind());
        let mut operations = self.read_and_write(
            &row.gvk,
            self.row.verbs,
            "",
            &format!("the specified {kind}"),
        );
        if self.has("delete") {
            let returns_object = RETURN_DELETED.contains(&&*row.gvr.resource);
            let answer = if returns_object {
                self.objects(&row.gvk, &[200, 202])
            } else {
                self.status(&[200, 202])
            };
            let description = format!("delete {}", article(kind));
            let mut delete = self.operation(
                ("delete", "delete"),
                self.id("delete", "", ""),
                description,
                &row.gvk,
                answer,
            );
            delete.parameters = parameters::delete();
            delete.body = Body::DeleteOptions;
            operations.push(delete);
        }
        let own = [
            Some(self.name(kind)),
            self.namespace(),
            Some(parameters::pretty()),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.item(
            format!("{}/{{name}}", self.collection_path("")),
            operations,
            own,
        )
    }

    /// get, put, patch: of an object, or of a subresource with `suffix`.
    fn read_and_write(
        &self,
        gvk: &GroupVersionKind,
        verbs: &[&str],
        suffix: &str,
        what: &str,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        if verbs.contains(&"get") {
            let id = self.id("read", "", suffix);
            let answer = self.objects(gvk, &[200]);
            let mut get = self.operation(("get", "get"), id, format!("read {what}"), gvk, answer);
            if self.custom() {
                get.parameters = parameters::get();
            }
            operations.push(get);
        }
        if verbs.contains(&"update") {
            let id = self.id("replace", "", suffix);
            let answer = self.objects(gvk, &[200, 201]);
            let mut put =
                self.operation(("put", "put"), id, format!("replace {what}"), gvk, answer);
            put.parameters = parameters::write();
            put.body = Body::Object(self.schema(gvk));
            operations.push(put);
        }
        if verbs.contains(&"patch") {
            let id = self.id("patch", "", suffix);
            // What is patched in a custom resource is there.
            let codes: &[u16] = if self.custom() { &[200] } else { &[200, 201] };
            let answer = self.objects(gvk, codes);
            let mut patch = self.operation(
                ("patch", "patch"),
                id,
                format!("partially update {what}"),
                gvk,
                answer,
            );
            patch.parameters = parameters::patch();
            patch.body = Body::Patch;
            operations.push(patch);
        }
        operations
    }

    /// The list over all namespaces.
    fn everywhere(&self) -> PathItem {
        let (row, kind) = (self.row, self.kind());
        let path = format!("{}/{}", self.names.root, row.gvr.resource);
        let mut operations = Vec::new();
        if self.has("list") {
            let id = format!("list{}{kind}ForAllNamespaces", self.names.camel);
            let description = self.listed();
            let mut list = self.operation(
                ("get", "list"),
                id,
                description,
                &row.gvk,
                self.list_answer(),
            );
            list.parameters = parameters::list();
            operations.push(list);
        }
        self.item(path, operations, vec![parameters::pretty()])
    }

    /// The older paths of watches.
    fn watches(&self) -> Vec<PathItem> {
        if !self.has("watch") || self.custom() {
            return Vec::new();
        }
        let (row, kind) = (self.row, self.kind());
        let watch = |action, id: String, description: String| {
            let answer = Answer {
                schema: format!("{META}.WatchEvent"),
                codes: &[200],
                media: Media::Streams,
            };
            let mut watch = self.operation(("get", action), id, description, &row.gvk, answer);
            watch.parameters = parameters::list();
            watch
        };
        let listed = format!(
            "watch individual changes to a list of {kind}. deprecated: use the 'watch' parameter with a list operation instead."
        );
        let single = format!(
            "watch changes to an object of kind {kind}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter."
        );
        let path = self.collection_path("/watch");
        let mut items = Vec::new();
        if self.namespaced() {
            let id = format!("watch{}{kind}ListForAllNamespaces", self.names.camel);
            let everywhere = format!("{}/watch/{}", self.names.root, row.gvr.resource);
            items.push(self.item(
                everywhere,
                vec![watch("watchlist", id, listed.clone())],
                vec![parameters::pretty()],
            ));
        }
        let own: Vec<Parameter> = self
            .namespace()
            .into_iter()
            .chain([parameters::pretty()])
            .collect();
        items.push(self.item(
            path.clone(),
            vec![watch("watchlist", self.id("watch", "", "List"), listed)],
            own.clone(),
        ));
        let own = [vec![self.name(kind)], own].concat();
        items.push(self.item(
            format!("{path}/{{name}}"),
            vec![watch("watch", self.id("watch", "", ""), single)],
            own,
        ));
        items
    }

    fn subresource(&self, subresource: &ServedSubresource) -> Vec<PathItem> {
        let ServedSubresource { name, gvk, verbs } = subresource;
        let path = format!("{}/{{name}}/{name}", self.collection_path(""));
        let (kind, suffix) = (self.kind(), upper_first(name));
        let own = |named: &str| -> Vec<Parameter> {
            [Some(self.name(named)), self.namespace()]
                .into_iter()
                .flatten()
                .collect()
        };
        if matches!(*name, "attach" | "exec" | "portforward" | "proxy") {
            return self.connections(subresource, &path, own(&gvk.kind));
        }
        let mut operations = self.read_and_write(
            gvk,
            verbs,
            &suffix,
            &format!("{name} of the specified {kind}"),
        );
        if verbs.contains(&"create") {
            let answer = self.objects(gvk, &[200, 201, 202]);
            let description = format!("create {name} of {}", article(kind));
            let mut create = self.operation(
                ("post", "post"),
                self.id("create", "", &suffix),
                description,
                gvk,
                answer,
            );
            create.parameters = parameters::write();
            create.body = Body::Object(self.schema(gvk));
            operations.push(create);
        }
        if *name == "log" {
            for operation in &mut operations {
                operation.parameters = parameters::options("PodLogOptions");
                operation.answer = Answer {
                    schema: String::new(),
                    codes: &[200],
                    media: Media::Log,
                };
            }
        }
        let named = if verbs.contains(&"create") || *name == "scale" {
            &gvk.kind
        } else {
            kind
        };
        let own = [own(named), vec![parameters::pretty()]].concat();
        vec![self.item(path, operations, own)]
    }

    fn connections(
        &self,
        subresource: &ServedSubresource,
        path: &str,
        own: Vec<Parameter>,
    ) -> Vec<PathItem> {
        let ServedSubresource { name, gvk, verbs } = subresource;
        let proxied = verbs.contains(&"delete");
        let methods: &[&'static str] = if proxied {
            &["get", "put", "post", "delete", "options", "head", "patch"]
        } else {
            &["get", "post"]
        };
        let connect = |with_path: &str| -> Vec<Operation> {
            let operation = |method: &&'static str| {
                let scope = if self.namespaced() { "Namespaced" } else { "" };
                let (camel, kind) = (&self.names.camel, self.kind());
                let id = format!(
                    "connect{camel}{}{scope}{kind}{}{with_path}",
                    upper_first(method),
                    upper_first(name)
                );
                let description = format!(
                    "connect {} requests to {name} of {kind}",
                    method.to_ascii_uppercase()
                );
                let answer = Answer {
                    schema: String::new(),
                    codes: &[200],
                    media: Media::Any,
                };
                let mut operation =
                    self.operation((method, "connect"), id, description, gvk, answer);
                operation.parameters = parameters::options(&gvk.kind);
                operation
            };
            methods.iter().map(operation).collect()
        };
        let mut items = vec![self.item(path.to_owned(), connect(""), own.clone())];
        if proxied {
            let rest = parameters::path("path", "path to the resource".to_owned());
            let own = [own, vec![rest]].concat();
            items.push(self.item(format!("{path}/{{path}}"), connect("WithPath"), own));
        }
        items
    }
}

impl PathItem {
    /// What all operations have in common moves to the path; everything is sorted by name.
    fn hoisted(mut self) -> Self {
        let shared: Vec<Parameter> = match self.operations.as_slice() {
            [] => Vec::new(),
            [first, rest @ ..] => {
                let everywhere = |parameter: &&Parameter| {
                    rest.iter()
                        .all(|operation| operation.parameters.contains(parameter))
                };
                first
                    .parameters
                    .iter()
                    .filter(everywhere)
                    .cloned()
                    .collect()
            }
        };
        for operation in &mut self.operations {
            operation
                .parameters
                .retain(|parameter| !shared.contains(parameter));
            operation.parameters.sort_by(|a, b| a.name.cmp(&b.name));
        }
        for parameter in shared {
            if !self.parameters.contains(&parameter) {
                self.parameters.push(parameter);
            }
        }
        self.parameters
            .sort_by(|a, b| (&a.name, a.place).cmp(&(&b.name, b.place)));
        self
    }
}

/// `a Deployment`, `an Ingress`, `Endpoints`.
fn article(kind: &str) -> String {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        return kind.to_owned();
    }
    let vowel = kind.starts_with(['A', 'E', 'I', 'O', 'U']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
