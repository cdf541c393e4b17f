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

/// Name, type, what it does.
type Row = (&'static str, &'static str, &'static str);

const LIST: &[Row] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch may send events of type BOOKMARK, which say how far it has come.",
    ),
    (
        "continue",
        "string",
        "The token of the answer before, to go on from where it ended.",
    ),
    (
        "fieldSelector",
        "string",
        "Only objects whose fields are as said; all by default.",
    ),
    (
        "labelSelector",
        "string",
        "Only objects whose labels are as said; all by default.",
    ),
    (
        "limit",
        "integer",
        "At most so many objects; a longer list comes with a token to go on with.",
    ),
    (
        "resourceVersion",
        "string",
        "How fresh the answer must be, or from where a watch begins.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "How a list takes resourceVersion: NotOlderThan or Exact.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch begins with an event for each object there is, and a bookmark after the last of them.",
    ),
    (
        "shardSelector",
        "string",
        "Only objects of a shard, by a hash of one of their fields. Alpha, and off.",
    ),
    (
        "timeoutSeconds",
        "integer",
        "After how long a list or a watch ends.",
    ),
    (
        "watch",
        "boolean",
        "Send changes as they happen, not a list.",
    ),
];
const WRITE: &[Row] = &[
    (
        "dryRun",
        "string",
        "With All, everything is done but the writing itself.",
    ),
    (
        "fieldManager",
        "string",
        "Who writes: whose fields they are from then on. Up to 128 printable characters; needed to apply.",
    ),
    (
        "fieldValidation",
        "string",
        "What unknown and duplicate fields are: Ignore drops them, Warn drops them with a warning (the default), Strict refuses them.",
    ),
];
const FORCE: Row = (
    "force",
    "boolean",
    "Whether what is applied takes fields from their owners. To apply alone.",
);
const DELETE: &[Row] = &[
    (
        "dryRun",
        "string",
        "With All, everything is done but the deletion itself.",
    ),
    (
        "gracePeriodSeconds",
        "integer",
        "How long the object has to end, in seconds; 0 means at once. Its kind's default otherwise.",
    ),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Whether an object that cannot be read is deleted all the same, without regard to finalizers and preconditions.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Deprecated in favour of propagationPolicy: whether the object's dependents stay.",
    ),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground. Its kind's default otherwise.",
    ),
];
const PRETTY: Row = (
    "pretty",
    "string",
    "Whether JSON is indented; by default for browsers, curl and wget alone.",
);

fn query(table: &[Row]) -> Vec<Parameter> {
    let parameter = |(name, sort, description): &Row| Parameter {
        name: (*name).to_owned(),
        place: Place::Query,
        sort,
        description: (*description).to_owned(),
    };
    table.iter().map(parameter).collect()
}

pub(super) fn list() -> Vec<Parameter> {
    query(LIST)
}

pub(super) fn get() -> Vec<Parameter> {
    let mut parameters = list();
    parameters.retain(|parameter| parameter.name == "resourceVersion");
    parameters
}

pub(super) fn write() -> Vec<Parameter> {
    query(WRITE)
}

pub(super) fn patch() -> Vec<Parameter> {
    [query(WRITE), query(&[FORCE])].concat()
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
    query(&[PRETTY]).remove(0)
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
    const STREAMS: &[Row] = &[
        ("stderr", "boolean", "Whether standard error is connected."),
        (
            "stdin",
            "boolean",
            "Whether standard input is connected. Not by default.",
        ),
        ("stdout", "boolean", "Whether standard output is connected."),
        (
            "tty",
            "boolean",
            "Whether there is a terminal. Not by default.",
        ),
    ];
    const CONTAINER: Row = (
        "container",
        "string",
        "Which container; it may be left out where there is one.",
    );
    const COMMAND: Row = (
        "command",
        "string",
        "The command and its arguments, one each. No shell stands between.",
    );
    match kind {
        "PodAttachOptions" => [query(&[CONTAINER]), query(STREAMS)].concat(),
        "PodExecOptions" => [query(&[COMMAND, CONTAINER]), query(STREAMS)].concat(),
        "PodPortForwardOptions" => {
            query(&[("ports", "integer", "Which ports; needed with WebSockets.")])
        }
        "PodLogOptions" => query(&[
            CONTAINER,
            (
                "follow",
                "boolean",
                "Whether to go on with what comes. Not by default.",
            ),
            (
                "insecureSkipTLSVerifyBackend",
                "boolean",
                "Whether the kubelet is believed without a certificate.",
            ),
            (
                "limitBytes",
                "integer",
                "End after so many bytes, also in the middle of a line.",
            ),
            (
                "previous",
                "boolean",
                "The log of the container before this one. Not by default.",
            ),
            (
                "sinceSeconds",
                "integer",
                "Only what is no older than so many seconds.",
            ),
            ("stream", "string", "All, Stdout or Stderr; All by default."),
            ("tailLines", "integer", "Only so many lines from the end."),
            (
                "timestamps",
                "boolean",
                "Whether each line begins with its time. Not by default.",
            ),
        ]),
        "PodProxyOptions" | "ServiceProxyOptions" | "NodeProxyOptions" => query(&[(
            "path",
            "string",
            "The path, and the query, of the request that is passed on.",
        )]),
        _ => Vec::new(),
    }
}
