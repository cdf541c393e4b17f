//! The `Accept` header.

use apimachinery::{go, status::Status};
use http::{HeaderMap, header};

use crate::query::Query;

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// Whether watches can be framed in it.
    pub fn streams(self) -> bool {
        self != Self::Yaml
    }
}

const JSON: &str = Encoding::Json.media_type();
const YAML: &str = Encoding::Yaml.media_type();
const PROTOBUF: &str = Encoding::Protobuf.media_type();
const JSON_STREAM: &str = "application/json;stream=watch";
const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Media types that the serializers know: what the route of an object produces.
pub(crate) const SERIALIZERS: [&str; 3] = [JSON, YAML, PROTOBUF];
const STREAM_SERIALIZERS: [&str; 2] = [JSON_STREAM, PROTOBUF_STREAM];
/// What the route of a list produces, which may be asked to be a watch.
pub(crate) const LIST_SERIALIZERS: [&str; 5] = [JSON, YAML, PROTOBUF, JSON_STREAM, PROTOBUF_STREAM];
/// What the route of a log produces.
pub(crate) const LOG_SERIALIZERS: [&str; 4] = ["text/plain", JSON, YAML, PROTOBUF];

/// Group, version and kind of the aggregated form of discovery.
const AGGREGATED_DISCOVERY: [&str; 3] = ["apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"];

/// What becomes of an object before it is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// `as=Table`: what kubectl prints.
    Table,
    /// `as=PartialObjectMetadata`
    PartialObjectMetadata,
    /// `as=PartialObjectMetadataList`
    PartialObjectMetadataList,
}

/// What sort of answer is wanted, which decides what can be accepted. Whether a watch can be framed in it is a question of its own, asked later:
/// [`Accept::streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One object, or a Status.
    Object,
    /// An object that is an answer and has no table.
    Answer,
    /// A document that has no other shape.
    Document,
    /// A list.
    List,
    /// A stream of events.
    Watch,
}

/// What the client accepts, decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// Encoding.
    pub encoding: Encoding,
    /// Shape.
    pub transform: Transform,
    /// Whether the shape is that of `meta.k8s.io/v1beta1`.
    pub v1beta1: bool,
    /// Indent JSON.
    pub pretty: bool,
}

struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Accept {
    /// Decides. What a route produces has been asked before, where there is one: [`route_produces`]. Tables have no protobuf.
    pub fn negotiate(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        Self::decide(headers, query, endpoint, |encoding, transform| {
            encoding != Encoding::Protobuf || transform != Transform::Table
        })
    }

    /// Decides for custom resources: they have no routes of their own, and neither their objects nor their tables have protobuf, though their metadata do.
    pub fn negotiate_custom(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        Self::decide(headers, query, endpoint, |encoding, transform| {
            encoding != Encoding::Protobuf
                || !matches!(transform, Transform::None | Transform::Table)
        })
    }

    /// Decides for what has no columns.
    pub fn negotiate_without_tables(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        Self::decide(headers, query, endpoint, |_, transform| {
            transform != Transform::Table
        })
    }

    /// Decides whether discovery is wanted aggregated (`as=APIGroupDiscoveryList`), and how encoded, as the best of the clauses that ask for
    /// that says. `None` if none does; clauses that ask for no shape are not looked at, however good.
    pub(crate) fn negotiate_aggregated_discovery(
        headers: &HeaderMap,
        query: &Query,
    ) -> Option<Self> {
        for clause in clauses(accept_header(headers)) {
            let mut encodings = Encoding::ALL.into_iter();
            let Some(encoding) = encodings.find(|encoding| clause.can_be(*encoding, false)) else {
                continue;
            };
            let shape = ["g", "v", "as"].map(|name| clause.parameter(name));
            if shape == AGGREGATED_DISCOVERY.map(Some) {
                return Some(Self {
                    encoding,
                    pretty: wants_pretty(headers, query) || clause.parameter("pretty") == Some("1"),
                    ..Self::default()
                });
            }
        }
        None
    }

    fn decide(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
        allowed: fn(Encoding, Transform) -> bool,
    ) -> Result<Self, Status> {
        let accept = accept_header(headers);
        let pretty = wants_pretty(headers, query);
        let mut clauses = clauses(accept);
        if accept.is_empty() {
            clauses.extend(parse_clause("*/*"));
        }
        for clause in &clauses {
            for encoding in Encoding::ALL {
                if let Some(transform) = clause
                    .transform(encoding, endpoint)
                    .filter(|transform| allowed(encoding, *transform))
                {
                    return Ok(Self {
                        encoding,
                        transform,
                        v1beta1: clause.parameter("v") == Some("v1beta1"),
                        pretty: pretty || clause.parameter("pretty") == Some("1"),
                    });
                }
            }
        }
        Err(Status::not_acceptable(&SERIALIZERS))
    }

    /// # Errors
    /// 406, if what has been decided for cannot be framed in a stream, whatever else the client takes.
    pub fn streams(self) -> Result<Self, Status> {
        if self.encoding.streams() {
            Ok(self)
        } else {
            Err(Status::not_acceptable(&STREAM_SERIALIZERS))
        }
    }

    /// How to say something that is not what was asked for: as a document, in the best encoding the client names. `None` if it names none that a
    /// Status has.
    pub fn of_status(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::decide(headers, query, Endpoint::Document, |_, _| true).ok()
    }
}

impl Clause<'_> {
    fn precedes(&self, other: &Self) -> bool {
        self.quality > other.quality
            || self.kind != "*" && other.kind == "*"
            || self.subtype != "*" && other.subtype == "*"
    }

    fn names(&self, media_type: &str) -> bool {
        match (self.kind, self.subtype) {
            ("*", "*") => true,
            ("application", "*") => true,
            (kind, subtype) => media_type
                .split_once('/')
                .is_some_and(|(k, s)| k == kind && s == subtype),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .rfind(|(n, _)| *n == name)
            .map(|(_, value)| *value)
    }

    /// Whether it names the encoding and demands nothing of it that cannot be had, whatever the shape.
    fn can_be(&self, encoding: Encoding, has_server_version: bool) -> bool {
        let demanded = |name| self.parameter(name).filter(|value| !value.is_empty());
        let stream = demanded("stream");
        let version = demanded("sv");
        self.names(encoding.media_type())
            && stream.is_none_or(|stream| stream == "watch" && encoding.streams())
            && version.is_none_or(|version| version == "v1" && has_server_version)
    }

    /// The shape asked for; `None` if there is no such shape here, or the clause demands something else that cannot be had.
    fn transform(&self, encoding: Encoding, endpoint: Endpoint) -> Option<Transform> {
        let is_document = endpoint == Endpoint::Document;
        if !self.can_be(encoding, !is_document) {
            return None;
        }
        let transform = match self.parameter("as") {
            None if self.parameter("g").or(self.parameter("v")).is_none() => {
                return Some(Transform::None);
            }
            _ if is_document => return None,
            Some("Table") if endpoint != Endpoint::Answer => Transform::Table,
            // Whether what comes is a list is seen when it comes.
            Some("PartialObjectMetadata") => Transform::PartialObjectMetadata,
            Some("PartialObjectMetadataList") => Transform::PartialObjectMetadataList,
            _ => return None,
        };
        let group = self.parameter("g").unwrap_or_default();
        let version = self.parameter("v").unwrap_or_default();
        (group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1")).then_some(transform)
    }
}

/// What a client likes best of what is served, where nothing counts but the media types: the first of the served ones that its best clause
/// names, as upstream's OpenAPI handlers decide. Without an `Accept` anything will do.
pub(crate) fn preferred<T: Copy>(headers: &HeaderMap, served: &[(&str, T)]) -> Option<T> {
    let accept = accept_header(headers);
    let mut clauses = clauses(accept);
    if accept.is_empty() {
        clauses.extend(parse_clause("*/*"));
    }
    clauses.iter().find_map(|clause| {
        let named = served
            .iter()
            .find(|(media_type, _)| clause.names(media_type));
        named.map(|(_, what)| *what)
    })
}

fn accept_header(headers: &HeaderMap) -> &str {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Whether the route produces anything of what is accepted: parameters and ranges but `*/*` do not count here.
fn route_accepts(accept: &str, produced: &[&str]) -> bool {
    accept.trim().is_empty()
        || accept.split(',').any(|clause| {
            let media_type = clause.split(';').next().unwrap_or_default().trim();
            media_type == "*/*" || produced.contains(&media_type)
        })
}

/// As many clauses as are sorted by insertion.
const FEW: usize = 12;

/// The clauses, the best first.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(parse_clause).collect();
    // By insertion, as upstream's library sorts so few: its order is none that a sort could rely on, for ranges come last whatever their quality.
    // Nobody but an attacker sends more.
    if clauses.len() > FEW {
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        return clauses;
    }
    for unsorted in 1..clauses.len() {
        let mut at = unsorted;
        while at > 0 && clauses[at].precedes(&clauses[at - 1]) {
            clauses.swap(at, at - 1);
            at -= 1;
        }
    }
    clauses
}

/// For a route that produces these media types.
///
/// # Errors
/// 406 in the router's words, if the client takes others only.
pub(crate) fn route_produces(headers: &HeaderMap, media_types: &[&str]) -> Result<(), Status> {
    if route_accepts(accept_header(headers), media_types) {
        return Ok(());
    }
    Err(route_status(406, "Not Acceptable", Some(media_types)))
}

/// What the router says by itself: `<code>: <words>`.
pub(crate) fn route_status(code: u16, words: &str, available: Option<&[&str]>) -> Status {
    let mut message = format!("{code}: {words}");
    if let Some(available) = available {
        message.push_str("\n\nAvailable representations: ");
        message.push_str(&available.join(", "));
    }
    let reason: String = words.split(' ').collect();
    let mut status = Status::failure(code, &reason, message);
    status.details = Some(Box::default());
    status
}

fn parse_clause(clause: &str) -> Option<Clause<'_>> {
    let mut parts = clause.split(';').map(str::trim);
    let media_type = parts.next().filter(|m| !m.is_empty())?;
    let (kind, subtype) = match media_type.split_once('/') {
        Some((_, subtype)) if subtype.contains('/') => return None,
        Some(halves) => halves,
        None if media_type == "*" => ("*", "*"),
        None => return None,
    };
    let mut quality = 1.0;
    let mut parameters = Vec::new();
    for part in parts {
        // What is no pair is passed over.
        match part.split_once('=') {
            None | Some((_, "")) => {}
            Some((_, value)) if value.contains('=') => {}
            Some((name, value)) if name.trim() == "q" => quality = value.parse().unwrap_or(0.0),
            Some((name, value)) => parameters.push((name.trim(), value.trim())),
        }
    }
    Some(Clause {
        kind,
        subtype,
        parameters,
        quality,
    })
}

/// `pretty=` says; without it people's clients get indented JSON.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("pretty") {
        Some(value) if !value.is_empty() => go::parse_bool(value) == Some(true),
        _ => headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .is_some_and(|agent| {
                ["curl", "Wget", "Mozilla/5.0"]
                    .iter()
                    .any(|known| agent.starts_with(known))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str, endpoint: Endpoint) -> Result<(Encoding, Transform), String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        Accept::negotiate(&headers, &Query::default(), endpoint)
            .map(|accept| (accept.encoding, accept.transform))
            .map_err(|status| status.message)
    }

    #[test]
    fn the_best_known_encoding_and_shape_wins() {
        use {Encoding::*, Transform as T};
        for (value, endpoint, expected) in [
            ("", Endpoint::Object, (Json, T::None)),
            ("*/*", Endpoint::Object, (Json, T::None)),
            ("application/yaml", Endpoint::Object, (Yaml, T::None)),
            (
                "application/json;q=0.1, application/yaml;q=0.9",
                Endpoint::Object,
                (Yaml, T::None),
            ),
            (
                "text/*, application/json;q=0.5",
                Endpoint::Object,
                (Json, T::None),
            ),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Endpoint::List,
                (Json, T::Table),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Endpoint::List,
                (Protobuf, T::PartialObjectMetadataList),
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
                Endpoint::List,
                (Json, T::None),
            ),
            // A range stands back behind what is named, and what cannot be framed is not passed over for what can.
            ("*/*, application/yaml", Endpoint::Object, (Yaml, T::None)),
            (
                "application/yaml, application/json",
                Endpoint::Watch,
                (Yaml, T::None),
            ),
            (
                "application/yaml;stream=watch, application/json;stream=watch",
                Endpoint::List,
                (Json, T::None),
            ),
            ("application/json;as=", Endpoint::Object, (Json, T::None)),
            (
                "application/json;sv=v2, application/yaml;sv=v1",
                Endpoint::Object,
                (Yaml, T::None),
            ),
        ] {
            assert_eq!(accept(value, endpoint), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_had() {
        let routed = |value: &str, media_types: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().unwrap());
            route_produces(&headers, media_types).map_err(|status| status.message)
        };
        assert!(routed("application/*", &SERIALIZERS).is_err());
        assert!(routed("application/yaml;q=0.1, text/html", &SERIALIZERS).is_ok());
        assert!(routed("", &SERIALIZERS).is_ok() && routed("*/*", &SERIALIZERS).is_ok());
        assert_eq!(
            routed("text/html", &LIST_SERIALIZERS).unwrap_err(),
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf, application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
        assert!(accept("application", Endpoint::Object).is_err());
        let yaml = Accept {
            encoding: Encoding::Yaml,
            ..Accept::default()
        };
        assert_eq!(
            yaml.streams().unwrap_err().message,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
        for unknown in ["as=Nope;v=v1;g=meta.k8s.io", "v=v1", "stream=foo"] {
            let refusal = accept(&format!("application/json;{unknown}"), Endpoint::Object);
            assert_eq!(
                refusal.unwrap_err(),
                "only the following media types are accepted: application/json, application/yaml, \
                 application/vnd.kubernetes.protobuf",
                "{unknown}"
            );
        }
    }

    #[test]
    fn a_header_full_of_clauses_is_sorted_soon() {
        let many = format!(
            "{}application/yaml",
            "*/*;q=0.5,application/json;q=0.9,".repeat(30_000)
        );
        assert_eq!(
            accept(&many, Endpoint::Object),
            Ok((Encoding::Yaml, Transform::None))
        );
    }

    #[test]
    fn a_status_has_one_shape() {
        let of_status = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            let accept = Accept::of_status(&headers, &Query::default());
            accept.map(|accept| accept.encoding)
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(of_status(table), None);
        assert_eq!(
            of_status(&format!("{table},application/yaml")),
            Some(Encoding::Yaml)
        );
        assert_eq!(of_status("text/plain"), None);
    }
}
