//! The `Accept` header.

use apimachinery::status::Status;
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
    pub fn media_type(self) -> &'static str {
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

/// Media types that the serializers know.
const SERIALIZERS: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAM_SERIALIZERS: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

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

/// What sort of answer is wanted, which decides what can be accepted.
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
    /// Decides.
    pub fn negotiate(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        route_serves(headers, endpoint)?;
        Self::negotiate_behind_router(headers, query, endpoint)
    }

    /// The same for what upstream serves past its router, which would refuse in its own words first. Tables have no protobuf.
    pub fn negotiate_behind_router(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        Self::decide(headers, query, endpoint, |encoding, transform| {
            encoding != Encoding::Protobuf || transform != Transform::Table
        })
    }

    /// Decides for custom resources: they have no routes of their own, and their objects no protobuf, though their tables and metadata do.
    pub fn negotiate_custom(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        Self::decide(headers, query, endpoint, |encoding, transform| {
            encoding != Encoding::Protobuf || transform != Transform::None
        })
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
                if endpoint == Endpoint::Watch && !encoding.streams() {
                    continue;
                }
                if !clause.names(encoding.media_type()) {
                    continue;
                }
                if let Some(transform) = clause
                    .transform(endpoint)
                    .filter(|transform| allowed(encoding, *transform))
                {
                    return Ok(Self {
                        encoding,
                        transform,
                        v1beta1: clause.parameter("v") == Some("v1beta1"),
                        pretty,
                    });
                }
            }
        }
        Err(match endpoint {
            Endpoint::Watch => Status::not_acceptable(&STREAM_SERIALIZERS),
            _ => Status::not_acceptable(&SERIALIZERS),
        })
    }

    /// How to say something that is not what was asked for: the best encoding the client names, JSON if there is none.
    pub fn of_status(headers: &HeaderMap, query: &Query) -> Self {
        let clauses = clauses(accept_header(headers));
        let encoding = clauses
            .iter()
            // A Status has no other shape.
            .filter(|clause| clause.parameter("as").is_none_or(str::is_empty))
            .find_map(|clause| {
                Encoding::ALL
                    .into_iter()
                    .find(|e| clause.names(e.media_type()))
            })
            .unwrap_or_default();
        Self {
            encoding,
            pretty: wants_pretty(headers, query),
            ..Self::default()
        }
    }
}

impl Clause<'_> {
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
            .find(|(n, _)| *n == name)
            .map(|(_, value)| *value)
    }

    /// The shape asked for; `None` if there is no such shape here.
    fn transform(&self, endpoint: Endpoint) -> Option<Transform> {
        let transform = match self.parameter("as") {
            None | Some("") => return Some(Transform::None),
            Some(_) if endpoint == Endpoint::Document => return None,
            Some("Table") if endpoint != Endpoint::Answer => Transform::Table,
            // Whether what comes is a list is seen when it comes.
            Some("PartialObjectMetadata") => Transform::PartialObjectMetadata,
            Some("PartialObjectMetadataList") => Transform::PartialObjectMetadataList,
            Some(_) => return None,
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

/// The clauses, the best first.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(parse_clause).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// For a route of a resource, or of a document.
///
/// # Errors
/// 406, in the router's words, if it serves nothing of what the client takes.
fn route_serves(headers: &HeaderMap, endpoint: Endpoint) -> Result<(), Status> {
    if route_accepts(accept_header(headers), &SERIALIZERS) {
        return Ok(());
    }
    let mut served = SERIALIZERS.to_vec();
    if matches!(endpoint, Endpoint::List | Endpoint::Watch) {
        served.extend(STREAM_SERIALIZERS);
    }
    Err(route_status(406, "Not Acceptable", Some(&served)))
}

/// For a route that produces one media type.
///
/// # Errors
/// 406, if the client takes others only.
pub(crate) fn route_produces(headers: &HeaderMap, media_type: &str) -> Result<(), Status> {
    if route_accepts(accept_header(headers), &[media_type]) {
        return Ok(());
    }
    Err(route_status(406, "Not Acceptable", Some(&[media_type])))
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
    let parameters: Vec<_> = parts.filter_map(|p| p.split_once('=')).collect();
    let quality = parameters
        .iter()
        .find(|(name, _)| *name == "q")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(1.0);
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
        Some(value) if !value.is_empty() => {
            matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
        }
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
        ] {
            assert_eq!(accept(value, endpoint), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_had() {
        assert!(
            accept("text/html", Endpoint::Object)
                .unwrap_err()
                .starts_with("406: Not Acceptable\n\nAvail")
        );
        assert!(
            accept("application/*", Endpoint::Object)
                .unwrap_err()
                .starts_with("406: ")
        );
        assert!(accept("application", Endpoint::Object).is_err());
        assert_eq!(
            accept("text/html", Endpoint::List).unwrap_err(),
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf, application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
        assert_eq!(
            accept("application/yaml", Endpoint::Watch).unwrap_err(),
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
        assert!(
            accept(
                "application/json;as=Nope;v=v1;g=meta.k8s.io",
                Endpoint::Object
            )
            .is_err()
        );
    }
}
