//! The parameters of operations.

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Path,
    Query,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    /// `string`, `boolean`, `integer`.
    pub(super) sort: &'static str,
    /// Empty for none.
    pub(super) description: String,
}

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

fn query(table: &[(&str, &'static str)]) -> Vec<Parameter> {
    let parameter = |(name, sort): &(&str, &'static str)| Parameter {
        name: (*name).to_owned(),
        place: Place::Query,
        sort,
        description: String::new(),
    };
    table.iter().map(parameter).collect()
}

pub(super) fn list() -> Vec<Parameter> {
    query(LIST)
}

pub(super) fn write() -> Vec<Parameter> {
    query(WRITE)
}

pub(super) fn patch() -> Vec<Parameter> {
    [query(WRITE), query(&[("force", "boolean")])].concat()
}

pub(super) fn delete() -> Vec<Parameter> {
    query(DELETE)
}

/// What selects the objects, and what a deletion takes.
pub(super) fn delete_collection() -> Vec<Parameter> {
    let mut selection = list();
    selection
        .retain(|parameter| parameter.name != "watch" && parameter.name != "allowWatchBookmarks");
    [selection, delete()].concat()
}

pub(super) fn pretty() -> Parameter {
    query(&[("pretty", "string")]).remove(0)
}

pub(super) fn path(name: &str, description: String) -> Parameter {
    Parameter {
        name: name.to_owned(),
        place: Place::Path,
        sort: "string",
        description,
    }
}

/// The fields of an options kind, as the query has them; a list is the parameter more than once.
pub(super) fn options(kind: &str) -> Vec<Parameter> {
    const STREAMS: [(&str, &str); 4] = [
        ("stderr", "boolean"),
        ("stdin", "boolean"),
        ("stdout", "boolean"),
        ("tty", "boolean"),
    ];
    const CONTAINER: (&str, &str) = ("container", "string");
    match kind {
        "PodAttachOptions" => [query(&[CONTAINER]), query(&STREAMS)].concat(),
        "PodExecOptions" => [query(&[("command", "string"), CONTAINER]), query(&STREAMS)].concat(),
        "PodPortForwardOptions" => query(&[("ports", "integer")]),
        "PodLogOptions" => query(&[
            CONTAINER,
            ("follow", "boolean"),
            ("insecureSkipTLSVerifyBackend", "boolean"),
            ("limitBytes", "integer"),
            ("previous", "boolean"),
            ("sinceSeconds", "integer"),
            ("stream", "string"),
            ("tailLines", "integer"),
            ("timestamps", "boolean"),
        ]),
        "PodProxyOptions" | "ServiceProxyOptions" | "NodeProxyOptions" => {
            query(&[("path", "string")])
        }
        _ => Vec::new(),
    }
}
